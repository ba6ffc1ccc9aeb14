#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/impl/IDSelector.h>

#include "ann/candidate.h"
#include "ann/distance_kernels.h"
#include "ann/hnsw_search.h"
#include "ann/ivf_search.h"

namespace faiss_vision {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();

/// Vectors around some centres. Bases and queries of one seed have the same centres.
std::vector<float> clustered(int64_t n, int d, unsigned seed, unsigned which) {
    std::mt19937 centreEngine(seed), engine(seed * 1000 + which);
    std::normal_distribution<float> normal;
    std::vector<float> centres(20 * d);
    for (float& c : centres) c = normal(centreEngine);
    std::vector<float> vectors(n * d);
    for (int64_t i = 0; i < n; i++) {
        const size_t centre = engine() % 20;
        for (int j = 0; j < d; j++) vectors[i * d + j] = centres[centre * d + j] + 0.4f * normal(engine);
    }
    return vectors;
}

struct Result {
    Result(int64_t n, int64_t k) : n(n), k(k), distances(n * k, -12345), labels(n * k, -12345) {}
    int64_t n, k;
    std::vector<float> distances;
    std::vector<int64_t> labels;

    std::set<int64_t> found(int64_t i) const {
        std::set<int64_t> ids(labels.begin() + i * k, labels.begin() + (i + 1) * k);
        ids.erase(-1);
        return ids;
    }
    double recall(const Result& truth) const {
        int64_t hits = 0, all = 0;
        for (int64_t i = 0; i < n; i++) {
            const auto ours = found(i);
            for (const int64_t id : truth.found(i)) hits += ours.count(id), all++;
        }
        return all == 0 ? 1 : double(hits) / all;
    }
};

Result flat(int d, faiss::MetricType metric, const std::vector<float>& base, const std::vector<float>& queries, int64_t k,
            const faiss::IDSelector* filter = nullptr) {
    faiss::IndexFlat index(d, metric);
    index.add(base.size() / d, base.data());
    Result result(queries.size() / d, k);
    faiss::SearchParameters params;
    params.sel = const_cast<faiss::IDSelector*>(filter);
    for (int64_t i = 0; i < result.n; i++) {
        index.search(1, queries.data() + i * d, k, result.distances.data() + i * k, result.labels.data() + i * k, &params);
    }
    return result;
}

/// What two ways of summing up may differ by: sums of squares relative to themselves, those of products to what cancels out.
double tolerance(faiss::MetricType metric, double value) {
    return 1e-5 * (metric == faiss::METRIC_L2 ? std::abs(value) : std::max(10.0, std::abs(value)));
}

double exact(faiss::MetricType metric, const float* x, const float* y, int d) {
    double sum = 0;
    for (int j = 0; j < d; j++) {
        const double a = x[j], b = y[j];
        sum += metric == faiss::METRIC_L2 ? (a - b) * (a - b) : a * b;
    }
    return sum;
}

/// In order, no id twice, every distance that of its id, and FAISS's filling behind the last.
void expectSound(const Result& result, faiss::MetricType metric, int d, const std::vector<float>& base,
                 const std::vector<float>& queries) {
    const bool l2 = metric == faiss::METRIC_L2;
    for (int64_t i = 0; i < result.n; i++) {
        int64_t count = 0;
        for (int64_t j = 0; j < result.k; j++) {
            const float distance = result.distances[i * result.k + j];
            const int64_t label = result.labels[i * result.k + j];
            if (label == -1) {
                EXPECT_EQ(distance, l2 ? kLargest : -kLargest);
                continue;
            }
            ASSERT_EQ(j, count++) << "a gap";
            ASSERT_GE(label, 0);
            ASSERT_LT(label * d, int64_t(base.size()));
            const double expected = exact(metric, queries.data() + i * d, base.data() + label * d, d);
            ASSERT_NEAR(distance, expected, tolerance(metric, expected));
            if (j == 0) continue;
            const float before = result.distances[i * result.k + j - 1];
            ASSERT_TRUE(l2 ? distance >= before : distance <= before);
        }
        ASSERT_EQ(int64_t(result.found(i).size()), count) << "an id twice";
    }
}

struct MetricAndDimension {
    faiss::MetricType metric;
    int d;
};
std::string nameOf(const testing::TestParamInfo<MetricAndDimension>& info) {
    return (info.param.metric == faiss::METRIC_L2 ? "L2x" : "IPx") + std::to_string(info.param.d);
}
std::vector<MetricAndDimension> all() {
    std::vector<MetricAndDimension> result;
    for (const int d : {1, 3, 17, 100, 128, 301}) {
        result.push_back({faiss::METRIC_L2, d});
        result.push_back({faiss::METRIC_INNER_PRODUCT, d});
    }
    return result;
}

// ---- kernels ----

TEST(DistanceKernels, EveryVariantAgreesWithDoubles) {
    std::mt19937 engine(1);
    std::normal_distribution<float> normal;
    for (const size_t d : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 64, 100, 127, 128, 513}) {
        const size_t stride = d + 3, rows = 23, queries = 7;
        std::vector<float> y(rows * stride), x(queries * d);
        for (float& v : y) v = normal(engine);
        for (float& v : x) v = normal(engine);
        for (const distances::Variant& variant : distances::variants()) {
            SCOPED_TRACE(std::string(variant.name) + " d " + std::to_string(d));
            for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
                const double sign = metric == faiss::METRIC_L2 ? 1 : -1, tolerance = 1e-6 * (4 + d);
                const auto toRows = metric == faiss::METRIC_L2 ? variant.l2ToRows : variant.negativeIpToRows;
                const auto block = metric == faiss::METRIC_L2 ? variant.l2Block : variant.negativeIpBlock;
                for (const size_t count : {0, 1, 2, 3, 4, 5, 8, 11}) {
                    std::vector<int32_t> ids(count);
                    for (int32_t& id : ids) id = engine() % rows;
                    std::vector<float> out(count + 1, 77);
                    toRows(x.data(), d, y.data(), stride, ids.data(), count, out.data());
                    for (size_t i = 0; i < count; i++) {
                        ASSERT_NEAR(out[i], sign * exact(metric, x.data(), y.data() + ids[i] * stride, d), tolerance);
                    }
                    ASSERT_EQ(out[count], 77);

                    std::fill(out.begin(), out.end(), 77);
                    const auto stream = metric == faiss::METRIC_L2 ? variant.l2Stream : variant.negativeIpStream;
                    stream(x.data(), y.data(), d, count, out.data()); // the same memory as rows without gaps
                    for (size_t i = 0; i < count; i++) {
                        ASSERT_NEAR(out[i], sign * exact(metric, x.data(), y.data() + i * d, d), tolerance);
                    }
                    ASSERT_EQ(out[count], 77);

                    const float* xs[queries];
                    for (size_t q = 0; q < queries; q++) xs[q] = x.data() + (queries - 1 - q) * d;
                    for (const size_t some : {size_t{1}, size_t{3}, queries}) {
                        std::vector<float> table(some * (count + 1), 77);
                        block(xs, some, y.data(), d, count, table.data(), count + 1); // the same memory as rows without gaps
                        for (size_t q = 0; q < some; q++) {
                            for (size_t i = 0; i < count; i++) {
                                const double expected = sign * exact(metric, xs[q], y.data() + i * d, d);
                                ASSERT_NEAR(table[q * (count + 1) + i], expected, tolerance);
                            }
                            ASSERT_EQ(table[q * (count + 1) + count], 77);
                        }
                    }
                }
            }
        }
    }
}

