#include "ann/hnsw_search.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <limits>
#include <typeinfo>
#include <vector>

#include <omp.h>

#include <faiss/IndexFlat.h>

#include "ann/candidate.h"
#include "ann/distance_kernels.h"

namespace faiss_vision {
namespace {

// ---- members that some versions of FAISS have and others have not ----

template <class Hnsw>
auto upperBeam(const Hnsw& hnsw, int) -> decltype(int(hnsw.upper_beam)) {
    return hnsw.upper_beam;
}
template <class Hnsw>
int upperBeam(const Hnsw&, long) {
    return 1;
}
template <class Index>
auto reconstructs(const Index& index, int) -> decltype(index.reconstruct_from_neighbors != nullptr) {
    return index.reconstruct_from_neighbors != nullptr;
}
template <class Index>
bool reconstructs(const Index&, long) {
    return false;
}

/// The vectors behind the graph, null where they are not plain floats. Exact types: a derived one may lay them out otherwise.
const faiss::IndexFlat* flatStorage(const faiss::IndexHNSW& index) {
    const std::type_info& graph = typeid(index);
    if (index.storage == nullptr || (graph != typeid(faiss::IndexHNSWFlat) && graph != typeid(faiss::IndexHNSW))) return nullptr;
    const faiss::Index& storage = *index.storage;
    const std::type_info& type = typeid(storage);
    if (type != typeid(faiss::IndexFlat) && type != typeid(faiss::IndexFlatL2) && type != typeid(faiss::IndexFlatIP)) return nullptr;
    return static_cast<const faiss::IndexFlat*>(index.storage);
}

// ---- a node of the graph as a candidate: its id, and in the last bit whether its neighbours have been looked at ----

constexpr Candidate kExpanded = 1;
Candidate node(float distance, int32_t id) { return candidate(distance, uint32_t(id) << 1); }
int32_t idOf(Candidate c) { return int32_t(ownerOf(c) >> 1); }

/// The nearest so far, in order, at most `limit` of them. A sorted array beats a heap up to thousands: moving some hundred bytes
/// costs less than a heap's mispredicted branches, and which is next to be expanded and when all are can be seen at once.
class Nearest {
public:
    void start(size_t limit) {
        limit_ = std::max<size_t>(limit, 1);
        if (all_.size() < limit_ + 1) all_.resize(limit_ + 1);
        size_ = 0;
    }
    size_t size() const { return size_; }
    size_t bytes() const { return all_.capacity() * sizeof(Candidate); }
    Candidate& operator[](size_t i) { return all_[i]; }
    /// What is not below it is not taken.
    Candidate limit() const { return size_ < limit_ ? kNobody : all_[size_ - 1]; }
    /// Only what is below the limit. Returns where it stands.
    size_t insert(Candidate c) {
        Candidate* const begin = all_.data();
        Candidate* place = begin;
        for (size_t rest = size_; rest > 0;) { // without branches on what is compared: nobody could foresee them
            const size_t half = (rest + 1) / 2;
            place += half & -size_t(place[half - 1] < c);
            rest -= half;
        }
        std::memmove(place + 1, place, (begin + size_ - place) * sizeof c); // the array has room for one more
        *place = c;
        size_ = std::min(size_ + 1, limit_);
        return place - begin;
    }

private:
    std::vector<Candidate> all_;
    size_t limit_ = 0, size_ = 0;
};

// Vectors lie anywhere in memory, so waiting for their cache lines is what a search does most. For squared distances, which
// only grow with every number, a vector is read in stages of so many lines and left as soon as it is too far.
constexpr size_t kLine = 64, kStageLines = 4, kWorthStages = 6;

/// Asks for the cache lines of [begin, end). Vectors seldom begin on a line: the last one's is part of it too.
template <class T>
void fetch(const T* begin, const T* end) {
    const char* const first = reinterpret_cast<const char*>(begin);
    const char* line = first - reinterpret_cast<uintptr_t>(first) % kLine;
    for (; line < reinterpret_cast<const char*>(end); line += kLine) __builtin_prefetch(line, 0, 2);
}

/// What is the same for every query of a call.
struct Search {
    Search(const faiss::IndexHNSW& index, const float* rows, int64_t k, const faiss::IDSelector* filter, int efSearch)
        : hnsw(index.hnsw), rows(rows), ntotal(index.ntotal), d(index.d), k(k), filter(filter), efSearch(efSearch),
          innerProduct(index.metric_type == faiss::METRIC_INNER_PRODUCT), toRows(distances::toRows(innerProduct)) {
        for (int level = 0; level <= hnsw.max_level; level++) mostLinks = std::max<size_t>(mostLinks, hnsw.nb_neighbors(level));
        if (!innerProduct && d * sizeof(float) > kWorthStages * kLine) {
            stage = kStageLines * kLine / sizeof(float);
            firstStage = stage - reinterpret_cast<uintptr_t>(rows) % kLine / sizeof(float); // to the end of a line
        }
    }

