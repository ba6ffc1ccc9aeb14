#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace faiss_vision {

class Queue;

/// The threads that run every queue's work. One pool serves all environments (worker threads) of the process, so that
/// ten workers do not mean ten times the threads; it ends with the last environment that holds it.
class Pool {
public:
    /// Called on a pool thread before each task: applies the thread setting to the library that the addon wraps.
    using Prepare = void (*)();

    static std::shared_ptr<Pool> shared(Prepare prepare);

    explicit Pool(Prepare prepare);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// Gives the queue a thread as soon as one is free. Throws std::system_error where not even one can be started.
    void schedule(std::shared_ptr<Queue> queue);

    /// The same for work on a thread that is not the pool's.
    void prepare() const { prepare_(); }

private:
    void work();
    void lookOutForWork() const;
    static void yieldToJavaScript();

    const Prepare prepare_;
    const size_t limit_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Queue>> ready_;
    std::atomic<size_t> readyCount_{0}; // of ready_, to look at without the lock
    std::vector<std::thread> threads_;
    size_t idle_ = 0;
    bool ending_ = false;
};

} // namespace faiss_vision
