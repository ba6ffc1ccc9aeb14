// What surrounds an index on a GPU: wrappers, refusals, files. The index on a GPU itself is native/ann/cuda/index.cpp, which
// scripts/gpu-check tests where there is one; here an index on the processor stands where it would.
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/VectorTransform.h>
#include <faiss/clone_index.h>
#include <gtest/gtest.h>

#include "addon/device_vectors.h"
#include "ann/basic_index.h"
#include "ann/moved_index.h"
#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

constexpr int kDimension = 8;

class Elsewhere : public MovedIndex {
public:
    explicit Elsewhere(const faiss::Index& index) : MovedIndex(index.d, index.metric_type), type_(typeName(index)) {
        placement_.devices = {1};
        if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) lists_ = int64_t(ivf->nlist);
        moveThere(index);
    }
    const GpuPlacement& placement() const override { return placement_; }
    const std::string& cpuType() const override { return type_; }
    std::unique_ptr<faiss::Index> toCpu() const override { return read(placed(), nullptr); }
    int64_t lists() const override { return lists_; }
    int64_t nprobe() const override { return int64_t(ivf(placed()).nprobe); }
    void setNprobe(int64_t nprobe) override { ivf(placed()).nprobe = size_t(nprobe); }
    int64_t largestNprobe() const override { return lists(); }
    bool readsFrom(int gpu) const override { return gpu == 1 && settled(); }
    void train(int64_t n, const float* x) override {
        changing([&](faiss::Index& placed, const Extent&) {
            if (failures.training-- > 0) {
                if (lists_ > 0) ivf(placed).quantizer->add(lists_, x); // as FAISS does where its second step fails
                throw std::runtime_error("training");
            }
            placed.train(n, x);
        });
    }
    void add(int64_t n, const float* x) override {
        changing([&](faiss::Index& placed, const Extent&) {
            if (failures.adding-- > 0) {
                placed.add(n / 2, x);
                throw std::runtime_error("adding");
            }
            placed.add(n, x);
        });
    }
    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, const faiss::SearchParameters*) const override {
        placed().search(n, x, k, distances, labels);
    }
    void reset() override {
        changing([](faiss::Index& placed, const Extent&) { placed.reset(); });
    }

    /// How often each is to fail from now on.
    mutable struct {
        int placing = 0, reading = 0, adding = 0, training = 0;
    } failures;

private:
    static faiss::IndexIVF& ivf(faiss::Index& index) { return dynamic_cast<faiss::IndexIVF&>(index); }

    std::unique_ptr<faiss::Index> place(const faiss::Index& cpu) const override {
        if (failures.placing-- > 0) throw std::runtime_error("placing");
        return std::unique_ptr<faiss::Index>(faiss::clone_index(&cpu));
    }
    std::unique_ptr<faiss::Index> read(faiss::Index& placed, const Extent* extent) const override {
        if (failures.reading-- > 0) throw std::runtime_error("reading");
        std::unique_ptr<faiss::Index> copy(faiss::clone_index(&placed));
        if (extent == nullptr) return copy;
        copy->ntotal = extent->total;
        if (lists_ == 0) dynamic_cast<faiss::IndexFlat&>(*copy).codes.resize(size_t(extent->total) * sizeof(float) * kDimension);
        for (int64_t list = 0; list < lists_; list++) ivf(*copy).invlists->resize(size_t(list), size_t(extent->lists[0][size_t(list)]));
        return copy;
    }
    Extent extentOf(faiss::Index& placed) const override {
        Extent extent{placed.ntotal, {}};
        if (lists_ == 0 || !placed.is_trained) return extent;
        extent.lists.emplace_back();
        for (int64_t list = 0; list < lists_; list++) extent.lists[0].push_back(int(ivf(placed).invlists->list_size(size_t(list))));
        return extent;
    }
    void forget(faiss::Index& placed) const override { ivf(placed).quantizer->reset(); }

    GpuPlacement placement_;
    std::string type_;
    int64_t lists_ = 0;
};

std::vector<float> numbers(int64_t n, int seed) {
    std::vector<float> x(n * kDimension);
    for (size_t i = 0; i < x.size(); i++) x[i] = std::sin(float(i * 7 + seed * 1013));
    return x;
}

template <class Call>
std::string codeOf(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.code();
    }
    return "";
}

/// An index, and the same one with what is innermost elsewhere.
struct Pair {
    std::unique_ptr<faiss::Index> here, there;
};

