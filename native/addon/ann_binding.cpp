#include "addon/ann_binding.h"

#include <atomic>
#include <limits>
#include <optional>
#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/gpu_argument.h"
#include "addon/metrics.h"
#include "ann/ann.h"

namespace faiss_vision {

struct AnnBinding::Shared {
    explicit Shared(std::shared_ptr<Queue> queue) : queue(std::move(queue)) {}

    /// After each change, on the thread that made it: what size and memory say meanwhile needs no turn in the queue.
    void changed() {
        size = ann ? ann->size() : 0;
        bytes = ann ? int64_t(ann->bytes()) : 0;
    }

    const std::shared_ptr<Queue> queue;
    std::optional<ANN> ann;
    int dimension = 0;
    int k = 0;
    std::atomic<int64_t> size{0};
    std::atomic<int64_t> bytes{0};
};

namespace {

// Results lie in arrays that JavaScript owns from the start, and are written in place.
struct SearchResult {
    struct Memory {
        void search(const ANN& ann, const float* queries) const { ann.search(n, queries, indices, scores, found); }
        int64_t n;
        int64_t* indices;
        float* scores;
        uint8_t* found;
    };

    SearchResult(Napi::Env env, int64_t n, int k)
        : indices(Napi::BigInt64Array::New(env, n * k)), scores(Napi::Float32Array::New(env, n * k)),
          found(Napi::Uint8Array::New(env, n)), object(Napi::Object::New(env)) {
        object.Set("indices", indices);
        object.Set("scores", scores);
        object.Set("found", found);
    }

    Memory memory(int64_t n) { return {n, indices.Data(), scores.Data(), found.Data()}; }

    Napi::BigInt64Array indices;
    Napi::Float32Array scores;
    Napi::Uint8Array found;
    Napi::Object object;
};

struct AddArguments {
    // The ids first: reading them may run a caller's code, which may take the vectors' memory away.
    AddArguments(const Napi::CallbackInfo& info, int dimension)
        : ids(info[1].IsUndefined() ? std::nullopt : std::make_optional(idsArgument(info[1], "ids"))),
          vectors(vectorsArgument(info[0], "vectors", dimension)), n(int64_t(vectors.size()) / dimension) {
        if (ids && int64_t(ids->size()) != n) {
            throw Error("ERR_INVALID_ARGUMENT", "`ids` must be as many as the vectors, " + std::to_string(n) + ", got " + std::to_string(ids->size()));
        }
    }

    std::vector<int64_t> addTo(ANN& ann) const { return ann.add(n, vectors.data(), ids ? ids->data() : nullptr); }

    std::optional<std::vector<int64_t>> ids;
    Input<float> vectors;
    int64_t n;
};

Napi::Value idArray(Napi::Env env, const std::vector<int64_t>& ids) {
    auto array = Napi::Array::New(env, ids.size());
    for (size_t i = 0; i < ids.size(); i++) {
        const Napi::HandleScope scope(env);
        array.Set(uint32_t(i), Napi::Number::New(env, double(ids[i])));
    }
    return array;
}

} // namespace

Napi::Function AnnBinding::define(Napi::Env env) {
    return DefineClass(env, "Ann", {
        InstanceMethod<&AnnBinding::add>("add"), InstanceMethod<&AnnBinding::addSync>("addSync"),
        InstanceMethod<&AnnBinding::search>("search"), InstanceMethod<&AnnBinding::searchSync>("searchSync"),
        InstanceMethod<&AnnBinding::erase>("erase"), InstanceMethod<&AnnBinding::clear>("clear"),
        InstanceMethod<&AnnBinding::save>("save"), InstanceMethod<&AnnBinding::load>("load"),
        InstanceMethod<&AnnBinding::close>("close"), InstanceMethod<&AnnBinding::size>("size"),
        InstanceMethod<&AnnBinding::describe>("describe"),
    });
}

AnnBinding::AnnBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<AnnBinding>(info) {
    guarded(info, [&]() -> Napi::Value {
        shared_ = std::make_shared<Shared>(Environment::of(info.Env()).makeQueue());
        if (info[0].IsUndefined()) return info.Env().Undefined();
        if (!info[0].IsObject()) refuse("options", "an object", info[0]);
        const auto options = info[0].As<Napi::Object>();
        const int dimension = int(integerArgument(options.Get("dimension"), "dimension", 1, 1 << 20));
        const double threshold = numberArgument(options.Get("threshold"), "threshold");
        const Napi::Value k = options.Get("k");
        const int kValue = k.IsUndefined() ? 1 : int(integerArgument(k, "k", 1, 1 << 20));
        const Napi::Value metric = options.Get("metric");
        const size_t method = metric.IsUndefined() ? 0 : wordArgument(metric, "metric", {"cosine", "l2"});
        shared_->ann.emplace(dimension, kValue, threshold, method == 0 ? Method::Cosine : Method::Euclidean, exactArgument(options.Get("exact")));
        if (!info[1].IsUndefined()) shared_->ann->searchOnGpu(int(integerArgument(info[1], "device", 0, kMostGpus)));
        shared_->dimension = dimension;
        shared_->k = kValue;
        return info.Env().Undefined();
    });
}

void AnnBinding::Finalize(Napi::BasicEnv env) {
    shared_.reset();
    accountMemory(env);
}

void AnnBinding::accountMemory(Napi::BasicEnv env) {
    const int64_t now = shared_ == nullptr ? 0 : shared_->bytes.load();
    Napi::MemoryManagement::AdjustExternalMemory(env, now - accounted_);
    accounted_ = now;
}

AnnBinding::Shared& AnnBinding::open() const {
    if (closed_) throw Error("ERR_CLOSED", "this Ann was closed");
    return *shared_;
}

Napi::Value AnnBinding::change(const Napi::CallbackInfo& info, std::function<void()> work, Result result,
                               const std::vector<Napi::Value>& held) {
    std::vector<Napi::Value> all = held;
    all.push_back(info.This()); // so that `this` is still there when the memory is accounted for
    return Environment::of(info.Env()).submit(
        open().queue,
        [shared = shared_, work = std::move(work)] {
            work();
            shared->changed();
        },
        [this, result = std::move(result)](Napi::Env env, Napi::Value) {
            accountMemory(env);
            return result(env);
        },
        all);
}

Napi::Value AnnBinding::add(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        auto arguments = std::make_shared<AddArguments>(info, open().dimension);
        const auto held = arguments->vectors.takeHeld();
        const auto ids = std::make_shared<std::vector<int64_t>>();
        return change(
            info, [shared = shared_, arguments, ids] { *ids = arguments->addTo(*shared->ann); },
            [ids](Napi::Env env) { return idArray(env, *ids); }, held);
    });
}

