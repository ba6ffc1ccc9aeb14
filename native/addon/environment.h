#pragma once

#include <atomic>
#include <functional>
#include <limits>
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

    std::shared_ptr<Queue> makeQueue(size_t lanes = 1);
    /// Makes a queue of another environment one of this one's as well.
    void useQueue(const std::shared_ptr<Queue>& queue);

    using Result = std::function<Napi::Value(Napi::Env, Napi::Value first)>;

    struct Submission {
        double ticket = 0;                                   // to cancel it by
        size_t limit = std::numeric_limits<size_t>::max();   // how many may wait already; else ERR_QUEUE_FULL
        std::shared_ptr<Queue> other = nullptr;              // a second queue that has to come round to it
    };

    /// Queues `work` for a pool thread and returns a promise of what `result` then makes on the JavaScript thread.
    /// @param held  JavaScript objects whose memory the work uses; they are kept alive until then, and `result` gets
    ///              the first of them (undefined where there is none)
    Napi::Value submit(const std::shared_ptr<Queue>& queue, std::unique_ptr<Work> work, Result result,
                       const std::vector<Napi::Value>& held, const Submission& submission);
    Napi::Value submit(const std::shared_ptr<Queue>& queue, std::function<void()> work, Result result,
                       const std::vector<Napi::Value>& held = {});

    /// Memory that JavaScript and bindings both know, for calls that are over before anybody else can use it: vectors are
    /// copied in and results copied out by JavaScript, several times quicker than arrays can be handed over.
    struct Scratch {
        static constexpr size_t kInputs = 8192;
        static constexpr size_t kResults = 1024;
        float* inputs = nullptr;
        float* distances = nullptr;
        int64_t* labels = nullptr;
    };
    const Scratch& scratch() const { return scratch_; }
    /// Makes it: { inputs, distances, labels }, which JavaScript keeps for as long as it lives.
    Napi::Value makeScratch();

    /// A function that any thread may call with a number, which reaches this JavaScript function some time later, in
    /// order with the results. A number that comes before the last one was handed over replaces it. The last copy must
    /// go on the JavaScript thread: a Result may hold one.
    std::function<void(double)> reporter(Napi::Function function);

    /// Binding, for process.on('exit'): process.exit() tears no environment down, it goes straight to the destructors of
    /// the libraries that a task may still be running in. Nothing can be submitted afterwards.
    static void close(const Napi::CallbackInfo& info);

private:
    class Promised;
    class Reporter;

    void deliver(std::unique_ptr<Promised> task) noexcept;
    void wake();
    void settleDelivered();
    void close();

    const napi_env env_;
    const std::shared_ptr<Pool> pool_;
    napi_threadsafe_function wake_ = nullptr;
    std::vector<std::weak_ptr<Queue>> queues_;
    Scratch scratch_;
    bool closed_ = false;
    size_t pending_ = 0; // promises under way; they keep the event loop alive
    std::atomic<bool> awake_{false}; // the JavaScript thread was called and has not come yet
    std::mutex mutex_;
    std::vector<std::unique_ptr<Promised>> delivered_;
    std::vector<std::shared_ptr<Reporter>> reported_;
};

} // namespace faiss_vision