TEST(DistanceKernels, BelowTellsWhichAreNotBeyondTheLimit) {
    std::vector<float> values(distances::kMask);
    for (size_t i = 0; i < values.size(); i++) values[i] = float(i * 37 % 64);
    values[5] = std::numeric_limits<float>::quiet_NaN();
    values[6] = -std::numeric_limits<float>::infinity();
    for (const distances::Variant& variant : distances::variants()) {
        for (size_t count = 0; count <= distances::kMask; count++) {
            for (const float limit : {-1.0f, 0.0f, 31.0f, 100.0f}) {
                uint64_t expected = 0;
                for (size_t i = 0; i < count; i++) expected |= uint64_t(values[i] <= limit) << i;
                ASSERT_EQ(variant.below(values.data(), count, limit), expected) << variant.name << " " << count << " " << limit;
            }
        }
    }
}

TEST(Candidates, OrderAsTheirDistancesDo) {
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> ascending = {-infinity, -kLargest, -2, -1e-40f, 0, 1e-40f, 1, 3, kLargest, infinity};
    for (size_t i = 0; i < ascending.size(); i++) {
        EXPECT_EQ(distanceOf(candidate(ascending[i], 9)), ascending[i]);
        EXPECT_EQ(ownerOf(candidate(ascending[i], 0xfffffffe)), 0xfffffffe);
        EXPECT_LT(candidate(ascending[i], 0xfffffffe), candidate(i + 1 < ascending.size() ? ascending[i + 1] : nan, 0));
        EXPECT_LT(candidate(ascending[i], 1), candidate(ascending[i], 2));
        EXPECT_LT(candidate(ascending[i], 7), candidate(nan, 0));
        EXPECT_LT(candidate(ascending[i], 7), candidate(-nan, 0));
    }
}

