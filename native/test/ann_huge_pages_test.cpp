#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

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

std::unique_ptr<faiss::Index> made(const std::string& description, const std::vector<float>& x) {
    std::unique_ptr<faiss::Index> index(faiss::index_factory(kDimension, description.c_str()));
    if (!index->is_trained) index->train(2000, x.data());
    return index;
}

} // namespace

// The first, while no memory lies in huge pages that an earlier test gave back.
TEST(HugePages, AreUsedOnceAnIndexIsLarge) {
    if (!systemHasThem()) GTEST_SKIP() << "this system gives no huge pages on demand";
    const std::vector<float> x = random(kVectors * kDimension);
    FloatIndex index(made("IVF256,Flat", x));
    const int64_t before = inHugePages();
    index.add(kVectors / 10, x.data());
    EXPECT_LT(inHugePages() - before, kBytes / 10) << "too small to be worth it";
    index.add(kVectors, x.data());
    EXPECT_GE(inHugePages() - before, kBytes / 2);
}

TEST(HugePages, HoldWhatIsSearchedAndLeaveItAsItWas) {
    const std::vector<float> x = random(kVectors * kDimension);
    constexpr int64_t n = 20, k = 10;
    std::vector<int64_t> ids(kVectors);
    std::iota(ids.begin(), ids.end(), 7);
    for (const char* const description : {"Flat", "IVF256,Flat", "IDMap,Flat", "PCA64,IVF256,Flat", "IVF256,Flat,RFlat"}) {
        SCOPED_TRACE(description);
        const auto index = made(description, x);
        if (std::string(description) == "IDMap,Flat") index->add_with_ids(kVectors, x.data(), ids.data());
        else index->add(kVectors, x.data());
        std::vector<float> distances(n * k), again(n * k);
        std::vector<int64_t> labels(n * k), labelsAgain(n * k);
        index->search(n, x.data(), k, distances.data(), labels.data());
        const size_t bytes = useHugePages(*index);
        if (systemHasThem()) {
            EXPECT_GE(bytes, size_t(kBytes) / 2);
        }
        index->search(n, x.data(), k, again.data(), labelsAgain.data());
        EXPECT_EQ(distances, again);
        EXPECT_EQ(labels, labelsAgain);
    }
}
