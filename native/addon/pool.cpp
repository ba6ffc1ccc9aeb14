#include "addon/pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "addon/queue.h"

namespace faiss_vision {

std::shared_ptr<Pool> Pool::shared(Prepare prepare) {
    struct Shared {
        // process.exit() tears no environment down: it goes straight to the destructors of static objects. This one's
        // comes before those of the libraries that the tasks run in, which were loaded earlier.
        ~Shared() {
            if (const auto pool = current.lock()) pool->end();
        }
        std::mutex mutex;
        std::weak_ptr<Pool> current;
    };
    static Shared shared;
    const std::lock_guard<std::mutex> lock(shared.mutex);
    auto pool = shared.current.lock();
    if (pool == nullptr) shared.current = pool = std::make_shared<Pool>(prepare);
    return pool;
}

// Two at least: a long search in one index must not keep another index waiting.
Pool::Pool(Prepare prepare) : prepare_(prepare), limit_(std::max(2u, std::thread::hardware_concurrency())) {}

Pool::~Pool() { end(); }

void Pool::end() {
    std::vector<std::thread> threads;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ending_ = true;
        threads.swap(threads_);
    }
    wake_.notify_all();
    for (auto& thread : threads) thread.join();
}

void Pool::schedule(std::shared_ptr<Queue> queue) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ending_) return; // nobody waits any more
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
        if (ending_) return;
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
