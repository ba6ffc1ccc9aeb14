#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <set>

#include <sys/resource.h>
#include <unistd.h>

#include "ann/ann.h"
#include "ann/blas.h"
#include "error.h"

namespace faiss_vision {
namespace {

std::vector<float> randomVectors(int64_t n, int d, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> vectors(n * d);
    for (float& x : vectors) x = uniform(engine);
    return vectors;
}

struct Result {
    Result(const ANN& ann, const std::vector<float>& queries) {
        const int64_t n = int64_t(queries.size()) / ann.dimension();
        indices.resize(n * ann.kValue());
        scores.resize(n * ann.kValue());
        found.resize(n);
        ann.search(n, queries.data(), indices.data(), scores.data(), found.data());
    }
    std::vector<int64_t> indices;
    std::vector<float> scores;
    std::vector<uint8_t> found;
};

template <class Work>
std::string codeOf(Work work) {
    try {
        work();
    } catch (const Error& error) {
        return error.code();
    }
    return "none";
}

class AnnTest : public testing::TestWithParam<Method> {};
INSTANTIATE_TEST_SUITE_P(Methods, AnnTest, testing::Values(Method::Euclidean, Method::Cosine),
                         [](const auto& info) { return info.param == Method::Cosine ? "Cosine" : "Euclidean"; });

TEST_P(AnnTest, AnEmptyIndexFindsNothing) {
    const ANN ann(4, 2, 0.5f, GetParam());
    const Result result(ann, {1, 2, 3, 4});
    EXPECT_EQ(result.indices, (std::vector<int64_t>{-1, -1}));
    EXPECT_TRUE(std::isnan(result.scores[0]));
    EXPECT_FALSE(result.found[0]);
}

TEST_P(AnnTest, ErasesAndReusesRowsWithoutMixingThemUp) {
    const int d = 16;
    ANN ann(d, 1, GetParam() == Method::Cosine ? 0.999f : 0.001f, GetParam());
    const auto vectors = randomVectors(200, d, 1);
    ann.add(200, vectors.data());
    std::mt19937 engine(2);
    std::set<int64_t> erased;
    for (int round = 0; round < 20; round++) {
        std::vector<int64_t> ids;
        for (int i = 0; i < 7; i++) ids.push_back(engine() % 200);
        for (const int64_t id : ids) erased.insert(id);
        ann.erase(int64_t(ids.size()), ids.data());
        ASSERT_EQ(ann.size(), 200 - int64_t(erased.size()));
        const Result result(ann, vectors);
        for (int64_t i = 0; i < 200; i++) {
            ASSERT_EQ(bool(result.found[i]), erased.count(i) == 0) << i;
            if (result.found[i]) {
                ASSERT_EQ(result.indices[i], i);
            }
        }
    }
}

TEST_P(AnnTest, ARefusedAddLeavesNoTrace) {
    ANN ann(2, 1, 0.5f, GetParam());
    const float good[] = {1, 2, 3, -4};
    const int64_t ids[] = {7, 9};
    ann.add(2, good, ids);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float bad[] = {1, 1, 2, nan};
    EXPECT_EQ(codeOf([&] { ann.add(2, bad); }), "ERR_NOT_FINITE");
    const int64_t taken[] = {8, 9};
    EXPECT_EQ(codeOf([&] { ann.add(2, good, taken); }), "ERR_DUPLICATE_ID");
    const int64_t negative[] = {8, -1};
    EXPECT_EQ(codeOf([&] { ann.add(2, good, negative); }), "ERR_INVALID_ID");
    const float zero[] = {0, 0};
    EXPECT_EQ(codeOf([&] { ann.add(1, zero); }), GetParam() == Method::Cosine ? "ERR_ZERO_VECTOR" : "none");
    ANN fresh(2, 1, 0.5f, GetParam());
    EXPECT_EQ(codeOf([&] { fresh.add(2, bad, ids); }), "ERR_NOT_FINITE");
    EXPECT_EQ(fresh.size(), 0);
    EXPECT_EQ(fresh.add(2, good, ids), (std::vector<int64_t>{7, 9}));
    EXPECT_EQ(Result(fresh, {3, -4}).indices[0], 9);
}

TEST_P(AnnTest, ScoresDoNotDependOnHowManyAreAskedAtOnce) {
    const int d = 100;
    ANN ann(d, 3, 0.5f, GetParam());
    const auto known = randomVectors(500, d, 3);
    ann.add(500, known.data());
    const auto queries = randomVectors(64, d, 4);
    const Result all(ann, queries);
    for (int64_t i = 0; i < 64; i++) {
        const Result one(ann, {queries.begin() + i * d, queries.begin() + (i + 1) * d});
        for (int j = 0; j < 3; j++) {
            EXPECT_EQ(one.indices[j], all.indices[i * 3 + j]);
            EXPECT_EQ(one.scores[j], all.scores[i * 3 + j]);
        }
    }
}

TEST_P(AnnTest, OneQueryOverManyVectorsGivesWhatManyQueriesGive) {
    // 40,000 x 256 floats are shared out over the threads for one query, and not for 64.
    const int d = 256, k = 5;
    ANN ann(d, k, 0.5f, GetParam());
    const auto known = randomVectors(40'000, d, 8);
    ann.add(40'000, known.data());
    const std::vector<float> queries(known.begin() + 20'000 * d, known.begin() + 20'064 * d);
    const Result all(ann, queries);
    for (int64_t i = 0; i < 64; i++) {
        const Result one(ann, {queries.begin() + i * d, queries.begin() + (i + 1) * d});
        EXPECT_EQ(one.indices[0], 20'000 + i);
        for (int j = 0; j < k; j++) EXPECT_EQ(one.scores[j], all.scores[i * k + j]);
    }
}

TEST_P(AnnTest, SavesAndLoads) {
    const std::string path = testing::TempDir() + "ann-" + std::to_string(getpid());
    ANN ann(8, 2, 0.25f, GetParam());
    const auto vectors = randomVectors(30, 8, 5);
    ann.add(30, vectors.data());
    ann.save(path);
    ANN again = ANN::load(path);
    EXPECT_EQ(again.size(), 30);
    EXPECT_EQ(again.kValue(), 2);
    EXPECT_EQ(again.threshold(), 0.25);
    EXPECT_EQ(again.method(), GetParam());
    EXPECT_EQ(Result(again, vectors).indices, Result(ann, vectors).indices);
    EXPECT_EQ(again.add(1, vectors.data()), (std::vector<int64_t>{30}));
    unlink(path.c_str());
    EXPECT_EQ(codeOf([&] { ANN::load(path); }), "ERR_FILE_NOT_FOUND");
}

TEST(AnnFileTest, AFullDiskLeavesTheOldFile) {
    const std::string path = testing::TempDir() + "ann-full-" + std::to_string(getpid());
    ANN small(8, 1, 0.5f, Method::Euclidean);
    const auto vectors = randomVectors(100'000, 8, 6);
    small.add(10, vectors.data());
    small.save(path);
    ANN large(8, 1, 0.5f, Method::Euclidean);
    large.add(100'000, vectors.data());

    // A file-size limit fails a write as a full disk does, part of the file written.
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit limited = before;
    limited.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limited);
    EXPECT_EQ(codeOf([&] { large.save(path); }), "ERR_FILE_WRITE");
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(ANN::load(path).size(), 10);
    unlink(path.c_str());
}

TEST(AnnFileTest, EveryDamagedByteIsNoticed) {
    const std::string path = testing::TempDir() + "ann-damaged-" + std::to_string(getpid());
    ANN ann(3, 1, 0.5f, Method::Cosine);
    const auto vectors = randomVectors(5, 3, 7);
    ann.add(5, vectors.data());
    ann.save(path);
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    const auto tryLoading = [&](const std::string& bytes) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
        return codeOf([&] { ANN::load(path); });
    };
    for (size_t i = 0; i < whole.size(); i++) {
        std::string changed = whole;
        changed[i] ^= char(1 << i % 8);
        ASSERT_EQ(tryLoading(changed), "ERR_INDEX_CORRUPT") << "byte " << i;
        ASSERT_EQ(tryLoading(whole.substr(0, i)), "ERR_INDEX_CORRUPT") << "cut at " << i;
    }
    EXPECT_EQ(tryLoading(whole), "none");
    unlink(path.c_str());
}

TEST(BlasTest, NamesTheKernelsInUse) {
    if (blasInfo().config.empty()) GTEST_SKIP() << "the BLAS is not OpenBLAS";
    EXPECT_NE(blasInfo().kernels, "");
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && getenv("FAISS_VISION_BLAS_KERNELS") == nullptr) {
        EXPECT_NE(blasInfo().kernels, "Haswell");
    }
#endif
}

} // namespace
} // namespace faiss_vision
