#include "ann/index_merge.h"

#include <string>
#include <typeinfo>
#include <unordered_set>
#include <vector>

#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFastScan.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQR.h>
#include <faiss/IndexLSH.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/VectorTransform.h>

#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

[[noreturn]] void differ(const std::string& what) {
    throw Error("ERR_INCOMPATIBLE_INDEX", "`other` must be an index of the same kind and training, " + what +
                                              ". Train one empty index, and make the others of its bytes (toBuffer, fromBuffer)");
}

template <class Index>
[[noreturn]] void unsupported(const Index& index) {
    throw Error("ERR_UNSUPPORTED", "an " + typeName(index) + " cannot take over another's vectors. Reconstruct them there and add them here");
}

void requireSame(bool same, const char* what) {
    if (!same) differ(std::string(what) + " differ");
}

template <class Ids>
void requireNewIds(const std::unordered_set<int64_t>& known, const Ids& ids, size_t n, int64_t addId) {
    for (size_t i = 0; i < n; i++) {
        if (known.count(ids[i] + addId) == 0) continue;
        throw Error("ERR_DUPLICATE_ID", "`other` must hold other ids, " + std::to_string(ids[i] + addId) +
                                            " is known already. `addId` is added to each of its ids: the index's ntotal numbers them on");
    }
}

void checkListIds(const faiss::InvertedLists& lists, const faiss::InvertedLists& other, int64_t addId) {
    std::unordered_set<int64_t> known;
    for (size_t list = 0; list < lists.nlist; list++) {
        faiss::InvertedLists::ScopedIds ids(&lists, list);
        known.insert(ids.get(), ids.get() + lists.list_size(list));
    }
    for (size_t list = 0; list < other.nlist; list++) {
        faiss::InvertedLists::ScopedIds ids(&other, list);
        requireNewIds(known, ids.get(), other.list_size(list), addId);
    }
}

void checkMapIds(const std::vector<int64_t>& ids, const std::vector<int64_t>& other, int64_t addId) {
    requireNewIds(std::unordered_set<int64_t>(ids.begin(), ids.end()), other, other.size(), addId);
}

void checkTransforms(const faiss::IndexPreTransform& index, const faiss::IndexPreTransform& other) {
    requireSame(index.chain.size() == other.chain.size(), "their transforms");
    for (size_t i = 0; i < index.chain.size(); i++) {
        const faiss::VectorTransform& a = *index.chain[i];
        const faiss::VectorTransform& b = *other.chain[i];
        requireSame(typeid(a) == typeid(b) && a.d_in == b.d_in && a.d_out == b.d_out, "their transforms");
        const auto* const matrix = dynamic_cast<const faiss::LinearTransform*>(&a);
        if (matrix == nullptr) continue;
        const auto& otherMatrix = static_cast<const faiss::LinearTransform&>(b);
        requireSame(matrix->A == otherMatrix.A && matrix->b == otherMatrix.b, "the matrices of their transforms");
    }
}

} // namespace

