#pragma once

#include <napi.h>

#include "ann/gpu.h"

namespace faiss_vision {

constexpr int kMostGpus = 999; // as many as lib/device.ts reads

/// (devices, shards, float16): numbers of GPUs, and two booleans.
GpuPlacement placementArgument(const Napi::Value& devices, const Napi::Value& shards, const Napi::Value& float16);

/// What info() says of GPUs.
Napi::Object gpuInfoObject(Napi::Env env);

} // namespace faiss_vision
