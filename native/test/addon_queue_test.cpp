#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/resource.h>
#endif

#include "addon/pool.h"
#include "addon/queue.h"

namespace faiss_vision {
namespace {

void nothing() {}

class Call : public Work {
public:
    explicit Call(std::function<void()> call) : call_(std::move(call)) {}
    void run() override { call_(); }

private:
    std::function<void()> call_;
};

/// Reads that ask for the same join, and write down how many came together.
class Ask : public Work {
public:
    Ask(int what, std::vector<std::pair<int, size_t>>& groups, std::atomic<int>* gathering = nullptr)
        : what_(what), groups_(groups), gathering_(gathering) {}
    void run() override { groups_.emplace_back(what_, 1); }
    bool reads() const override { return true; }
    bool joins(const Work& work) const override {
        const auto* const other = dynamic_cast<const Ask*>(&work);
        return other != nullptr && other->what_ == what_ && what_ >= 0;
    }
    bool gathers() const override {
        if (gathering_ != nullptr) ++*gathering_;
        return gathering_ != nullptr;
    }
    void runWith(const std::vector<Work*>& others) override {
        if (what_ == 13) throw std::runtime_error("not together");
        groups_.emplace_back(what_, 1 + others.size());
    }

private:
    const int what_;
    std::vector<std::pair<int, size_t>>& groups_; // unguarded on purpose: the thread sanitizer sees two at once
    std::atomic<int>* const gathering_; // counts how often it was asked whether it gathers
};

class Counted : public Task {
public:
    Counted(const void* owner, std::unique_ptr<Work> work, std::atomic<int>& settled, std::atomic<int>& failed, std::atomic<int>& destroyed,
            double ticket = 0)
        : Task(owner, std::move(work), ticket), settled_(settled), failed_(failed), destroyed_(destroyed) {}
    ~Counted() override { destroyed_++; }
    void settle(std::unique_ptr<Task>) noexcept override {
        settled_++;
        if (failure_ != nullptr) failed_++;
    }

private:
    std::atomic<int>& settled_;
    std::atomic<int>& failed_;
    std::atomic<int>& destroyed_;
};

struct Fixture : testing::Test {
    std::unique_ptr<Task> task(std::unique_ptr<Work> work, const void* owner = nullptr, double ticket = 0) {
        return std::make_unique<Counted>(owner, std::move(work), settled, failed, destroyed, ticket);
    }
    void push(Queue& queue, std::function<void()> work, const void* owner = nullptr) {
        queue.push(task(std::make_unique<Call>(std::move(work)), owner));
    }
    void wait(Queue& queue) { queue.runNow([] {}); }

