#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <faiss/IndexIVFFlat.h>
#include <faiss/index_factory.h>

#include "ann/basic_index.h"
#include "ann/huge_pages.h"

using namespace faiss_vision;

namespace {

/// Of this process; -1 where the system does not say.
int64_t inHugePages() {
    std::ifstream rollup("/proc/self/smaps_rollup");
    for (std::string word; rollup >> word;) {
        int64_t kilobytes;
        if (word == "AnonHugePages:" && rollup >> kilobytes) return kilobytes << 10;
    }
    return -1;
}

/// Whether the system puts memory into huge pages where it is asked to, which not every one does. The sanitizers' allocators
/// leave gaps between whatever they give out.
bool systemHasThem() {
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    constexpr size_t kHugePage = 2 << 20;
    void* const memory = ::mmap(nullptr, 2 * kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    const uintptr_t page = (reinterpret_cast<uintptr_t>(memory) + kHugePage - 1) / kHugePage * kHugePage;
    *reinterpret_cast<char*>(page) = 1;
    const bool given = ::madvise(reinterpret_cast<void*>(page), kHugePage, 25 /* MADV_COLLAPSE */) == 0;
    ::munmap(memory, 2 * kHugePage);
    return given && inHugePages() >= 0;
#else
    return false;
#endif
}

std::vector<float> random(size_t n) {
    std::minstd_rand engine(1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> x(n);
    for (float& number : x) number = uniform(engine);
    return x;
}

constexpr int kDimension = 64;
constexpr int64_t kVectors = 100'000, kBytes = kVectors * kDimension * 4;

} // namespace

class HugePages : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, HugePages, testing::Values("Flat", "IVF256,Flat", "IDMap,Flat", "PCA64,IVF256,Flat", "IVF256,Flat,RFlat"));

TEST_P(HugePages, HoldWhatWasAdded) {
    if (!systemHasThem()) GTEST_SKIP() << "this system gives no huge pages on demand";
    const std::vector<float> x = random(kVectors * kDimension);
    FloatIndex index(std::unique_ptr<faiss::Index>(faiss::index_factory(kDimension, GetParam())), Exact::Plain);
    if (!index.trained()) index.train(2000, x.data());
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < kVectors; i++) ids.push_back(i + 7);
    const int64_t before = inHugePages();
    index.add(kVectors, x.data(), index.type() == "IndexIDMap" ? ids.data() : nullptr);
    EXPECT_GE(inHugePages() - before, kBytes / 2) << GetParam();
}

TEST(HugePagesOf, AnIndexLeaveItAsItWas) {
    const std::vector<float> x = random(kVectors * kDimension);
    const std::unique_ptr<faiss::Index> index(faiss::index_factory(kDimension, "IVF256,Flat"));
    index->train(2000, x.data());
    index->add(kVectors, x.data());
    constexpr int64_t n = 20, k = 10;
    std::vector<float> distances(n * k), again(n * k);
    std::vector<int64_t> labels(n * k), labelsAgain(n * k);
    index->search(n, x.data(), k, distances.data(), labels.data());
    const size_t bytes = useHugePages(*index);
    if (systemHasThem()) EXPECT_GE(bytes, size_t(kBytes) / 2);
    index->search(n, x.data(), k, again.data(), labelsAgain.data());
    EXPECT_EQ(distances, again);
    EXPECT_EQ(labels, labelsAgain);
}
