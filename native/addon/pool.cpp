#include "addon/pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

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

void Pool::work() {
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
