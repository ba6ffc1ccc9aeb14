#include "addon/kept_features.h"

#include <memory>
#include <string>
#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"

namespace faiss_vision {
namespace {

struct Kept : DeviceVectors {
    explicit Kept(DeviceFeatures made) : features(std::make_unique<const DeviceFeatures>(std::move(made))) {
        const at::Device place = features->device->place();
        device = place.is_cuda() ? int32_t(place.index()) : -1;
        count = features->numbers.size(0);
        dimension = int32_t(features->numbers.size(1));
        hold = [](const DeviceVectors* self) -> void* {
            const auto& kept = static_cast<const Kept*>(self)->features;
            return kept == nullptr ? nullptr : std::make_unique<DeviceFeatures>(*kept).release();
        };
        numbers = [](const void* held) -> const float* { return static_cast<const DeviceFeatures*>(held)->numbers.data_ptr<float>(); };
        read = [](const void* held, float* to) -> const char* {
            static thread_local std::string problem;
            try {
                static_cast<const DeviceFeatures*>(held)->read(to);
                return nullptr;
            } catch (const std::exception& error) {
                problem = error.what();
                return problem.c_str();
            }
        };
        release = [](void* held) { delete static_cast<DeviceFeatures*>(held); };
    }
    int64_t bytes() const { return features == nullptr ? 0 : count * dimension * int64_t(sizeof(float)); }

    std::unique_ptr<const DeviceFeatures> features; // null once they were released
};

/// V8 hears of the memory, so that it collects forgotten features in time.
void give(Napi::BasicEnv env, Kept& kept) {
    Napi::MemoryManagement::AdjustExternalMemory(env, -kept.bytes());
    kept.features.reset();
}

} // namespace

Napi::Value keptFeatures(Napi::Env env, DeviceFeatures features) {
    auto made = std::make_unique<Kept>(std::move(features));
    const auto handle = Napi::External<DeviceVectors>::New(env, made.get(), [](Napi::BasicEnv env, DeviceVectors* vectors) {
        const std::unique_ptr<Kept> kept(static_cast<Kept*>(vectors));
        give(env, *kept);
    });
    const Kept& kept = *made.release();
    Napi::MemoryManagement::AdjustExternalMemory(env, kept.bytes());
    const napi_type_tag tag{kDeviceVectorsTag[0], kDeviceVectorsTag[1]};
    if (napi_type_tag_object(env, handle, &tag) != napi_ok) throw Error("ERR_INTERNAL", "features could not be marked");
    auto object = Napi::Object::New(env);
    object.Set("handle", handle);
    object.Set("device", kept.device < 0 ? "cpu" : "cuda:" + std::to_string(kept.device));
    object.Set("count", double(kept.count));
    object.Set("dimension", kept.dimension);
    return object;
}

Napi::Value readFeatures(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const Kept& kept = *static_cast<Kept*>(info[0].As<Napi::External<DeviceVectors>>().Data());
        if (kept.features == nullptr) throw Error("ERR_CLOSED", "these features were given back by dispose()");
        auto numbers = Napi::Float32Array::New(info.Env(), size_t(kept.count) * size_t(kept.dimension));
        return Environment::of(info.Env()).submit(
            Environment::of(info.Env()).makeQueue(), [features = *kept.features, to = numbers.Data()] { features.read(to); },
            [](Napi::Env, Napi::Value numbers) { return numbers; }, {numbers});
    });
}

Napi::Value releaseFeatures(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        give(info.Env(), *static_cast<Kept*>(info[0].As<Napi::External<DeviceVectors>>().Data()));
        return info.Env().Undefined();
    });
}

} // namespace faiss_vision
