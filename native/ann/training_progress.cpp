#include "ann/training_progress.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPQFastScan.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/utils/distances.h>

namespace faiss_vision {
namespace {

thread_local TrainingProgress* current = nullptr;

class Counter : public faiss::InterruptCallback {
public:
    bool want_interrupt() override {
        if (current != nullptr) current->step();
        return false;
    }
};

// FAISS has one such object for the process. It is set before any thread can ask for it, and answers by thread.
const bool installed = [] {
    if (faiss::InterruptCallback::instance == nullptr) faiss::InterruptCallback::instance = std::make_unique<Counter>();
    return true;
}();

/// How often FAISS asks in one clustering of n vectors: once for each iteration and each block of vectors in it.
double steps(const faiss::ClusteringParameters& clustering, double iterations, double centroids, double n) {
    const double used = std::min(n, centroids * clustering.max_points_per_centroid);
    return iterations * clustering.nredo * (1 + std::ceil(used / faiss::distance_compute_blas_query_bs));
}

double steps(const faiss::ProductQuantizer& pq, double n) { return double(pq.M) * steps(pq.cp, pq.cp.niter, double(pq.ksub), n); }

/// Of the parts whose number is known beforehand; 0 where there are none.
double steps(const faiss::Index& index, double n) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return steps(*map->index, n);
    if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) return steps(*refine->base_index, n);
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return steps(*transform->index, n);
    if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) {
        double sum = ivf->quantizer_trains_alone == 1 ? 0 : steps(ivf->cp, ivf->cp.niter, double(ivf->nlist), n);
        if (const auto* const pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf)) sum += steps(pq->pq, n);
        if (const auto* const pq = dynamic_cast<const faiss::IndexIVFPQFastScan*>(ivf)) sum += steps(pq->pq, n);
        return sum;
    }
    if (const auto* const pq = dynamic_cast<const faiss::IndexPQ*>(&index)) return steps(pq->pq, n);
    if (const auto* const pq = dynamic_cast<const faiss::IndexPQFastScan*>(&index)) return steps(pq->pq, n);
    return 0;
}

double steps(const faiss::IndexBinary& index, double n) {
    if (const auto* const map = dynamic_cast<const faiss::IndexBinaryIDMap*>(&index)) return steps(*map->index, n);
    if (const auto* const ivf = dynamic_cast<const faiss::IndexBinaryIVF*>(&index)) return steps(ivf->cp, ivf->cp.niter, double(ivf->nlist), n);
    return 0;
}

} // namespace

TrainingProgress::TrainingProgress(const faiss::Index& index, int64_t n, const Progress& progress)
    : progress_(progress), steps_(steps(index, double(n))) {
    if (installed) current = this;
}

TrainingProgress::TrainingProgress(const faiss::IndexBinary& index, int64_t n, const Progress& progress)
    : progress_(progress), steps_(steps(index, double(n))) {
    if (installed) current = this;
}

TrainingProgress::~TrainingProgress() { current = nullptr; }

void TrainingProgress::step() {
    done_++;
    // What is beyond the parts that are known (the last encoding) takes some time too: 1 is for the end.
    if (progress_ && steps_ > 0) progress_(std::min(done_ / steps_, 0.99));
}

} // namespace faiss_vision
