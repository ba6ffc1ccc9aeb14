// A kernel that does nothing, compiled for the same GPUs as FAISS's: whether a GPU can run it says whether it can run those.
#include <cuda_runtime.h>

namespace faiss_vision {

__global__ void nothing() {}

cudaError_t probeKernel() {
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, nothing);
}

} // namespace faiss_vision
