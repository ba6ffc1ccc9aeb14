#pragma once

#include <memory>

#include <napi.h>

namespace faiss_vision {

/// The class behind lib/face/recognizer.ts.
class FaceBinding : public Napi::ObjectWrap<FaceBinding> {
public:
    static Napi::Function define(Napi::Env env);

    /// (NativeFaceRecognizerOptions of lib/addon.ts); the weights are read by `load`.
    explicit FaceBinding(const Napi::CallbackInfo& info);

    struct Shared; // the recogniser and its queue; lives on while a task uses it

private:
    Napi::Value load(const Napi::CallbackInfo& info);
    Napi::Value warmUp(const Napi::CallbackInfo& info);
    Napi::Value faces(const Napi::CallbackInfo& info);
    Napi::Value embed(const Napi::CallbackInfo& info);
    Napi::Value close(const Napi::CallbackInfo& info);

    Shared& open() const;

    std::shared_ptr<Shared> shared_;
    bool closed_ = false;
};

} // namespace faiss_vision
