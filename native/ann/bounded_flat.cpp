#include "ann/bounded_flat.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <utility>
#include <vector>

#include <omp.h>

#include <faiss/utils/Heap.h>
#include <faiss/utils/distances.h>

#include "error.h"

namespace faiss_vision {
namespace {

// Below this many numbers, or so short vectors, reading everything is as fast (docs/exact-search.md has the figures).
constexpr int64_t kFewNumbers = 1 << 19;
constexpr int64_t kShortVector = 16;

constexpr size_t kQueryGroup = 32;         // queries that share a tile of vectors and the buffer of its dot products
constexpr size_t kQueryBytes = 640 << 10;  // codes of the queries of one pass: they stay in the second-level cache
constexpr size_t kTileBytes = 64 << 10;    // codes of the vectors that all queries of a pass look at before the next ones come
constexpr size_t kTileRows = 128;
constexpr size_t kRoom = 16; // behind what a sift finds
constexpr float kNever = std::numeric_limits<float>::infinity();
const float kWorst = faiss::CMax<float, int64_t>::neutral();

/// A vector that may be among the k nearest.
struct Candidate : KeyBounds {
    int64_t id;

    bool exact() const { return lower == upper; }
};

bool nearer(const Candidate& a, const Candidate& b) { return a.upper < b.upper || (a.upper == b.upper && a.id < b.id); }

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
void write(const std::vector<Candidate>& best, const Keys& keys, int64_t k, float* distances, int64_t* labels) {
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
    void add(const Candidate& candidate) { items_.push_back(candidate); }
    std::vector<Candidate>& items() { return items_; }

    /// Drops what cannot be among the k nearest and returns the key that a vector must not be above.
    /// @param compute  gives the key of a row, null where the k best of the candidates shall stay estimates
    template <class Compute>
    float shrink(float bound, const Compute* compute) {
        if (items_.size() > k_) std::nth_element(items_.begin(), items_.begin() + ptrdiff_t(k_ - 1), items_.end(), nearer);
        if (items_.size() >= k_) {
            float largest = -kNever;
            for (size_t i = 0; i < k_; i++) {
                Candidate& one = items_[i];
                if (compute != nullptr && !one.exact()) one.lower = one.upper = (*compute)(one.id);
                largest = std::max(largest, one.upper);
            }
            kth_ = std::min(kth_, largest);
            bound = std::min(bound, largest);
        }
        // Of equal keys that are known, those of the first k have the smaller ids.
        size_t kept = 0;
        for (size_t i = 0; i < items_.size(); i++) {
            const Candidate& one = items_[i];
            if (i < k_ ? one.lower <= bound : one.lower < bound || (one.lower == bound && !(compute == nullptr && one.exact()))) items_[kept++] = one;
        }
        items_.resize(kept);
        limit_ = std::max(2 * kept, std::max<size_t>(2 * k_, k_ + 32));
        return bound;
    }

private:
    size_t k_ = 1, limit_ = 0;
    float kth_ = kNever;
    std::vector<Candidate> items_;
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

struct Query : CodedQuery {
    const float* x;
    int64_t number; // among the queries of the search

    Query(const float* x, int64_t number, size_t d, const CodeBounds& bounds) : CodedQuery(x, d, bounds), x(x), number(number) {}
};

/// One pass of some queries over the copy.
class Pass {
public:
    Pass(const BoundedFlat& index, const ByteCopy& copy, const Rows& rows, int64_t k)
        : copy_(copy), rows_(rows), keys_(index), bounds_(size_t(index.d), index.metric_type == faiss::METRIC_INNER_PRODUCT),
          d_(size_t(index.d)), k_(size_t(k)), stride_((d_ + 63) / 64 * 64) {
        if (stride_ / 64 % 2 == 0) stride_ += 64; // rows of a tile fall into different sets of the cache
    }

    static size_t most(size_t d) { return std::max<size_t>(kQueryBytes / (d + 64) / kQueryGroup, 1) * kQueryGroup; }

    /// Codes the queries; those that cannot be coded are left out: their numbers are added to `others`.
    void take(const float* x, int64_t first, int64_t count, std::vector<int64_t>& others) {
        const size_t rows = (size_t(count) + 15) / 16 * 16;
        codes_.assign(rows * stride_ + 64, 0);
        bias_.assign(rows * bytes::kLanes, 0);
        aligned_ = reinterpret_cast<int8_t*>((reinterpret_cast<uintptr_t>(codes_.data()) + 63) / 64 * 64);
        queries_.clear();
        for (int64_t i = first; i < first + count; i++) {
            int8_t* const codes = aligned_ + queries_.size() * stride_;
            const CodeBounds bounds(copy_.kernels().code(x + size_t(i) * d_, nullptr, d_, codes), d_, 0);
            if (bounds.scale == 0) {
                others.push_back(i);
                continue;
            }
            int32_t sum = 0;
            for (size_t j = 0; j < d_; j++) sum += codes[j];
            std::fill_n(bias_.begin() + ptrdiff_t(queries_.size() * bytes::kLanes), bytes::kLanes, -128 * sum);
            queries_.emplace_back(x + size_t(i) * d_, i, d_, bounds);
        }
    }

    /// Searches; the numbers of the queries that the bounds did not help are added to `others`.
    void search(float* distances, int64_t* labels, std::vector<int64_t>& others) {
        const size_t m = queries_.size();
        if (m == 0) return;
        const int64_t work = rows_.count() * int64_t(d_);
        threads_ = size_t(std::clamp<int64_t>(work * int64_t(m) >> 17, 1, std::min<int64_t>(omp_get_max_threads(), int64_t(copy_.parts()))));
        shared_ = std::vector<std::atomic<float>>(m);
        lost_ = std::vector<std::atomic<bool>>(m);
        for (size_t q = 0; q < m; q++) {
            shared_[q].store(kNever, std::memory_order_relaxed);
            lost_[q].store(false, std::memory_order_relaxed);
        }
        found_.resize(threads_ * m);
        for (Candidates& one : found_) one.start(k_);
        nextPart_ = 0;
        lostCount_ = 0;

        FirstException exception;
        if (threads_ == 1) {
            exception.guard([&] { scan(0); });
        } else {
#pragma omp parallel num_threads(int(threads_))
            exception.guard([&] { scan(size_t(omp_get_thread_num())); });
        }
        exception.rethrow();
        if (m == 1) {
            if (!lost_[0]) finish(0, true, distances, labels);
        } else if (threads_ == 1) {
            for (size_t q = 0; q < m; q++) {
                if (!lost_[q]) finish(q, false, distances, labels);
            }
        } else {
#pragma omp parallel for num_threads(int(threads_)) schedule(dynamic)
            for (int64_t q = 0; q < int64_t(m); q++) {
                if (exception.failed() || lost_[size_t(q)]) continue;
                exception.guard([&] { finish(size_t(q), false, distances, labels); });
            }
            exception.rethrow();
        }
        for (size_t q = 0; q < m; q++) {
            if (lost_[q]) others.push_back(queries_[q].number);
        }
    }

private:
    /// One thread's share of the vectors.
    void scan(size_t thread) {
        const bytes::Variant& kernels = copy_.kernels();
        const size_t m = queries_.size();
        const size_t group = m == 1 ? 1 : kQueryGroup;
        const size_t rowBytes = bytes::words(d_) * 4, panelBytes = rowBytes * bytes::kLanes;
        const size_t most = m == 1 ? 512 : std::min(kTileRows, std::max<size_t>(kTileBytes / panelBytes, 2) * bytes::kLanes);
        // In lines of the cache, one more than the rows need, so that the rows do not share the same few sets.
        const size_t outStride = most + 16;
        std::vector<int32_t> dotsMemory(group * outStride + 16);
        int32_t* const dots = reinterpret_cast<int32_t*>((reinterpret_cast<uintptr_t>(dotsMemory.data()) + 63) / 64 * 64);
        std::vector<uint16_t> positions(most + kRoom);
        std::vector<float> values(most + kRoom);
        std::vector<bytes::Probe> probes(m);
        std::vector<float> best(m, kNever); // a key that k vectors do not exceed
        std::vector<int64_t> computed(m, 1024); // rows after which the k best estimates are replaced by true distances
        for (size_t q = 0; q < m; q++) probes[q] = queries_[q].probe;
        Candidates* const found = found_.data() + thread * m;
        std::vector<int64_t> hits(m, 0);
        int64_t scanned = 0;
        // Early enough not to lose much, late enough to know.
        const int64_t judged = std::max<int64_t>(rows_.count() / int64_t(threads_) / 32, 2048);

        const auto tighten = [&](size_t q, float bound) {
            best[q] = bound;
            probes[q].reach = bounds_.reach(queries_[q], bound);
        };
        const auto shrink = [&](size_t q) {
            const auto compute = [&](int64_t row) { return keys_(queries_[q].x, row); };
            const bool exactly = scanned >= computed[q];
            if (exactly) computed[q] = 2 * scanned;
            const float bound = found[q].shrink(best[q], exactly ? &compute : nullptr);
            if (bound < best[q]) {
                tighten(q, bound);
                float known = shared_[q].load(std::memory_order_relaxed);
                while (bound < known && !shared_[q].compare_exchange_weak(known, bound, std::memory_order_relaxed)) {
                }
            }
            // To compute the distances of so many vectors, or to look at them, costs about as much as to read them all.
            const int64_t enough = 8 * int64_t(k_) + scanned / 4;
            if (scanned >= judged && (int64_t(found[q].items().size()) > enough || hits[q] / 2 > enough) && !lost_[q].exchange(true)) lostCount_++;
        };
        /// Many queries at once are a matrix product to FAISS, and a twentieth of the vectors is enough.
        const auto judgeAll = [&] {
            int64_t kept = 0;
            for (size_t q = 0; q < m; q++) kept += int64_t(found[q].items().size());
            if (kept / int64_t(m) <= 8 * int64_t(k_) + scanned / 20) return;
            for (size_t q = 0; q < m; q++) lost_[q] = true;
            lostCount_ = m;
        };
        int64_t nextJudgement = judged;

        kernels.enter();
        for (;;) {
            const size_t number = nextPart_.fetch_add(1, std::memory_order_relaxed);
            if (number >= copy_.parts() || lostCount_.load(std::memory_order_relaxed) == m) break;
            const ByteCopy::Part part = copy_.part(number);
            if (int64_t(part.first + part.count) <= rows_.begin || int64_t(part.first) >= rows_.end) continue;
            if (int64_t(m) >= faiss::distance_compute_blas_threshold && scanned >= nextJudgement) {
                nextJudgement = 2 * scanned;
                judgeAll();
            }
            for (size_t q = 0; q < m; q++) {
                if (lost_[q].load(std::memory_order_relaxed)) probes[q].reach = kNever;
                else if (const float known = shared_[q].load(std::memory_order_relaxed); known < best[q]) tighten(q, known);
            }
            for (size_t at = 0; at < part.count; at += most) {
                const size_t count = std::min(most, part.count - at), panels = (count + bytes::kLanes - 1) / bytes::kLanes;
                scanned += int64_t(count);
                const uint8_t* const codes = part.codes + at * rowBytes;
                const bytes::Scales scales{part.scales.scale + at, part.scales.error + at, part.scales.length + at, part.scales.half + at};
                for (size_t first = 0; first < m; first += group) {
                    const size_t some = std::min(group, m - first);
                    const bytes::Queries queries{aligned_ + first * stride_, stride_, bias_.data() + first * bytes::kLanes, some};
                    (m == 1 ? kernels.dotsOfOne : kernels.dotsOfMany)(codes, bytes::words(d_), panels, queries, dots, outStride);
                    for (size_t q = first; q < first + some; q++) {
                        const size_t reached = kernels.sift(dots + (q - first) * outStride, count, scales, probes[q], positions.data(), values.data());
                        if (reached == 0 || probes[q].reach == kNever) continue;
                        for (size_t i = 0; i < reached; i++) {
                            const size_t p = positions[i];
                            const int64_t row = int64_t(part.first + at + p);
                            if (values[i] < probes[q].reach || !rows_.has(row)) continue; // the reach may have grown meanwhile
                            hits[q]++;
                            found[q].add({bounds_.key(queries_[q], values[i], scales.error[p], scales.length[p], scales.half[p]), row});
                            if (found[q].full()) shrink(q);
                        }
                    }
                }
            }
        }
        kernels.leave();
    }

    /// Computes the distances that are still needed, and writes the query's results.
    /// @param together  whether the threads may share them out
    void finish(size_t q, bool together, float* distances, int64_t* labels) {
        const Query& query = queries_[q];
        std::vector<Candidate>& all = found_[q].items();
        for (size_t thread = 1; thread < threads_; thread++) {
            std::vector<Candidate>& more = found_[thread * queries_.size() + q].items();
            all.insert(all.end(), more.begin(), more.end());
        }
        found_[q].shrink<float (*)(int64_t)>(shared_[q].load(), nullptr);
        std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.lower < b.lower; });

        // The promising ones first: once k distances are known, whatever cannot be below the largest of them is out.
        std::vector<Candidate> best;
        size_t next = 0;
        const auto keep = [&](const Candidate& one) {
            if (best.size() < k_) {
                best.push_back(one);
                std::push_heap(best.begin(), best.end(), nearer);
            } else if (nearer(one, best.front())) {
                std::pop_heap(best.begin(), best.end(), nearer);
                best.back() = one;
                std::push_heap(best.begin(), best.end(), nearer);
            }
        };
        const size_t alone = together && all.size() > k_ + 256 ? std::max<size_t>(k_, 64) : all.size();
        for (; next < std::min(alone, all.size()); next++) {
            Candidate& one = all[next];
            if (best.size() == k_ && one.lower > best.front().upper) break;
            if (next + 1 < all.size() && !all[next + 1].exact()) keys_.prefetch(all[next + 1].id);
            if (!one.exact()) one.lower = one.upper = keys_(query.x, one.id);
            keep(one);
        }
        size_t end = next;
        if (best.size() == k_) {
            while (end < all.size() && all[end].lower <= best.front().upper) end++;
        } else {
            end = all.size();
        }
        if (next < end) {
#pragma omp parallel for num_threads(omp_get_max_threads()) schedule(static)
            for (int64_t i = int64_t(next); i < int64_t(end); i++) {
                if (!all[size_t(i)].exact()) all[size_t(i)].lower = all[size_t(i)].upper = keys_(query.x, all[size_t(i)].id);
            }
            for (; next < end; next++) keep(all[next]);
        }
        std::sort_heap(best.begin(), best.end(), nearer);
        write(best, keys_, int64_t(k_), distances + query.number * int64_t(k_), labels + query.number * int64_t(k_));
    }

