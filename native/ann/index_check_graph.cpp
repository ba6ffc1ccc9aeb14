#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

constexpr int kMostCandidates = 1 << 20; // of a search; each takes 8 bytes

} // namespace

/// The links of an HNSW: every one of a level leads to a vector that has the level.
void Walker::hnswGraph(int64_t ntotal) {
    check(ntotal < std::numeric_limits<int32_t>::max(), "an HNSW cannot hold ", ntotal, " vectors");
    const auto probabilities = vector<double>("an HNSW's levels");
    const auto cumulated = vector<int32_t>("an HNSW's levels");
    const auto levels = vector<int32_t>("an HNSW's levels");
    const auto offsets = vector<uint64_t>("an HNSW's offsets");
    const auto neighbours = vector<int32_t>("an HNSW's links");

    check(cumulated.size() >= 2 && cumulated.size() <= 65, "an HNSW must have from 1 to 64 levels, got ", int64_t(cumulated.size()) - 1);
    check(probabilities.size() >= 1 && probabilities.size() < cumulated.size(), "an HNSW of ", cumulated.size() - 1, " levels cannot have ",
          probabilities.size(), " probabilities of them");
    equal(cumulated[0], 0, "an HNSW's links below level 0");
    for (size_t i = 1; i < cumulated.size(); i++) {
        check(cumulated[i] > cumulated[i - 1] && cumulated[i] <= (1 << 20), "an HNSW's links must become more with each level, got ",
              cumulated[i], " after ", cumulated[i - 1]);
    }
    equal(levels.size(), size_t(ntotal), "the count of an HNSW's levels");
    equal(offsets.size(), size_t(ntotal) + 1, "the count of an HNSW's offsets");
    equal(offsets[0], uint64_t{0}, "an HNSW's first offset");
    for (int64_t i = 0; i < ntotal; i++) {
        if (levels[i] < 1 || size_t(levels[i]) >= cumulated.size()) {
            corrupt(text("a vector of an HNSW is on ", levels[i], " levels of ", cumulated.size() - 1));
        }
        if (offsets[i + 1] - offsets[i] != uint64_t(cumulated[levels[i]])) {
            corrupt(text("a vector of an HNSW on ", levels[i], " levels has links from ", offsets[i], " to ", offsets[i + 1]));
        }
    }
    equal(neighbours.size(), offsets[ntotal], "the count of an HNSW's links");
    for (int64_t i = 0; i < ntotal; i++) {
        for (int level = 0; level < levels[i]; level++) {
            bool ended = false; // behind a link to -1 there are no more: FAISS takes a list whose last link is one for full
            for (int32_t j = cumulated[level]; j < cumulated[level + 1]; j++) {
                const int32_t to = neighbours[offsets[i] + j];
                const bool none = to == -1;
                if (!none && (ended || to < 0 || to >= ntotal || levels[to] <= level)) {
                    corrupt(text("vector ", i, " of an HNSW is linked to ", to, " on level ", level, ended
                        ? " behind the end of its links" : ""));
                }
                ended |= none;
            }
        }
    }

    const int entry = get<int32_t>("an HNSW");
    const int top = get<int32_t>("an HNSW");
    if (ntotal == 0) {
        equal(entry, -1, "an empty HNSW's entry point");
        equal(top, -1, "an empty HNSW's highest level");
    } else {
        within(int64_t(entry), int64_t{0}, ntotal - 1, "an HNSW's entry point");
        equal(top, levels[entry] - 1, "an HNSW's highest level");
    }
    within(get<int32_t>("an HNSW"), 1, kMostCandidates, "efConstruction");
    within(get<int32_t>("an HNSW"), 0, kMostCandidates, "efSearch");
    within(get<int32_t>("an HNSW"), 1, 1024, "upper_beam");
}

Seen Walker::storage(const Header& header) {
    Seen inner = index();
    equal(inner.d, header.d, "the dimension of a graph's storage");
    equal(inner.ntotal, header.ntotal, "the number of vectors in a graph's storage");
    equal(inner.metric, header.metric, "the metric of a graph's storage");
    check(inner.trained || !header.trained, "a graph that is trained holds a storage that is not");
    return inner;
}

Seen Walker::hnsw(const std::string& fourcc) {
    Seen seen(header());
    hnswGraph(seen.ntotal);
    const Seen inner = storage(seen);
    const std::string& f = inner.fourcc;
    const bool fits = fourcc == "IHNf" ? f.rfind("IxF", 0) == 0 : fourcc == "IHNp" ? f == "IxPq" || f == "IxPQ" || f == "IxPo"
        : fourcc == "IHNs" ? f == "IxSQ" : f == "Ix2L";
    support(fits && inner.computesDistances, "FAISS cannot use ", f, " as the storage of an HNSW (", fourcc, ") safely");
    if (fourcc == "IHNp") claim(times(times(inner.pq.M, inner.pq.ksub), inner.pq.ksub, sizeof(float)), true,
        "an HNSW's table between codes");
    seen.reconstructs = inner.reconstructs;
    return seen;
}

