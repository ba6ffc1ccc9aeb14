#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

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

} // namespace faiss_vision
