#include "addon/queue.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

namespace faiss_vision {
void Task::run() noexcept {
    try {
        work_->run();
    } catch (...) {
        failure_ = std::current_exception();
    }
}

/// Where two queues meet. Its own lock comes after a queue's, never before.
struct Queue::Meeting {
    std::mutex mutex;
    std::unique_ptr<Task> task;
    std::shared_ptr<Queue> parked; // the queue that came first, which waits without a thread
    bool off = false;              // the task was dropped

    void callOff() {
        std::shared_ptr<Queue> first;
        std::unique_ptr<Task> dropped;
        {
            const std::lock_guard<std::mutex> lock(mutex);
            off = true;
            first = std::move(parked);
            dropped = std::move(task);
        }
        if (first != nullptr) first->resume();
    }
};

/// Holds the place of a meeting's task in one of its queues.
class Queue::Place : public Task {
public:
    Place(const void* owner, std::shared_ptr<Meeting> meeting) : Task(owner, nullptr), meeting_(std::move(meeting)) {}

    void settle(std::unique_ptr<Task>) noexcept override {}
    Meeting& meeting() const { return *meeting_; }

    /// Dropped while it waited: the other queue must not wait for it any more. The task ends on the calling thread.
    void callOff() { meeting_->callOff(); }

private:
    const std::shared_ptr<Meeting> meeting_;
};

/// Holds the place of a thread that does its work itself.
class Queue::Turn : public Task {
public:
    Turn() : Task(nullptr, nullptr) {}
    void settle(std::unique_ptr<Task>) noexcept override {}

    std::promise<void> come;
};

void Queue::push(std::unique_ptr<Task> task) {
    const Task* const own = task.get();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        waiting_.push_back(std::move(task));
        pushed_ = std::chrono::steady_clock::now();
        if (!wantsThread()) return;
        threads_++;
    }
    try {
        schedule();
    } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        threads_--;
        // Others may have come since, and a thread of theirs may have taken it.
        const auto found = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& waiting) { return waiting.get() == own; });
        if (found == waiting_.end()) return;
        waiting_.erase(found);
        throw;
    }
}

void Queue::pushBoth(const std::shared_ptr<Queue>& queue, const std::shared_ptr<Queue>& other, std::unique_ptr<Task> task) {
    // One at a time: were two meetings to stand in opposite orders in their queues, both would wait for ever.
    static std::mutex order;
    const std::lock_guard<std::mutex> lock(order);
    const void* const owner = task->owner_;
    const auto meeting = std::make_shared<Meeting>();
    meeting->task = std::move(task);
    queue->push(std::make_unique<Place>(owner, meeting));
    try {
        other->push(std::make_unique<Place>(owner, meeting));
    } catch (...) {
        meeting->callOff();
        throw;
    }
}

void Queue::schedule() {
    if (const auto pool = pool_.lock()) pool->schedule(shared_from_this());
}

std::vector<std::unique_ptr<Task>> Queue::takeGroup() {
    std::vector<std::unique_ptr<Task>> group;
    group.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    const Work* const first = group.front()->work_.get();
    if (first == nullptr || !first->reads()) return group;

    // What does not join goes back in its order; whatever changes the object is a wall.
    auto kept = waiting_.begin();
    auto task = waiting_.begin();
    for (; task != waiting_.end() && group.size() < first->most(); ++task) {
        const Work* const work = (*task)->work_.get();
        if (work == nullptr || !work->reads()) break;
        if (work->joins(*first)) group.push_back(std::move(*task));
        else if (kept != task) *kept++ = std::move(*task);
        else ++kept;
    }
    waiting_.erase(kept, task);
    return group;
}

/// A loop that starts many searches takes a few microseconds for each, and the first of them, which goes at once, is soon done.
void Queue::gather() {
    constexpr std::chrono::microseconds kPause(30), kMost(5000);
    const auto begin = std::chrono::steady_clock::now();
    for (;; std::this_thread::yield()) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (waiting_.size() < 2) return;
        const Work* const first = waiting_.front()->work_.get();
        if (first == nullptr || !first->reads() || !first->gathers() || waiting_.size() >= first->most()) return;
        const auto now = std::chrono::steady_clock::now();
        if (now - pushed_ >= kPause || now - begin >= kMost) return;
    }
}

/// Whether what waits in front may begin beside what runs.
bool Queue::mayBegin() const {
    if (waiting_.empty() || alone_) return false;
    const Work* const work = waiting_.front()->work_.get();
    return groups_ == 0 || (work != nullptr && work->reads());
}

