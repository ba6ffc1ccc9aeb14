// Many threads on a few shared indexes, through the queues, as worker threads use them.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "addon/pool.h"
#include "addon/queue.h"
#include "addon/shared_index.h"
#include "ann/factory.h"

namespace faiss_vision {
namespace {

constexpr int kDimension = 16;
constexpr int64_t kSearched = 5;

void nothing() {}

std::vector<float> vectorsOf(std::mt19937& random, int64_t n) {
    std::uniform_real_distribution<float> numbers(-1, 1);
    std::vector<float> x(n * kDimension);
    for (float& number : x) number = numbers(random);
    return x;
}

class Call : public Work {
public:
    Call(std::function<void()> call, bool reads) : call_(std::move(call)), reads_(reads) {}
    void run() override { call_(); }
    bool reads() const override { return reads_; }

private:
    const std::function<void()> call_;
    const bool reads_;
};

/// What a task failed with, or nothing, or that it was dropped.
class Promised : public Task {
public:
    Promised(const void* owner, std::unique_ptr<Work> work, std::promise<std::string> code, std::shared_ptr<void> held)
        : Task(owner, std::move(work)), code_(std::move(code)), held_(std::move(held)) {}
    ~Promised() override {
        if (!settled_) code_.set_value("dropped");
    }
    void settle(std::unique_ptr<Task> self) noexcept override {
        settled_ = true;
        std::string code;
        try {
            if (failure_ != nullptr) std::rethrow_exception(failure_);
        } catch (const Error& error) {
            code = error.code();
        } catch (const std::exception& error) {
            code = error.what();
        }
        code_.set_value(code);
        self.reset();
    }

private:
    std::promise<std::string> code_;
    const std::shared_ptr<void> held_; // the memory of the results
    bool settled_ = false;
};

struct Results {
    std::vector<float> distances;
    std::vector<int64_t> labels;
};

using Shared = SharedIndex<FloatVectors>;

std::future<std::string> push(const std::shared_ptr<Queue>& queue, const void* owner, std::unique_ptr<Work> work, std::shared_ptr<void> held = nullptr,
                              const std::shared_ptr<Queue>& other = nullptr) {
    std::promise<std::string> code;
    auto future = code.get_future();
    auto task = std::make_unique<Promised>(owner, std::move(work), std::move(code), std::move(held));
    if (other == nullptr) queue->push(std::move(task));
    else Queue::pushBoth(queue, other, std::move(task));
    return future;
}

/// How long the mixture runs: a second, or what the sanitizers' run asks for.
std::chrono::seconds duration() {
    const char* const seconds = std::getenv("FAISS_VISION_STRESS_SECONDS");
    return std::chrono::seconds(seconds == nullptr ? 1 : std::max(1, std::atoi(seconds)));
}

TEST(SharedIndexTest, SearchesThatWaitJoinAndEachGetsItsOwnAnswer) {
    const auto pool = std::make_shared<Pool>(nothing);
    const auto shared = std::make_shared<Shared>(std::make_shared<Queue>(pool));
    shared->take(FloatIndex(makeIndex(kDimension, "Flat", faiss::METRIC_L2)));
    std::mt19937 random(7);
    const auto x = vectorsOf(random, 500);
    shared->queue->runNow([&] { shared->core().add(500, x.data()); });

    std::vector<std::future<std::string>> done;
    std::vector<std::shared_ptr<Results>> results;
    for (int64_t i = 0; i < 500; i++) {
        const int64_t k = 1 + i % 3;
        const auto query = std::make_shared<std::vector<float>>(x.begin() + i * kDimension, x.begin() + (i + 1) * kDimension);
        if (i == 250) query->at(3) = NAN; // spoils no other
        results.push_back(std::make_shared<Results>(Results{std::vector<float>(k), std::vector<int64_t>(k)}));
        done.push_back(push(shared->queue, nullptr, std::make_unique<SearchWork<FloatVectors>>(
            shared, 1, std::shared_ptr<const float>(query, query->data()), true, k, results.back()->distances.data(),
            results.back()->labels.data(), SearchOptions{}), results.back()));
    }
    for (int64_t i = 0; i < 500; i++) {
        const std::string code = done[i].get();
        if (i == 250) {
            EXPECT_EQ(code, "ERR_NOT_FINITE");
        } else {
            EXPECT_EQ(code, "");
            EXPECT_EQ(results[i]->labels[0], i);
        }
    }
}

// Adds, searches, removals, savings, merges, cancels and closings from many threads at once, each thread with an
// opening of its own as a worker thread has it, some of which end in the middle of their work.
TEST(SharedIndexTest, ManyThreadsMixEverything) {
    const auto until = std::chrono::steady_clock::now() + duration();
    std::atomic<int64_t> searches{0}, wrong{0};
    for (int round = 0; round == 0 || std::chrono::steady_clock::now() < until; round++) {
        const auto pool = std::make_shared<Pool>(nothing);
        const char* const descriptions[] = {"IDMap2,Flat", "HNSW8", "IVF4,Flat"};
        std::vector<std::shared_ptr<Shared>> indexes;
        std::mt19937 first(round);
        for (const char* const description : descriptions) {
            indexes.push_back(std::make_shared<Shared>(std::make_shared<Queue>(pool)));
            indexes.back()->take(FloatIndex(makeIndex(kDimension, description, faiss::METRIC_L2)));
            if (!indexes.back()->trained) {
                const auto x = vectorsOf(first, 200);
                indexes.back()->core().train(200, x.data());
            }
        }
        const std::string path = testing::TempDir() + "addon_index_test-" + std::to_string(::getpid());

        std::vector<std::thread> threads;
        for (int t = 0; t < 6; t++) {
            threads.emplace_back([&, t] {
                std::mt19937 random(round * 100 + t);
                const int owner = t; // its address says whose the tasks are
                int64_t nextId = int64_t(t) << 32;
                std::vector<std::future<std::string>> done;
                std::vector<std::string> allowed{"", "dropped", "ERR_CLOSED", "ERR_UNSUPPORTED", "ERR_INVALID_ARGUMENT", "ERR_DUPLICATE_ID", "ERR_INCOMPATIBLE_INDEX"};
                for (int i = 0; i < 150; i++) {
                    const auto shared = indexes[random() % indexes.size()];
                    const auto other = indexes[random() % indexes.size()];
                    switch (random() % 16) {
                        case 0: case 1: case 2: {
                            const int64_t n = 1 + random() % 20;
                            auto x = std::make_shared<std::vector<float>>(vectorsOf(random, n));
                            auto ids = std::make_shared<std::vector<int64_t>>();
                            for (int64_t j = 0; j < n; j++) ids->push_back(nextId++);
                            const bool keepsIds = shared != indexes[1];
                            done.push_back(push(shared->queue, &owner, std::make_unique<Call>([shared, x, ids, n, keepsIds] {
                                shared->core().add(n, x->data(), keepsIds ? ids->data() : nullptr);
                                shared->changed();
                            }, false)));
                            break;
                        }
                        case 3: {
                            const std::vector<int64_t> ids{nextId - 1, nextId - 2, 12345};
                            done.push_back(push(shared->queue, &owner, std::make_unique<Call>([shared, ids] {
                                shared->core().remove(int64_t(ids.size()), ids.data());
                                shared->changed();
                            }, false)));
                            break;
                        }
                        case 4:
                            done.push_back(push(shared->queue, &owner, std::make_unique<Call>([shared, path, t] { shared->core().save(path + std::to_string(t)); }, true)));
                            break;
                        case 5:
                            if (shared != other) {
                                done.push_back(push(shared->queue, &owner, std::make_unique<Call>([shared, other] {
                                    shared->core().mergeFrom(other->core(), 0);
                                }, false), nullptr, other->queue));
                            }
                            break;
                        case 6:
                            shared->queue->runNow([&] {
                                if (shared->index) shared->core().describe();
                            });
                            break;
                        case 7:
                            if (i > 100 && random() % 20 == 0) {
                                done.push_back(push(shared->queue, &owner, std::make_unique<Call>([shared] { shared->index.reset(); }, false)));
                            }
                            break;
                        default: {
                            const auto query = std::make_shared<std::vector<float>>(vectorsOf(random, 1));
                            const auto results = std::make_shared<Results>(Results{std::vector<float>(kSearched), std::vector<int64_t>(kSearched)});
                            done.push_back(push(shared->queue, &owner, std::make_unique<SearchWork<FloatVectors>>(
                                shared, 1, std::shared_ptr<const float>(query, query->data()), true, kSearched, results->distances.data(),
                                results->labels.data(), SearchOptions{}), results));
                            searches++;
                        }
                    }
                }
                if (t % 2 == 0) { // as an environment that ends
                    for (const auto& shared : indexes) shared->queue->withdraw(&owner);
                }
                for (auto& future : done) {
                    const std::string code = future.get();
                    if (std::find(allowed.begin(), allowed.end(), code) == allowed.end()) {
                        wrong++;
                        ADD_FAILURE() << code;
                    }
                }
                std::remove((path + std::to_string(t)).c_str());
            });
        }
        for (auto& thread : threads) thread.join();
    }
    EXPECT_EQ(wrong, 0);
    RecordProperty("searches", std::to_string(searches));
}

TEST(SharedIndexTest, AKeyFindsAnIndexWhileItLives) {
    const auto pool = std::make_shared<Pool>(nothing);
    auto shared = std::make_shared<Shared>(std::make_shared<Queue>(pool));
    const std::string key = Shared::publish(shared);
    EXPECT_EQ(Shared::publish(shared), key);
    EXPECT_EQ(Shared::find(key), shared);
    EXPECT_EQ(Shared::find("no such key"), nullptr);
    shared.reset();
    EXPECT_EQ(Shared::find(key), nullptr);
}

} // namespace
} // namespace faiss_vision
