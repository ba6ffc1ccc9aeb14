#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "addon/pool.h"

namespace faiss_vision {

/// A piece of work that waits in a queue.
class Task {
public:
    /// @param owner  the environment that waits for it; see Queue::withdraw
    explicit Task(const void* owner) : owner_(owner) {}
    virtual ~Task() = default;

    /// Does the work, on any thread. What fails is kept in the task.
    virtual void run() noexcept = 0;
    /// Hands the finished task to its owner, on the same thread.
    virtual void settle(std::unique_ptr<Task> self) noexcept = 0;
    const void* owner() const { return owner_; }

private:
    const void* const owner_;
};

/// The operations on one object, one at a time and in the order in which they were called.
class Queue : public std::enable_shared_from_this<Queue> {
public:
    explicit Queue(const std::shared_ptr<Pool>& pool) : pool_(pool) {}

    void push(std::unique_ptr<Task> task);

    /// Waits until everything before it is done, then does the work on the calling thread.
    void runNow(const std::function<void()>& work);

    /// Takes out what waits for this owner and returns once nothing of its is running.
    /// Its tasks are destroyed unsettled on the calling thread.
    void withdraw(const void* owner);

    /// How many tasks wait, without the one that runs.
    size_t waiting() const;

private:
    friend class Pool;
    /// Runs the first task; returns whether there is more to do.
    bool runOne();

    void schedule();

    const std::weak_ptr<Pool> pool_; // weak: a queue that dies on a pool thread must not end the pool from there
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::unique_ptr<Task>> waiting_;
    bool busy_ = false;              // a thread runs a task, or the pool is about to give it one
    const void* running_ = nullptr;  // the owner of the task that runs
};

} // namespace faiss_vision
