#include "ann/index_search.h"

#include <algorithm>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexScalarQuantizer.h>

#include "ann/bounded_flat.h"
#include "ann/hnsw_search.h"
#include "ann/ivf_search.h"
#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

// The inner index of an IDMap numbers its vectors by position.
class Translated : public faiss::IDSelector {
public:
    Translated(const std::vector<int64_t>& ids, const faiss::IDSelector& selector) : ids_(ids), selector_(selector) {}
    bool is_member(int64_t position) const override { return selector_.is_member(ids_[position]); }

private:
    const std::vector<int64_t>& ids_;
    const faiss::IDSelector& selector_;
};

// Stands for another index and searches it through a selector: what a Refine asks first.
class Filtered : public faiss::Index {
public:
    Filtered(const faiss::Index& index, const faiss::IDSelector& selector)
        : faiss::Index(index.d, index.metric_type), index_(index), selector_(selector) {
        ntotal = index.ntotal;
        is_trained = index.is_trained;
    }
    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, const faiss::SearchParameters*) const override {
        searchIndex(index_, &selector_, n, x, k, distances, labels);
    }
    void add(int64_t, const float*) override {}
    void reset() override {}

private:
    const faiss::Index& index_;
    const faiss::IDSelector& selector_;
};

struct Transformed {
    Transformed(const faiss::IndexPreTransform& index, int64_t n, const float* x) : x(index.apply_chain(n, x)) {
        if (this->x != x) owned.reset(this->x);
    }
    const float* x;
    std::unique_ptr<const float[]> owned;
};

bool l2OrInnerProduct(const faiss::Index& index) {
    return index.metric_type == faiss::METRIC_L2 || index.metric_type == faiss::METRIC_INNER_PRODUCT;
}

[[noreturn]] void refuse(const faiss::Index& index) {
    throw Error("ERR_UNSUPPORTED", "`filter` cannot be used with an " + typeName(index) +
                                       ": FAISS filters Flat, IVF with Flat, PQ or SQ, HNSW and SQ. Search for more neighbours and leave "
                                       "out the others, or build one of those");
}

/// Calls `search` with the parameters by which this type takes a selector.
template <class Search>
void withSelector(const faiss::Index& index, const faiss::IDSelector& selector, Search search) {
    // FAISS's parameters want a pointer to a selector that is not const, and never change it.
    auto* const sel = const_cast<faiss::IDSelector*>(&selector);
    const std::type_info& type = typeid(index);
    const auto ivf = [&](auto parameters) {
        const auto& lists = static_cast<const faiss::IndexIVF&>(index);
        parameters.sel = sel;
        parameters.nprobe = lists.nprobe;
        parameters.max_codes = lists.max_codes;
        return parameters;
    };
    // By exact type: FAISS ends the process where an IVF that has no selector is given one, and most other types ignore it.
    if (dynamic_cast<const faiss::IndexFlat*>(&index) != nullptr || type == typeid(faiss::IndexScalarQuantizer)) {
        if (!l2OrInnerProduct(index)) refuse(index);
        faiss::SearchParameters parameters;
        parameters.sel = sel;
        search(parameters);
    } else if (type == typeid(faiss::IndexIVFFlat) || type == typeid(faiss::IndexIVFScalarQuantizer)) {
        search(ivf(faiss::SearchParametersIVF()));
    } else if (type == typeid(faiss::IndexIVFPQ)) {
        auto parameters = ivf(faiss::IVFPQSearchParameters());
        parameters.scan_table_threshold = static_cast<const faiss::IndexIVFPQ&>(index).scan_table_threshold;
        parameters.polysemous_ht = static_cast<const faiss::IndexIVFPQ&>(index).polysemous_ht;
        search(parameters);
    } else if (const auto* const hnsw = dynamic_cast<const faiss::IndexHNSW*>(&index)) {
        if (type == typeid(faiss::IndexHNSW2Level) || hnsw->hnsw.upper_beam != 1) refuse(index);
        faiss::SearchParametersHNSW parameters;
        parameters.sel = sel;
        parameters.efSearch = hnsw->hnsw.efSearch;
        parameters.check_relative_distance = hnsw->hnsw.check_relative_distance;
        search(parameters);
    } else {
        refuse(index);
    }
}