    const ByteCopy& copy_;
    const Rows& rows_;
    Keys keys_;
    Bounds bounds_;
    size_t d_, k_, stride_;
    std::vector<int8_t> codes_;
    int8_t* aligned_ = nullptr;
    std::vector<int32_t> bias_;
    std::vector<Query> queries_;
    size_t threads_ = 1;
    std::vector<std::atomic<float>> shared_; // for each query a key that k vectors do not exceed
    std::vector<std::atomic<bool>> lost_;    // whether the bounds do not help it
    std::vector<Candidates> found_;          // threads x queries
    std::atomic<size_t> nextPart_{0}, lostCount_{0};
};

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

    std::vector<int64_t> others;
    Pass pass(*this, *copy_, rows, k);
    int64_t asked = 0;
    const int64_t most = int64_t(Pass::most(size_t(d)));
    for (int64_t first = 0; first < n; first += most) {
        const int64_t count = std::min(most, n - first);
        pass.take(x, first, count, others);
        pass.search(distances, labels, others);
        asked += count;
        if (int64_t(others.size()) * 2 > asked) {
            for (int64_t i = asked; i < n; i++) others.push_back(i);
            break;
        }
    }
    if (int64_t(others.size()) * 2 > asked) {
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
        std::vector<Candidate>& all = found[0].items();
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