    struct Links {
        const int32_t *begin, *end; ///< up to the first that is negative
    };
    Links links(int32_t id, int level) const {
        const int32_t* const all = hnsw.neighbors.data() + hnsw.offsets[id];
        return {all + hnsw.cum_nneighbor_per_level[level], all + hnsw.cum_nneighbor_per_level[level + 1]};
    }

    const faiss::HNSW& hnsw;
    const float* rows;
    size_t ntotal, d;
    int64_t k;
    const faiss::IDSelector* filter;
    size_t efSearch;
    bool innerProduct;
    distances::ToRows toRows;
    size_t mostLinks = 1;
    size_t stage = 0, firstStage = 0; ///< numbers; 0 where vectors are read at one go
};

/// One query's way through the graph. What it needs to remember by is kept for the thread's next query.
class Walk {
public:
    void run(const Search& search, const float* x, float* distances, int64_t* labels) {
        search_ = &search;
        x_ = x;
        nearest_.start(std::min(search.ntotal, std::max<size_t>(search.efSearch, search.k)));
        if (search.filter != nullptr) found_.start(std::min<size_t>(search.ntotal, search.k));
        if (search.hnsw.entry_point >= 0) {
            visited_.resize((search.ntotal + 63) / 64);
            kept_.resize(search.mostLinks);
            sums_.resize(search.mostLinks);
            parts_.resize(search.mostLinks);
            walk(descend());
        }

        Nearest& result = search.filter != nullptr ? found_ : nearest_;
        const int64_t count = std::min<int64_t>(search.k, result.size());
        for (int64_t i = 0; i < count; i++) {
            labels[i] = idOf(result[i]);
            distances[i] = distanceOf(result[i]);
        }
        std::fill(labels + count, labels + search.k, int64_t{-1});
        std::fill(distances + count, distances + search.k, std::numeric_limits<float>::max());
        if (search.innerProduct) std::transform(distances, distances + search.k, distances, [](float value) { return -value; });

        constexpr size_t kKeep = 64 << 20; // bytes: enough for some hundred million vectors
        const size_t bytes = visited_.capacity() * sizeof visited_[0] + touched_.capacity() * sizeof touched_[0];
        if (bytes + nearest_.bytes() + found_.bytes() > kKeep) *this = Walk();
    }

private:
    /// From the top level down, on each to the node that is nearer than its neighbours: where the search proper begins.
    Candidate descend() {
        const Search& s = *search_;
        const int32_t entry = s.hnsw.entry_point;
        float distance;
        s.toRows(x_, s.d, s.rows, s.d, &entry, 1, &distance);
        Candidate best = node(distance, entry);
        for (int level = s.hnsw.max_level; level >= 1; level--) {
            for (Candidate before = kNobody; before != best;) {
                before = best;
                const Search::Links near = s.links(idOf(best), level);
                const size_t count = std::find_if(near.begin, near.end, [](int32_t id) { return id < 0; }) - near.begin;
                measure(near.begin, count, best, [&](Candidate c) { best = std::min(best, c); });
            }
        }
        return best;
    }

    void walk(Candidate start) {
        const Search& s = *search_;
        if (touched_.empty()) touched_.resize(1024);
        struct Forget { // whatever happens: the next search needs all bits zero
            Walk& walk;
            ~Forget() {
                for (size_t i = 0; i < walk.touchedCount_; i++) walk.visited_[walk.touched_[i] / 64] = 0;
                walk.touchedCount_ = 0;
            }
        } forget{*this};
        visited_[idOf(start) / 64] |= uint64_t{1} << idOf(start) % 64;
        touched_[touchedCount_++] = idOf(start);
        take(start);
        // FAISS ends when efSearch candidates are nearer than the next to expand, even where k asks for more of them.
        for (size_t next = 0; next < std::min(nearest_.size(), s.efSearch);) {
            const int32_t here = idOf(nearest_[next]);
            nearest_[next] |= kExpanded;
            next++;
            const size_t count = visitNeighbours(here);
            if (next < nearest_.size()) { // the likeliest to be expanded then
                const Search::Links links = s.links(idOf(nearest_[next]), 0);
                fetch(links.begin, links.end);
            }
            const Candidate limit = s.filter == nullptr ? nearest_.limit() : std::max(nearest_.limit(), found_.limit());
            measure(touched_.data() + touchedCount_ - count, count, limit, [&](Candidate c) { next = std::min(next, take(c)); });
            while (next < nearest_.size() && (nearest_[next] & kExpanded) != 0) next++;
        }
    }

