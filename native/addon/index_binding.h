#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <napi.h>

#include "addon/environment.h"
#include "addon/shared_index.h"
#include "ann/basic_index.h"

namespace faiss_vision {

/// The class behind lib/ann/base-index.ts, for vectors of floats or of bits. Every operation takes `sync` first: true
/// does it on the calling thread and returns its result, false returns a promise.
template <class Vectors>
class IndexBinding : public Napi::ObjectWrap<IndexBinding<Vectors>> {
public:
    using Core = BasicIndex<Vectors>;

    static Napi::Function define(Napi::Env env, const char* name);

    /// (dimension, description, metric, exact, devices, shards, float16), or (key) of one that another environment shares, or () for one to be read.
    explicit IndexBinding(const Napi::CallbackInfo& info);
    void Finalize(Napi::BasicEnv env) override;

private:
    using Shared = SharedIndex<Vectors>;

    Napi::Value load(const Napi::CallbackInfo& info);
    Napi::Value fromBuffer(const Napi::CallbackInfo& info);
    Napi::Value train(const Napi::CallbackInfo& info);
    Napi::Value add(const Napi::CallbackInfo& info);
    Napi::Value search(const Napi::CallbackInfo& info);
    Napi::Value searchScratch(const Napi::CallbackInfo& info);
    Napi::Value rangeSearch(const Napi::CallbackInfo& info);
    Napi::Value remove(const Napi::CallbackInfo& info);
    Napi::Value reconstruct(const Napi::CallbackInfo& info);
    Napi::Value mergeFrom(const Napi::CallbackInfo& info);
    Napi::Value reset(const Napi::CallbackInfo& info);
    Napi::Value get(const Napi::CallbackInfo& info);
    Napi::Value set(const Napi::CallbackInfo& info);
    Napi::Value describe(const Napi::CallbackInfo& info);
    Napi::Value to(const Napi::CallbackInfo& info);
    Napi::Value save(const Napi::CallbackInfo& info);
    Napi::Value toBuffer(const Napi::CallbackInfo& info);
    Napi::Value close(const Napi::CallbackInfo& info);

    Napi::Value cancel(const Napi::CallbackInfo& info);
    Napi::Value share(const Napi::CallbackInfo& info);
    Napi::Value limit(const Napi::CallbackInfo& info);
    Napi::Value size(const Napi::CallbackInfo& info);
    Napi::Value trained(const Napi::CallbackInfo& info);
    Napi::Value waiting(const Napi::CallbackInfo& info);
    Napi::Value about(const Napi::CallbackInfo& info);

    Shared& open() const;
    using Result = std::function<Napi::Value(Napi::Env)>;
    Napi::Value read(const Napi::CallbackInfo& info, std::function<void()> work, Result result,
                     const std::vector<Napi::Value>& held = {}, double ticket = 0);
    Napi::Value change(const Napi::CallbackInfo& info, std::function<void()> work, Result result, std::vector<Napi::Value> held = {});
    Environment::Submission submission(double ticket = 0) const;
    void accountMemory(Napi::BasicEnv env);

    std::shared_ptr<Shared> shared_;
    bool closed_ = false;
    bool attached_ = false;
    size_t limit_ = std::numeric_limits<size_t>::max();
    int64_t accounted_ = 0; // bytes that V8 was told of, so that it collects forgotten indexes in time
};

} // namespace faiss_vision
