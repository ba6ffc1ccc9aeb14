#include "ann/blas.h"

#include <cstdlib>
#include <cstring>

#ifdef FAISS_VISION_STATIC_OPENBLAS

extern "C" char* openblas_get_config();
extern "C" char* openblas_get_corename();

// OpenBLAS knows processors by model number and takes one that is newer than itself for a Haswell, at half the speed;
// it reads OPENBLAS_CORETYPE in a constructor, before any code of ours could call it. So the linker (--wrap=getenv)
// sends its questions here. The answer does not depend on OPENBLAS_CORETYPE, which is set for every OpenBLAS of a
// machine at once, often for the sake of another one: this one is ours alone, and FAISS_VISION_BLAS_KERNELS is its own.
extern "C" char* __real_getenv(const char* name);
extern "C" char* __wrap_getenv(const char* name);

extern "C" char* __wrap_getenv(const char* name) {
    if (std::strcmp(name, "OPENBLAS_CORETYPE") != 0) return __real_getenv(name);
    if (char* const chosen = __real_getenv("FAISS_VISION_BLAS_KERNELS")) return chosen;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd")) {
        static char avx512Kernels[] = "SkylakeX";
        return avx512Kernels;
    }
#endif
    return nullptr; // its own choice
}

// a // b of Fortran, which LAPACK's Fortran calls to name a variant of a routine: the one thing of GCC's Fortran library
// that is needed here. Strings are padded with blanks there.
extern "C" void _gfortran_concat_string(size_t length, char* out, size_t lengthA, const char* a, size_t lengthB, const char* b) {
    for (size_t i = 0; i < length; ++i) out[i] = i < lengthA ? a[i] : i - lengthA < lengthB ? b[i - lengthA] : ' ';
}

namespace faiss_vision {

BlasInfo blasInfo() { return {openblas_get_config(), openblas_get_corename()}; }

} // namespace faiss_vision

#else

// Weak: absent where FAISS was linked with another BLAS.
extern "C" __attribute__((weak)) char* openblas_get_config();
extern "C" __attribute__((weak)) char* openblas_get_corename();

namespace faiss_vision {

BlasInfo blasInfo() {
    BlasInfo info;
    if (openblas_get_config != nullptr) info.config = openblas_get_config();
    if (openblas_get_corename != nullptr) info.kernels = openblas_get_corename();
    return info;
}

} // namespace faiss_vision

#endif