/// The types that have a faster way here; false for all others.
bool searchOurs(const faiss::Index& index, const faiss::IDSelector* selector, int64_t n, const float* x, int64_t k, float* distances,
                int64_t* labels) {
    if (const auto* const hnsw = dynamic_cast<const faiss::IndexHNSW*>(&index)) {
        return searchHnsw(*hnsw, n, x, k, distances, labels, selector, hnsw->hnsw.efSearch);
    }
    if (const auto* const ivf = dynamic_cast<const faiss::IndexIVFFlat*>(&index)) {
        return searchIvfFlat(*ivf, n, x, k, distances, labels, selector, ivf->nprobe, ivf->max_codes);
    }
    return false;
}

} // namespace

void searchIndex(const faiss::Index& index, const faiss::IDSelector* selector, int64_t n, const float* x, int64_t k,
                 float* distances, int64_t* labels) {
    // The quickest first: next to a small flat search, to ask for every other type takes long.
    if (selector == nullptr && typeid(index) == typeid(BoundedFlat)) return index.search(n, x, k, distances, labels);
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        if (selector == nullptr) {
            searchIndex(*map->index, nullptr, n, x, k, distances, labels);
        } else {
            const Translated translated(map->id_map, *selector);
            searchIndex(*map->index, &translated, n, x, k, distances, labels);
        }
        for (int64_t i = 0; i < n * k; i++) {
            if (labels[i] >= 0) labels[i] = map->id_map[labels[i]];
        }
    } else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) {
        const Transformed transformed(*transform, n, x);
        searchIndex(*transform->index, selector, n, transformed.x, k, distances, labels);
    } else if (searchOurs(index, selector, n, x, k, distances, labels)) {
        return;
    } else if (const auto* const nsg = dynamic_cast<const faiss::IndexNSG*>(&index); nsg != nullptr && selector == nullptr) {
        // With a longer path than there are vectors FAISS never ends.
        auto& length = const_cast<faiss::IndexNSG*>(nsg)->nsg.search_L;
        const int wanted = std::exchange(length, int(std::min<int64_t>(length, nsg->ntotal)));
        nsg->search(n, x, k, distances, labels);
        length = wanted;
    } else if (selector == nullptr) {
        index.search(n, x, k, distances, labels);
    } else if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) {
        Filtered base(*refine->base_index, *selector);
        faiss::IndexRefine filtered(&base, refine->refine_index);
        filtered.k_factor = refine->k_factor;
        filtered.search(n, x, k, distances, labels);
    } else {
        withSelector(index, *selector, [&](const auto& parameters) { index.search(n, x, k, distances, labels, &parameters); });
    }
}

void rangeSearchIndex(const faiss::Index& index, const faiss::IDSelector* selector, int64_t n, const float* x, float radius,
                      faiss::RangeSearchResult& result) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        if (selector == nullptr) {
            rangeSearchIndex(*map->index, nullptr, n, x, radius, result);
        } else {
            const Translated translated(map->id_map, *selector);
            rangeSearchIndex(*map->index, &translated, n, x, radius, result);
        }
        for (size_t i = 0; i < result.lims[result.nq]; i++) result.labels[i] = map->id_map[result.labels[i]];
    } else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) {
        const Transformed transformed(*transform, n, x);
        rangeSearchIndex(*transform->index, selector, n, transformed.x, radius, result);
    } else {
        // By exact type, since FAISS ends the process where another kind of IVF is asked.
        const std::type_info& type = typeid(index);
        const bool flat = dynamic_cast<const faiss::IndexFlat*>(&index) != nullptr;
        if (!(flat && l2OrInnerProduct(index)) && type != typeid(faiss::IndexIVFFlat) && type != typeid(faiss::IndexIVFPQ) &&
            type != typeid(faiss::IndexIVFScalarQuantizer)) {
            throw Error("ERR_UNSUPPORTED", "an " + typeName(index) + " has no range search: FAISS has it for Flat and for IVF with Flat, PQ or SQ "
                                               "(metrics 'l2' and 'ip'). Search for k neighbours and leave out those beyond the radius");
        }
        if (selector == nullptr) index.range_search(n, x, radius, &result);
        else withSelector(index, *selector, [&](const auto& parameters) { index.range_search(n, x, radius, &result, &parameters); });
    }
}

} // namespace faiss_vision