    std::atomic<int> settled{0};
    std::atomic<int> failed{0};
    std::atomic<int> destroyed{0};
    std::shared_ptr<Pool> pool = std::make_shared<Pool>(nothing);
};
using QueueTest = Fixture;

TEST_F(QueueTest, RunsInOrderAndOneAtATime) {
    const auto queue = std::make_shared<Queue>(pool);
    std::vector<int> order; // unguarded on purpose: the thread sanitizer sees two at once
    for (int i = 0; i < 10'000; i++) push(*queue, [&order, i] { order.push_back(i); });
    wait(*queue);
    ASSERT_EQ(order.size(), 10'000u);
    for (int i = 0; i < 10'000; i++) ASSERT_EQ(order[i], i);
    EXPECT_EQ(settled, 10'000);
    EXPECT_EQ(destroyed, 10'000);
}

TEST_F(QueueTest, QueuesRunSideBySide) {
    const auto slow = std::make_shared<Queue>(pool);
    const auto quick = std::make_shared<Queue>(pool);
    std::atomic<bool> quickRan{false};
    push(*slow, [&] {
        for (int i = 0; i < 5000 && !quickRan; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    push(*quick, [&] { quickRan = true; });
    wait(*slow);
    EXPECT_TRUE(quickRan);
}

#ifdef __linux__
TEST_F(QueueTest, WorkGivesWayToTheThreadThatAskedForIt) {
    const int asking = ::getpriority(PRIO_PROCESS, 0); // Linux has it thread by thread
    std::atomic<int> working{asking};
    const auto queue = std::make_shared<Queue>(pool);
    push(*queue, [&] { working = ::getpriority(PRIO_PROCESS, 0); });
    wait(*queue);
    EXPECT_EQ(working, std::min(asking + 5, 19));
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), asking);
}
#endif

TEST_F(QueueTest, ManyThreadsMayUseOneQueue) {
    const auto queue = std::make_shared<Queue>(pool);
    int counter = 0; // unguarded on purpose
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&] {
            for (int i = 0; i < 2000; i++) {
                if (i % 10 == 0) queue->runNow([&] { counter++; });
                else push(*queue, [&] { counter++; });
            }
        });
    }
    for (auto& thread : threads) thread.join();
    wait(*queue);
    EXPECT_EQ(counter, 8000);
}

TEST_F(QueueTest, RunNowGoesOnAfterAnException) {
    const auto queue = std::make_shared<Queue>(pool);
    EXPECT_THROW(queue->runNow([] { throw std::runtime_error("no"); }), std::runtime_error);
    bool ran = false;
    push(*queue, [&] { ran = true; });
    wait(*queue);
    EXPECT_TRUE(ran);
}

TEST_F(QueueTest, WithdrawDropsWhatWaitsAndWaitsForWhatRuns) {
    const auto queue = std::make_shared<Queue>(pool);
    const int mine = 0, other = 0;
    std::atomic<bool> started{false}, finished{false};
    int others = 0, never = 0;
    push(*queue, [&] {
        started = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        finished = true;
    }, &mine);
    for (int i = 0; i < 10; i++) {
        push(*queue, [&] { never++; }, &mine);
        push(*queue, [&] { others++; }, &other);
    }
    while (!started) std::this_thread::yield();
    queue->withdraw(&mine);
    EXPECT_TRUE(finished);
    wait(*queue);
    EXPECT_EQ(never, 0);
    EXPECT_EQ(others, 10);
    EXPECT_EQ(settled, 11);
    EXPECT_EQ(destroyed, 21);
}

/// Keeps a queue busy until it is let go, so that what is pushed meanwhile waits.
struct Gate {
    std::promise<void> open;
    std::shared_future<void> opened = open.get_future().share();
    std::promise<void> entered;
    std::function<void()> work() {
        return [this] {
            entered.set_value();
            opened.wait();
        };
    }
};

TEST_F(QueueTest, ReadsThatAskForTheSameRunTogetherUpToTheNextChange) {
    const auto queue = std::make_shared<Queue>(pool);
    std::vector<std::pair<int, size_t>> groups;
    Gate gate;
    push(*queue, gate.work());
    for (int i = 0; i < 10; i++) queue->push(task(std::make_unique<Ask>(i % 2, groups)));
    queue->push(task(std::make_unique<Ask>(-1, groups))); // joins nobody
    push(*queue, [&] { groups.emplace_back(100, 0); });
    for (int i = 0; i < 4; i++) queue->push(task(std::make_unique<Ask>(0, groups)));
    gate.entered.get_future().wait();
    EXPECT_EQ(queue->waiting(), 16u);
    gate.open.set_value();
    wait(*queue);
    const std::vector<std::pair<int, size_t>> expected{{0, 5}, {1, 5}, {-1, 1}, {100, 0}, {0, 4}};
    EXPECT_EQ(groups, expected);
    EXPECT_EQ(settled, 17);
    EXPECT_EQ(failed, 0);
}

TEST_F(QueueTest, ReadsThatGatherLetThoseWhoCallJoin) {
    // Within microseconds, which a busy machine may not give this thread: it tries until it was quick enough.
    bool joined = false;
    for (int attempt = 0; attempt < 10000 && !joined; attempt++) {
        const auto queue = std::make_shared<Queue>(pool);
        std::vector<std::pair<int, size_t>> groups;
        std::atomic<int> gathering{0};
        std::atomic<bool> waiting{false};
        push(*queue, [&] {
            for (int i = 0; i < 2; i++) queue->push(task(std::make_unique<Ask>(1, groups, &gathering)));
            waiting = true;
        });
        while (!waiting) std::this_thread::yield();
        while (gathering < 2 && queue->waiting() > 0) { // a queue that waits for nobody asks once
        }
        queue->push(task(std::make_unique<Ask>(1, groups)));
        wait(*queue);
        joined = groups.front().second == 3;
    }
    EXPECT_TRUE(joined);
    EXPECT_EQ(failed, 0);
}

TEST_F(QueueTest, WhatGathersStopsAtAChange) {
    const auto queue = std::make_shared<Queue>(pool);
    std::vector<std::pair<int, size_t>> groups;
    std::atomic<int> gathering{0};
    Gate gate;
    push(*queue, gate.work());
    for (int i = 0; i < 3; i++) queue->push(task(std::make_unique<Ask>(1, groups, &gathering)));
    push(*queue, [&] { groups.emplace_back(100, 0); });
    queue->push(task(std::make_unique<Ask>(1, groups, &gathering)));
    gate.entered.get_future().wait();
    gate.open.set_value();
    wait(*queue);
    const std::vector<std::pair<int, size_t>> expected{{1, 3}, {100, 0}, {1, 1}};
    EXPECT_EQ(groups, expected);
}

TEST_F(QueueTest, AGroupThatFailsIsRunOneByOne) {
    const auto queue = std::make_shared<Queue>(pool);
    std::vector<std::pair<int, size_t>> groups;
    Gate gate;
    push(*queue, gate.work());
    for (int i = 0; i < 3; i++) queue->push(task(std::make_unique<Ask>(13, groups)));
    gate.open.set_value();
    wait(*queue);
    const std::vector<std::pair<int, size_t>> expected{{13, 1}, {13, 1}, {13, 1}};
    EXPECT_EQ(groups, expected);
    EXPECT_EQ(failed, 0);
}

/// A read that joins up to four of its kind.
class Look : public Work {
public:
    explicit Look(std::function<void(size_t)> look) : look_(std::move(look)) {}
    void run() override { runWith({}); }
    bool reads() const override { return true; }
    bool joins(const Work& work) const override { return dynamic_cast<const Look*>(&work) != nullptr; }
    size_t most() const override { return 4; }
    void runWith(const std::vector<Work*>& others) override { look_(1 + others.size()); }

private:
    const std::function<void(size_t)> look_;
};

TEST_F(QueueTest, AQueueOfTwoLanesRunsTwoGroupsOfReadsAtATimeAndEveryChangeAlone) {
    const auto queue = std::make_shared<Queue>(pool, 2);
    int changes = 0; // unguarded on purpose
    std::atomic<int> inside{0}, looked{0}, together{0}, tooMany{0}, besideAChange{0};
    const auto look = [&](size_t count) {
        if (inside.fetch_add(1) >= 2) tooMany++;
        const int before = changes;
        std::this_thread::yield();
        if (changes != before) besideAChange++;
        looked += int(count);
        if (count == 4) together++;
        inside--;
    };
    const auto change = [&] {
        if (inside != 0) besideAChange++;
        changes++;
    };
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 3000; i++) {
                if (i % 100 == t) queue->runNow(change);
                else if (i % 25 == t) push(*queue, change);
                else queue->push(task(std::make_unique<Look>(look)));
            }
        });
    }
    for (auto& thread : threads) thread.join();
    wait(*queue);
    EXPECT_EQ(looked + changes, 12'000);
    EXPECT_EQ(changes, 480);
    EXPECT_GT(together, 0);
    EXPECT_EQ(tooMany, 0);
    EXPECT_EQ(besideAChange, 0);
}

TEST_F(QueueTest, ASecondLaneTakesWhatWaitsBehindAChange) {
    const auto queue = std::make_shared<Queue>(pool, 2);
    Gate gate;
    push(*queue, gate.work());
    // Two groups of four, each of which ends only once the other has begun.
    std::promise<void> both;
    const auto met = both.get_future().share();
    std::atomic<int> groups{0};
    for (int i = 0; i < 8; i++) {
        queue->push(task(std::make_unique<Look>([&](size_t count) {
            EXPECT_EQ(count, 4u);
            if (++groups == 2) both.set_value();
            met.wait();
        })));
    }
    int after = 0;
    push(*queue, [&] { after = groups; });
    gate.open.set_value();
    wait(*queue);
    EXPECT_EQ(after, 2);
    EXPECT_EQ(settled, 10);
}

TEST_F(QueueTest, WithdrawWaitsForEveryLane) {
    const auto queue = std::make_shared<Queue>(pool, 2);
    const int mine = 0;
    Gate gates[2];
    std::atomic<int> ended{0};
    bool never = false;
    for (Gate& gate : gates) { // one at a time, so that they do not join
        queue->push(task(std::make_unique<Look>([&](size_t) {
            gate.work()();
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            ended++;
        }), &mine));
        gate.entered.get_future().wait();
    }
    push(*queue, [&] { never = true; }, &mine);
    std::thread opens([&] {
        while (queue->waiting() > 0) std::this_thread::yield(); // until it is being withdrawn
        for (Gate& gate : gates) gate.open.set_value();
    });
    queue->withdraw(&mine);
    EXPECT_EQ(ended, 2);
    opens.join();
    wait(*queue);
    EXPECT_FALSE(never);
    EXPECT_EQ(destroyed, 3);
}

TEST_F(QueueTest, CancelTakesOutWhatWaitsOnly) {
    const auto queue = std::make_shared<Queue>(pool);
    const int mine = 0, other = 0;
    Gate gate;
    int ran = 0;
    const auto counting = [&] { return std::make_unique<Call>([&] { ran++; }); };
    queue->push(task(std::make_unique<Call>(gate.work()), &mine, 1));
    queue->push(task(counting(), &mine, 2));
    queue->push(task(counting(), &other, 2));
    const auto failure = std::make_exception_ptr(std::runtime_error("cancelled"));
    EXPECT_FALSE(queue->cancel(&mine, 3, failure));
    EXPECT_TRUE(queue->cancel(&mine, 2, failure));
    EXPECT_FALSE(queue->cancel(&mine, 2, failure));
    gate.open.set_value();
    wait(*queue);
    EXPECT_FALSE(queue->cancel(&mine, 1, failure));
    EXPECT_EQ(ran, 1);
    EXPECT_EQ(settled, 3);
    EXPECT_EQ(failed, 1);
}

TEST_F(QueueTest, WorkOnTwoQueuesTakesItsPlaceInBoth) {
    const auto a = std::make_shared<Queue>(pool);
    const auto b = std::make_shared<Queue>(pool);
    int inA = 0, inB = 0; // unguarded on purpose
    for (int round = 0; round < 500; round++) {
        push(*a, [&] { inA++; });
        push(*b, [&] { inB++; });
        // Both ways at once: neither may wait for the other for ever.
        Queue::pushBoth(a, b, task(std::make_unique<Call>([&] { EXPECT_EQ(inA++, inB++); })));
        Queue::pushBoth(b, a, task(std::make_unique<Call>([&] { EXPECT_EQ(inA++, inB++); })));
    }
    wait(*a);
    wait(*b);
    EXPECT_EQ(inA, 1500);
    EXPECT_EQ(inB, 1500);
    EXPECT_EQ(settled, 2000);
    EXPECT_EQ(destroyed, 2000);
}

TEST_F(QueueTest, WithdrawingHalfOfAMeetingLetsTheOtherQueueGoOn) {
    for (const bool parkedFirst : {true, false}) {
        const auto a = std::make_shared<Queue>(pool);
        const auto b = std::make_shared<Queue>(pool);
        const int mine = 0;
        bool met = false, after = false;
        Gate gate;
        push(*b, gate.work());
        Queue::pushBoth(a, b, task(std::make_unique<Call>([&] { met = true; }), &mine));
        push(*a, [&] { after = true; });
        if (parkedFirst) std::this_thread::sleep_for(std::chrono::milliseconds(20)); // a has come to it by then
        a->withdraw(&mine);
        b->withdraw(&mine);
        wait(*a);
        EXPECT_TRUE(after);
        gate.open.set_value();
        wait(*b);
        EXPECT_FALSE(met);
    }
}

TEST_F(QueueTest, AThreadThatDoesItsWorkItselfWaitsForItsTurnOnly) {
    const auto queue = std::make_shared<Queue>(pool);
    std::atomic<bool> stop{false};
    int counter = 0; // unguarded on purpose
    std::thread other([&] {
        while (!stop) {
            // A few wait at any time. Without an end of it, each turn would come behind more than the one before.
            if (queue->waiting() < 8) push(*queue, [&] { counter++; });
            else std::this_thread::yield();
        }
    });
    for (int i = 0; i < 100; i++) queue->runNow([&] { counter++; });
    stop = true;
    other.join();
    wait(*queue);
    EXPECT_GE(counter, 100);
}

TEST_F(QueueTest, APoolMayEndBeforeItsQueues) {
    const auto queue = std::make_shared<Queue>(pool);
    push(*queue, [] {});
    wait(*queue);
    pool.reset();
    push(*queue, [] { FAIL() << "there is no thread to run this"; });
    EXPECT_EQ(queue->waiting(), 1u);
}

TEST_F(QueueTest, PoolsComeAndGo) {
    for (int i = 0; i < 100; i++) {
        const auto own = std::make_shared<Pool>(nothing);
        const auto queue = std::make_shared<Queue>(own);
        push(*queue, [] {}, &own);
        queue->withdraw(&own); // dropped or done, as it comes
    }
    EXPECT_EQ(destroyed, 100);
}

TEST(PoolTest, IsSharedWhileSomebodyHoldsIt) {
    const auto first = Pool::shared(nothing);
    EXPECT_EQ(first, Pool::shared(nothing));
}

} // namespace
} // namespace faiss_vision
