#include "ann/reconstruct.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <vector>

#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexPreTransform.h>

#include "error.h"

namespace faiss_vision {
namespace {

[[noreturn]] void unknown(int64_t id) { throw Error("ERR_UNKNOWN_ID", "`ids` must be known, " + std::to_string(id) + " is not in the index"); }

/// For each id where it is first wanted; the others that are equal are copied from there.
std::unordered_map<int64_t, int64_t> firstPlaces(int64_t n, const int64_t* ids) {
    std::unordered_map<int64_t, int64_t> places;
    for (int64_t i = 0; i < n; i++) places.emplace(ids[i], i);
    return places;
}

template <class Map, class Component>
void reconstructMapped(const Map& map, int64_t n, const int64_t* ids, Component* x) {
    auto wanted = firstPlaces(n, ids);
    std::unordered_map<int64_t, int64_t> positions;
    for (size_t position = 0; position < map.id_map.size() && positions.size() < wanted.size(); position++) {
        if (wanted.count(map.id_map[position]) != 0) positions.emplace(map.id_map[position], int64_t(position));
    }
    std::vector<int64_t> inner(n);
    for (int64_t i = 0; i < n; i++) {
        const auto found = positions.find(ids[i]);
        if (found == positions.end()) unknown(ids[i]);
        inner[i] = found->second;
    }
    reconstructIds(*map.index, n, inner.data(), x);
}

template <class Lists, class Component>
void reconstructFromLists(const Lists& index, size_t width, int64_t n, const int64_t* ids, Component* x) {
    auto wanted = firstPlaces(n, ids);
    for (size_t list = 0; list < index.invlists->nlist && !wanted.empty(); list++) {
        const size_t size = index.invlists->list_size(list);
        faiss::InvertedLists::ScopedIds listed(index.invlists, list);
        for (size_t offset = 0; offset < size; offset++) {
            const auto found = wanted.find(listed.get()[offset]);
            if (found == wanted.end()) continue;
            index.reconstruct_from_offset(int64_t(list), int64_t(offset), x + found->second * width);
            wanted.erase(found);
        }
    }
    if (!wanted.empty()) unknown(wanted.begin()->first);
    const auto first = firstPlaces(n, ids);
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = first.at(ids[i]);
        if (from != i) std::copy_n(x + from * width, width, x + i * width);
    }
}

template <class Index, class Component>
void reconstructPositions(const Index& index, size_t width, int64_t n, const int64_t* ids, Component* x) {
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= index.ntotal) unknown(ids[i]); // FAISS does not look in every type
        index.reconstruct(ids[i], x + i * width);
    }
}

} // namespace

void reconstructIds(const faiss::Index& index, int64_t n, const int64_t* ids, float* x) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        reconstructMapped(*map, n, ids, x);
    } else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) {
        std::vector<float> inner(n * transform->index->d);
        reconstructIds(*transform->index, n, ids, inner.data());
        transform->reverse_chain(n, inner.data(), x);
    } else if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) {
        reconstructFromLists(*ivf, ivf->d, n, ids, x);
    } else {
        reconstructPositions(index, index.d, n, ids, x);
    }
}

void reconstructIds(const faiss::IndexBinary& index, int64_t n, const int64_t* ids, uint8_t* x) {
    if (const auto* const map = dynamic_cast<const faiss::IndexBinaryIDMap*>(&index)) {
        reconstructMapped(*map, n, ids, x);
    } else if (const auto* const ivf = dynamic_cast<const faiss::IndexBinaryIVF*>(&index)) {
        reconstructFromLists(*ivf, ivf->code_size, n, ids, x);
    } else {
        reconstructPositions(index, index.code_size, n, ids, x);
    }
}

} // namespace faiss_vision
