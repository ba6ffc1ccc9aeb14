#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <napi.h>

#include "addon/pool.h"
#include "addon/queue.h"

namespace faiss_vision {

/// What one Node environment (the main thread or a worker) has of this addon. Its tasks run on the shared pool; when
/// the environment is torn down, waiting tasks are dropped and a running one is waited for, since it may be reading
/// from or writing to memory that belongs to the environment.
class Environment {
public:
    /// Once per environment, from the addon's init.
    static void open(Napi::Env env, Pool::Prepare prepare);
    static Environment& of(Napi::Env env);

    Environment(Napi::Env env, Pool::Prepare prepare);
    ~Environment() = default;

    std::shared_ptr<Queue> makeQueue();

    using Result = std::function<Napi::Value(Napi::Env, Napi::Value first)>;


    /// Queues `work` for a pool thread and returns a promise of what `result` then makes on the JavaScript thread.
    /// @param held  JavaScript objects whose memory the work uses; they are kept alive until then, and `result` gets
    ///              the first of them (undefined where there is none)
    Napi::Value submit(Queue& queue, std::function<void()> work, Result result, const std::vector<Napi::Value>& held = {});

    /// Binding, for process.on('exit'): process.exit() tears no environment down, it goes straight to the destructors of
    /// the libraries that a task may still be running in. Nothing can be submitted afterwards.
    static void close(const Napi::CallbackInfo& info);

private:
    class Promised;

    void deliver(std::unique_ptr<Promised> task) noexcept;
    void settleDelivered();
    void close();

    const napi_env env_;
    const std::shared_ptr<Pool> pool_;
    napi_threadsafe_function wake_ = nullptr;
    std::vector<std::weak_ptr<Queue>> queues_;
    bool closed_ = false;
    size_t pending_ = 0; // promises under way; they keep the event loop alive
    std::mutex mutex_;
    std::vector<std::unique_ptr<Promised>> delivered_;
};

} // namespace faiss_vision
