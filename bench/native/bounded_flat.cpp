// The search by bounds beside FAISS's own flat index, in one process, in alternating rounds:
//   bounded_flat_bench [vectors] [dimension] [data] [rounds] [metric]
// data: uniform, unit (random directions), clusters (100 tight ones), equal, spread (lengths over six orders of magnitude),
// spike (one coordinate dominates), positive (0 to 1); metric: l2 or ip.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include "ann/blas.h"
#include "ann/bounded_flat.h"

using namespace faiss_vision;

namespace {

// With one thread the processor's time is the better measure: what else the machine does is not in it.
double now() {
    timespec time;
    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) * 1e3 + double(time.tv_nsec) / 1e6;
}

double milliseconds(const std::function<void()>& work) {
    const double start = now();
    work();
    return now() - start;
}

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

std::vector<float> make(const std::string& data, int64_t n, int d, unsigned seed) {
    std::vector<float> x(n * d);
    std::vector<float> centres(100 * d);
    std::mt19937 first(1);
    std::normal_distribution<float> normal;
    for (float& c : centres) c = normal(first);
#pragma omp parallel
    {
        std::normal_distribution<float> own;
        std::uniform_real_distribution<float> uniform(-1, 1);
#pragma omp for
        for (int64_t i = 0; i < n; i++) {
            std::minstd_rand engine(unsigned(i * 7919 + seed));
            engine.discard(8);
            float* const v = x.data() + i * d;
            const float* const centre = centres.data() + engine() % 100 * d;
            const float length = std::pow(10.0f, uniform(engine) * 3);
            double squares = 0;
            for (int j = 0; j < d; j++) {
                if (data == "uniform") v[j] = uniform(engine);
                else if (data == "positive") v[j] = (uniform(engine) + 1) / 2;
                else if (data == "clusters") v[j] = centre[j] + 0.05f * own(engine);
                else if (data == "equal") v[j] = centres[j];
                else if (data == "spread") v[j] = length * own(engine);
                else if (data == "spike") v[j] = j == 0 ? 1000 * own(engine) : own(engine);
                else v[j] = own(engine);
                squares += double(v[j]) * v[j];
            }
            if (data == "unit") {
                for (int j = 0; j < d; j++) v[j] = float(v[j] / std::sqrt(squares));
            }
        }
    }
    return x;
}

} // namespace

int main(int argc, char** argv) {
    const int64_t n = argc > 1 ? std::atoll(argv[1]) : 100000;
    const int d = argc > 2 ? std::atoi(argv[2]) : 512;
    const std::string data = argc > 3 ? argv[3] : "uniform";
    const int rounds = argc > 4 ? std::atoi(argv[4]) : 15;
    const faiss::MetricType metric = argc > 5 && std::string(argv[5]) == "ip" ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2;
    const int64_t k = argc > 6 ? std::atoll(argv[6]) : 10;

    std::vector<float> known = make(data, n, d, 1);
    const std::vector<float> queries = make(data, 1000, d, 77777777);
    BoundedFlat bounded(d, metric, Exact::Bounded);
    BoundedFlat plain(d, metric, Exact::Plain);
    faiss::IndexFlat flat(d, metric);
    std::printf("%s, %lld x %d, %s, k = %lld, %d threads, kernels %s, BLAS %s\n", data.c_str(), (long long)n, d,
                metric == faiss::METRIC_L2 ? "l2" : "ip", (long long)k, omp_get_max_threads(), bytes::chosen().name, blasInfo().kernels.c_str());

    // Adding: both from empty, in turn; then the copy alone.
    if (n <= 200000) {
        for (const int64_t step : {n, int64_t(1000)}) {
            std::vector<double> alone, both;
            for (int round = 0; round < 3; round++) {
                faiss::IndexFlat one(d, metric);
                BoundedFlat two(d, metric, Exact::Bounded);
                alone.push_back(milliseconds([&] { for (int64_t i = 0; i + step <= n; i += step) one.add(step, known.data() + i * d); }));
                both.push_back(milliseconds([&] { for (int64_t i = 0; i + step <= n; i += step) two.add(step, known.data() + i * d); }));
            }
            std::printf("  add %7lld at a time: FAISS %.1f ms, with the copy %.1f ms: %+.0f %%\n", (long long)step, median(alone), median(both),
                        100 * (median(both) / median(alone) - 1));
        }
    }
    bounded.codes.resize(size_t(n) * bounded.code_size);
    std::memcpy(bounded.get_xb(), known.data(), size_t(n) * bounded.code_size);
    known = {};
    flat.ntotal = plain.ntotal = bounded.ntotal = n;
    const double building = milliseconds([&] { bounded.rebuild(); });
    std::printf("  building the copy of all: %.1f ms; %.1f MiB beside %.1f\n", building, bounded.copyBytes() / 1048576.0, bounded.codes.size() / 1048576.0);
    // There is one set of floats: it goes to whoever searches.
    const auto search = [&](faiss::IndexFlat& index, int64_t asked, const float* x, float* distances, int64_t* labels) {
        std::swap(bounded.codes, index.codes);
        const double time = milliseconds([&] { index.search(asked, x, k, distances, labels); });
        std::swap(bounded.codes, index.codes);
        return time;
    };

    for (const int64_t asked : {1, 2, 4, 8, 16, 19, 32, 100, 1000}) {
        std::vector<float> d1(asked * k), d2(asked * k);
        std::vector<int64_t> l1(asked * k), l2(asked * k);
        std::vector<double> faissTime, ownTime, ratio, scanTime;
        const int repeats = asked >= 100 ? std::max(rounds / 5, 3) : rounds;
        int64_t offset = 0;
        for (int round = 0; round < repeats; round++) {
            const float* const x = queries.data() + offset * d;
            offset = (offset + asked) % (1000 - asked + 1);
            faissTime.push_back(search(flat, asked, x, d1.data(), l1.data()));
            if (asked < 100) scanTime.push_back(search(plain, asked, x, d2.data(), l2.data()));
            ownTime.push_back(search(bounded, asked, x, d2.data(), l2.data()));
            ratio.push_back(faissTime.back() / ownTime.back());
        }
        int64_t different = 0;
        for (int64_t i = 0; i < asked * k; i++) different += l1[i] != l2[i];
        std::printf("  %4lld queries: FAISS %8.2f ms, plain %8.2f ms, bounds %8.2f ms: %5.1f times FAISS (%lld other ids)\n", (long long)asked,
                    median(faissTime), scanTime.empty() ? 0.0 : median(scanTime), median(ownTime), median(ratio), (long long)different);
        std::fflush(stdout);
    }
}