// ---- HNSW ----

Result oursHnsw(const faiss::IndexHNSW& index, const std::vector<float>& queries, int64_t k, int efSearch,
                const faiss::IDSelector* filter = nullptr) {
    Result result(queries.size() / index.d, k);
    EXPECT_TRUE(searchHnsw(index, result.n, queries.data(), k, result.distances.data(), result.labels.data(), filter, efSearch));
    return result;
}

Result faissHnsw(faiss::IndexHNSW& index, const std::vector<float>& queries, int64_t k, int efSearch,
                 const faiss::IDSelector* filter = nullptr) {
    Result result(queries.size() / index.d, k);
    faiss::SearchParametersHNSW params;
    params.efSearch = index.hnsw.efSearch = efSearch; // 1.7.3 looks at both
    params.sel = const_cast<faiss::IDSelector*>(filter);
    index.search(result.n, queries.data(), k, result.distances.data(), result.labels.data(), &params);
    return result;
}

class HnswTest : public testing::TestWithParam<MetricAndDimension> {};
INSTANTIATE_TEST_SUITE_P(All, HnswTest, testing::ValuesIn(all()), nameOf);

TEST_P(HnswTest, FindsAsMuchAsFaiss) {
    const auto [metric, d] = GetParam();
    for (unsigned seed = 1; seed <= 3; seed++) {
        const auto base = clustered(2500, d, seed, 0), queries = clustered(150, d, seed, 1);
        faiss::IndexHNSWFlat index(d, 8, metric);
        index.add(base.size() / d, base.data());
        const Result truth = flat(d, metric, base, queries, 10);
        for (const int efSearch : {4, 16, 64}) { // 4: less than k
            const Result ours = oursHnsw(index, queries, 10, efSearch), theirs = faissHnsw(index, queries, 10, efSearch);
            expectSound(ours, metric, d, base, queries);
            EXPECT_GE(ours.recall(truth), theirs.recall(truth) - 0.005) << "seed " << seed << " efSearch " << efSearch;
        }
    }
}

TEST_P(HnswTest, OneQueryAndManyGiveTheSame) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(1500, d, 4, 0), queries = clustered(40, d, 4, 1);
    faiss::IndexHNSWFlat index(d, 12, metric);
    index.add(base.size() / d, base.data());
    const Result many = oursHnsw(index, queries, 7, 20);
    for (int64_t i = 0; i < many.n; i++) {
        const Result one = oursHnsw(index, {queries.begin() + i * d, queries.begin() + (i + 1) * d}, 7, 20);
        EXPECT_TRUE(std::equal(one.labels.begin(), one.labels.end(), many.labels.begin() + i * 7));
        EXPECT_TRUE(std::equal(one.distances.begin(), one.distances.end(), many.distances.begin() + i * 7));
    }
}