Seen Walker::nsg(const std::string& fourcc) {
    Seen seen(header());
    check(seen.ntotal < std::numeric_limits<int32_t>::max(), "an NSG cannot hold ", seen.ntotal, " vectors");
    within(get<int32_t>("an NSG"), 1, 1 << 16, "an NSG's GK");
    within(int(get<uint8_t>("an NSG")), 0, 1, "an NSG's build_type");
    for (const char* what : {"nndescent_S", "nndescent_R", "nndescent_L"}) within(get<int32_t>("an NSG"), 1, 1 << 16, what);
    within(get<int32_t>("an NSG"), 0, 1 << 10, "nndescent_iter");

    equal(get<int32_t>("an NSG"), int(seen.ntotal), "the number of vectors in an NSG's graph");
    const int R = get<int32_t>("an NSG");
    const int L = get<int32_t>("an NSG");
    const int C = get<int32_t>("an NSG");
    const int searchL = get<int32_t>("an NSG");
    const int enter = get<int32_t>("an NSG");
    within(R, 1, 1 << 16, "an NSG's R");
    within(L, 1, 1 << 17, "an NSG's L");
    within(C, 1, 1 << 17, "an NSG's C");
    const bool built = flag("an NSG's is_built");
    check(built == (seen.ntotal > 0), "an NSG of ", seen.ntotal, " vectors must ", seen.ntotal > 0 ? "" : "not ", "be built");
    if (built) {
        // Each search starts from so many different vectors and looks for them until it has them.
        within(int64_t(searchL), int64_t{-1}, seen.ntotal, "an NSG's search_L");
        within(int64_t(enter), int64_t{0}, seen.ntotal - 1, "an NSG's enter point");
        bool full = false;
        for (int64_t i = 0; i < seen.ntotal; i++) {
            for (int j = 0;; j++) {
                const int to = get<int32_t>("an NSG's links");
                if (to == -1) break;
                if (to < 0 || to >= seen.ntotal || j >= R) corrupt(text("vector ", i, " of an NSG has ", to, " as link ", j, " of ", R));
                full |= j + 1 == R;
            }
        }
        // R is the room for each vector's links, and only written where it is used.
        const size_t room = times(seen.ntotal, R, sizeof(int32_t));
        const bool borneOut = full || L == R + 32 || C == R + 100; // as FAISS sets them
        check(borneOut || room <= 2 * size_, "an NSG's R of ", R, " fits neither its links nor its L of ", L, " and C of ", C);
        claim(room, borneOut, "an NSG's graph");
    } else {
        within(searchL, -1, kMostCandidates, "an NSG's search_L");
    }

    const More strict(strict_); // it sorts by distances, which must not be NaN
    const Seen inner = storage(seen);
    const std::string& f = inner.fourcc;
    const bool fits = fourcc == "INSf" ? f.rfind("IxF", 0) == 0 : fourcc == "INSp" ? f == "IxPq" || f == "IxPQ" || f == "IxPo"
        : f == "IxSQ";
    support(fits && inner.computesDistances, "FAISS cannot use ", f, " as the storage of an NSG (", fourcc, ") safely");
    seen.reconstructs = inner.reconstructs;
    return seen;
}

Seen Walker::nnDescent() {
    Seen seen(header());
    check(seen.ntotal < std::numeric_limits<int32_t>::max(), "an NNDescent cannot hold ", seen.ntotal, " vectors");
    equal(get<int32_t>("an NNDescent"), int(seen.ntotal), "the number of vectors in an NNDescent's graph");
    equal(get<int32_t>("an NNDescent"), int(seen.d), "an NNDescent's dimension");
    const int K = get<int32_t>("an NNDescent");
    within(K, 1, 1 << 16, "an NNDescent's K");
    for (const char* what : {"an NNDescent's S", "an NNDescent's R", "an NNDescent's L"}) within(get<int32_t>("an NNDescent"), 1,
        1 << 16, what);
    within(get<int32_t>("an NNDescent"), 0, 1 << 10, "an NNDescent's iter");
    const int searchL = get<int32_t>("an NNDescent");
    get<int32_t>("an NNDescent"); // random_seed
    const bool built = flag("an NNDescent's has_built");
    check(built == (seen.ntotal > 0), "an NNDescent of ", seen.ntotal, " vectors must ", seen.ntotal > 0 ? "" : "not ", "be built");
    within(int64_t(searchL), int64_t{-1}, built ? seen.ntotal - 1 : int64_t{kMostCandidates}, "an NNDescent's search_L");
    const auto graph = vector<int32_t>("an NNDescent's links");
    equal(graph.size(), times(seen.ntotal, K), "the count of an NNDescent's links");
    for (size_t i = 0; i < graph.size(); i++) {
        if (graph[i] < 0 || graph[i] >= seen.ntotal) corrupt(text("an NNDescent is linked to ", graph[i], " of ", seen.ntotal, " vectors"));
    }
    const More strict(strict_);
    const Seen inner = storage(seen);
    support(inner.fourcc.rfind("IxF", 0) == 0, "FAISS cannot use ", inner.fourcc, " as the storage of an NNDescent safely");
    seen.reconstructs = inner.reconstructs;
    return seen;
}

} // namespace faiss_vision::index_check
