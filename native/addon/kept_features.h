#pragma once

#include <napi.h>

#include "vision/device_features.h"

namespace faiss_vision {

/// { handle, device, count, dimension }: what lib/device-features.ts wraps. The handle is addon/device_vectors.h's External, which gives
/// the memory back when it is collected, or released before.
Napi::Value keptFeatures(Napi::Env env, DeviceFeatures features);

/// Binding: (handle), a promise of count x dimension numbers.
Napi::Value readFeatures(const Napi::CallbackInfo& info);

/// Binding: (handle). Calls that are under way keep the memory until they are done.
Napi::Value releaseFeatures(const Napi::CallbackInfo& info);

} // namespace faiss_vision
