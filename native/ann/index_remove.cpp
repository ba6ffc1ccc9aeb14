#include "ann/index_remove.h"

#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFastScan.h>
#include <faiss/IndexIVFPQR.h>
#include <faiss/IndexPreTransform.h>

#include "ann/faiss_call.h"

namespace faiss_vision {
namespace {

const char* const kRemoveWayRound = "Leave them out of searches with `filter: { leaveOut: ids }`, or build a new index without them";

} // namespace

size_t removeIds(faiss::Index& index, const faiss::IDSelector& selector) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        // What is inside must close the gaps, or the map's positions are no longer its own.
        if (dynamic_cast<const faiss::IndexFlatCodes*>(map->index) == nullptr) {
            const bool ivf = dynamic_cast<const faiss::IndexIVF*>(map->index) != nullptr;
            throw unsupported(*map->index, "remove vectors inside an IDMap", ivf ? "An IVF keeps ids by itself: build it without IDMap" : kRemoveWayRound);
        }
    }
    if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(&index)) {
        const size_t removed = removeIds(*transform->index, selector);
        transform->ntotal = transform->index->ntotal;
        return removed;
    }
    try {
        // An IVFPQR finds its second codes by position, and fast scan's lists end the process.
        if (dynamic_cast<faiss::IndexIVFPQR*>(&index) != nullptr || dynamic_cast<faiss::IndexIVFFastScan*>(&index) != nullptr) {
            throw unsupported(index, "remove vectors", kRemoveWayRound);
        }
        return index.remove_ids(selector);
    } catch (const faiss::FaissException& exception) {
        if (!notImplemented(exception)) throw;
        throw unsupported(index, "remove vectors", kRemoveWayRound);
    }
}

size_t removeIds(faiss::IndexBinary& index, const faiss::IDSelector& selector) {
    if (const auto* const map = dynamic_cast<const faiss::IndexBinaryIDMap*>(&index)) {
        if (dynamic_cast<const faiss::IndexBinaryFlat*>(map->index) == nullptr) {
            throw unsupported(*map->index, "remove vectors inside an IDMap", "An IVF keeps ids by itself: build it without IDMap");
        }
    }
    try {
        return index.remove_ids(selector);
    } catch (const faiss::FaissException& exception) {
        if (!notImplemented(exception)) throw;
        throw unsupported(index, "remove vectors", "Ask for more neighbours and leave them out, or build a new index without them");
    }
}

} // namespace faiss_vision
