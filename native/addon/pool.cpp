#include "addon/pool.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <utility>

#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "addon/queue.h"

namespace faiss_vision {

std::shared_ptr<Pool> Pool::shared(Prepare prepare) {
    static std::mutex mutex;
    static std::weak_ptr<Pool> current;
    const std::lock_guard<std::mutex> lock(mutex);
    auto pool = current.lock();
    if (pool == nullptr) current = pool = std::make_shared<Pool>(prepare);
    return pool;
}

// Two at least: a long search in one index must not keep another index waiting.
Pool::Pool(Prepare prepare) : prepare_(prepare), limit_(std::max(2u, std::thread::hardware_concurrency())) {}

Pool::~Pool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ending_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void Pool::schedule(std::shared_ptr<Queue> queue) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (idle_ <= ready_.size() && threads_.size() < limit_) {
            try {
                threads_.emplace_back(&Pool::work, this);
            } catch (const std::system_error&) {
                if (threads_.empty()) throw; // else those that run will come round to it
            }
        }
        ready_.push_back(std::move(queue));
        readyCount_ = ready_.size();
    }
    wake_.notify_one();
}

// Who awaits one search after the other calls the next within microseconds; waking a sleeping thread takes longer.
void Pool::lookOutForWork() const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    while (readyCount_ == 0 && std::chrono::steady_clock::now() < until) {
#ifdef __x86_64__
        __builtin_ia32_pause();
#endif
    }
}

// Where every processor is busy the JavaScript thread goes first: it has little to do, and everything else of the process
// waits for it. Linux (6.12 and later) lets a thread that wakes interrupt those that asked for longer slices of time, as long as
// it has had no more than its share. After it handed out many results it has had more, and would wait for the scheduler's next
// tick, up to 4 ms. So its share is made three times theirs; what it does not use is theirs again. OpenMP's threads inherit
// both. Where it is not known, everything stays as it is.
void Pool::yieldToJavaScript() {
#if defined(__linux__) && defined(SYS_sched_setattr)
    struct { // sched_attr of sched_setattr(2), which glibc does not declare
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes{};
    attributes.size = sizeof attributes;
    constexpr int kThird = 5, kMost = 19; // each step of niceness takes a fifth off
    attributes.nice = std::min(::getpriority(PRIO_PROCESS, 0) + kThird, kMost);
    attributes.runtime = 100'000'000; // nanoseconds, the longest slice there is
    ::syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

void Pool::work() {
    yieldToJavaScript();
    std::unique_lock<std::mutex> lock(mutex_);
    for (bool first = true;; first = false) {
        idle_++;
        if (!first && ready_.empty()) {
            lock.unlock();
            lookOutForWork();
            lock.lock();
        }
        wake_.wait(lock, [this] { return ending_ || !ready_.empty(); });
        idle_--;
        if (ready_.empty()) return;
        auto queue = std::move(ready_.front());
        ready_.pop_front();
        readyCount_ = ready_.size();
        lock.unlock();
        prepare_();
        const bool more = queue->runOne();
        lock.lock();
        if (more) {
            ready_.push_back(std::move(queue)); // behind the others: a busy queue does not starve them
            readyCount_ = ready_.size();
        } else {
            lock.unlock();
            queue.reset(); // may free an index, which takes its time
            lock.lock();
        }
    }
}

} // namespace faiss_vision
