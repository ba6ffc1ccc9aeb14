#pragma once

#include <memory>

#include <napi.h>

namespace faiss_vision {

/// The class behind lib/depth/estimator.ts.
class DepthBinding : public Napi::ObjectWrap<DepthBinding> {
public:
    static Napi::Function define(Napi::Env env);

    /// ({ weights, precision, device }); the weights are read by `load`.
    explicit DepthBinding(const Napi::CallbackInfo& info);

    struct Shared; // the network and its queue; lives on while a task uses it

private:
    Napi::Value load(const Napi::CallbackInfo& info);
    Napi::Value warmUp(const Napi::CallbackInfo& info);
    Napi::Value estimate(const Napi::CallbackInfo& info);
    Napi::Value close(const Napi::CallbackInfo& info);

    Shared& open() const;

    std::shared_ptr<Shared> shared_;
    bool closed_ = false;
};

} // namespace faiss_vision
