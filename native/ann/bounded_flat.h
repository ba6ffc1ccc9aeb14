#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/impl/IDSelector.h>

#include "ann/byte_copy.h"
#include "ann/byte_kernels.h"

namespace faiss_vision {

/// How a flat index searches: always by reading every vector, by bounds, or by bounds from the size where they pay.
enum class Exact { Plain, Bounded, Auto };

/// A flat index that finds exactly what FAISS's IndexFlat finds without reading every vector: bounds from a copy in one byte a
/// number rule nearly all of them out, and the distances of the rest are computed by FAISS itself. Where the bounds do not
/// help it reads every vector, and notices that early. docs/exact-search.md proves the bounds.
/// To FAISS it is an IndexFlat: its wrappers take it, write_index writes it as one. One call at a time.
class BoundedFlat : public faiss::IndexFlat {
public:
    explicit BoundedFlat(int64_t d, faiss::MetricType metric = faiss::METRIC_L2, Exact exact = Exact::Auto,
                         const bytes::Variant& kernels = bytes::chosen());
    /// The same vectors, moved, not copied.
    static std::unique_ptr<BoundedFlat> take(faiss::IndexFlat&& index, Exact exact = Exact::Auto,
                                             const bytes::Variant& kernels = bytes::chosen());

    void add(int64_t n, const float* x) override;
    /// Distances are those of faiss::fvec_L2sqr and faiss::fvec_inner_product, for any number of queries. Of equal distances the
    /// smaller id comes first. (Where 20 or more queries fall back to reading everything, both are FAISS's own.)
    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                const faiss::SearchParameters* params = nullptr) const override;
    size_t remove_ids(const faiss::IDSelector& selector) override;
    void reset() override;
    /// Takes any IndexFlat of the same dimension and metric.
    void check_compatible_for_merge(const faiss::Index& other) const override;
    void merge_from(faiss::Index& other, int64_t addId = 0) override;

    /// Replaces one vector.
    void overwrite(int64_t row, const float* x);
    /// Forgets the vectors from row n on.
    void truncate(int64_t n);
    /// After vectors were put into `codes` behind the others (ntotal says how many there are now).
    void catchUp();
    /// After `codes` was changed in any other way.
    void rebuild();

    /// Bytes of the copy, 0 where there is none.
    size_t copyBytes() const { return copy_ ? copy_->bytes() : 0; }
    Exact exact() const { return exact_; }

private:
    bool wantsCopy(int64_t size) const;
    void readAll(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, const faiss::SearchParameters* params) const;

    Exact exact_;
    const bytes::Variant* kernels_;
    std::optional<ByteCopy> copy_;
    // After a search that the bounds did not help, how many queries to answer without them, and how many the next time.
    mutable std::atomic<int64_t> unbounded_{0}, patience_{0};
};

} // namespace faiss_vision
