// FAISS's own GPU index and nothing else, called on the JavaScript thread: what a search on a GPU is measured against.

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include <faiss/gpu/GpuIndexFlat.h>
#include <faiss/gpu/StandardGpuResources.h>
#include <napi.h>

#include "bare_gpu.h"
#include "gpu_read.h"

namespace {

class BareGpuFlat : public Napi::ObjectWrap<BareGpuFlat> {
public:
    static Napi::Function define(Napi::Env env) {
        return DefineClass(env, "BareGpuFlat", {InstanceMethod<&BareGpuFlat::add>("add"), InstanceMethod<&BareGpuFlat::search>("search"),
                                              InstanceMethod<&BareGpuFlat::labels>("labels")});
    }

    /// (dimension, metric, device)
    explicit BareGpuFlat(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BareGpuFlat>(info) {
        const int d = info[0].As<Napi::Number>();
        faiss::gpu::GpuIndexFlatConfig config;
        config.device = info[2].As<Napi::Number>();
        const auto metric = info[1].As<Napi::String>().Utf8Value() == "l2" ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT;
        index_ = std::make_unique<faiss::gpu::GpuIndexFlat>(&resources_, d, metric, config);
    }

private:
    Napi::Value add(const Napi::CallbackInfo& info) {
        const auto vectors = info[0].As<Napi::Float32Array>();
        index_->add(int64_t(vectors.ElementLength()) / index_->d, vectors.Data());
        return info.Env().Undefined();
    }

    /// (queries, k): microseconds of the C++ call alone.
    Napi::Value search(const Napi::CallbackInfo& info) {
        const auto queries = info[0].As<Napi::Float32Array>();
        const int64_t k = info[1].As<Napi::Number>();
        const int64_t n = int64_t(queries.ElementLength()) / index_->d;
        distances_.resize(n * k);
        labels_.resize(n * k);
        const auto start = std::chrono::steady_clock::now();
        index_->search(n, queries.Data(), k, distances_.data(), labels_.data());
        const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
        return Napi::Number::New(info.Env(), time.count());
    }

    /// (): the labels of the last search.
    Napi::Value labels(const Napi::CallbackInfo& info) {
        auto result = Napi::BigInt64Array::New(info.Env(), labels_.size());
        std::copy(labels_.begin(), labels_.end(), result.Data());
        return result;
    }

    faiss::gpu::StandardGpuResources resources_;
    std::unique_ptr<faiss::gpu::GpuIndexFlat> index_; // ends before what it uses
    std::vector<float> distances_;
    std::vector<int64_t> labels_;
};

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

void defineBareGpu(Napi::Env env, Napi::Object exports) {
    exports.Set("BareGpuFlat", BareGpuFlat::define(env));
    exports.Set("holdGpuMemory", Napi::Function::New(env, hold, "holdGpuMemory"));
    exports.Set("gpuReadMicroseconds", Napi::Function::New(env, read, "gpuReadMicroseconds"));
}
