#include "ann/faiss_care.h"

#include <memory>
#include <typeinfo>

#include <faiss/Index2Layer.h>
#include <faiss/IndexAdditiveQuantizer.h>
#include <faiss/IndexAdditiveQuantizerFastScan.h>
#include <faiss/IndexBinaryHash.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexFastScan.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFAdditiveQuantizer.h>
#include <faiss/IndexIVFAdditiveQuantizerFastScan.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/impl/AdditiveQuantizer.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/LocalSearchQuantizer.h>

#include "ann/bounded_flat.h"
#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

faiss::AdditiveQuantizer* additiveQuantizer(const faiss::Index& index) {
    if (const auto* const flat = dynamic_cast<const faiss::IndexAdditiveQuantizer*>(&index)) return flat->aq;
    if (const auto* const fast = dynamic_cast<const faiss::IndexAdditiveQuantizerFastScan*>(&index)) return fast->aq;
    if (const auto* const ivf = dynamic_cast<const faiss::IndexIVFAdditiveQuantizer*>(&index)) return ivf->aq;
    if (const auto* const fast = dynamic_cast<const faiss::IndexIVFAdditiveQuantizerFastScan*>(&index)) return fast->aq;
    return nullptr;
}

[[noreturn]] void refuse(const faiss::Index& index, const char* why) {
    throw Error("ERR_UNSUPPORTED", "an " + typeName(index) + " cannot be used: " + why);
}

} // namespace

const faiss::Index& innermost(const faiss::Index& index) {
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return innermost(*transform->index);
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return innermost(*map->index);
    if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) return innermost(*refine->base_index);
    return index;
}

faiss::Index& innermost(faiss::Index& index) {
    return const_cast<faiss::Index&>(innermost(static_cast<const faiss::Index&>(index)));
}

void mendLoaded(faiss::Index& index) {
    faiss::Index* inner = &innermost(index);
    if (auto* const ivf = dynamic_cast<faiss::IndexIVF*>(inner)) {
        if (dynamic_cast<faiss::IndexIVFFlatDedup*>(ivf) == nullptr) ivf->set_direct_map_type(faiss::DirectMap::NoMap);
    }
    if (auto* const hnsw = dynamic_cast<faiss::IndexHNSW*>(inner)) inner = hnsw->storage;
    if (auto* const layers = dynamic_cast<faiss::Index2Layer*>(inner)) layers->q1.own_fields = true; // else never freed
    faiss::AdditiveQuantizer* const aq = additiveQuantizer(*inner);
    if (aq == nullptr || aq->qnorm.codes.empty()) return;
    aq->qnorm.ntotal = int64_t(aq->qnorm.codes.size() / sizeof(float)); // stays 0, and the next add reads from nowhere
    aq->qnorm.update_permutation();
}

void mendLoaded(faiss::IndexBinary& index) {
    if (auto* const map = dynamic_cast<faiss::IndexBinaryIDMap*>(&index)) return mendLoaded(*map->index);
    if (auto* const ivf = dynamic_cast<faiss::IndexBinaryIVF*>(&index)) ivf->set_direct_map_type(faiss::DirectMap::NoMap);
}

void finishEmptying(faiss::Index& index) {
    index.ntotal = 0;
    if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(&index)) finishEmptying(*map->index);
    if (auto* const map = dynamic_cast<faiss::IndexIDMap2*>(&index)) map->rev_map.clear();
    if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(&index)) finishEmptying(*transform->index);
}

void finishEmptying(faiss::IndexBinary& index) {
    index.ntotal = 0;
    if (auto* const map = dynamic_cast<faiss::IndexBinaryIDMap*>(&index)) finishEmptying(*map->index);
    if (auto* const map = dynamic_cast<faiss::IndexBinaryIDMap2*>(&index)) map->rev_map.clear();
    if (auto* const hash = dynamic_cast<faiss::IndexBinaryMultiHash*>(&index)) {
        for (auto& buckets : hash->maps) buckets.clear(); // FAISS clears copies of them
    }
}

void checkUsable(const faiss::Index& index) {
    if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) {
        checkUsable(*refine->base_index);
        try {
            const std::unique_ptr<faiss::DistanceComputer> computer(refine->refine_index->get_distance_computer());
        } catch (const faiss::FaissException&) {
            refuse(*refine->refine_index, "FAISS cannot refine by it, as it has no distances of single vectors. Refine by 'Flat', 'SQ8' or 'PQ'");
        }
        return;
    }
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return checkUsable(*map->index);
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return checkUsable(*transform->index);
    if (const auto* const fast = dynamic_cast<const faiss::IndexFastScan*>(&index)) {
        if (fast->bbs != 32) refuse(index, "FAISS searches it in blocks of 32 only: leave the number behind 'fs' out");
    }
}

void checkWritable(const faiss::IndexBinary& index) {
    const auto* const hash = dynamic_cast<const faiss::IndexBinaryMultiHash*>(&index);
    if (hash == nullptr || hash->ntotal == 0) return;
    // The length of a bucket is written in as many bits as an id has, which are too few for one that holds a power of two of them.
    int bits = 0;
    while (hash->ntotal > int64_t{1} << bits) bits++;
    for (const auto& map : hash->maps) {
        for (const auto& [key, ids] : map) {
            if (int64_t(ids.size()) < int64_t{1} << bits) continue;
            throw Error("ERR_UNSUPPORTED", "an IndexBinaryMultiHash whose " + std::to_string(hash->ntotal) +
                                               " vectors are all in one bucket cannot be written: FAISS's format has no room for its length. "
                                               "Add another vector, or use BIVF");
        }
    }
}

void checkWritable(const faiss::Index& index) {
    const faiss::Index& inner = innermost(index);
    const faiss::AdditiveQuantizer* const aq = additiveQuantizer(inner);
    if (index.is_trained || aq == nullptr || dynamic_cast<const faiss::LocalSearchQuantizer*>(aq) != nullptr) return;
    throw Error("ERR_NOT_TRAINED", "an " + typeName(inner) + " must be trained before it is written: FAISS cannot read such a file");
}

bool dreadsLargeNumbers(const faiss::Index& index) {
    if (typeid(index) == typeid(BoundedFlat)) return false; // asked at every search: the quickest first
    const faiss::Index& inner = innermost(index);
    if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&inner)) {
        if (dynamic_cast<const faiss::MultiIndexQuantizer*>(ivf->quantizer) != nullptr) return true;
        return dynamic_cast<const faiss::IndexIVFAdditiveQuantizerFastScan*>(ivf) != nullptr || dreadsLargeNumbers(*ivf->quantizer);
    }
    return dynamic_cast<const faiss::IndexNSG*>(&inner) != nullptr || dynamic_cast<const faiss::Index2Layer*>(&inner) != nullptr ||
           dynamic_cast<const faiss::IndexAdditiveQuantizerFastScan*>(&inner) != nullptr;
}

bool readsBehind(const faiss::IndexBinary& index) {
    if (const auto* const map = dynamic_cast<const faiss::IndexBinaryIDMap*>(&index)) return readsBehind(*map->index);
    return dynamic_cast<const faiss::IndexBinaryHash*>(&index) != nullptr || dynamic_cast<const faiss::IndexBinaryMultiHash*>(&index) != nullptr;
}

} // namespace faiss_vision
