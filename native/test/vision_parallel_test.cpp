#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "vision/parallel.h"

using namespace faiss_vision;

TEST(ForEachPiece, doesEveryPieceOnce) {
    for (const int64_t count : {0, 1, 2, 1000}) {
        std::vector<std::atomic<int>> times(static_cast<size_t>(count));
        forEachPiece(
            count, [] { return 1; }, [&](int kept, int64_t i) { times[size_t(i)] += kept; });
        for (const std::atomic<int>& each : times) EXPECT_EQ(each, 1);
    }
}

constexpr int kSteps = 200;
constexpr int64_t kPieces = 37;

TEST(Steps, aStepSeesAllOfTheOneBefore) {
    const auto walkOnce = [] {
        std::vector<int64_t> values[2] = {std::vector<int64_t>(kPieces), std::vector<int64_t>(kPieces)};
        Steps::walk(kSteps, [&](Steps::Walk& walk) {
            for (int step = 0; step < kSteps; step++) {
                const std::vector<int64_t>& from = values[step % 2];
                std::vector<int64_t>& to = values[(step + 1) % 2];
                walk.run(kPieces, [&](int64_t i) { to[size_t(i)] = from[size_t((i + 1) % kPieces)] + 1; });
            }
        });
        for (const int64_t value : values[0]) EXPECT_EQ(value, int64_t{kSteps});
    };
    for (int repeat = 0; repeat < 50; repeat++) walkOnce();
    // More threads than processors, as two recognisers in two workers have them.
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([&] { walkOnce(); });
    for (std::thread& thread : threads) thread.join();
}
