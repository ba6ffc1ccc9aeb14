#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>
#include <faiss/impl/AuxIndexStructures.h>

#include "ann/bounded_flat.h"
#include "ann/gpu.h"
#include "ann/id_filter.h"
#include "ann/parameters.h"
#include "ann/training_progress.h"

namespace faiss_vision {

/// Vectors of floats, by any of FAISS's metrics.
struct FloatVectors {
    using Faiss = faiss::Index;
    using Component = float;
    using Distance = float;
};

/// Vectors of bits, eight to a byte, by Hamming distance.
struct BinaryVectors {
    using Faiss = faiss::IndexBinary;
    using Component = uint8_t;
    using Distance = int32_t;
};

/// How one search differs from what the index is set to.
struct SearchOptions {
    ParameterValues parameters;
    std::shared_ptr<const IdFilter> filter;
    bool plain() const { return parameters.empty() && filter == nullptr; }
};

struct IndexDescription {
    std::string type; // FAISS's class
    int dimension;
    faiss::MetricType metric;
    int64_t size;
    bool trained;
    size_t bytes; // as written to a file, which is what the memory is made of, and the copy that flat indexes have beside it
    Exact exact;  // how flat indexes search, which are those inside others too
    std::optional<GpuPlacement> placement; // not there on the CPU
    ParameterValues parameters;
};

/// Any FAISS index. What FAISS itself takes on trust is looked at first: an untrained or empty index, ids that are not
/// there, numbers that are none, types that cannot do what is asked. One call at a time; the caller sees to that.
template <class Vectors>
class BasicIndex {
public:
    using Faiss = typename Vectors::Faiss;
    using Component = typename Vectors::Component;
    using Distance = typename Vectors::Distance;
    using RangeResult = faiss::RangeSearchResult;

    /// @param exact  how flat indexes search: by reading every vector or by bounds; both find the same
    explicit BasicIndex(std::unique_ptr<Faiss> index, Exact exact = Exact::Auto);

    /// Reads what save wrote, or FAISS itself. Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ or ERR_INDEX_CORRUPT.
    static BasicIndex load(const std::string& path, Exact exact = Exact::Auto);
    static BasicIndex fromBytes(const uint8_t* bytes, size_t size);

    int dimension() const { return index_->d; }
    /// Components of a vector: its floats, or its bytes.
    int64_t width() const;
    faiss::MetricType metric() const { return index_->metric_type; }
    int64_t size() const { return index_->ntotal; }
    bool trained() const { return index_->is_trained; }
    std::string type() const;
    /// About what its vectors take.
    size_t bytes() const;
    IndexDescription describe() const;

    /// n x width components. Throws ERR_NOT_EMPTY where vectors were encoded by an earlier training.
    void train(int64_t n, const Component* x, const Progress& progress = nullptr);

    /// @param ids  n ids, or nullptr to number on from size()
    /// @param onGpu  x lies in the memory of a GPU that it readsFrom, and is known to be finite
    void add(int64_t n, const Component* x, const int64_t* ids = nullptr, const Progress& progress = nullptr, bool onGpu = false);

    /// n x k results, best first; label -1 where there are fewer.
    /// @param onGpu  as in add
    void search(int64_t n, const Component* x, int64_t k, Distance* distances, int64_t* labels, const SearchOptions& options = {}, bool onGpu = false) const;

    /// Whether `add` and `search` may be given vectors in this GPU's memory; stays so until the next change.
    bool readsFrom(int gpu) const;

    /// Whether a search of n vectors takes no longer than handing it to another thread and back, some tens of microseconds.
    bool quick(int64_t n) const;

    /// All within the radius: distance < radius, or inner product > radius.
    void rangeSearch(int64_t n, const Component* x, double radius, RangeResult& result, const SearchOptions& options = {}) const;

    /// Returns how many were known. In types that number their vectors by position the others move up.
    int64_t remove(int64_t n, const int64_t* ids);

    void reconstruct(int64_t n, const int64_t* ids, Component* x) const;

    /// Moves the other's vectors over. @param addId  is added to each of their ids
    void mergeFrom(BasicIndex& other, int64_t addId);

    void reset();

    double parameter(const std::string& name) const;
    void setParameter(const std::string& name, double value);

    /// Moves it to GPUs, or to the CPU without. Where that fails it stays where it is.
    /// Throws ERR_CUDA_UNAVAILABLE, ERR_CUDA_OUT_OF_MEMORY, ERR_UNSUPPORTED for what FAISS does not search there.
    void moveTo(const std::optional<GpuPlacement>& placement);
    bool onGpu() const { return gpuPart(*index_) != nullptr; }

    /// Files are the same, wherever it is.
    void save(const std::string& path, const Progress& progress = nullptr) const;
    std::vector<uint8_t> toBytes() const;

private:
    void requireTrained(const char* what) const;
    void requireCpu(const char* what) const;
    void requireFinite(int64_t n, const Component* x) const;
    const Component* safe(int64_t n, const Component* x, std::vector<Component>& padded) const;
    void settle();

    std::unique_ptr<Faiss> index_;
    Exact exact_;
    size_t settled_ = 0; // its bytes when its memory was last put in huge pages
};

using FloatIndex = BasicIndex<FloatVectors>;
using BinaryIndex = BasicIndex<BinaryVectors>;

extern template class BasicIndex<FloatVectors>;
extern template class BasicIndex<BinaryVectors>;

} // namespace faiss_vision
