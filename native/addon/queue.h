#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "addon/pool.h"

namespace faiss_vision {

/// What a task does, on any thread.
class Work {
public:
    virtual ~Work() = default;

    /// What it throws becomes the task's failure.
    virtual void run() = 0;

    /// Whether it leaves the object as it is. Reads that wait next to each other may run in any order.
    virtual bool reads() const { return false; }

    /// Whether it can be done in one call with another read.
    virtual bool joins(const Work&) const { return false; }
    /// How many do so at the most. It bounds how long the first of them waits for its answer; by so many FAISS's batches are at
    /// their best.
    virtual size_t most() const { return 1024; }

    /// Whether a group costs so much before its first member's share that it pays to let those who are calling at this moment
    /// join: not for one that waits alone.
    virtual bool gathers() const { return false; }

    /// Does its own work and that of the others, which all join it. Where this throws, each is run by itself.
    virtual void runWith(const std::vector<Work*>&) { run(); }
};

/// A piece of work that waits in a queue.
class Task {
public:
    /// @param owner   the environment that waits for it; see Queue::withdraw
    /// @param ticket  a number that the owner may cancel it by
    Task(const void* owner, std::unique_ptr<Work> work, double ticket = 0)
        : work_(std::move(work)), owner_(owner), ticket_(ticket) {}
    virtual ~Task() = default;

    /// Hands the finished task to its owner, on the thread that ran it.
    virtual void settle(std::unique_ptr<Task> self) noexcept = 0;

protected:
    std::unique_ptr<Work> work_;
    std::exception_ptr failure_;

private:
    friend class Queue;
    void run() noexcept;

    const void* const owner_;
    const double ticket_;
};

/// The operations on one object, one at a time and in the order in which they were called. Reads that wait and join
/// each other run as one: under load, many small searches become few full ones. Nobody waits for more to come, but for those that
/// gather while calls come within microseconds of each other.
class Queue : public std::enable_shared_from_this<Queue> {
public:
    /// @param lanes  how many such groups of reads may run at the same time; what changes the object always runs alone
    explicit Queue(const std::shared_ptr<Pool>& pool, size_t lanes = 1) : lanes_(lanes), pool_(pool) {}

    void push(std::unique_ptr<Task> task);

    /// Queues work that needs two objects: it takes its place in both queues and runs once both have come round to it.
    static void pushBoth(const std::shared_ptr<Queue>& queue, const std::shared_ptr<Queue>& other, std::unique_ptr<Task> task);

    /// Waits until everything before it is done, then does the work on the calling thread.
    template <class Call>
    void runNow(const Call& work) {
        takeTurn();
        // Also when the work throws: the queue goes on with what came meanwhile.
        struct Resume {
            Queue& queue;
            ~Resume() { queue.resume(); }
        } resume{*this};
        work();
    }

    /// The same where nothing is under way; else returns false at once.
    template <class Call>
    bool tryNow(const Call& work) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (threads_ > 0) return false;
        }
        runNow(work); // another thread may come in between: then it waits for that one's turn
        return true;
    }

    /// Takes one task that waits out of the queue and settles it with this failure; false where it does not wait any more.
    bool cancel(const void* owner, double ticket, std::exception_ptr failure);

    /// Takes out what waits for this owner and returns once nothing of its is running.
    /// Its tasks are destroyed unsettled on the calling thread.
    void withdraw(const void* owner);

    /// How many tasks wait, without those that run.
    size_t waiting() const;

private:
    friend class Pool;
    struct Meeting;
    class Place;
    class Turn;

    /// Runs the first task and those that join it; returns whether there is more to do.
    bool runOne();
    void gather();
    bool meet(Meeting& meeting);
    void runMeeting(Meeting& meeting);
    std::vector<std::unique_ptr<Task>> takeGroup();
    bool mayBegin() const;
    bool wantsThread() const;
    void takeTurn();
    void resume();
    void schedule();

    const size_t lanes_;
    const std::weak_ptr<Pool> pool_; // weak: a queue that dies on a pool thread must not end the pool from there
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::unique_ptr<Task>> waiting_;
    std::chrono::steady_clock::time_point pushed_; // the last one
    size_t threads_ = 0;  // that run tasks, or that the pool is about to give it
    size_t groups_ = 0;   // that run
    bool alone_ = false;  // what runs is no read
    struct Running {
        const void* owner; // of a task that runs
        const void* group; // which of the groups it is in
    };
    std::vector<Running> running_;
};

} // namespace faiss_vision