TEST_P(HnswTest, FiltersAsFaissDoes) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(2000, d, 5, 0), queries = clustered(60, d, 5, 1);
    faiss::IndexHNSWFlat index(d, 16, metric);
    index.add(base.size() / d, base.data());
    std::vector<int64_t> few;
    for (int64_t id = 3; id < 2000; id += 100) few.push_back(id);
    const faiss::IDSelectorBatch onePercent(few.size(), few.data()), nobody(0, nullptr);
    const faiss::IDSelectorAll everybody;

    for (const int efSearch : {16, 128}) {
        const Result ours = oursHnsw(index, queries, 5, efSearch, &onePercent);
        expectSound(ours, metric, d, base, queries);
        for (int64_t i = 0; i < ours.n; i++) {
            for (const int64_t id : ours.found(i)) EXPECT_EQ(id % 100, 3);
        }
        const Result truth = flat(d, metric, base, queries, 5, &onePercent);
        EXPECT_GE(ours.recall(truth), faissHnsw(index, queries, 5, efSearch, &onePercent).recall(truth) - 0.005);
    }
    const Result none = oursHnsw(index, queries, 5, 64, &nobody);
    EXPECT_EQ(std::count(none.labels.begin(), none.labels.end(), -1), none.n * none.k);
    expectSound(none, metric, d, base, queries);
    const Result unfiltered = oursHnsw(index, queries, 5, 64), filtered = oursHnsw(index, queries, 5, 64, &everybody);
    EXPECT_EQ(filtered.labels, unfiltered.labels);
    EXPECT_EQ(filtered.distances, unfiltered.distances);
}

TEST_P(HnswTest, GivesAllThereAreWhereKIsLarger) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(30, d, 6, 0), queries = clustered(5, d, 6, 1);
    faiss::IndexHNSWFlat index(d, 16, metric);
    const Result empty = oursHnsw(index, queries, 4, 16);
    EXPECT_EQ(std::count(empty.labels.begin(), empty.labels.end(), -1), 20);
    expectSound(empty, metric, d, base, queries);
    index.add(base.size() / d, base.data());
    const Result result = oursHnsw(index, queries, 50, 200);
    expectSound(result, metric, d, base, queries);
    for (int64_t i = 0; i < result.n; i++) EXPECT_EQ(result.found(i).size(), 30u);
}

TEST(Hnsw, KBeyondEfSearchFindsAsMuchAsFaiss) {
    const int d = 24;
    const auto base = clustered(3000, d, 7, 0), queries = clustered(100, d, 7, 1);
    faiss::IndexHNSWFlat index(d, 16);
    index.add(base.size() / d, base.data());
    const Result truth = flat(d, faiss::METRIC_L2, base, queries, 100);
    const Result ours = oursHnsw(index, queries, 100, 20);
    expectSound(ours, faiss::METRIC_L2, d, base, queries);
    EXPECT_GE(ours.recall(truth), faissHnsw(index, queries, 100, 20).recall(truth) - 0.005);
}

TEST(Hnsw, TellsDuplicatesApart) {
    const int d = 128;
    auto base = clustered(50, d, 8, 0);
    for (int copies = 0; copies < 9; copies++) base.insert(base.end(), base.begin(), base.begin() + 50 * d);
    const std::vector<float> queries(base.begin(), base.begin() + 50 * d);
    faiss::IndexHNSWFlat index(d, 16);
    index.add(base.size() / d, base.data());
    const Result result = oursHnsw(index, queries, 10, 100);
    expectSound(result, faiss::METRIC_L2, d, base, queries);
    for (int64_t i = 0; i < result.n; i++) EXPECT_EQ(result.distances[i * 10], 0);
}