Pair wrapped(std::unique_ptr<faiss::Index> inner, bool map) {
    const auto around = [&](faiss::Index* index) -> std::unique_ptr<faiss::Index> {
        auto* const transform = new faiss::RandomRotationMatrix(kDimension, kDimension);
        transform->init(5);
        auto outer = std::make_unique<faiss::IndexPreTransform>(transform, index);
        outer->own_fields = true;
        if (!map) return outer;
        auto ids = std::make_unique<faiss::IndexIDMap2>(outer.release());
        ids->own_fields = true;
        return ids;
    };
    auto there = around(new Elsewhere(*inner));
    return {around(inner.release()), std::move(there)};
}

class Gpu : public testing::TestWithParam<bool> {
protected:
    Gpu() : x(numbers(200, 1)) {
        std::unique_ptr<faiss::Index> inner;
        if (GetParam()) {
            inner = std::make_unique<faiss::IndexFlatL2>(kDimension);
        } else {
            auto ivf = std::make_unique<faiss::IndexIVFFlat>(new faiss::IndexFlatL2(kDimension), kDimension, 4);
            ivf->own_fields = true;
            ivf->train(200, x.data());
            inner = std::move(ivf);
        }
        auto pair = wrapped(std::move(inner), GetParam());
        here = std::make_unique<FloatIndex>(std::move(pair.here), Exact::Plain);
        there = std::make_unique<FloatIndex>(std::move(pair.there), Exact::Plain);
        std::vector<int64_t> ids(200);
        for (int64_t i = 0; i < 200; i++) ids[i] = 3 * i;
        for (FloatIndex* const index : {here.get(), there.get()}) index->add(200, x.data(), GetParam() ? ids.data() : nullptr);
    }
    std::vector<int64_t> found(const FloatIndex& index, const SearchOptions& options = {}) const {
        std::vector<float> distances(5 * 4);
        std::vector<int64_t> labels(5 * 4);
        index.search(5, numbers(5, 2).data(), 4, distances.data(), labels.data(), options);
        return labels;
    }

