#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "addon/pool.h"
#include "addon/queue.h"

namespace faiss_vision {
namespace {

void nothing() {}

class Counted : public Task {
public:
    Counted(const void* owner, std::function<void()> work, std::atomic<int>& settled, std::atomic<int>& destroyed)
        : Task(owner), work_(std::move(work)), settled_(settled), destroyed_(destroyed) {}
    ~Counted() override { destroyed_++; }
    void run() noexcept override { work_(); }
    void settle(std::unique_ptr<Task>) noexcept override { settled_++; }

private:
    std::function<void()> work_;
    std::atomic<int>& settled_;
    std::atomic<int>& destroyed_;
};

struct Fixture : testing::Test {
    void push(Queue& queue, std::function<void()> work, const void* owner = nullptr) {
        queue.push(std::make_unique<Counted>(owner, std::move(work), settled, destroyed));
    }
    void wait(Queue& queue) { queue.runNow([] {}); }

    std::atomic<int> settled{0};
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