TEST(Hnsw, ForgetsOneIndexBeforeTheNext) {
    const auto queries = clustered(20, 10, 9, 1);
    std::vector<std::vector<float>> bases;
    std::vector<std::unique_ptr<faiss::IndexHNSWFlat>> indexes;
    for (const int64_t n : {5000, 100, 900}) {
        bases.push_back(clustered(n, 10, 9, unsigned(n)));
        indexes.push_back(std::make_unique<faiss::IndexHNSWFlat>(10, 16));
        indexes.back()->add(n, bases.back().data());
    }
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < indexes.size(); i++) {
            const Result truth = flat(10, faiss::METRIC_L2, bases[i], queries, 10);
            EXPECT_GT(oursHnsw(*indexes[i], queries, 10, 200).recall(truth), 0.99) << i;
        }
    }
}

TEST(Hnsw, NumbersBeyondFloatsRangeDoNotLeadAstray) {
    const int d = 128;
    auto base = clustered(500, d, 10, 0);
    std::fill(base.begin() + 7 * d, base.begin() + 8 * d, 3e38f); // its distances are infinite
    std::vector<float> queries = clustered(10, d, 10, 1);
    queries.insert(queries.end(), d, 3e38f);
    for (const auto metric : {faiss::METRIC_L2, faiss::METRIC_INNER_PRODUCT}) {
        faiss::IndexHNSWFlat index(d, 16, metric);
        index.add(500, base.data());
        const Result result = oursHnsw(index, queries, 500, 500);
        for (const int64_t label : result.labels) EXPECT_TRUE(label >= -1 && label < 500);
        for (int64_t i = 0; i < result.n; i++) {
            const auto begin = result.labels.begin() + i * 500;
            EXPECT_EQ(int64_t(result.found(i).size()), 500 - std::count(begin, begin + 500, -1)) << "an id twice";
        }
    }
}

TEST(Hnsw, DeclinesWhatItIsNotMadeFor) {
    const int d = 8;
    const auto base = clustered(300, d, 11, 0);
    float distance = 5;
    int64_t label = 5;
    const auto declines = [&](const faiss::IndexHNSW& index) {
        return !searchHnsw(index, 1, base.data(), 1, &distance, &label, nullptr, 16) && distance == 5 && label == 5;
    };
    faiss::IndexHNSWFlat manhattan(d, 16, faiss::METRIC_L1);
    manhattan.add(300, base.data());
    EXPECT_TRUE(declines(manhattan));
    faiss::IndexHNSWSQ encoded(d, faiss::ScalarQuantizer::QT_8bit, 16);
    encoded.train(300, base.data());
    encoded.add(300, base.data());
    EXPECT_TRUE(declines(encoded));
    EXPECT_TRUE(declines(faiss::IndexHNSW(d)));
    faiss::IndexHNSWFlat other(d, 16);
    other.add(300, base.data());
    other.hnsw.upper_beam = 4;
    EXPECT_TRUE(declines(other));
    other.hnsw.upper_beam = 1;
    other.hnsw.check_relative_distance = false;
    EXPECT_TRUE(declines(other));
    other.hnsw.check_relative_distance = true;
    EXPECT_FALSE(searchHnsw(other, 1, base.data(), 0, &distance, &label, nullptr, 16));
    EXPECT_TRUE(searchHnsw(other, 1, base.data(), 1, &distance, &label, nullptr, 16));
    EXPECT_EQ(distance, 0);
}

// ---- IVF ----

struct Ivf {
    Ivf(int d, faiss::MetricType metric, size_t nlist, const std::vector<float>& base)
        : quantizer(d, metric), index(&quantizer, d, nlist, metric) {
        index.train(base.size() / d, base.data());
        index.add(base.size() / d, base.data());
    }
    faiss::IndexFlat quantizer;
    faiss::IndexIVFFlat index;
};

