#include "ann/bounded_flat.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include <omp.h>

#include "ann/bounds_search.h"
#include "ann/distance_kernels.h"
#include "ann/flat_candidates.h"
#include "error.h"

namespace faiss_vision {
namespace {

// Below this many numbers, or so short vectors, reading everything is as fast (docs/exact-search.md has the figures).
constexpr int64_t kFewNumbers = 1 << 19;
constexpr int64_t kShortVector = 16;
// Up to here one thread is done before others are awake.
constexpr int64_t kOneThread = 1 << 18;

/// Squared distances on this thread: a kernel that takes several vectors at once says which may be among the k nearest, FAISS
/// computes those. Both add the same squares, in another order.
void readFew(const faiss::IndexFlat& index, const Rows& rows, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels) {
    const size_t d = size_t(index.d);
    const Keys keys(index);
    const auto block = distances::block(false);
    const auto below = distances::below();
    // Each sum is within sumError of the true one, and within the other where squares are too small to be normal; as much again
    // is for the rounding of the bounds themselves.
    const float less = float(1 - 4 * sumError(d)), more = float(1 + 4 * sumError(d)), tiny = float(d) * 0x1p-119f;
    float sums[distances::kMask] = {};
    Candidates found;
    for (int64_t i = 0; i < n; i++) {
        const float* const query = x + i * index.d;
        found.start(size_t(k));
        float bound = kNever, limit = kNever; // what a key must not be above, and so a sum
        const auto shrink = [&] {
            bound = found.shrink<float (*)(int64_t)>(bound, nullptr);
            limit = (bound + tiny) * more;
        };
        for (int64_t first = rows.begin; first < rows.end; first += int64_t(distances::kMask)) {
            const size_t count = size_t(std::min<int64_t>(rows.end - first, distances::kMask));
            block(&query, 1, index.get_xb() + size_t(first) * d, d, count, sums, distances::kMask);
            for (uint64_t bits = below(sums, count, limit); bits != 0; bits &= bits - 1) {
                const int at = __builtin_ctzll(bits);
                found.add({{std::min(sums[at], kWorst) * less - tiny, sums[at] * more + tiny}, first + at});
                if (found.full()) shrink();
            }
        }
        shrink();
        std::vector<FlatCandidate>& best = found.items();
        for (FlatCandidate& one : best) one.lower = one.upper = keys(query, one.id);
        std::sort(best.begin(), best.end(), nearer);
        write(best, keys, k, distances + i * k, labels + i * k);
    }
}

} // namespace

BoundedFlat::BoundedFlat(int64_t d, faiss::MetricType metric, Exact exact, const bytes::Variant& kernels)
    : faiss::IndexFlat(d, metric), exact_(exact), kernels_(&kernels) {}

std::unique_ptr<BoundedFlat> BoundedFlat::take(faiss::IndexFlat&& index, Exact exact, const bytes::Variant& kernels) {
    auto result = std::make_unique<BoundedFlat>(index.d, index.metric_type, exact, kernels);
    result->metric_arg = index.metric_arg;
    result->verbose = index.verbose;
    result->codes = std::move(index.codes);
    result->ntotal = index.ntotal;
    index.codes.clear();
    index.ntotal = 0;
    result->rebuild();
    return result;
}

bool BoundedFlat::wantsCopy(int64_t size) const {
    if (exact_ == Exact::Plain || size_t(d) > bytes::kMaxDimension) return false;
    if (metric_type != faiss::METRIC_L2 && metric_type != faiss::METRIC_INNER_PRODUCT) return false;
    return exact_ == Exact::Bounded || copy_.has_value() || (d >= kShortVector && size * d >= kFewNumbers);
}

void BoundedFlat::catchUp() {
    if (!wantsCopy(ntotal)) return;
    if (!copy_) copy_.emplace(size_t(d), metric_type == faiss::METRIC_INNER_PRODUCT, *kernels_);
    if (copy_->size() < size_t(ntotal)) {
        copy_->append(get_xb() + copy_->size() * size_t(d), size_t(ntotal) - copy_->size());
        patience_ = unbounded_ = 0;
    }
}

void BoundedFlat::rebuild() {
    copy_.reset();
    catchUp();
}

void BoundedFlat::add(int64_t n, const float* x) {
    // Where the copy knows all the others, the floats are copied by the same threads in the same go.
    if (!copy_ && wantsCopy(ntotal + n)) copy_.emplace(size_t(d), metric_type == faiss::METRIC_INNER_PRODUCT, *kernels_);
    if (n <= 0 || !copy_ || copy_->size() != size_t(ntotal)) {
        faiss::IndexFlat::add(n, x);
        return catchUp();
    }
    codes.resize(size_t(ntotal + n) * code_size);
    try {
        copy_->append(get_xb() + ntotal * d, size_t(n), x);
    } catch (...) {
        codes.resize(size_t(ntotal) * code_size);
        throw;
    }
    ntotal += n;
    patience_ = unbounded_ = 0;
}

void BoundedFlat::reset() {
    faiss::IndexFlat::reset();
    copy_.reset();
}

void BoundedFlat::truncate(int64_t n) {
    if (n < ntotal) {
        codes.resize(size_t(n) * code_size);
        ntotal = n;
    }
    if (copy_) copy_->truncate(size_t(n));
}

void BoundedFlat::overwrite(int64_t row, const float* x) {
    std::memcpy(get_xb() + row * d, x, code_size);
    if (copy_ && size_t(row) < copy_->size()) copy_->set(size_t(row), get_xb() + row * d);
}

size_t BoundedFlat::remove_ids(const faiss::IDSelector& selector) {
    // The rows behind the first that goes move up: these are coded again.
    struct First : faiss::IDSelector {
        const faiss::IDSelector& inner;
        mutable int64_t row = -1;
        explicit First(const faiss::IDSelector& inner) : inner(inner) {}
        bool is_member(int64_t id) const override {
            const bool member = inner.is_member(id);
            if (member && row < 0) row = id;
            return member;
        }
    };
    const First first(selector);
    const size_t removed = faiss::IndexFlat::remove_ids(first);
    if (removed > 0 && copy_) {
        copy_->truncate(size_t(first.row));
        catchUp();
    }
    return removed;
}

void BoundedFlat::check_compatible_for_merge(const faiss::Index& other) const {
    const auto* const flat = dynamic_cast<const faiss::IndexFlat*>(&other);
    if (flat == nullptr || flat->d != d || flat->metric_type != metric_type || flat->code_size != code_size) {
        throw Error("ERR_FAISS", "`other` must be a flat index of dimension " + std::to_string(d) + " with the same metric");
    }
}

void BoundedFlat::merge_from(faiss::Index& other, int64_t addId) {
    faiss::IndexFlat::merge_from(other, addId);
    catchUp();
}

void BoundedFlat::search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                         const faiss::SearchParameters* params) const {
    const Rows rows(ntotal, params);
    const bool bounds = copy_ && copy_->size() == size_t(ntotal) && n > 0 && k > 0 && k <= rows.count() / 4 &&
                        dynamic_cast<const faiss::IDSelectorArray*>(rows.selector) == nullptr && unbounded_ <= 0 &&
                        double(n) * rows.share() > 0.125;
    if (!bounds) {
        if (unbounded_ > 0) unbounded_ -= n;
        return readAll(n, x, k, distances, labels, params);
    }

    const std::vector<int64_t> others = searchByBounds(*this, *copy_, rows, n, x, k, distances, labels);
    if (int64_t(others.size()) * 2 > n) {
        patience_ = std::clamp<int64_t>(2 * patience_, 16, 1024);
        unbounded_ = patience_.load();
    } else {
        patience_ = 0;
    }
    if (int64_t(others.size()) == n) return readAll(n, x, k, distances, labels, params);
    if (others.empty()) return;
    std::vector<float> asking(others.size() * size_t(d)), theirDistances(others.size() * size_t(k));
    std::vector<int64_t> theirLabels(others.size() * size_t(k));
    for (size_t i = 0; i < others.size(); i++) std::copy_n(x + others[i] * d, d, asking.begin() + ptrdiff_t(i) * d);
    readAll(int64_t(others.size()), asking.data(), k, theirDistances.data(), theirLabels.data(), params);
    for (size_t i = 0; i < others.size(); i++) {
        std::copy_n(theirDistances.begin() + ptrdiff_t(i) * k, k, distances + others[i] * k);
        std::copy_n(theirLabels.begin() + ptrdiff_t(i) * k, k, labels + others[i] * k);
    }
}

