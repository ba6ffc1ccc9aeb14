#include "ann/bounds_search.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <omp.h>

#include <faiss/utils/distances.h>

#include "ann/byte_bounds.h"
#include "ann/byte_kernels.h"

namespace faiss_vision {
namespace {

constexpr size_t kQueryGroup = 32;         // queries that share a tile of vectors and the buffer of its dot products
constexpr size_t kQueryBytes = 640 << 10;  // codes of the queries of one pass: they stay in the second-level cache
constexpr size_t kTileBytes = 64 << 10;    // codes of the vectors that all queries of a pass look at before the next ones come
constexpr size_t kTileRows = 128;
constexpr size_t kRoom = 16; // behind what a sift finds

struct Query : CodedQuery {
    const float* x;
    int64_t number; // among the queries of the search

    Query(const float* x, int64_t number, size_t d, const CodeBounds& bounds) : CodedQuery(x, d, bounds), x(x), number(number) {}
};

/// One pass of some queries over the copy.
class Pass {
public:
    Pass(const faiss::IndexFlat& index, const ByteCopy& copy, const Rows& rows, int64_t k)
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
        std::vector<FlatCandidate>& all = found_[q].items();
        for (size_t thread = 1; thread < threads_; thread++) {
            std::vector<FlatCandidate>& more = found_[thread * queries_.size() + q].items();
            all.insert(all.end(), more.begin(), more.end());
        }
        found_[q].shrink<float (*)(int64_t)>(shared_[q].load(), nullptr);
        std::sort(all.begin(), all.end(), [](const FlatCandidate& a, const FlatCandidate& b) { return a.lower < b.lower; });

        // The promising ones first: once k distances are known, whatever cannot be below the largest of them is out.
        std::vector<FlatCandidate> best;
        size_t next = 0;
        const auto keep = [&](const FlatCandidate& one) {
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
            FlatCandidate& one = all[next];
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

std::vector<int64_t> searchByBounds(const faiss::IndexFlat& index, const ByteCopy& copy, const Rows& rows, int64_t n, const float* x, int64_t k,
                                    float* distances, int64_t* labels) {
    std::vector<int64_t> others;
    Pass pass(index, copy, rows, k);
    int64_t asked = 0;
    const int64_t most = int64_t(Pass::most(size_t(index.d)));
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
    return others;
}

} // namespace faiss_vision