Result oursIvf(const faiss::IndexIVFFlat& index, const std::vector<float>& queries, int64_t k, size_t nprobe,
               const faiss::IDSelector* filter = nullptr, size_t maxCodes = 0) {
    Result result(queries.size() / index.d, k);
    EXPECT_TRUE(searchIvfFlat(index, result.n, queries.data(), k, result.distances.data(), result.labels.data(), filter, nprobe,
                              maxCodes));
    return result;
}

/// One query at a time: many at once FAISS quantises by matrix products, which take another list where two are about as near.
Result faissIvf(const faiss::IndexIVFFlat& index, const std::vector<float>& queries, int64_t k, size_t nprobe,
                const faiss::IDSelector* filter = nullptr, size_t maxCodes = 0) {
    Result result(queries.size() / index.d, k);
    faiss::SearchParametersIVF params;
    params.nprobe = nprobe;
    params.max_codes = maxCodes;
    params.sel = const_cast<faiss::IDSelector*>(filter);
    for (int64_t i = 0; i < result.n; i++) {
        index.search(1, queries.data() + i * index.d, k, result.distances.data() + i * k, result.labels.data() + i * k, &params);
    }
    return result;
}

/// The same distances, and the same ids but for those as far as the last.
void expectSame(const Result& ours, const Result& theirs, faiss::MetricType metric = faiss::METRIC_L2) {
    for (int64_t i = 0; i < ours.n; i++) {
        const auto begin = i * ours.k, end = begin + ours.k;
        for (int64_t j = begin; j < end; j++) {
            ASSERT_EQ(ours.labels[j] == -1, theirs.labels[j] == -1) << "query " << i << " result " << j - begin;
            if (ours.labels[j] == -1) {
                ASSERT_EQ(ours.distances[j], theirs.distances[j]);
            } else {
                ASSERT_NEAR(ours.distances[j], theirs.distances[j], tolerance(metric, theirs.distances[j]));
            }
        }
        const auto found = theirs.found(i);
        ASSERT_EQ(ours.found(i).size(), found.size()) << "an id twice";
        for (int64_t j = begin; j < end; j++) {
            if (ours.labels[j] == -1 || found.count(ours.labels[j]) > 0) continue;
            const float last = theirs.distances[end - 1];
            ASSERT_NEAR(ours.distances[j], last, tolerance(metric, last)) << "query " << i << " id " << ours.labels[j];
        }
    }
}

class IvfTest : public testing::TestWithParam<MetricAndDimension> {};
INSTANTIATE_TEST_SUITE_P(All, IvfTest, testing::ValuesIn(all()), nameOf);

TEST_P(IvfTest, FindsWhatFaissFinds) {
    const auto [metric, d] = GetParam();
    for (unsigned seed = 1; seed <= 3; seed++) {
        const auto base = clustered(3000, d, seed, 0), queries = clustered(60, d, seed, 1);
        const Ivf ivf(d, metric, 40, base);
        for (const size_t nprobe : {1, 3, 16, 40, 1000}) {
            for (const int64_t k : {1, 10, 77}) {
                SCOPED_TRACE("seed " + std::to_string(seed) + " nprobe " + std::to_string(nprobe) + " k " + std::to_string(k));
                const Result theirs = faissIvf(ivf.index, queries, k, nprobe);
                const Result ours = oursIvf(ivf.index, queries, k, nprobe);
                expectSound(ours, metric, d, base, queries);
                expectSame(ours, theirs, metric);
            }
        }
    }
}

TEST_P(IvfTest, OneQueryAndManyFindTheSame) {
    const auto [metric, d] = GetParam();
    // So many numbers that the threads share even one query's lists.
    const auto base = clustered(1100000 / d + 400, d, 4, 0), queries = clustered(12, d, 4, 1);
    const Ivf ivf(d, metric, 8, base);
    const Result many = oursIvf(ivf.index, queries, 10, 8);
    expectSame(many, faissIvf(ivf.index, queries, 10, 8), metric);
    for (int64_t i = 0; i < many.n; i++) {
        const std::vector<float> query(queries.begin() + i * d, queries.begin() + (i + 1) * d);
        const Result one = oursIvf(ivf.index, query, 10, 8);
        expectSame(one, faissIvf(ivf.index, query, 10, 8), metric);
    }
}

