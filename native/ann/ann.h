#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ann/bounded_flat.h"
#include "ann/gpu.h"

namespace faiss_vision {

/// How near two vectors are: Euclidean distance (smaller is nearer) or cosine similarity (larger is nearer).
enum class Method { Euclidean, Cosine };

/// Finds the known vectors nearest to a new one and decides by a threshold whether the best is a match.
/// Exact search over a flat index, by inner product over vectors scaled to length 1 (Cosine).
/// One call at a time; the caller sees to that.
class ANN {
public:
    /// @param dimension  numbers in a vector, >= 1
    /// @param kValue     neighbours asked for by a search, >= 1
    /// @param threshold  Euclidean: found when distance < threshold. Cosine: found when similarity > threshold.
    /// @param exact      whether searches read every vector or rule most of them out by bounds; both find the same
    ANN(int dimension, int kValue, double threshold, Method method, Exact exact = Exact::Auto);

    /// Searches on this GPU from now on. The vectors stay in the processor's memory too: what is found is measured there, and
    /// erased there. Throws ERR_CUDA_UNAVAILABLE.
    void searchOnGpu(int number);

    int dimension() const { return index_->d; }
    int kValue() const { return kValue_; }
    double threshold() const { return threshold_; }
    Method method() const { return method_; }
    int64_t size() const { return index_->ntotal; }
    Exact exact() const { return index_->exact(); }
    /// Memory of the vectors, the copy that bounds are computed from, and the ids.
    size_t bytes() const;

    /// Adds n x dimension numbers. Without ids they are numbered on from the largest id ever used.
    /// All or nothing: throws ERR_NOT_FINITE, ERR_ZERO_VECTOR (Cosine), ERR_DUPLICATE_ID or ERR_INVALID_ID.
    std::vector<int64_t> add(int64_t n, const float* vectors, const int64_t* ids = nullptr);

    /// n x k results, nearest first, k = kValue. Scores: plain (not squared) Euclidean distance, or cosine similarity.
    /// Where fewer than k vectors are known the rest is index -1 and score NaN.
    /// @param found  n decisions, on the nearest neighbour
    void search(int64_t n, const float* queries, int64_t* indices, float* scores, uint8_t* found) const;

    /// Forgets these ids and returns how many were known; the ids of the others stay valid.
    int64_t erase(int64_t n, const int64_t* ids);

    void clear();

    /// One file in FAISS's own format (IndexIDMap over a flat index) behind which k, threshold and a checksum stand.
    void save(const std::string& path) const;
    static ANN load(const std::string& path);

private:
    void normalise(int64_t n, float* vectors, const char* name) const;
    float score(const float* query, int64_t row) const;
    const faiss::Index& searched() const;

    int kValue_;
    double threshold_;
    Method method_;
    std::unique_ptr<BoundedFlat> index_; // row i holds the vector of ids_[i]
    std::vector<int64_t> ids_;
    std::unordered_map<int64_t, int64_t> rows_; // id -> row
    int64_t nextId_ = 0;
    int gpuNumber_ = -1;
    mutable std::unique_ptr<GpuIndex> gpu_; // the first rows of index_, as the last search left them; made anew after an erase
};

} // namespace faiss_vision
