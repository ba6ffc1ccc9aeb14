#include "ann/huge_pages.h"

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/invlists/InvertedLists.h>

namespace faiss_vision {
namespace {

constexpr uintptr_t kHugePage = 2 << 20;

/// How much of each huge page's range belongs to the index: its parts may be small and lie among other things.
class Coverage {
public:
    template <class T>
    void add(const std::vector<T>& part) {
        const uintptr_t begin = reinterpret_cast<uintptr_t>(part.data()), end = begin + part.size() * sizeof(T);
        for (uintptr_t at = begin; at < end;) {
            const uintptr_t page = at / kHugePage, next = std::min(end, (page + 1) * kHugePage);
            bytes_[page] += next - at;
            at = next;
        }
    }

    void add(faiss::Index* index) {
        if (index == nullptr) return;
        if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(index)) return add(map->index);
        if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(index)) return add(transform->index);
        if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(index)) {
            add(refine->base_index);
            return add(refine->refine_index);
        }
        if (const auto* const codes = dynamic_cast<const faiss::IndexFlatCodes*>(index)) {
            add(codes->codes);
        } else if (const auto* const hnsw = dynamic_cast<const faiss::IndexHNSW*>(index)) {
            add(hnsw->storage);
            add(hnsw->hnsw.neighbors);
            add(hnsw->hnsw.offsets);
        } else if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(index)) {
            add(ivf->quantizer);
            if (auto* const lists = dynamic_cast<faiss::ArrayInvertedLists*>(ivf->invlists)) {
                // They grow by doubling, which leaves gaps everywhere.
                for (auto& codes : lists->codes) codes.shrink_to_fit();
                for (auto& ids : lists->ids) ids.shrink_to_fit();
                for (const auto& codes : lists->codes) add(codes);
                for (const auto& ids : lists->ids) add(ids);
            }
        }
    }

    size_t collapse() const {
        size_t done = 0;
#ifdef __linux__
        constexpr int kCollapse = 25; // MADV_COLLAPSE, which older headers lack
        for (const auto& [page, bytes] : bytes_) {
            // What is not the index's in it becomes resident too: a third more at the most.
            if (bytes < kHugePage / 4 * 3) continue;
            if (::madvise(reinterpret_cast<void*>(page * kHugePage), kHugePage, kCollapse) == 0) done += kHugePage;
        }
#endif
        return done;
    }

private:
    std::unordered_map<uintptr_t, size_t> bytes_; // by the number of the huge page
};

} // namespace

size_t useHugePages(faiss::Index& index) {
    Coverage coverage;
    coverage.add(&index);
    return coverage.collapse();
}

} // namespace faiss_vision