void checkMerge(const faiss::Index& index, const faiss::Index& other, int64_t addId) {
    requireSame(index.d == other.d, "their dimensions");
    requireSame(index.metric_type == other.metric_type, "their metrics");
    if (typeid(index) != typeid(other)) differ("one is an " + typeName(index) + ", the other an " + typeName(other));
    if (!index.is_trained || !other.is_trained) throw Error("ERR_NOT_TRAINED", "both indexes must be trained before one takes over the other's vectors");

    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        const auto& otherMap = static_cast<const faiss::IndexIDMap&>(other);
        // An IVF inside keeps ids of its own, which would have to be positions still.
        if (dynamic_cast<const faiss::IndexFlatCodes*>(map->index) == nullptr) unsupported(*map->index);
        checkMerge(*map->index, *otherMap.index, 0);
        checkMapIds(map->id_map, otherMap.id_map, addId);
    } else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) {
        const auto& otherTransform = static_cast<const faiss::IndexPreTransform&>(other);
        checkTransforms(*transform, otherTransform);
        checkMerge(*transform->index, *otherTransform.index, addId);
    } else if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) {
        // Fast scan's lists end the process, an IVFPQR finds its second codes by position, a Dedup's duplicates stay behind.
        if (dynamic_cast<const faiss::IndexIVFFastScan*>(ivf) != nullptr || dynamic_cast<const faiss::IndexIVFPQR*>(ivf) != nullptr ||
            dynamic_cast<const faiss::IndexIVFFlatDedup*>(ivf) != nullptr) {
            unsupported(index);
        }
        const auto& otherIvf = static_cast<const faiss::IndexIVF&>(other);
        requireSame(ivf->nlist == otherIvf.nlist && ivf->code_size == otherIvf.code_size, "their numbers of lists or sizes of codes");
        const auto* const centroids = dynamic_cast<const faiss::IndexFlat*>(ivf->quantizer);
        const auto* const otherCentroids = dynamic_cast<const faiss::IndexFlat*>(otherIvf.quantizer);
        if (centroids != nullptr && otherCentroids != nullptr) requireSame(centroids->codes == otherCentroids->codes, "their centroids");
        if (const auto* const pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf)) {
            requireSame(pq->pq.centroids == static_cast<const faiss::IndexIVFPQ&>(otherIvf).pq.centroids, "their codebooks");
        }
        if (const auto* const sq = dynamic_cast<const faiss::IndexIVFScalarQuantizer*>(ivf)) {
            requireSame(sq->sq.trained == static_cast<const faiss::IndexIVFScalarQuantizer&>(otherIvf).sq.trained, "their ranges");
        }
        checkListIds(*ivf->invlists, *otherIvf.invlists, addId);
    } else if (dynamic_cast<const faiss::IndexFlatCodes*>(&index) != nullptr) {
        if (addId != 0) throw Error("ERR_INVALID_ARGUMENT", "`addId` must be 0 for an " + typeName(index) + ", which numbers its vectors by position");
        if (const auto* const pq = dynamic_cast<const faiss::IndexPQ*>(&index)) {
            requireSame(pq->pq.centroids == static_cast<const faiss::IndexPQ&>(other).pq.centroids, "their codebooks");
        } else if (const auto* const sq = dynamic_cast<const faiss::IndexScalarQuantizer*>(&index)) {
            requireSame(sq->sq.qtype == static_cast<const faiss::IndexScalarQuantizer&>(other).sq.qtype &&
                            sq->sq.trained == static_cast<const faiss::IndexScalarQuantizer&>(other).sq.trained, "their ranges");
        } else if (const auto* const lsh = dynamic_cast<const faiss::IndexLSH*>(&index)) {
            const auto& otherLsh = static_cast<const faiss::IndexLSH&>(other);
            requireSame(lsh->nbits == otherLsh.nbits && lsh->rrot.A == otherLsh.rrot.A && lsh->thresholds == otherLsh.thresholds, "their hashes");
        } else if (dynamic_cast<const faiss::IndexFlat*>(&index) == nullptr) {
            unsupported(index);
        }
    } else {
        unsupported(index);
    }
}

void checkMerge(const faiss::IndexBinary& index, const faiss::IndexBinary& other, int64_t addId) {
    requireSame(index.d == other.d, "their dimensions");
    if (typeid(index) != typeid(other)) differ("one is an " + typeName(index) + ", the other an " + typeName(other));
    const auto* const ivf = dynamic_cast<const faiss::IndexBinaryIVF*>(&index);
    if (ivf == nullptr) unsupported(index); // the only one that FAISS merges
    const auto& otherIvf = static_cast<const faiss::IndexBinaryIVF&>(other);
    if (!ivf->is_trained || !otherIvf.is_trained) throw Error("ERR_NOT_TRAINED", "both indexes must be trained before one takes over the other's vectors");
    requireSame(ivf->nlist == otherIvf.nlist, "their numbers of lists");
    const auto* const centroids = dynamic_cast<const faiss::IndexBinaryFlat*>(ivf->quantizer);
    const auto* const otherCentroids = dynamic_cast<const faiss::IndexBinaryFlat*>(otherIvf.quantizer);
    if (centroids != nullptr && otherCentroids != nullptr) requireSame(centroids->xb == otherCentroids->xb, "their centroids");
    checkListIds(*ivf->invlists, *otherIvf.invlists, addId);
}

} // namespace faiss_vision
