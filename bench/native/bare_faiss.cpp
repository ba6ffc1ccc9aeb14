// FAISS's own index and nothing else, called on the JavaScript thread: what Ann's search is measured against.

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include <faiss/IndexFlat.h>
#include <napi.h>

#ifdef FAISS_VISION_CUDA
#include "bare_gpu.h"
#endif

namespace {

class BareFlat : public Napi::ObjectWrap<BareFlat> {
public:
    static Napi::Function define(Napi::Env env) {
        return DefineClass(env, "BareFlat", {InstanceMethod<&BareFlat::add>("add"), InstanceMethod<&BareFlat::search>("search"),
                                           InstanceMethod<&BareFlat::labels>("labels")});
    }

    /// (dimension, metric, GPU): on the processor without the last, or in a build without CUDA.
    explicit BareFlat(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BareFlat>(info) {
        const int d = info[0].As<Napi::Number>();
#ifdef FAISS_VISION_CUDA
        if (info[2].IsNumber()) {
            const bool l2 = info[1].As<Napi::String>().Utf8Value() == "l2";
            index_ = makeBareGpuFlat(d, l2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT, info[2].As<Napi::Number>());
            return;
        }
#endif
        if (info[1].As<Napi::String>().Utf8Value() == "l2") index_ = std::make_unique<faiss::IndexFlatL2>(d);
        else index_ = std::make_unique<faiss::IndexFlatIP>(d);
    }

private:
    Napi::Value add(const Napi::CallbackInfo& info) {
        const auto vectors = info[0].As<Napi::Float32Array>();
        index_->add(vectors.ElementLength() / index_->d, vectors.Data());
        return info.Env().Undefined();
    }

    /// (queries, k): microseconds of the C++ call alone.
    Napi::Value search(const Napi::CallbackInfo& info) {
        const auto queries = info[0].As<Napi::Float32Array>();
        const int64_t k = info[1].As<Napi::Number>();
        const int64_t n = queries.ElementLength() / index_->d;
        std::vector<float> distances(n * k);
        labels_.resize(n * k);
        const auto start = std::chrono::steady_clock::now();
        index_->search(n, queries.Data(), k, distances.data(), labels_.data());
        const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
        return Napi::Number::New(info.Env(), time.count());
    }

    /// (): the labels of the last search.
    Napi::Value labels(const Napi::CallbackInfo& info) {
        auto result = Napi::BigInt64Array::New(info.Env(), labels_.size());
        std::copy(labels_.begin(), labels_.end(), result.Data());
        return result;
    }

    std::unique_ptr<faiss::Index> index_;
    std::vector<int64_t> labels_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
    exports.Set("BareFlat", BareFlat::define(env));
#ifdef FAISS_VISION_CUDA
    defineBareGpu(env, exports);
#endif
    return exports;
}

} // namespace

NODE_API_MODULE(bench, init)
