#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "error.h"

namespace faiss_vision {

/// Vectors that stay in a device's memory, as vision.node hands them to ann.node: what a JavaScript External of this holds, by
/// kDeviceVectorsTag. Plain data and plain functions, as each addon may have a C++ library of its own.
struct DeviceVectors {
    int32_t device; // number of the GPU; -1 for the processor's memory
    int32_t dimension;
    int64_t count;
    /// On the JavaScript thread: one more holder of the memory; nullptr once it was given back.
    void* (*hold)(const DeviceVectors*);
    // Of what `hold` gave, on any thread.
    const float* (*numbers)(const void* held);       // finite, and there already: nothing is to be waited for
    const char* (*read)(const void* held, float* to); // copies them to the processor's memory; returns what went wrong, or nullptr
    void (*release)(void* held);
};

/// To be changed with what is above. Lower and upper half of a random number.
constexpr uint64_t kDeviceVectorsTag[2] = {0x5b0fb2f0c1d94e6a, 0x9e3f7a2d84c61b57};

/// Keeps such vectors for one call, whatever becomes of the JavaScript object meanwhile.
class HeldVectors {
public:
    /// Throws ERR_CLOSED.
    explicit HeldVectors(const DeviceVectors& vectors) : vectors_(vectors), held_(vectors.hold(&vectors)) {
        if (held_ == nullptr) throw Error("ERR_CLOSED", "`vectors` must still have their memory: it was given back by dispose()");
    }
    ~HeldVectors() { vectors_.release(held_); }
    HeldVectors(const HeldVectors&) = delete;
    HeldVectors& operator=(const HeldVectors&) = delete;

    int64_t count() const { return vectors_.count; }

    /// Calls work(x, onGpu) with them as they are where the index reads them there, else with a copy in the processor's memory.
    template <class Index, class Work>
    void use(const Index& index, const Work& work) const {
        const float* const numbers = vectors_.numbers(held_);
        if (vectors_.device < 0) return work(numbers, false);
        if (index.readsFrom(vectors_.device)) return work(numbers, true);
        std::vector<float> copy(size_t(vectors_.count) * size_t(vectors_.dimension));
        if (const char* const problem = vectors_.read(held_, copy.data())) throw Error("ERR_CUDA_FAILED", problem);
        work(copy.data(), false);
    }

private:
    const DeviceVectors vectors_;
    void* const held_;
};

} // namespace faiss_vision
