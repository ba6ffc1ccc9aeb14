#pragma once

// Everything that can be done with an index that was read.

#include <algorithm>
#include <string>
#include <vector>

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>

#include "error.h"
#include "index_families.h"

namespace faiss_vision {
namespace {

/// What FAISS cannot do is an exception of its own; anything else that is thrown fails the test.
template <class Work>
void maybe(Work work) {
    try {
        work();
    } catch (const faiss::FaissException&) {
    }
}

void use(faiss::Index& index) {
    constexpr int n = 3;
    faiss::Index* const inside = innermost(&index);
    if (!index.is_trained) return;
    const auto queries = floats(n, 99, index.d);
    const int64_t k = std::min<int64_t>(5, index.ntotal);
    // What FAISS 1.7.3 cannot do with any such index, without an exception to say so, is left out.
    const bool nsg = dynamic_cast<faiss::IndexNSG*>(inside) != nullptr || dynamic_cast<faiss::IndexNNDescent*>(inside) != nullptr;
    const bool blocks = dynamic_cast<faiss::IndexIVFFastScan*>(inside) != nullptr;
    const bool mapped = within<faiss::IndexIDMap>(&index);
    const bool lists = dynamic_cast<faiss::IndexIVF*>(inside) != nullptr;

    const auto search = [&] {
        if (index.ntotal == 0 || k == 0) return;
        std::vector<float> distances(n * k);
        std::vector<int64_t> labels(n * k);
        for (int i = 0; i < n; i++) maybe([&] { index.search(1, queries.data() + i * index.d, k, distances.data(), labels.data()); });
        const auto* const fast = dynamic_cast<faiss::IndexFastScan*>(inside);
        if (fast == nullptr || fast->bbs == 32) maybe([&] { index.search(n, queries.data(), k, distances.data(), labels.data()); });
        maybe([&] {
            faiss::RangeSearchResult result(n);
            index.range_search(n, queries.data(), 0.5f, &result);
        });
    };
    const auto reconstruct = [&] {
        std::vector<float> one(index.d);
        for (const int64_t at : {int64_t{0}, index.ntotal - 1}) {
            if (at >= 0 && at < index.ntotal) maybe([&] { index.reconstruct(at, one.data()); });
        }
        if (mapped) maybe([&] { index.reconstruct(1007, one.data()); });
    };
    search();
    reconstruct();
    if (!nsg) {
        const int64_t ids[n] = {700, 701, 702};
        const auto* const ivf = dynamic_cast<faiss::IndexIVF*>(inside);
        const bool hashed = ivf != nullptr && ivf->direct_map.type == faiss::DirectMap::Hashtable; // maps ids by chance else
        if (mapped || hashed) maybe([&] { index.add_with_ids(n, queries.data(), ids); });
        else maybe([&] { index.add(n, queries.data()); });
        search();
    }
    if (!blocks && !(mapped && lists)) {
        const int64_t ids[] = {0, 3, index.ntotal - 1, 1007, 701};
        maybe([&] { index.remove_ids(faiss::IDSelectorArray(5, ids)); });
        search();
        reconstruct();
    }
}

void use(faiss::IndexBinary& index) {
    constexpr int n = 3;
    if (!index.is_trained) return;
    const size_t codeSize = index.d / 8; // an id map leaves its own at 0
    Bytes queries(n * codeSize + 8, 0x5a);
    const int64_t k = std::min<int64_t>(5, index.ntotal);
    const auto search = [&] {
        if (index.ntotal == 0 || k == 0) return;
        std::vector<int32_t> distances(n * k);
        std::vector<int64_t> labels(n * k);
        maybe([&] { index.search(n, queries.data(), k, distances.data(), labels.data()); });
        maybe([&] {
            faiss::RangeSearchResult result(n);
            index.range_search(n, queries.data(), 50, &result);
        });
    };
    const auto reconstruct = [&] {
        Bytes one(codeSize);
        if (index.ntotal > 0) maybe([&] { index.reconstruct(0, one.data()); });
    };
    search();
    reconstruct();
    const int64_t ids[] = {0, 3, 701, 702, 4997};
    if (dynamic_cast<faiss::IndexBinaryIDMap*>(&index) != nullptr) maybe([&] { index.add_with_ids(n, queries.data(), ids + 2); });
    else maybe([&] { index.add(n, queries.data()); });
    search();
    maybe([&] { index.remove_ids(faiss::IDSelectorArray(5, ids)); });
    search();
    reconstruct();
}

Bytes save(const Loaded& loaded) { return loaded.floats ? write(*loaded.floats) : write(*loaded.binary); }

std::string refusal(const Bytes& bytes, IndexKind kind, std::string* message = nullptr) {
    try {
        checkIndexBytes(bytes.data(), bytes.size(), kind, "bytes");
    } catch (const Error& error) {
        if (message != nullptr) *message = error.what();
        return error.code();
    }
    return "none";
}

} // namespace
} // namespace faiss_vision