TEST_P(IvfTest, FiltersAsFaissDoes) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(2000, d, 5, 0), queries = clustered(50, d, 5, 1);
    const Ivf ivf(d, metric, 20, base);
    std::vector<int64_t> few;
    for (int64_t id = 3; id < 2000; id += 100) few.push_back(id);
    const faiss::IDSelectorBatch onePercent(few.size(), few.data()), nobody(0, nullptr);
    const faiss::IDSelectorRange range(100, 1500), sorted(100, 1500, true);
    const faiss::IDSelectorNot others(&onePercent);
    const faiss::IDSelectorAll everybody;
    const std::vector<const faiss::IDSelector*> filters{&onePercent, &nobody, &range, &sorted, &others, &everybody};
    for (const faiss::IDSelector* const filter : filters) {
        for (const size_t nprobe : {2, 20}) {
            const Result ours = oursIvf(ivf.index, queries, 10, nprobe, filter);
            expectSame(ours, faissIvf(ivf.index, queries, 10, nprobe, filter), metric);
            for (const int64_t label : ours.labels) EXPECT_TRUE(label == -1 || filter->is_member(label));
        }
    }
}

TEST_P(IvfTest, StopsAtMaxCodesWhereFaissDoes) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(2000, d, 6, 0), queries = clustered(50, d, 6, 1);
    const Ivf ivf(d, metric, 30, base);
    const faiss::IDSelectorRange range(100, 1500);
    const std::vector<const faiss::IDSelector*> filters{nullptr, &range};
    for (const faiss::IDSelector* const filter : filters) {
        for (const size_t maxCodes : {1, 60, 300, 100000}) {
            expectSame(oursIvf(ivf.index, queries, 20, 30, filter, maxCodes), faissIvf(ivf.index, queries, 20, 30, filter, maxCodes),
                       metric);
        }
    }
}

TEST_P(IvfTest, GivesAllThereAreWhereKIsLarger) {
    const auto [metric, d] = GetParam();
    const auto base = clustered(200, d, 7, 0), queries = clustered(30, d, 7, 1);
    Ivf ivf(d, metric, 5, base);
    expectSame(oursIvf(ivf.index, queries, 500, 5), faissIvf(ivf.index, queries, 500, 5), metric);
    ivf.index.reset();
    const Result empty = oursIvf(ivf.index, queries, 3, 5);
    EXPECT_EQ(std::count(empty.labels.begin(), empty.labels.end(), -1), empty.n * empty.k);
    expectSound(empty, metric, d, base, queries);
}

TEST(Ivf, KeepsIdsOf64Bits) {
    const int d = 20;
    const auto base = clustered(1000, d, 8, 0), queries = clustered(30, d, 8, 1);
    faiss::IndexFlatL2 quantizer(d);
    faiss::IndexIVFFlat index(&quantizer, d, 16);
    index.train(1000, base.data());
    std::vector<int64_t> ids(1000);
    for (int64_t i = 0; i < 1000; i++) ids[i] = (int64_t{1} << 60) - 7 * i;
    index.add_with_ids(1000, base.data(), ids.data());
    expectSame(oursIvf(index, queries, 10, 4), faissIvf(index, queries, 10, 4));
}

TEST(Ivf, ChoosesAmongDuplicates) {
    const int d = 16;
    auto base = clustered(40, d, 9, 0);
    for (int copies = 0; copies < 30; copies++) base.insert(base.end(), base.begin(), base.begin() + 40 * d);
    const std::vector<float> queries(base.begin(), base.begin() + 40 * d);
    const Ivf ivf(d, faiss::METRIC_L2, 10, base);
    const Result result = oursIvf(ivf.index, queries, 10, 10);
    expectSound(result, faiss::METRIC_L2, d, base, queries);
    for (const float distance : result.distances) EXPECT_EQ(distance, 0);
    EXPECT_EQ(result.labels, oursIvf(ivf.index, queries, 10, 10).labels) << "whichever thread comes first";
}