/// As FAISS does, but that fewer queries than threads share the vectors out.
void BoundedFlat::readAll(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                          const faiss::SearchParameters* params) const {
    const Rows rows(ntotal, params);
    if (rows.count() == 0 && k > 0) { // FAISS reads beyond the vectors where a range begins behind the last
        std::fill_n(labels, n * k, int64_t{-1});
        std::fill_n(distances, n * k, Keys(*this).none());
        return;
    }
    if (metric_type == faiss::METRIC_L2 && rows.selector == nullptr && d >= kShortVector && k > 0 && k <= rows.count() / 4 &&
        n < faiss::distance_compute_blas_threshold && n * rows.count() * d <= kOneThread) {
        return readFew(*this, rows, n, x, k, distances, labels);
    }
    constexpr int64_t kPartNumbers = 1 << 16;
    const int64_t partRows = std::max<int64_t>(kPartNumbers / std::max(d, 1), 1);
    const int64_t threads = std::min<int64_t>(omp_get_max_threads(), rows.count() / partRows / 4);
    if (n == 0 || k <= 0 || n >= threads || (metric_type != faiss::METRIC_L2 && metric_type != faiss::METRIC_INNER_PRODUCT) ||
        dynamic_cast<const faiss::IDSelectorArray*>(rows.selector) != nullptr) {
        faiss::IndexFlat::search(n, x, k, distances, labels, params);
        // For a single neighbour FAISS begins with id 0 at an infinite distance, and leaves it so where there is none.
        for (int64_t i = 0; k == 1 && i < n; i++) {
            if (metric_type != faiss::METRIC_L2 || distances[i] < kWorst) continue;
            distances[i] = kWorst;
            labels[i] = -1;
        }
        return;
    }
    const Keys keys(*this);
    const int64_t parts = (rows.count() + partRows - 1) / partRows;
    std::vector<Candidates> found(static_cast<size_t>(threads));
    FirstException exception;
    for (int64_t i = 0; i < n; i++) {
        const float* const query = x + i * d;
        std::atomic<int64_t> next{0};
        std::atomic<float> shared{kNever};
#pragma omp parallel num_threads(int(threads))
        exception.guard([&] {
            Candidates& mine = found[size_t(omp_get_thread_num())];
            mine.start(size_t(k));
            float bound = kNever, own = kNever;
            for (int64_t part; (part = next.fetch_add(1, std::memory_order_relaxed)) < parts;) {
                bound = std::min(bound, shared.load(std::memory_order_relaxed));
                const int64_t end = std::min(rows.end, rows.begin + (part + 1) * partRows);
                for (int64_t row = rows.begin + part * partRows; row < end; row++) {
                    if (rows.selector != nullptr && !rows.selector->is_member(row)) continue;
                    const float key = keys(query, row);
                    // Rows come in order: of its own equal keys a thread has the smaller ids already.
                    if (!(key <= bound) || !(key < own)) continue;
                    mine.add({{key, key}, row});
                    if (!mine.full()) continue;
                    bound = mine.shrink<float (*)(int64_t)>(bound, nullptr);
                    own = mine.kth();
                    float known = shared.load(std::memory_order_relaxed);
                    while (bound < known && !shared.compare_exchange_weak(known, bound, std::memory_order_relaxed)) {
                    }
                }
            }
        });
        exception.rethrow();
        std::vector<FlatCandidate>& all = found[0].items();
        for (size_t thread = 1; thread < found.size(); thread++) {
            all.insert(all.end(), found[thread].items().begin(), found[thread].items().end());
            found[thread].items().clear();
        }
        const auto end = all.begin() + ptrdiff_t(std::min(all.size(), size_t(k)));
        std::partial_sort(all.begin(), end, all.end(), nearer);
        all.resize(std::min(all.size(), size_t(k)));
        write(all, keys, k, distances + i * k, labels + i * k);
    }
}

} // namespace faiss_vision
