#include "addon/gpu_argument.h"

#include "addon/arguments.h"
#include "error.h"

namespace faiss_vision {

GpuPlacement placementArgument(const Napi::Value& devices, const Napi::Value& shards, const Napi::Value& float16) {
    GpuPlacement placement;
    if (!devices.IsArray() || devices.As<Napi::Array>().Length() == 0) refuse("device", "one or more GPUs", devices);
    const auto array = devices.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) placement.devices.push_back(int(integerArgument(array.Get(i), "device", 0, kMostGpus)));
    placement.shards = shards.ToBoolean();
    placement.float16 = float16.ToBoolean();
    return placement;
}

Napi::Object gpuInfoObject(Napi::Env env) {
    const GpuInfo info = gpuInfo();
    auto object = Napi::Object::New(env);
    const auto text = [&](const char* name, const std::string& value) {
        if (!value.empty()) object.Set(name, value);
    };
    text("driver", info.driver);
    text("runtime", info.runtime);
    text("cublas", info.blas);
    text("architectures", info.architectures);
    text("reason", info.reason);
    auto devices = Napi::Array::New(env);
    for (const GpuDevice& device : info.devices) {
        auto entry = Napi::Object::New(env);
        entry.Set("device", "cuda:" + std::to_string(device.number));
        entry.Set("name", device.name);
        entry.Set("capability", device.capability);
        entry.Set("memory", double(device.memory));
        entry.Set("free", double(device.free));
        devices.Set(devices.Length(), entry);
    }
    object.Set("devices", devices);
    return object;
}

} // namespace faiss_vision
