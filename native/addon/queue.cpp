#include "addon/queue.h"

#include <utility>
#include <vector>

namespace faiss_vision {

void Queue::push(std::unique_ptr<Task> task) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        waiting_.push_back(std::move(task));
        if (busy_) return;
        busy_ = true;
    }
    try {
        schedule();
    } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        busy_ = false;
        waiting_.pop_back();
        throw;
    }
}

void Queue::schedule() {
    if (const auto pool = pool_.lock()) pool->schedule(shared_from_this());
}

bool Queue::runOne() {
    std::unique_ptr<Task> task;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!waiting_.empty()) {
            task = std::move(waiting_.front());
            waiting_.pop_front();
            running_ = task->owner();
        }
    }
    if (task != nullptr) {
        Task& work = *task;
        work.run();
        work.settle(std::move(task));
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    running_ = nullptr;
    busy_ = !waiting_.empty();
    changed_.notify_all();
    return busy_;
}

void Queue::runNow(const std::function<void()>& work) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !busy_ && waiting_.empty(); });
    busy_ = true;
    lock.unlock();

    // Also when the work throws: the queue goes on with what came meanwhile.
    struct Resume {
        Queue& queue;
        ~Resume() {
            std::unique_lock<std::mutex> lock(queue.mutex_);
            queue.busy_ = !queue.waiting_.empty();
            const bool more = queue.busy_;
            queue.changed_.notify_all();
            lock.unlock();
            if (more) queue.schedule();
        }
    } resume{*this};
    work();
}

void Queue::withdraw(const void* owner) {
    std::vector<std::unique_ptr<Task>> dropped;
    std::unique_lock<std::mutex> lock(mutex_);
    for (auto task = waiting_.begin(); task != waiting_.end();) {
        if ((*task)->owner() == owner) {
            dropped.push_back(std::move(*task));
            task = waiting_.erase(task);
        } else {
            ++task;
        }
    }
    changed_.wait(lock, [&] { return running_ != owner; });
}

size_t Queue::waiting() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return waiting_.size();
}

} // namespace faiss_vision
