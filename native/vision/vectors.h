#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define FAISS_VISION_X86 1
#define FAISS_VISION_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define FAISS_VISION_AVX2 __attribute__((target("avx2,fma")))
#define FAISS_VISION_VARIANTS {avx512, avx2, baseline}
#else
#define FAISS_VISION_VARIANTS {baseline}
#endif

// Code that is inlined into a variant is compiled for that variant's instruction set.
#define ALWAYS_INLINE [[gnu::always_inline]] inline

/// Loops that are compiled for several instruction sets.
namespace faiss_vision::vectors {

/// GCC's vector of Lanes numbers: the compiler maps it to the registers of the instruction set at hand.
template <class T, int Lanes>
struct VectorOf {
    typedef T type __attribute__((vector_size(Lanes * sizeof(T)), aligned(alignof(T)), may_alias));
};
template <int Lanes>
using Floats = typename VectorOf<float, Lanes>::type;

template <class V, class T>
ALWAYS_INLINE const V& load(const T* from) {
    return *reinterpret_cast<const V*>(from);
}
template <class V>
ALWAYS_INLINE V& at(float* to) {
    return *reinterpret_cast<V*>(to);
}

/// Of variants named as in FAISS_VISION_VARIANTS those that this processor can run, in their order.
template <class Variant>
std::vector<Variant> runnable(std::initializer_list<Variant> variants) {
    bool avx512 = false, avx2 = false;
#ifdef FAISS_VISION_X86
    __builtin_cpu_init();
    avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#endif
    std::vector<Variant> result;
    for (const Variant& variant : variants) {
        const std::string name = variant.name;
        if (name == "avx512" ? avx512 : name == "avx2" ? avx2 : true) result.push_back(variant);
    }
    return result;
}

} // namespace faiss_vision::vectors
