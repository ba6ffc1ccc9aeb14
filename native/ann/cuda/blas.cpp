// The functions of cuBLAS that FAISS calls. They find the library when the first is called, not when the addon is
// loaded: it is large, is needed only where there is a GPU, and where it is absent this says so.
#include <cublas_v2.h>
#include <dlfcn.h>

#include <string>

#include "ann/cuda/device.h"
#include "error.h"

namespace faiss_vision {
namespace {

const std::string kName = "libcublas.so." + std::to_string(CUBLAS_VER_MAJOR);

struct Library {
    // By name alone: beside the addon, in the folders of its run path, where the system looks, or the one that is loaded already.
    Library() : handle(dlopen(kName.c_str(), RTLD_NOW | RTLD_LOCAL)) {
        if (handle == nullptr) problem = dlerror();
    }
    void* handle;
    std::string problem;
};

const Library& library() {
    static const Library library; // stays until the process ends
    return library;
}

template <class Function>
Function find(const char* name) {
    if (library().handle == nullptr) throw Error("ERR_CUDA_UNAVAILABLE", "cuBLAS cannot be used: " + library().problem);
    void* const found = dlsym(library().handle, name);
    if (found == nullptr) throw Error("ERR_CUDA_UNAVAILABLE", kName + " has no " + name);
    return reinterpret_cast<Function>(found);
}

/// FAISS ends the process over any status but success; lack of memory is nothing to die of.
cublasStatus_t checked(cublasStatus_t status) {
    if (status == CUBLAS_STATUS_ALLOC_FAILED) throw CudaOutOfMemory();
    return status;
}

} // namespace

std::string blasProblem() { return library().problem; }

std::string blasVersion() {
    if (library().handle == nullptr) return "";
    int parts[3];
    const auto get = find<decltype(&cublasGetProperty)>("cublasGetProperty");
    const libraryPropertyType types[] = {MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
    for (int i = 0; i < 3; i++) {
        if (get(types[i], &parts[i]) != CUBLAS_STATUS_SUCCESS) return "";
    }
    return std::to_string(parts[0]) + "." + std::to_string(parts[1]) + "." + std::to_string(parts[2]);
}

} // namespace faiss_vision

#define FORWARD(name, parameters, arguments)                                              \
    extern "C" cublasStatus_t name parameters {                                           \
        static const auto real = faiss_vision::find<cublasStatus_t(*) parameters>(#name); \
        return faiss_vision::checked(real arguments);                                     \
    }

extern "C" cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    static const auto real = faiss_vision::find<cublasStatus_t (*)(cublasHandle_t*)>("cublasCreate_v2");
    const cublasStatus_t status = faiss_vision::checked(real(handle));
    if (status != CUBLAS_STATUS_SUCCESS) throw faiss_vision::Error("ERR_CUDA_UNAVAILABLE", "cuBLAS cannot be started: status " + std::to_string(status));
    return status;
}
extern "C" cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) { // called by destructors, which must not throw
    static const auto real = faiss_vision::find<cublasStatus_t (*)(cublasHandle_t)>("cublasDestroy_v2");
    return real(handle);
}
FORWARD(cublasSetStream_v2, (cublasHandle_t handle, cudaStream_t stream), (handle, stream))
FORWARD(cublasGetMathMode, (cublasHandle_t handle, cublasMath_t* mode), (handle, mode))
FORWARD(cublasSetMathMode, (cublasHandle_t handle, cublasMath_t mode), (handle, mode))
FORWARD(cublasSgemmEx,
        (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, const float* alpha, const void* A,
         cudaDataType Atype, int lda, const void* B, cudaDataType Btype, int ldb, const float* beta, void* C, cudaDataType Ctype, int ldc),
        (handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc))
FORWARD(cublasGemmEx,
        (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, const void* alpha, const void* A,
         cudaDataType Atype, int lda, const void* B, cudaDataType Btype, int ldb, const void* beta, void* C, cudaDataType Ctype, int ldc,
         cublasComputeType_t computeType, cublasGemmAlgo_t algo),
        (handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc, computeType, algo))
FORWARD(cublasGemmStridedBatchedEx,
        (cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k, const void* alpha, const void* A,
         cudaDataType Atype, int lda, long long int strideA, const void* B, cudaDataType Btype, int ldb, long long int strideB, const void* beta,
         void* C, cudaDataType Ctype, int ldc, long long int strideC, int batchCount, cublasComputeType_t computeType, cublasGemmAlgo_t algo),
        (handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta, C, Ctype, ldc, strideC, batchCount,
         computeType, algo))
