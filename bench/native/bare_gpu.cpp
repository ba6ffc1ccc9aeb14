#include "bare_gpu.h"

#include <memory>

#include <faiss/gpu/GpuIndexFlat.h>
#include <faiss/gpu/StandardGpuResources.h>

#include "gpu_read.h"

namespace {

/// (device, bytes): microseconds.
Napi::Value read(const Napi::CallbackInfo& info) {
    try {
        return Napi::Number::New(info.Env(), readMicroseconds(info[0].As<Napi::Number>(), size_t(double(info[1].As<Napi::Number>()))));
    } catch (const std::exception& error) {
        throw Napi::Error::New(info.Env(), error.what());
    }
}

/// (device, bytes): takes all memory of a GPU but so many bytes; `release()` of what it gives gives it back.
Napi::Value hold(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    std::shared_ptr<void> held;
    try {
        held = holdGpuMemory(info[0].As<Napi::Number>(), size_t(double(info[1].As<Napi::Number>())));
    } catch (const std::exception& error) {
        throw Napi::Error::New(env, error.what());
    }
    auto object = Napi::Object::New(env);
    object.Set("release", Napi::Function::New(env, [held](const Napi::CallbackInfo&) mutable { held.reset(); }));
    return object;
}

} // namespace

std::unique_ptr<faiss::Index> makeBareGpuFlat(int d, faiss::MetricType metric, int device) {
    faiss::gpu::StandardGpuResources resources; // the index keeps what is inside
    faiss::gpu::GpuIndexFlatConfig config;
    config.device = device;
    return std::make_unique<faiss::gpu::GpuIndexFlat>(&resources, d, metric, config);
}

void defineBareGpu(Napi::Env env, Napi::Object exports) {
    exports.Set("holdGpuMemory", Napi::Function::New(env, hold, "holdGpuMemory"));
    exports.Set("gpuReadMicroseconds", Napi::Function::New(env, read, "gpuReadMicroseconds"));
}
