#include <napi.h>
#include <omp.h>

#include <faiss/Index.h>
#include <faiss/utils/utils.h>

#include "addon/ann_binding.h"
#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/gpu_argument.h"
#include "addon/index_binding.h"
#include "addon/threads.h"
#include "ann/blas.h"
#include "ann/byte_kernels.h"

namespace faiss_vision {
namespace {

void prepareThread() {
    // OpenMP keeps the number for each thread by itself.
    if (const int threads = threadSetting()) omp_set_num_threads(threads);
}

Napi::Value info(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto object = Napi::Object::New(env);
    object.Set("faiss", std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) + "." +
                            std::to_string(FAISS_VERSION_PATCH));
    object.Set("simd", faiss::get_compile_options());
    object.Set("kernels", bytes::chosen().name);
    const BlasInfo blas = blasInfo();
    object.Set("blas", blas.config);
    object.Set("blasKernels", blas.kernels);
    const int set = threadSetting();
    object.Set("threads", set != 0 ? set : omp_get_max_threads());
    return object;
}

/// Apart, because to ask for GPUs starts CUDA.
Napi::Value cuda(const Napi::CallbackInfo& info) { return gpuInfoObject(info.Env()); }

/// (bytes)
Napi::Value setCudaMemory(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        constexpr double kMost = 1536.0 * (1 << 20); // FAISS's own
        const double bytes = numberArgument(info[0], "bytes");
        if (!(bytes >= 0 && bytes <= kMost)) refuse("bytes", "from 0 to 1.5 GiB", info[0]);
        setGpuTemporaryMemory(size_t(bytes));
        return info.Env().Undefined();
    });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
    Environment::open(env, prepareThread);
    exports.Set("Ann", AnnBinding::define(env));
    exports.Set("Index", IndexBinding<FloatVectors>::define(env, "Index"));
    exports.Set("BinaryIndex", IndexBinding<BinaryVectors>::define(env, "BinaryIndex"));
    exports.Set("scratch", Environment::of(env).makeScratch());
    exports.Set("close", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { Environment::close(info); }, "close"));
    exports.Set("setThreads", Napi::Function::New(env, setThreads, "setThreads"));
    exports.Set("info", Napi::Function::New(env, info, "info"));
    exports.Set("cuda", Napi::Function::New(env, cuda, "cuda"));
    exports.Set("setCudaMemory", Napi::Function::New(env, setCudaMemory, "setCudaMemory"));
    return exports;
}

} // namespace
} // namespace faiss_vision

static Napi::Object initAnn(Napi::Env env, Napi::Object exports) { return faiss_vision::init(env, exports); }
NODE_API_MODULE(ann, initAnn)
