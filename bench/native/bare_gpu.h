#pragma once

#include <memory>

#include <faiss/Index.h>
#include <napi.h>

/// FAISS's own flat index on a GPU and nothing else: what a search on a GPU is measured against.
std::unique_ptr<faiss::Index> makeBareGpuFlat(int d, faiss::MetricType metric, int device);

/// gpuReadMicroseconds and holdGpuMemory.
void defineBareGpu(Napi::Env env, Napi::Object exports);