    /// Appends the neighbours that have not been visited to touched_, returns how many.
    size_t visitNeighbours(int32_t id) {
        if (touched_.size() < touchedCount_ + search_->mostLinks) touched_.resize(2 * touched_.size() + search_->mostLinks);
        const Search::Links near = search_->links(id, 0);
        int32_t* const begin = touched_.data() + touchedCount_;
        int32_t* end = begin;
        for (const int32_t* i = near.begin; i != near.end && *i >= 0; i++) {
            uint64_t& word = visited_[*i / 64];
            const uint64_t bit = uint64_t{1} << *i % 64;
            *end = *i;
            end += (word & bit) == 0; // no branch: nobody could foresee it
            word |= bit;
        }
        touchedCount_ += end - begin;
        return end - begin;
    }

    /// take(candidate) for each that may be below the limit.
    template <class Take>
    void measure(const int32_t* ids, size_t count, Candidate limit, const Take& take) {
        const Search& s = *search_;
        const float farthest = limit == kNobody ? std::numeric_limits<float>::infinity() : distanceOf(limit);
        std::copy(ids, ids + count, kept_.begin());
        std::fill(sums_.begin(), sums_.begin() + count, 0.0f);
        size_t to = s.stage == 0 || limit == kNobody ? s.d : s.firstStage;
        for (size_t from = 0; from < s.d && count > 0;) {
            for (size_t i = 0; i < count; i++) {
                const float* const row = s.rows + kept_[i] * s.d;
                fetch(row + from, row + to);
            }
            s.toRows(x_ + from, to - from, s.rows + from, s.d, kept_.data(), count, parts_.data());
            size_t kept = 0;
            for (size_t i = 0; i < count; i++) {
                kept_[kept] = kept_[i];
                sums_[kept] = sums_[i] + parts_[i];
                kept += sums_[kept] <= farthest;
            }
            count = kept;
            from = to;
            to += s.stage;
            if (s.d < to + s.stage / 2) to = s.d; // no short stage at the end
        }
        for (size_t i = 0; i < count; i++) take(node(sums_[i], kept_[i]));
    }

    /// Where it came to stand among the nearest, or their number where it did not.
    size_t take(Candidate c) {
        const faiss::IDSelector* const filter = search_->filter;
        if (filter != nullptr && c < found_.limit() && filter->is_member(idOf(c))) found_.insert(c);
        return c < nearest_.limit() ? nearest_.insert(c) : nearest_.size();
    }

    const Search* search_ = nullptr;
    const float* x_ = nullptr;
    Nearest nearest_, found_;       // found_: of those, and of the ones passed by, who the filter lets through
    std::vector<uint64_t> visited_; // one bit a node, all zero between two searches
    std::vector<int32_t> touched_;  // whose bit is set: the first touchedCount_
    size_t touchedCount_ = 0;
    std::vector<int32_t> kept_;
    std::vector<float> sums_, parts_;
};

/// The calling thread's own. A function, since only whoever passes the declaration has it made, and ended with the thread.
Walk& ownWalk() {
    static thread_local Walk own;
    return own;
}

} // namespace

bool searchHnsw(const faiss::IndexHNSW& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                const faiss::IDSelector* filter, int efSearch) {
    const faiss::IndexFlat* const storage = flatStorage(index);
    if (storage == nullptr || (index.metric_type != faiss::METRIC_L2 && index.metric_type != faiss::METRIC_INNER_PRODUCT) ||
        storage->metric_type != index.metric_type || upperBeam(index.hnsw, 0) != 1 || reconstructs(index, 0) ||
        !index.hnsw.check_relative_distance || k < 1 || efSearch < 1) {
        return false;
    }
    const Search search(index, storage->get_xb(), k, filter, efSearch);
    const auto one = [&](int64_t i) { ownWalk().run(search, x + i * search.d, distances + i * k, labels + i * k); };
    if (n == 1) { // opening a parallel region takes as long as a good part of a search
        one(0);
        return true;
    }
    std::exception_ptr failed; // an exception must not leave a parallel region
#pragma omp parallel for schedule(dynamic) num_threads(int(std::clamp<int64_t>(n, 1, omp_get_max_threads())))
    for (int64_t i = 0; i < n; i++) {
        try {
            one(i);
        } catch (...) {
#pragma omp critical(faiss_vision_hnsw_search)
            failed = std::current_exception();
        }
    }
    if (failed) std::rethrow_exception(failed);
    return true;
}

} // namespace faiss_vision
