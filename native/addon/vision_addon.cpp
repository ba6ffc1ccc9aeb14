#include <chrono>
#include <memory>
#include <string>

#include <ATen/Parallel.h>
#include <napi.h>
#include <omp.h>
#include <torch/version.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef FAISS_VISION_CUDA
#include <cuda_runtime_api.h>
#endif

#include "addon/arguments.h"
#include "addon/depth_binding.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/face_binding.h"
#include "addon/kept_features.h"
#include "addon/threads.h"
#include "vision/device.h"

namespace faiss_vision {
namespace {

/// torch's own default counts physical cores and takes some virtual machines for one; OpenMP's is what search uses too.
int threadCount() {
    static const int available = omp_get_max_threads();
    const int set = threadSetting();
    return set != 0 ? set : available;
}

void prepareThread() {
    const int wanted = threadCount();
    if (at::get_num_threads() == wanted) return; // which also lets torch set its own number first, once for each thread
    // Where torch runs on OpenMP, that is all it asks. at::set_num_threads would also start threads of a pool that
    // nothing here uses, and that hangs when the process ends.
    omp_set_num_threads(wanted);
    if (at::get_num_threads() != wanted) at::set_num_threads(wanted);
}

Napi::Value info(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto object = Napi::Object::New(env);
    object.Set("torch", TORCH_VERSION);
    object.Set("threads", threadCount());
#ifdef FAISS_VISION_CUDA
    object.Set("cuda", std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10));
#endif
    return object;
}

/// Binding: checkDevice(name), a promise that rejects where nothing can be computed there. It may take a driver's start.
Napi::Value checkDevice(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return Environment::of(info.Env()).submit(
            Environment::of(info.Env()).makeQueue(), [name = stringArgument(info[0], "device")] { Device::open(name, Precision::Fp32); },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); });
    });
}

/// Binding: detach(buffer). Of memory that cannot be, garbage collection disposes.
void detach(const Napi::CallbackInfo& info) {
    if (info[0].IsArrayBuffer()) napi_detach_arraybuffer(info.Env(), info[0]);
}

/// Binding: giveBackMemory(), a promise of milliseconds. It may take a while where much lies in pieces.
Napi::Value giveBackMemory(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const auto took = std::make_shared<double>(0);
        const auto giveBack = [took] {
#ifdef __GLIBC__
            const auto begin = std::chrono::steady_clock::now();
            ::malloc_trim(0);
            *took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
#endif
        };
        Environment& environment = Environment::of(info.Env());
        return environment.submit(environment.makeQueue(), giveBack, [took](Napi::Env env, Napi::Value) { return Napi::Number::New(env, *took); });
    });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
    Environment::open(env, prepareThread);
    exports.Set("DepthEstimator", DepthBinding::define(env));
    exports.Set("FaceRecognizer", FaceBinding::define(env));
    exports.Set("readFeatures", Napi::Function::New(env, readFeatures, "readFeatures"));
    exports.Set("releaseFeatures", Napi::Function::New(env, releaseFeatures, "releaseFeatures"));
    exports.Set("checkDevice", Napi::Function::New(env, checkDevice, "checkDevice"));
    exports.Set("detach", Napi::Function::New(env, detach, "detach"));
    exports.Set("giveBackMemory", Napi::Function::New(env, giveBackMemory, "giveBackMemory"));
    exports.Set("close", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { Environment::close(info); }, "close"));
    exports.Set("setThreads", Napi::Function::New(env, setThreads, "setThreads"));
    exports.Set("info", Napi::Function::New(env, info, "info"));
    return exports;
}

} // namespace
} // namespace faiss_vision

static Napi::Object initVision(Napi::Env env, Napi::Object exports) { return faiss_vision::init(env, exports); }
NODE_API_MODULE(vision, initVision)