Napi::Value AnnBinding::addSync(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        const AddArguments arguments(info, open().dimension);
        std::vector<int64_t> ids;
        shared_->queue->runNow([&] {
            ids = arguments.addTo(*shared_->ann);
            shared_->changed();
        });
        accountMemory(info.Env());
        return idArray(info.Env(), ids);
    });
}

Napi::Value AnnBinding::search(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const auto vectors = std::make_shared<Input<float>>(vectorsArgument(info[0], "vectors", open().dimension));
        const int64_t n = int64_t(vectors->size()) / shared_->dimension;
        SearchResult into(info.Env(), n, shared_->k);
        std::vector<Napi::Value> held{into.object}; // and with it its arrays
        for (const auto& value : vectors->takeHeld()) held.push_back(value);
        return Environment::of(info.Env()).submit(
            shared_->queue, [shared = shared_, vectors, into = into.memory(n)] { into.search(*shared->ann, vectors->data()); },
            [](Napi::Env, Napi::Value object) { return object; }, held);
    });
}

Napi::Value AnnBinding::searchSync(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        const auto vectors = vectorsArgument(info[0], "vectors", open().dimension);
        const int64_t n = int64_t(vectors.size()) / shared_->dimension;
        SearchResult into(info.Env(), n, shared_->k);
        shared_->queue->runNow([&] { into.memory(n).search(*shared_->ann, vectors.data()); });
        return Napi::Value(into.object);
    });
}

Napi::Value AnnBinding::erase(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const auto ids = std::make_shared<std::vector<int64_t>>(idsArgument(info[0], "ids"));
        const auto erased = std::make_shared<int64_t>(0);
        return change(
            info, [shared = shared_, ids, erased] { *erased = shared->ann->erase(int64_t(ids->size()), ids->data()); },
            [erased](Napi::Env env) { return Napi::Number::New(env, double(*erased)); });
    });
}

Napi::Value AnnBinding::clear(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return change(info, [shared = shared_] { shared->ann->clear(); }, [](Napi::Env env) { return env.Undefined(); });
    });
}

Napi::Value AnnBinding::save(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return change(info, [shared = shared_, path = stringArgument(info[0], "path")] { shared->ann->save(path); },
                      [](Napi::Env env) { return env.Undefined(); });
    });
}

Napi::Value AnnBinding::load(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return change(
            info,
            [shared = shared_, path = stringArgument(info[0], "path"),
             gpu = info[1].IsUndefined() ? -1 : int(integerArgument(info[1], "device", 0, kMostGpus))] {
                ANN ann = ANN::load(path);
                if (gpu >= 0) ann.searchOnGpu(gpu);
                shared->ann.emplace(std::move(ann));
                shared->dimension = shared->ann->dimension();
                shared->k = shared->ann->kValue();
            },
            [](Napi::Env env) { return env.Undefined(); });
    });
}

Napi::Value AnnBinding::close(const Napi::CallbackInfo& info) {
    return promised(info, [&]() -> Napi::Value {
        const auto promise = change(info, [shared = shared_] { shared->ann.reset(); }, [](Napi::Env env) { return env.Undefined(); });
        closed_ = true;
        return promise;
    });
}

Napi::Value AnnBinding::size(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), double(shared_->size));
}

Napi::Value AnnBinding::describe(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        open();
        auto object = Napi::Object::New(info.Env());
        object.Set("dimension", shared_->dimension);
        object.Set("k", shared_->k);
        object.Set("threshold", shared_->ann->threshold());
        object.Set("metric", shared_->ann->method() == Method::Cosine ? "cosine" : "l2");
        object.Set("bytes", double(shared_->bytes));
        return object;
    });
}

} // namespace faiss_vision
