#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <napi.h>

namespace faiss_vision {

/// The class behind lib/ann/ann.ts.
class AnnBinding : public Napi::ObjectWrap<AnnBinding> {
public:
    static Napi::Function define(Napi::Env env);

    /// ({ dimension, threshold, k, metric, device }), or () for one that `load` fills.
    explicit AnnBinding(const Napi::CallbackInfo& info);
    void Finalize(Napi::BasicEnv env) override;

private:
    struct Shared; // the index and its queue; lives on while a task uses it

    Napi::Value add(const Napi::CallbackInfo& info);
    Napi::Value addSync(const Napi::CallbackInfo& info);
    Napi::Value search(const Napi::CallbackInfo& info);
    Napi::Value searchSync(const Napi::CallbackInfo& info);
    Napi::Value erase(const Napi::CallbackInfo& info);
    Napi::Value clear(const Napi::CallbackInfo& info);
    Napi::Value save(const Napi::CallbackInfo& info);
    Napi::Value load(const Napi::CallbackInfo& info);
    Napi::Value close(const Napi::CallbackInfo& info);
    Napi::Value size(const Napi::CallbackInfo& info);
    Napi::Value describe(const Napi::CallbackInfo& info);

    Shared& open() const;
    using Result = std::function<Napi::Value(Napi::Env)>;
    Napi::Value change(const Napi::CallbackInfo& info, std::function<void()> work, Result result,
                       const std::vector<Napi::Value>& held = {});
    void accountMemory(Napi::BasicEnv env);

    std::shared_ptr<Shared> shared_;
    bool closed_ = false;
    int64_t accounted_ = 0; // bytes that V8 was told of, so that it collects forgotten indexes in time
};

} // namespace faiss_vision
