#include "ann/ivf_search.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <typeinfo>
#include <vector>

#include <omp.h>

#include <faiss/IndexFlat.h>
#include <faiss/invlists/InvertedLists.h>

#include "ann/candidate.h"
#include "ann/distance_kernels.h"
#include "ann/hnsw_search.h"

namespace faiss_vision {
namespace {

/// The k nearest of one query, the farthest of them in front: a heap in memory that lies elsewhere.
class Heap {
public:
    Heap(Candidate* all, size_t size, size_t k) : all_(all), size_(size), k_(k) {}
    size_t size() const { return size_; }
    /// FAISS does not return what is not nearer than its neutral distance, the largest float.
    Candidate limit() const { return size_ < k_ ? candidate(std::numeric_limits<float>::max(), 0) : all_[0]; }
    /// Only what is below the limit.
    void take(Candidate c) {
        if (size_ < k_) {
            all_[size_++] = c;
            std::push_heap(all_, all_ + size_);
            return;
        }
        size_t hole = 0;
        for (size_t child; (child = 2 * hole + 1) < k_; hole = child) {
            if (child + 1 < k_ && all_[child + 1] > all_[child]) child++;
            if (all_[child] <= c) break;
            all_[hole] = all_[child];
        }
        all_[hole] = c;
    }

private:
    Candidate* all_;
    size_t size_, k_;
};

/// One query that is to be measured against some rows; the first of them is the query's candidate number `first`.
struct Probe {
    int32_t query;
    uint32_t first;
};

/// Rows and the probes that want them: what a thread does in one go.
struct Piece {
    const float* rows;
    const int64_t* ids; ///< may be null where there is no filter
    size_t offset;      ///< of the first row, among those that the probes count from
    size_t count;
    const Probe *begin, *end;
};

constexpr size_t kRowsBytes = 32 << 10; // rows that stay in the first-level cache while the queries pass by
constexpr size_t kMostRows = distances::kMask, kMostQueries = 16;

/// Finds the k nearest of n queries among the rows of the pieces.
class Scan {
public:
    Scan(const float* x, size_t d, bool innerProduct, const faiss::IDSelector* filter, int64_t n, size_t k)
        : x_(x), d_(d), filter_(filter), n_(n), k_(k), block_(distances::block(innerProduct)),
          stream_(distances::stream(innerProduct)), toRows_(distances::toRows(innerProduct)), below_(distances::below()) {}

    /// best: n x k, nearest first, kNobody where there are fewer.
    void run(const std::vector<Piece>& pieces, int threads, Candidate* best) {
        threads = int(std::min<size_t>(threads, pieces.size()));
        if (threads <= 1) {
            Thread own(n_);
            for (const Piece& piece : pieces) measure(piece, own, best);
            for (int64_t i = 0; i < n_; i++) {
                std::sort_heap(best + i * k_, best + i * k_ + own.sizes[i]);
                std::fill(best + i * k_ + own.sizes[i], best + (i + 1) * k_, kNobody);
            }
            return;
        }
        // All memory before the threads start: an exception must not leave a parallel region.
        std::vector<Thread> own;
        for (int thread = 0; thread < threads; thread++) own.emplace_back(n_);
        const std::unique_ptr<Candidate[]> heaps(new Candidate[threads * n_ * k_]);
        const std::unique_ptr<Candidate[]> merged(new Candidate[threads * threads * k_]);
#pragma omp parallel num_threads(threads)
        {
            const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic)
            for (size_t i = 0; i < pieces.size(); i++) measure(pieces[i], own[thread], heaps.get() + thread * n_ * k_);
            // The loop's end was a barrier: all heaps are there.
            Candidate* const all = merged.get() + thread * threads * k_;
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n_; i++) {
                Candidate* end = all;
                for (int t = 0; t < threads; t++) {
                    const Candidate* const from = heaps.get() + (t * n_ + i) * k_;
                    end = std::copy(from, from + own[t].sizes[i], end);
                }
                Candidate* const to = best + i * k_;
                std::fill(std::partial_sort_copy(all, end, to, to + k_), to + k_, kNobody);
            }
        }
    }

private:
    struct Thread {
        explicit Thread(int64_t n) : sizes(n) {}
        std::vector<uint32_t> sizes;
        float measured[kMostQueries * kMostRows] = {}; // the kernels look at rows beyond the last
        int32_t kept[kMostRows];
    };

    void measure(const Piece& piece, Thread& own, Candidate* heaps) const {
        const size_t most = std::clamp<size_t>(kRowsBytes / (d_ * sizeof(float)) / 4 * 4, 4, kMostRows);
        for (size_t from = 0; from < piece.count; from += most) {
            const size_t count = std::min(most, piece.count - from);
            if (filter_ == nullptr) {
                measureRows(piece, from, count, own, heaps);
                continue;
            }
            size_t kept = 0;
            for (size_t j = 0; j < count; j++) {
                own.kept[kept] = int32_t(j);
                kept += filter_->is_member(piece.ids[from + j]);
            }
            if (kept == count) {
                measureRows(piece, from, count, own, heaps);
            } else if (kept > 0) {
                for (const Probe* probe = piece.begin; probe != piece.end; probe++) {
                    toRows_(x_ + probe->query * d_, d_, piece.rows + from * d_, d_, own.kept, kept, own.measured);
                    take(*probe, piece.offset + from, own.measured, kept, own.kept, own, heaps);
                }
            }
        }
    }

