#include "ann/gpu.h"

#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>

#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

/// Calls `change` with the innermost index that IDMap and PreTransform wrap, and puts what it gives in its place.
template <class Change>
void replaceInner(std::unique_ptr<faiss::Index>& index, const Change& change) {
    const auto inside = [&](faiss::Index*& inner, bool owned) {
        if (!owned) throw Error("ERR_UNSUPPORTED", "an " + typeName(*index) + " that does not own what it wraps cannot be moved to another device");
        std::unique_ptr<faiss::Index> held(inner);
        try {
            replaceInner(held, change);
        } catch (...) {
            inner = held.release();
            throw;
        }
        inner = held.release();
    };
    if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(index.get())) inside(map->index, map->own_fields);
    else if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(index.get())) inside(transform->index, transform->own_fields);
    else if (auto changed = change(*index)) index = std::move(changed);
}

} // namespace

const GpuIndex* gpuPart(const faiss::Index& index) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return gpuPart(*map->index);
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return gpuPart(*transform->index);
    return dynamic_cast<const GpuIndex*>(&index);
}

GpuIndex* gpuPart(faiss::Index& index) { return const_cast<GpuIndex*>(gpuPart(static_cast<const faiss::Index&>(index))); }

void moveToGpu(std::unique_ptr<faiss::Index>& index, const GpuPlacement& placement) {
    for (const int device : placement.devices) requireGpu(device);
    replaceInner(index, [&](const faiss::Index& inner) -> std::unique_ptr<faiss::Index> {
        // From one placement to another by way of the CPU: both at once may be more than a GPU holds.
        if (const auto* const gpu = dynamic_cast<const GpuIndex*>(&inner)) return makeGpuIndex(*gpu->toCpu(), placement);
        return makeGpuIndex(inner, placement);
    });
}

void moveToCpu(std::unique_ptr<faiss::Index>& index) {
    replaceInner(index, [](const faiss::Index& inner) {
        const auto* const gpu = dynamic_cast<const GpuIndex*>(&inner);
        auto cpu = gpu == nullptr ? nullptr : gpu->toCpu();
        // What training left there, which makes searches faster.
        if (auto* const pq = dynamic_cast<faiss::IndexIVFPQ*>(cpu.get()); pq != nullptr && pq->is_trained) pq->precompute_table();
        return cpu;
    });
}

CpuForm::CpuForm(const faiss::Index& index) : top_(gpuPart(index) == nullptr ? &index : copyOf(index)) {}

const faiss::Index* CpuForm::copyOf(const faiss::Index& index) {
    std::unique_ptr<faiss::Index> copy;
    const auto wrapping = [&](auto wrapper) {
        wrapper.own_fields = false;
        wrapper.index = const_cast<faiss::Index*>(copyOf(*wrapper.index)); // only read
        copy = std::make_unique<decltype(wrapper)>(wrapper);
    };
    if (const auto* const map2 = dynamic_cast<const faiss::IndexIDMap2*>(&index)) wrapping(*map2);
    else if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) wrapping(*map);
    else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) wrapping(*transform);
    else copy = dynamic_cast<const GpuIndex&>(index).toCpu();
    made_.push_back(std::move(copy));
    return made_.back().get();
}

} // namespace faiss_vision
