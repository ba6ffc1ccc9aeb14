#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

// What a transform makes of a vector is compared with others, by squares.
constexpr float kMostInTransform = 1e9f;

} // namespace

void Walker::linearTransform(Transform& seen, bool pca, int balancedBins, const Array<float>* mean) {
    const bool bias = flag("a linear transform's have_bias");
    const auto a = vector<float>("a linear transform's matrix");
    const auto b = vector<float>("a linear transform's bias");
    seen.linear = true;
    seen.dIn = get<int32_t>("a transform");
    seen.dOut = get<int32_t>("a transform");
    seen.trained = flag("a transform's is_trained");
    within(seen.dIn, int64_t{1}, kMaxDimension, "a transform's input dimension");
    within(seen.dOut, int64_t{1}, kMaxDimension, "a transform's output dimension");
    const size_t numbers = times(seen.dIn, seen.dOut);
    check(numbers < (size_t{1} << 31), "a linear transform of ", seen.dIn, " x ", seen.dOut, " numbers is more than FAISS can count");
    if (seen.trained || a.size() != 0) equal(a.size(), numbers, "the count of a linear transform's matrix numbers");
    if ((seen.trained && bias) || b.size() != 0) equal(b.size(), size_t(seen.dOut), "the count of a linear transform's bias numbers");
    bounded(a, "a linear transform's matrix", kMostInTransform);
    bounded(b, "a linear transform's bias", kMostInTransform);
    if (pca) {
        within(int64_t(balancedBins), int64_t{0}, seen.dOut, "a PCA's balanced_bins");
        check(balancedBins == 0 || seen.dOut % balancedBins == 0, "a PCA's balanced_bins must divide ", seen.dOut, ", got ", balancedBins);
        if (mean->size() != 0) equal(mean->size(), size_t(seen.dIn), "the count of a PCA's mean numbers");
    }
}

Transform Walker::transform() {
    const More level(depth_);
    check(depth_ <= 64, "more than 64 parts lie in one another");
    Transform seen;
    seen.fourcc = fourcc("a transform's type");
    const std::string& f = seen.fourcc;
    if (f == "PCAm" || f == "PcAm" || f == "Pcam") {
        get<float>("a PCA"); // eigen_power
        if (f == "Pcam") get<float>("a PCA"); // epsilon
        flag("a PCA's random_rotation");
        const int balancedBins = f == "PCAm" ? 0 : get<int32_t>("a PCA");
        const auto mean = vector<float>("a PCA's mean");
        vector<float>("a PCA's eigenvalues");
        vector<float>("a PCA's matrix");
        linearTransform(seen, true, balancedBins, &mean);
        return seen;
    }
    if (f == "rrot" || f == "LTra" || f == "Viqm") {
        if (f == "Viqm") {
            within(get<int32_t>("an ITQ matrix"), 0, 1 << 20, "an ITQ matrix's max_iter");
            get<int32_t>("an ITQ matrix"); // seed
        }
        linearTransform(seen, false, 0, nullptr);
        return seen;
    }
    Array<int32_t> map;
    Array<float> mean;
    Transform itq, both;
    if (f == "RmDT") {
        map = vector<int32_t>("a remapping of dimensions");
    } else if (f == "VNrm") {
        check(get<float>("a normalization") == 2, "a normalization's norm must be 2, as FAISS has no other");
    } else if (f == "VCnt") {
        mean = vector<float>("a centering's mean");
    } else if (f == "Viqt") {
        mean = vector<float>("an ITQ's mean");
        flag("an ITQ's do_pca");
        itq = transform();
        check(itq.fourcc == "Viqm", "an ITQ must hold an ITQ matrix");
        both = transform();
        check(both.linear, "an ITQ must hold a linear transform");
        seen.reversible = false;
    } else {
        unsupported("it holds no transform that FAISS 1.7.3 knows: " + printable(f));
    }
    seen.dIn = get<int32_t>("a transform");
    seen.dOut = get<int32_t>("a transform");
    seen.trained = flag("a transform's is_trained");
    within(seen.dIn, int64_t{1}, kMaxDimension, "a transform's input dimension");
    within(seen.dOut, int64_t{1}, kMaxDimension, "a transform's output dimension");
    if (f == "RmDT") {
        equal(map.size(), size_t(seen.dOut), "the count of remapped dimensions");
        for (size_t i = 0; i < map.size(); i++) within(int64_t(map[i]), int64_t{-1}, seen.dIn - 1, "a remapped dimension");
    } else if (f == "Viqt") {
        if (seen.trained) check(both.trained, "an ITQ that is trained holds a transform that is not");
        equal(both.dIn, seen.dIn, "an ITQ's inner input dimension");
        equal(both.dOut, seen.dOut, "an ITQ's inner output dimension");
        equal(itq.dIn, seen.dOut, "an ITQ matrix's dimension");
        equal(itq.dOut, seen.dOut, "an ITQ matrix's dimension");
    } else {
        equal(seen.dOut, seen.dIn, "a transform's output dimension");
    }
    if (f == "VCnt" || f == "Viqt") {
        if (seen.trained || mean.size() != 0) equal(mean.size(), size_t(seen.dIn), "the count of a transform's mean numbers");
        bounded(mean, "a transform's mean", kMostInTransform);
    }
    return seen;
}

} // namespace faiss_vision::index_check
