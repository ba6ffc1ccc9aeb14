#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <napi.h>

#include "addon/arguments.h"
#include "addon/shared_index.h"

namespace faiss_vision {

template <class V>
Input<typename V::Component> vectors(Napi::Value value, const std::string& name, int dimension, int64_t width) {
    if constexpr (std::is_same_v<typename V::Component, float>) return vectorsArgument(value, name, dimension);
    else return bitsArgument(value, name, int(width));
}

/// Vectors of a call, in an array or in a device's memory.
template <class V>
struct Given {
    using Component = typename V::Component;

    Given(Napi::Value value, const SharedIndex<V>& shared) {
        if constexpr (std::is_same_v<Component, float>) there = deviceVectorsArgument(value, "vectors", shared.dimension);
        if (there != nullptr) {
            n = there->count();
            return;
        }
        const auto input = std::make_shared<Input<Component>>(vectors<V>(value, "vectors", shared.dimension, shared.width));
        n = int64_t(input->size()) / shared.width;
        copied = input->copied();
        held = input->takeHeld();
        array = std::shared_ptr<const Component>(input, input->data());
    }

    /// Calls work(x, onGpu) with them where the index can read them.
    template <class Work>
    void use(const BasicIndex<V>& index, const Work& work) const {
        if constexpr (std::is_same_v<Component, float>) {
            if (there != nullptr) return there->use(index, work);
        }
        work(array.get(), false);
    }

    int64_t n;
    std::shared_ptr<const Component> array;
    bool copied = false;
    std::vector<Napi::Value> held;
    std::shared_ptr<const HeldVectors> there;
};

template <class V>
void searchGiven(SharedIndex<V>& shared, const Given<V>& given, int64_t k, typename V::Distance* distances, int64_t* labels,
                 const SearchOptions& options) {
    const BasicIndex<V>& index = shared.core();
    given.use(index, [&](const typename V::Component* x, bool onGpu) { index.search(given.n, x, k, distances, labels, options, onGpu); });
}

} // namespace faiss_vision
