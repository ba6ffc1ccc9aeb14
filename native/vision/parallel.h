#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

namespace faiss_vision {

/// Does `count` pieces of work of different sizes on torch's threads: whoever is free takes the next one.
/// `start()` makes what one thread keeps from piece to piece; `work(kept, index)` does one.
template <class Start, class Work>
void forEachPiece(int64_t count, const Start& start, const Work& work) {
    std::atomic<int64_t> next{0};
    const int64_t threads = std::min<int64_t>(count, at::get_num_threads());
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
        if (begin == end) return;
        auto kept = start();
        for (int64_t i = next++; i < count; i = next++) work(kept, i);
    });
}

/// Steps, one after the other, that torch's threads do together: whoever is free takes the next piece of a step.
/// A step ends when its pieces are done, not when every thread has come by: on a busy machine OpenMP's own barriers
/// would wait for the slowest thread to be scheduled after each of a network's thirty layers.
class Steps {
    struct Step {
        alignas(64) std::atomic<int64_t> next{0};
        std::atomic<int64_t> done{0};
    };

public:
    /// One thread's way through the steps. All threads call run() with the same steps in the same order.
    class Walk {
    public:
        Walk(std::vector<Step>& steps, int threads) : step_(steps.begin()), threads_(threads) {}

        /// How many threads walk at the most: the same on each, while torch's own number may differ on its threads.
        int threads() const { return threads_; }

        /// work(index) for each piece; it must not throw.
        template <class Work>
        void run(int64_t pieces, const Work& work) {
            Step& step = *step_++;
            for (int64_t i = step.next++; i < pieces; i = step.next++) {
                work(i);
                step.done.fetch_add(1, std::memory_order_release);
            }
            for (int tries = 0; step.done.load(std::memory_order_acquire) < pieces; tries++) {
                if (tries > 1000) std::this_thread::yield();
            }
        }

    private:
        typename std::vector<Step>::iterator step_;
        int threads_;
    };

    /// way(walk) on each thread.
    /// @param most  steps that a way has at the most
    template <class Way>
    static void walk(int most, const Way& way) {
        std::vector<Step> steps(static_cast<size_t>(most));
        const int threads = at::get_num_threads();
        at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
            Walk alone(steps, threads);
            way(alone);
        });
    }

    /// way(walk) on this thread, without the others.
    template <class Way>
    static void alone(int most, const Way& way) {
        std::vector<Step> steps(static_cast<size_t>(most));
        Walk walk(steps, 1);
        way(walk);
    }
};

} // namespace faiss_vision
