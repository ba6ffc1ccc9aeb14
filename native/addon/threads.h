#pragma once

#include <atomic>

#include <napi.h>

#include "addon/arguments.h"
#include "addon/errors.h"

namespace faiss_vision {

/// The one thread setting of this addon, for the whole process; 0 leaves the library's own choice.
inline std::atomic<int>& threadSetting() {
    static std::atomic<int> threads{0};
    return threads;
}

/// Binding: setThreads(n).
inline Napi::Value setThreads(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
        threadSetting() = int(integerArgument(info[0], "threads", 1, 1024));
        return info.Env().Undefined();
    });
}

} // namespace faiss_vision
