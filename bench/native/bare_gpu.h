#pragma once

#include <napi.h>

/// BareGpuFlat and gpuReadMicroseconds.
void defineBareGpu(Napi::Env env, Napi::Object exports);
