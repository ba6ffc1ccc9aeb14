#pragma once

#include <cstdint>
#include <functional>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// Fractions from 0 to 1 of a long operation, called on the thread that does the work.
using Progress = std::function<void(double)>;

/// While it lives, the steps of FAISS's clusterings on this thread are counted and reported as a fraction of those that
/// the training of this index with n vectors is made of. FAISS reports nothing by itself: the count comes from the place where it asks
/// whether it is to stop.
class TrainingProgress {
public:
    TrainingProgress(const faiss::Index& index, int64_t n, const Progress& progress);
    TrainingProgress(const faiss::IndexBinary& index, int64_t n, const Progress& progress);
    ~TrainingProgress();
    TrainingProgress(const TrainingProgress&) = delete;
    TrainingProgress& operator=(const TrainingProgress&) = delete;

    void step();

private:
    const Progress& progress_;
    const double steps_;
    double done_ = 0;
};

} // namespace faiss_vision