    void measureRows(const Piece& piece, size_t from, size_t count, Thread& own, Candidate* heaps) const {
        const float* xs[kMostQueries];
        for (const Probe* probe = piece.begin; probe != piece.end;) {
            const size_t queries = std::min<size_t>(kMostQueries, piece.end - probe);
            for (size_t q = 0; q < queries; q++) xs[q] = x_ + probe[q].query * d_;
            const float* const rows = piece.rows + from * d_;
            if (piece.end - piece.begin == 1) stream_(xs[0], rows, d_, count, own.measured);
            else block_(xs, queries, rows, d_, count, own.measured, kMostRows);
            for (size_t q = 0; q < queries; q++, probe++) {
                take(*probe, piece.offset + from, own.measured + q * kMostRows, count, nullptr, own, heaps);
            }
        }
    }

    void take(const Probe& probe, size_t first, const float* measured, size_t count, const int32_t* kept, Thread& own,
              Candidate* heaps) const {
        Heap heap(heaps + probe.query * k_, own.sizes[probe.query], k_);
        Candidate limit = heap.limit();
        for (uint64_t bits = below_(measured, count, distanceOf(limit)); bits != 0; bits &= bits - 1) {
            const size_t j = __builtin_ctzll(bits);
            const Candidate c = candidate(measured[j], uint32_t(probe.first + first + (kept == nullptr ? j : kept[j])));
            if (c >= limit) continue;
            heap.take(c);
            limit = heap.limit();
        }
        own.sizes[probe.query] = uint32_t(heap.size());
    }

    const float* x_;
    size_t d_;
    const faiss::IDSelector* filter_;
    int64_t n_;
    size_t k_;
    distances::Block block_;
    distances::Stream stream_;
    distances::ToRows toRows_;
    distances::Below below_;
};

// For fewer numbers to read (one query) or to compute with (several) one thread takes a millisecond or two at the most. On a
// busy machine waiting for a second one, which must be scheduled first, takes milliseconds.
constexpr size_t kWorthThreads = 1 << 22;

int threadsFor(size_t numbers) { return numbers < kWorthThreads ? 1 : omp_get_max_threads(); }

/// keys: n x nprobe, the lists nearest to each query, nearest first, -1 where there are fewer.
void quantise(const faiss::Index& quantizer, int64_t n, const float* x, size_t nprobe, int64_t* keys) {
    const bool innerProduct = quantizer.metric_type == faiss::METRIC_INNER_PRODUCT;
    const std::type_info& type = typeid(quantizer);
    const bool flat = type == typeid(faiss::IndexFlat) || type == typeid(faiss::IndexFlatL2) || type == typeid(faiss::IndexFlatIP);
    if (!flat || (!innerProduct && quantizer.metric_type != faiss::METRIC_L2)) {
        std::vector<float> distances(n * nprobe);
        const auto* const hnsw = dynamic_cast<const faiss::IndexHNSW*>(&quantizer);
        if (hnsw == nullptr || !searchHnsw(*hnsw, n, x, nprobe, distances.data(), keys, nullptr, hnsw->hnsw.efSearch)) {
            quantizer.search(n, x, nprobe, distances.data(), keys);
        }
        return;
    }

    const size_t d = quantizer.d, lists = quantizer.ntotal;
    const float* const centroids = static_cast<const faiss::IndexFlat&>(quantizer).get_xb();
    std::vector<Probe> probes(n);
    for (int64_t i = 0; i < n; i++) probes[i] = {int32_t(i), 0};
    const int threads = threadsFor(n * lists * d);
    // Many queries are shared out among the threads, for few the centroids are.
    std::vector<Piece> pieces;
    const size_t perPiece = n >= threads * 4 ? 16 : n;
    const size_t parts = n >= threads * 4 ? 1 : threads;
    for (size_t part = 0; part < parts; part++) {
        const size_t begin = lists * part / parts, end = lists * (part + 1) / parts;
        for (size_t i = 0; i < size_t(n); i += perPiece) {
            pieces.push_back({centroids + begin * d, nullptr, begin, end - begin, probes.data() + i,
                              probes.data() + std::min<size_t>(n, i + perPiece)});
        }
    }
    std::vector<Candidate> best(n * nprobe);
    Scan(x, d, innerProduct, nullptr, n, nprobe).run(pieces, threads, best.data());
    std::transform(best.begin(), best.end(), keys, [](Candidate c) { return c == kNobody ? int64_t{-1} : int64_t(ownerOf(c)); });
}

