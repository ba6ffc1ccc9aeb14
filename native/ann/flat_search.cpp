#include "ann/flat_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <omp.h>

#include <faiss/utils/distances.h>

namespace faiss_vision {
namespace {

// Many parts, so that a thread that is held up by other work holds up only one; each large enough to be worth a start.
constexpr int64_t kPartBytes = 8 << 20;

float neutral(bool innerProduct) {
    return innerProduct ? std::numeric_limits<float>::lowest() : std::numeric_limits<float>::max();
}

} // namespace

void searchFlat(const faiss::IndexFlat& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels) {
    const bool innerProduct = index.metric_type == faiss::METRIC_INNER_PRODUCT;
    const int64_t size = index.ntotal;
    // FAISS gives each query to one thread. Fewer queries than threads would leave some of them idle.
    const int64_t parts = n >= omp_get_max_threads() || (!innerProduct && index.metric_type != faiss::METRIC_L2)
        ? 1 : std::min<int64_t>(index.codes.size() / kPartBytes, size / k);
    if (parts <= 1) {
        index.search(n, x, k, distances, labels);
        return correctNone(index, n, k, distances, labels);
    }

    const size_t d = index.d;
    // All of it before the threads start: an exception must not leave a parallel region.
    std::vector<float> partDistances(n * parts * k);
    std::vector<int64_t> partLabels(n * parts * k);
#pragma omp parallel for schedule(dynamic)
    for (int64_t part = 0; part < parts; part++) {
        const int64_t begin = size * part / parts;
        const int64_t count = size * (part + 1) / parts - begin;
        const float* const known = index.get_xb() + begin * d;
        float* const to = partDistances.data() + part * n * k;
        int64_t* const ids = partLabels.data() + part * n * k;
        if (innerProduct) faiss::knn_inner_product(x, known, d, n, count, k, to, ids);
        else faiss::knn_L2sqr(x, known, d, n, count, k, to, ids);
        for (int64_t i = 0; i < n * k; i++) {
            if (ids[i] >= 0) ids[i] += begin;
        }
    }

    std::vector<std::pair<float, int64_t>> best;
    for (int64_t i = 0; i < n; i++) {
        best.clear();
        for (int64_t part = 0; part < parts; part++) {
            for (int64_t j = 0; j < k; j++) {
                const int64_t at = (part * n + i) * k + j;
                if (partLabels[at] >= 0 && std::isfinite(partDistances[at])) best.emplace_back(innerProduct ? -partDistances[at] : partDistances[at], partLabels[at]);
            }
        }
        const int64_t filled = std::min<int64_t>(k, best.size());
        std::partial_sort(best.begin(), best.begin() + filled, best.end());
        for (int64_t j = 0; j < filled; j++) {
            distances[i * k + j] = innerProduct ? -best[j].first : best[j].first;
            labels[i * k + j] = best[j].second;
        }
        // A distance that is not finite (vectors near the largest float) is in no part's list.
        std::fill(labels + i * k + filled, labels + (i + 1) * k, int64_t{-1});
        std::fill(distances + i * k + filled, distances + (i + 1) * k, neutral(innerProduct));
    }
}

void correctNone(const faiss::IndexFlat& index, int64_t n, int64_t k, float* distances, int64_t* labels) {
    if (k != 1) return;
    for (int64_t i = 0; i < n; i++) {
        if (std::isfinite(distances[i])) continue;
        labels[i] = -1;
        distances[i] = neutral(index.metric_type == faiss::METRIC_INNER_PRODUCT);
    }
}

} // namespace faiss_vision
