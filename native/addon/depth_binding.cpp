#include "addon/depth_binding.h"

#include <string>
#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/picture_argument.h"
#include "vision/depth_estimation.h"

namespace faiss_vision {

struct DepthBinding::Shared {
    std::shared_ptr<Queue> queue;
    std::string weights;
    std::string device = "cpu";
    Precision precision = Precision::Fp32;
    std::unique_ptr<DepthEstimation> estimation;
};

namespace {

/// A picture that waits. On a device those that wait beside it go through the network together with it.
class EstimateWork : public Work {
public:
    EstimateWork(std::shared_ptr<DepthBinding::Shared> shared, std::shared_ptr<Picture> picture, float* depths)
        : shared_(std::move(shared)), picture_(std::move(picture)), depths_(depths) {}

    void run() override { runWith({}); }
    bool reads() const override { return true; }
    bool joins(const Work& work) const override {
        return shared_->estimation != nullptr && shared_->estimation->batches() && dynamic_cast<const EstimateWork*>(&work) != nullptr;
    }
    size_t most() const override { return 64; } // frames in page-locked memory at once; more are no faster

    void runWith(const std::vector<Work*>& others) override {
        std::vector<Image> images{picture_->image};
        std::vector<float*> depths{depths_};
        for (Work* const work : others) {
            images.push_back(static_cast<EstimateWork*>(work)->picture_->image);
            depths.push_back(static_cast<EstimateWork*>(work)->depths_);
        }
        shared_->estimation->estimate(images, depths);
    }

private:
    const std::shared_ptr<DepthBinding::Shared> shared_;
    const std::shared_ptr<Picture> picture_;
    float* const depths_;
};

} // namespace

Napi::Function DepthBinding::define(Napi::Env env) {
    return DefineClass(env, "DepthEstimator", {
        InstanceMethod<&DepthBinding::load>("load"), InstanceMethod<&DepthBinding::warmUp>("warmUp"),
        InstanceMethod<&DepthBinding::estimate>("estimate"), InstanceMethod<&DepthBinding::close>("close"),
    });
}

DepthBinding::DepthBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<DepthBinding>(info) {
    guarded(info, [&]() -> Napi::Value {
        if (!info[0].IsObject()) refuse("options", "an object", info[0]);
        const auto options = info[0].As<Napi::Object>();
        shared_ = std::make_shared<Shared>();
        shared_->queue = Environment::of(info.Env()).makeQueue();
        shared_->weights = stringArgument(options.Get("weights"), "weights");
        const Napi::Value device = options.Get("device");
        if (!device.IsUndefined()) shared_->device = stringArgument(device, "device");
        shared_->precision = Precision(wordArgument(options.Get("precision"), "precision", {"fp32", "bf16", "fp16"})); // in the enumeration's order
        return info.Env().Undefined();
    });
}

DepthBinding::Shared& DepthBinding::open() const {
    if (closed_) throw Error("ERR_CLOSED", "this DepthEstimator was closed");
    return *shared_;
}

Napi::Value DepthBinding::load(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return Environment::of(info.Env()).submit(
            open().queue,
            [shared = shared_] {
                const auto device = shared->device == "cpu" ? nullptr : Device::open(shared->device, shared->precision);
                shared->estimation = std::make_unique<DepthEstimation>(shared->weights, shared->precision, device);
            },
            [shared = shared_](Napi::Env env, Napi::Value) {
                auto object = Napi::Object::New(env);
                object.Set("width", DepthEstimation::kWidth);
                object.Set("height", DepthEstimation::kHeight);
                object.Set("near", shared->estimation->near());
                object.Set("source", shared->estimation->source());
                return object;
            });
    });
}

Napi::Value DepthBinding::warmUp(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const auto picture = std::make_shared<Picture>(info[0]);
        return Environment::of(info.Env()).submit(
            shared_->queue,
            [shared = shared_, picture] {
                std::vector<float> depths(size_t{DepthEstimation::kWidth} * DepthEstimation::kHeight);
                shared->estimation->estimate(picture->image, depths.data());
            },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); }, picture->bytes.takeHeld());
    });
}

Napi::Value DepthBinding::estimate(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const auto picture = std::make_shared<Picture>(info[0]);
        auto depths = Napi::Float32Array::New(info.Env(), size_t{DepthEstimation::kWidth} * DepthEstimation::kHeight);
        std::vector<Napi::Value> held{depths};
        for (const auto& value : picture->bytes.takeHeld()) held.push_back(value);
        return Environment::of(info.Env()).submit(
            shared_->queue, std::make_unique<EstimateWork>(shared_, picture, depths.Data()),
            [](Napi::Env, Napi::Value depths) { return depths; }, held, {});
    });
}

Napi::Value DepthBinding::close(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const auto promise = Environment::of(info.Env()).submit(
            open().queue, [shared = shared_] { shared->estimation.reset(); },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); });
        closed_ = true;
        return promise;
    });
}

} // namespace faiss_vision