    std::vector<int64_t> found(const faiss::Index& index) const {
        std::vector<float> distances(5 * 4);
        std::vector<int64_t> labels(5 * 4);
        index.search(5, numbers(5, 2).data(), 4, distances.data(), labels.data());
        return labels;
    }
    /// Not wrapped, with the first hundred vectors.
    std::unique_ptr<Elsewhere> bare() const {
        faiss::IndexFlatL2 flat(kDimension);
        if (GetParam()) {
            flat.add(100, x.data());
            return std::make_unique<Elsewhere>(flat);
        }
        faiss::IndexIVFFlat ivf(&flat, kDimension, 4);
        ivf.train(200, x.data());
        ivf.add(100, x.data());
        return std::make_unique<Elsewhere>(ivf);
    }
    /// Its next additions are of the second hundred.
    void add(Elsewhere& index) const { index.add(100, x.data() + 100 * kDimension); }
    std::string failureOf(const std::function<void()>& call) const {
        try {
            call();
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    }

    std::vector<float> x;
    std::unique_ptr<FloatIndex> here, there;
};
INSTANTIATE_TEST_SUITE_P(Behind, Gpu, testing::Bool(), [](const auto& info) { return info.param ? "IdMapAndTransform" : "Transform"; });

TEST_P(Gpu, AnswersAndIsWrittenAsOnTheProcessor) {
    EXPECT_EQ(there->size(), 200);
    EXPECT_EQ(found(*there), found(*here));
    EXPECT_EQ(there->toBytes(), here->toBytes());
    const std::string path = testing::TempDir() + "ann_gpu_test.index";
    double last = 0;
    there->save(path, [&](double fraction) { last = fraction; });
    EXPECT_EQ(last, 1);
    EXPECT_EQ(found(FloatIndex::load(path)), found(*here));
    std::remove(path.c_str());
}

TEST_P(Gpu, SaysWhereItIs) {
    EXPECT_EQ(here->describe().placement.has_value(), false);
    ASSERT_TRUE(there->describe().placement.has_value());
    EXPECT_EQ(there->describe().placement->devices, std::vector<int>{1});
    EXPECT_EQ(there->describe().type, here->describe().type);
    EXPECT_GT(there->bytes(), 0u);
}

TEST_P(Gpu, ComesBack) {
    there->moveTo({});
    EXPECT_FALSE(there->describe().placement.has_value());
    EXPECT_EQ(found(*there), found(*here));
    EXPECT_EQ(there->toBytes(), here->toBytes());
    there->add(200, x.data(), GetParam() ? std::vector<int64_t>(200, 7).data() : nullptr);
    EXPECT_EQ(there->size(), 400);
}

TEST_P(Gpu, StaysWhereItIsWhereThereIsNoGpu) {
    if (gpuInfo().reason.empty()) GTEST_SKIP() << "there is a GPU";
    for (FloatIndex* const index : {here.get(), there.get()}) {
        const auto before = found(*index);
        GpuPlacement placement;
        placement.devices = {0};
        EXPECT_EQ(codeOf([&] { index->moveTo(placement); }), "ERR_CUDA_UNAVAILABLE");
        EXPECT_EQ(found(*index), before);
    }
    EXPECT_TRUE(there->describe().placement.has_value());
}

TEST_P(Gpu, RefusesWhatIsForTheProcessor) {
    const int64_t id = 3;
    SearchOptions filtered;
    filtered.filter = std::make_shared<IdFilter>(IdFilter::list({3}, true));
    faiss::RangeSearchResult range(5);
    EXPECT_EQ(codeOf([&] { found(*there, filtered); }), "ERR_UNSUPPORTED");
    EXPECT_EQ(codeOf([&] { there->rangeSearch(5, x.data(), 1, range); }), "ERR_UNSUPPORTED");
    EXPECT_EQ(codeOf([&] { there->remove(1, &id); }), "ERR_UNSUPPORTED");
    EXPECT_EQ(codeOf([&] { there->mergeFrom(*here, 1000); }), "ERR_UNSUPPORTED");
    EXPECT_EQ(codeOf([&] { here->mergeFrom(*there, 1000); }), "ERR_UNSUPPORTED");
    EXPECT_EQ(there->size(), 200);
    EXPECT_EQ(found(*there), found(*here));
}

TEST_P(Gpu, HasItsParameters) {
    if (GetParam()) {
        EXPECT_EQ(codeOf([&] { there->parameter("nprobe"); }), "ERR_UNKNOWN_PARAMETER");
        return;
    }
    for (FloatIndex* const index : {here.get(), there.get()}) index->setParameter("nprobe", 3);
    EXPECT_EQ(there->parameter("nprobe"), 3);
    EXPECT_EQ(found(*there), found(*here));
    EXPECT_EQ(codeOf([&] { there->setParameter("nprobe", 5); }), "ERR_INVALID_ARGUMENT");
    SearchOptions all;
    all.parameters = {{"nprobe", 4}};
    EXPECT_EQ(found(*there, all), found(*here, all));
    EXPECT_EQ(there->parameter("nprobe"), 3);
}

/// Vectors in the memory of "GPU" 1, as vision.node would hand them over.
struct FarVectors : DeviceVectors {
    explicit FarVectors(const std::vector<float>& given) : far(given) {
        device = 1, dimension = kDimension, count = int64_t(given.size()) / kDimension;
        hold = [](const DeviceVectors* self) -> void* {
            auto* const own = const_cast<FarVectors*>(static_cast<const FarVectors*>(self));
            return own->disposed ? nullptr : (own->holders++, own);
        };
        numbers = [](const void* held) { return static_cast<const FarVectors*>(held)->far.data(); };
        read = [](const void* held, float* to) -> const char* {
            const auto* const own = static_cast<const FarVectors*>(held);
            if (own->broken) return "the device is gone";
            std::copy(own->far.begin(), own->far.end(), to);
            return nullptr;
        };
        release = [](void* held) { static_cast<FarVectors*>(held)->holders--; };
    }
    const std::vector<float> far;
    int holders = 0;
    bool disposed = false, broken = false;
};

TEST_P(Gpu, ReadsVectorsThatAreThereWhereNothingIsComputedOnTheWay) {
    FarVectors far(numbers(5, 2));
    const auto search = [&](const FloatIndex& index, bool& direct) {
        std::vector<float> distances(5 * 4);
        std::vector<int64_t> labels(5 * 4);
        const HeldVectors held(far);
        EXPECT_EQ(far.holders, 1);
        held.use(index, [&](const float* x, bool onGpu) {
            EXPECT_EQ(onGpu, x == far.far.data());
            direct = onGpu;
            index.search(held.count(), x, 4, distances.data(), labels.data(), {}, onGpu);
        });
        return labels;
    };
    bool direct = true;
    EXPECT_EQ(search(*there, direct), found(*there));
    EXPECT_FALSE(direct); // the transform computes on the processor
    EXPECT_EQ(search(*here, direct), found(*here));
    EXPECT_FALSE(direct);

    auto empty = bare();
    empty->reset();
    auto map = std::make_unique<faiss::IndexIDMap2>(empty.release());
    map->own_fields = true;
    FloatIndex near(std::move(map), Exact::Plain);
    const std::vector<int64_t> ids{1000, 1001, 1002, 1003, 1004};
    HeldVectors(far).use(near, [&](const float* x, bool onGpu) { near.add(5, x, ids.data(), nullptr, onGpu); });
    const std::vector<int64_t> labels = search(near, direct);
    EXPECT_TRUE(direct);
    for (int i = 0; i < 5; i++) EXPECT_EQ(labels[size_t(4 * i)], 1000 + i);
    EXPECT_EQ(far.holders, 0);

    far.device = 2;
    EXPECT_EQ(search(near, direct), labels);
    EXPECT_FALSE(direct);
    far.broken = true;
    EXPECT_EQ(codeOf([&] { search(near, direct); }), "ERR_CUDA_FAILED");
    far.disposed = true;
    EXPECT_EQ(codeOf([&] { HeldVectors held(far); }), "ERR_CLOSED");
    EXPECT_EQ(far.holders, 0);
}

TEST_P(Gpu, IsWholeAfterAChangeThatFailed) {
    const auto index = bare();
    const auto before = found(*index);
    index->failures.adding = 1;
    EXPECT_EQ(failureOf([&] { add(*index); }), "adding");
    EXPECT_EQ(index->ntotal, 100);
    EXPECT_EQ(found(*index), before);
    EXPECT_TRUE(index->readsFrom(1));
    add(*index);
    EXPECT_EQ(index->ntotal, 200);
    EXPECT_NE(found(*index), before);
}

TEST_P(Gpu, WaitsOnTheProcessorWhereThereIsNoRoom) {
    const auto index = bare();
    const auto before = found(*index);
    index->failures.adding = 1;
    index->failures.placing = 2;
    EXPECT_EQ(failureOf([&] { add(*index); }), "adding");
    EXPECT_FALSE(index->readsFrom(1));
    EXPECT_EQ(found(*index), before);
    add(*index); // there is still no room
    EXPECT_FALSE(index->readsFrom(1));
    EXPECT_EQ(index->ntotal, 200);
    index->reset();
    EXPECT_TRUE(index->readsFrom(1));
    EXPECT_EQ(index->ntotal, 0);
}

TEST_P(Gpu, TellsTheFirstErrorAndMendsItselfLater) {
    const auto index = bare();
    const auto before = found(*index);
    index->failures.adding = 1;
    index->failures.reading = 3;
    EXPECT_EQ(failureOf([&] { add(*index); }), "adding");
    EXPECT_EQ(index->ntotal, 100);
    EXPECT_FALSE(index->readsFrom(1));
    // What it holds cannot be told from what it should, so nothing is answered, and nothing added.
    EXPECT_EQ(failureOf([&] { found(*index); }), "reading");
    EXPECT_EQ(failureOf([&] { add(*index); }), "reading");
    EXPECT_EQ(index->ntotal, 100);
    EXPECT_EQ(found(*index), before);
    EXPECT_TRUE(index->readsFrom(1));
    add(*index);
    EXPECT_EQ(index->ntotal, 200);
}

TEST_P(Gpu, LearnsFromTheBeginningAfterATrainingThatFailed) {
    if (GetParam()) GTEST_SKIP() << "a flat index learns nothing";
    faiss::IndexFlatL2 quantizer(kDimension);
    const auto index = std::make_unique<Elsewhere>(faiss::IndexIVFFlat(&quantizer, kDimension, 4));
    index->failures.training = 1;
    EXPECT_EQ(failureOf([&] { index->train(100, numbers(100, 9).data()); }), "training");
    EXPECT_FALSE(index->is_trained);
    index->train(200, x.data());
    index->add(200, x.data());
    faiss::IndexFlatL2 own(kDimension);
    faiss::IndexIVFFlat expected(&own, kDimension, 4);
    expected.train(200, x.data());
    expected.add(200, x.data());
    EXPECT_EQ(found(*index), found(expected));
}

} // namespace
} // namespace faiss_vision