bool Queue::wantsThread() const { return threads_ == 0 || (threads_ < lanes_ && mayBegin()); }

bool Queue::runOne() {
    gather();
    std::vector<std::unique_ptr<Task>> group;
    bool another = false; // what still waits may run beside it
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (mayBegin()) {
            group = takeGroup();
            for (const auto& task : group) running_.push_back({task->owner_, &group});
            const Work* const work = group.front()->work_.get();
            alone_ = work == nullptr || !work->reads();
            groups_++;
            another = mayBegin() && wantsThread();
            if (another) threads_++;
        }
    }
    if (another) schedule();
    if (!group.empty()) {
        if (auto* const place = dynamic_cast<Place*>(group.front().get())) {
            if (!meet(place->meeting())) return false; // busy until the other queue comes
        } else if (auto* const turn = dynamic_cast<Turn*>(group.front().get())) {
            turn->come.set_value();
            return false; // busy until that thread is done
        } else if (group.size() == 1) {
            group.front()->run();
        } else {
            std::vector<Work*> others;
            for (size_t i = 1; i < group.size(); i++) others.push_back(group[i]->work_.get());
            try {
                group.front()->work_->runWith(others);
            } catch (...) {
                for (const auto& task : group) task->run();
            }
        }
    }
    for (auto& task : group) {
        Task& finished = *task;
        finished.settle(std::move(task));
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!group.empty()) {
        running_.erase(std::remove_if(running_.begin(), running_.end(), [&](const Running& task) { return task.group == &group; }), running_.end());
        groups_--;
        alone_ = false;
    }
    changed_.notify_all();
    if (mayBegin()) return true;
    threads_--; // where something waits for the others to end, the last of them goes on
    return false;
}

/// Returns false where this queue came first: it is parked then.
bool Queue::meet(Meeting& meeting) {
    {
        // Both locks at once, so that whoever resumes this queue finds it parked.
        const std::lock_guard<std::mutex> lock(mutex_);
        const std::lock_guard<std::mutex> meetingLock(meeting.mutex);
        if (!meeting.off && meeting.parked == nullptr) {
            meeting.parked = shared_from_this();
            running_.clear();
            changed_.notify_all();
            return false;
        }
    }
    runMeeting(meeting);
    return true;
}

void Queue::runMeeting(Meeting& meeting) {
    std::shared_ptr<Queue> parked;
    std::unique_ptr<Task> task;
    {
        const std::lock_guard<std::mutex> lock(meeting.mutex);
        parked = std::move(meeting.parked);
        if (!meeting.off) task = std::move(meeting.task);
    }
    if (task != nullptr) {
        Task& work = *task;
        work.run();
        work.settle(std::move(task));
    }
    if (parked != nullptr) parked->resume();
}

void Queue::resume() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        running_.clear(); // it ran alone
        groups_--;
        alone_ = false;
        if (waiting_.empty()) return void(threads_--);
    }
    schedule();
}

void Queue::takeTurn() {
    bool free;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        free = threads_ == 0;
        if (free) threads_ = groups_ = 1, alone_ = true;
    }
    if (!free) {
        auto turn = std::make_unique<Turn>();
        auto come = turn->come.get_future();
        push(std::move(turn));
        come.wait();
    }
    if (const auto pool = pool_.lock()) pool->prepare();
}

bool Queue::cancel(const void* owner, double ticket, std::exception_ptr failure) {
    std::unique_ptr<Task> task;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                        [&](const auto& waiting) { return waiting->owner_ == owner && waiting->ticket_ == ticket; });
        if (found == waiting_.end()) return false;
        task = std::move(*found);
        waiting_.erase(found);
    }
    Task& cancelled = *task;
    cancelled.failure_ = std::move(failure);
    cancelled.settle(std::move(task));
    return true;
}

void Queue::withdraw(const void* owner) {
    std::vector<std::unique_ptr<Task>> dropped;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (auto task = waiting_.begin(); task != waiting_.end();) {
            if ((*task)->owner_ == owner) {
                dropped.push_back(std::move(*task));
                task = waiting_.erase(task);
            } else {
                ++task;
            }
        }
    }
    for (const auto& task : dropped) {
        if (auto* const place = dynamic_cast<Place*>(task.get())) place->callOff();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return std::none_of(running_.begin(), running_.end(), [&](const Running& task) { return task.owner == owner; }); });
}

size_t Queue::waiting() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return waiting_.size();
}

} // namespace faiss_vision