TEST(Ivf, TakesAnyQuantizer) {
    const int d = 12;
    const auto base = clustered(3000, d, 10, 0), queries = clustered(100, d, 10, 1);
    for (const bool graph : {true, false}) {
        faiss::IndexHNSWFlat hnsw(d, 16);
        faiss::IndexScalarQuantizer encoded(d, faiss::ScalarQuantizer::QT_8bit);
        hnsw.hnsw.efSearch = 100;
        faiss::Index* const quantizer = graph ? static_cast<faiss::Index*>(&hnsw) : &encoded;
        faiss::IndexIVFFlat index(quantizer, d, 50);
        index.train(3000, base.data());
        index.add(3000, base.data());
        expectSame(oursIvf(index, queries, 10, 8), faissIvf(index, queries, 10, 8));
    }
}

TEST(Ivf, SearchesInChunksAsAtOnce) {
    const int d = 4;
    const auto base = clustered(500, d, 11, 0), queries = clustered(9000, d, 11, 1);
    const Ivf ivf(d, faiss::METRIC_L2, 10, base);
    expectSame(oursIvf(ivf.index, queries, 3, 2), faissIvf(ivf.index, queries, 3, 2));
}

TEST(Ivf, DeclinesWhatItIsNotMadeFor) {
    const int d = 8;
    const auto base = clustered(500, d, 12, 0);
    float distance = 5;
    int64_t label = 5;
    const auto declines = [&](const faiss::IndexIVFFlat& index, const faiss::IDSelector* filter = nullptr, size_t maxCodes = 0) {
        return !searchIvfFlat(index, 1, base.data(), 1, &distance, &label, filter, 2, maxCodes) && distance == 5 && label == 5;
    };
    faiss::IndexFlatL2 quantizer(d);
    faiss::IndexIVFFlatDedup dedup(&quantizer, d, 5, faiss::METRIC_L2);
    dedup.train(500, base.data());
    dedup.add(500, base.data());
    EXPECT_TRUE(declines(dedup));
    faiss::IndexFlat manhattan(d, faiss::METRIC_L1);
    EXPECT_TRUE(declines(faiss::IndexIVFFlat(&manhattan, d, 5, faiss::METRIC_L1)));

    Ivf ivf(d, faiss::METRIC_L2, 5, base);
    const faiss::IDSelectorRange sorted(0, 100, true);
    EXPECT_TRUE(declines(ivf.index, &sorted, 10));
    ivf.index.parallel_mode = ivf.index.PARALLEL_MODE_NO_HEAP_INIT;
    EXPECT_TRUE(declines(ivf.index));
    ivf.index.parallel_mode = 0;
    EXPECT_FALSE(declines(ivf.index));
    EXPECT_EQ(distance, 0);
}

// ---- both ----

TEST(FastSearch, ManyThreadsSearchAtOnce) {
    const int d = 32;
    const auto base = clustered(3000, d, 13, 0), queries = clustered(50, d, 13, 1);
    faiss::IndexHNSWFlat hnsw(d, 16);
    hnsw.add(3000, base.data());
    const Ivf ivf(d, faiss::METRIC_L2, 30, base);
    const Result expectedHnsw = oursHnsw(hnsw, queries, 10, 40), expectedIvf = oursIvf(ivf.index, queries, 10, 6);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&] {
            for (int round = 0; round < 5; round++) {
                EXPECT_EQ(oursHnsw(hnsw, queries, 10, 40).labels, expectedHnsw.labels);
                EXPECT_EQ(oursIvf(ivf.index, queries, 10, 6).labels, expectedIvf.labels);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
}

} // namespace
} // namespace faiss_vision
