#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/utils/distances.h>

#include "ann/byte_bounds.h"

/// What both ways to search a flat index go through and collect: by bounds (ann/bounds_search.h) and by reading everything.
namespace faiss_vision {

constexpr float kNever = std::numeric_limits<float>::infinity();
constexpr float kWorst = std::numeric_limits<float>::max(); // what FAISS's heaps begin with

/// A vector that may be among the k nearest.
struct FlatCandidate : KeyBounds {
    int64_t id;

    bool exact() const { return lower == upper; }
};

inline bool nearer(const FlatCandidate& a, const FlatCandidate& b) { return a.upper < b.upper || (a.upper == b.upper && a.id < b.id); }

/// The key that FAISS's own distance gives; infinite where its heap, which begins with the largest float, would not take it.
class Keys {
public:
    explicit Keys(const faiss::IndexFlat& index)
        : rows_(index.get_xb()), d_(size_t(index.d)), innerProduct_(index.metric_type == faiss::METRIC_INNER_PRODUCT) {}

    float operator()(const float* query, int64_t row) const {
        const float* const known = rows_ + size_t(row) * d_;
        const float key = innerProduct_ ? -faiss::fvec_inner_product(query, known, d_) : faiss::fvec_L2sqr(query, known, d_);
        return key < kWorst ? key : kNever;
    }
    float distance(float key) const { return innerProduct_ ? -key : key; }
    /// What FAISS gives as the distance of a neighbour that there is not.
    float none() const { return distance(kWorst); }
    void prefetch(int64_t row) const {
        const char* const known = reinterpret_cast<const char*>(rows_ + size_t(row) * d_);
        for (size_t at = 0; at < std::min<size_t>(d_ * sizeof(float), 2048); at += 64) __builtin_prefetch(known + at);
    }

private:
    const float* rows_;
    size_t d_;
    bool innerProduct_;
};

/// Writes the k results of a query from the nearest candidates, whose keys are known and which are sorted.
inline void write(const std::vector<FlatCandidate>& best, const Keys& keys, int64_t k, float* distances, int64_t* labels) {
    int64_t at = 0;
    for (; at < std::min<int64_t>(k, int64_t(best.size())) && best[size_t(at)].upper < kNever; at++) {
        distances[at] = keys.distance(best[size_t(at)].upper);
        labels[at] = best[size_t(at)].id;
    }
    for (; at < k; at++) {
        distances[at] = keys.none();
        labels[at] = -1;
    }
}

/// The vectors that one thread has found for one query, of which it now and then keeps those that may still be needed.
class Candidates {
public:
    void start(size_t k) {
        k_ = k;
        limit_ = std::max<size_t>(2 * k, k + 32);
        kth_ = kNever;
        items_.clear();
    }
    /// A key that k of this thread's own do not exceed.
    float kth() const { return kth_; }
    bool full() const { return items_.size() >= limit_; }
    void add(const FlatCandidate& candidate) { items_.push_back(candidate); }
    std::vector<FlatCandidate>& items() { return items_; }

    /// Drops what cannot be among the k nearest and returns the key that a vector must not be above.
    /// @param compute  gives the key of a row, null where the k best of the candidates shall stay estimates
    template <class Compute>
    float shrink(float bound, const Compute* compute) {
        if (items_.size() > k_) std::nth_element(items_.begin(), items_.begin() + ptrdiff_t(k_ - 1), items_.end(), nearer);
        if (items_.size() >= k_) {
            float largest = -kNever;
            for (size_t i = 0; i < k_; i++) {
                FlatCandidate& one = items_[i];
                if (compute != nullptr && !one.exact()) one.lower = one.upper = (*compute)(one.id);
                largest = std::max(largest, one.upper);
            }
            kth_ = std::min(kth_, largest);
            bound = std::min(bound, largest);
        }
        // Of equal keys that are known, those of the first k have the smaller ids.
        size_t kept = 0;
        for (size_t i = 0; i < items_.size(); i++) {
            const FlatCandidate& one = items_[i];
            if (i < k_ ? one.lower <= bound : one.lower < bound || (one.lower == bound && !(compute == nullptr && one.exact()))) items_[kept++] = one;
        }
        items_.resize(kept);
        limit_ = std::max(2 * kept, std::max<size_t>(2 * k_, k_ + 32));
        return bound;
    }

private:
    size_t k_ = 1, limit_ = 0;
    float kth_ = kNever;
    std::vector<FlatCandidate> items_;
};

/// What a thread threw: an exception must not leave a parallel region.
class FirstException {
public:
    template <class Work>
    void guard(Work work) {
        try {
            work();
        } catch (...) {
#pragma omp critical(faiss_vision_first_exception)
            if (!exception_) exception_ = std::current_exception();
            failed_ = true;
        }
    }
    bool failed() const { return failed_; }
    void rethrow() const {
        if (exception_) std::rethrow_exception(exception_);
    }

private:
    std::exception_ptr exception_;
    std::atomic<bool> failed_{false};
};

/// The rows that a search looks at, and which of them count.
struct Rows {
    int64_t begin, end;
    const faiss::IDSelector* selector; // null: all of them

    Rows(int64_t size, const faiss::SearchParameters* params) : begin(0), end(size), selector(params == nullptr ? nullptr : params->sel) {
        if (const auto* const range = dynamic_cast<const faiss::IDSelectorRange*>(selector)) {
            begin = std::clamp<int64_t>(range->imin, 0, size);
            end = std::clamp<int64_t>(range->imax, begin, size);
            selector = nullptr;
        }
    }
    int64_t count() const { return end - begin; }
    bool has(int64_t row) const { return row >= begin && row < end && (selector == nullptr || selector->is_member(row)); }

    /// About the share of the rows that count.
    double share() const {
        if (selector == nullptr || count() == 0) return 1;
        constexpr int64_t kProbes = 128;
        int64_t members = 0;
        for (int64_t i = 0; i < kProbes; i++) members += selector->is_member(begin + int64_t(double(count()) * double(i) / kProbes));
        return double(members) / kProbes;
    }
};

} // namespace faiss_vision
