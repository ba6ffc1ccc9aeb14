#include <ATen/Parallel.h>
#include <napi.h>
#include <torch/version.h>

#include "addon/environment.h"
#include "addon/face_binding.h"
#include "addon/threads.h"

namespace faiss_vision {
namespace {

void prepareThread() {
    // torch remembers it for the process, OpenMP for each thread.
    if (const int threads = threadSetting()) at::set_num_threads(threads);
}

Napi::Value info(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto object = Napi::Object::New(env);
    object.Set("torch", TORCH_VERSION);
    const int set = threadSetting();
    object.Set("threads", set != 0 ? set : at::get_num_threads());
    return object;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
    Environment::open(env, prepareThread);
    exports.Set("FaceRecognizer", FaceBinding::define(env));
    exports.Set("setThreads", Napi::Function::New(env, setThreads, "setThreads"));
    exports.Set("info", Napi::Function::New(env, info, "info"));
    return exports;
}

} // namespace
} // namespace faiss_vision

static Napi::Object initVision(Napi::Env env, Napi::Object exports) { return faiss_vision::init(env, exports); }
NODE_API_MODULE(vision, initVision)