/// The search of as many queries as have their heaps in memory at once.
void searchChunk(const faiss::IndexIVFFlat& index, const faiss::ArrayInvertedLists& lists, int64_t n, const float* x, int64_t k,
                 float* distances, int64_t* labels, const faiss::IDSelector* filter, size_t nprobe, size_t maxCodes) {
    const size_t d = index.d;
    std::vector<int64_t> keys(n * nprobe);
    quantise(*index.quantizer, n, x, nprobe, keys.data());

    // firsts[i * nprobe + j]: how many candidates query i has in the lists before its j-th. The key of a list that is empty or
    // comes after maxCodes becomes -1.
    std::vector<uint32_t> firsts(n * nprobe);
    std::vector<uint32_t> ends(index.nlist + 1); // of each list's probes
    size_t rows = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t before = 0;
        for (size_t j = 0; j < nprobe; j++) {
            int64_t& key = keys[i * nprobe + j];
            firsts[i * nprobe + j] = uint32_t(before);
            if (maxCodes != 0 && before >= maxCodes) key = -1;
            const size_t size = key < 0 ? 0 : lists.list_size(key);
            if (size == 0) key = -1;
            else ends[key + 1]++;
            before += size;
        }
        rows += before;
    }
    for (size_t list = 0; list < index.nlist; list++) ends[list + 1] += ends[list];
    std::vector<Probe> probes(ends[index.nlist]);
    for (int64_t i = 0; i < n; i++) {
        for (size_t j = 0; j < nprobe; j++) {
            const int64_t key = keys[i * nprobe + j];
            if (key >= 0) probes[ends[key]++] = {int32_t(i), firsts[i * nprobe + j]};
        }
    }
    // ends[list] is what its name says by now, and the list before ends where this one begins.
    constexpr size_t kPieceRows = 1024; // a long list is shared out too
    std::vector<Piece> pieces;
    for (size_t list = 0; list < index.nlist; list++) {
        const Probe* const begin = probes.data() + (list == 0 ? 0 : ends[list - 1]);
        const Probe* const end = probes.data() + ends[list];
        const size_t size = begin == end ? 0 : lists.list_size(list);
        for (size_t from = 0; from < size; from += kPieceRows) {
            pieces.push_back({reinterpret_cast<const float*>(lists.get_codes(list)) + from * d, lists.get_ids(list) + from, from,
                              std::min(kPieceRows, size - from), begin, end});
        }
    }

    const bool innerProduct = index.metric_type == faiss::METRIC_INNER_PRODUCT;
    std::vector<Candidate> best(n * k);
    Scan(x, d, innerProduct, filter, n, k).run(pieces, threadsFor(rows * d), best.data());

    for (int64_t i = 0; i < n; i++) {
        const uint32_t* const first = firsts.data() + i * nprobe;
        for (int64_t j = i * k; j < (i + 1) * k; j++) {
            if (best[j] == kNobody) {
                labels[j] = -1;
                distances[j] = innerProduct ? -std::numeric_limits<float>::max() : std::numeric_limits<float>::max();
                continue;
            }
            size_t probe = std::upper_bound(first, first + nprobe, ownerOf(best[j])) - first - 1;
            labels[j] = lists.get_ids(keys[i * nprobe + probe])[ownerOf(best[j]) - first[probe]];
            distances[j] = innerProduct ? -distanceOf(best[j]) : distanceOf(best[j]);
        }
    }
}

} // namespace

bool searchIvfFlat(const faiss::IndexIVFFlat& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                   const faiss::IDSelector* filter, size_t nprobe, size_t maxCodes) {
    const faiss::InvertedLists* const lists = index.invlists;
    if (typeid(index) != typeid(faiss::IndexIVFFlat) || lists == nullptr || typeid(*lists) != typeid(faiss::ArrayInvertedLists) ||
        lists->code_size != index.d * sizeof(float) || index.quantizer == nullptr || index.quantizer->d != index.d ||
        size_t(index.quantizer->ntotal) > index.nlist || lists->nlist < index.nlist ||
        (index.metric_type != faiss::METRIC_L2 && index.metric_type != faiss::METRIC_INNER_PRODUCT) ||
        index.ntotal > int64_t{0xffffffff} || (index.parallel_mode & index.PARALLEL_MODE_NO_HEAP_INIT) != 0 || k < 1 ||
        nprobe < 1) {
        return false;
    }
    // FAISS counts maxCodes otherwise where it trusts that the ids are in order.
    const auto* const range = dynamic_cast<const faiss::IDSelectorRange*>(filter);
    if (range != nullptr && range->assume_sorted && maxCodes != 0) return false;
    nprobe = std::min(nprobe, size_t(index.nlist));
    // So many queries at once that neither their heaps nor their probes outgrow some tens of megabytes.
    const size_t perQuery = omp_get_max_threads() * (k + 4) * sizeof(Candidate) + nprobe * 40;
    const int64_t chunk = std::clamp<int64_t>((64 << 20) / perQuery, 1, 4096);
    for (int64_t i = 0; i < n; i += chunk) {
        searchChunk(index, static_cast<const faiss::ArrayInvertedLists&>(*lists), std::min(chunk, n - i), x + i * index.d, k,
                    distances + i * k, labels + i * k, filter, nprobe, maxCodes);
    }
    return true;
}

} // namespace faiss_vision
