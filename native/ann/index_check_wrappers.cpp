#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

constexpr float kMostFactor = 1e4f; // of results that are asked for to be refined

} // namespace

Seen Walker::preTransform() {
    Seen seen(header());
    const int count = get<int32_t>("a chain of transforms");
    within(count, 0, 1 << 10, "the count of transforms");
    int64_t d = seen.d;
    bool reversible = true;
    for (int i = 0; i < count; i++) {
        const Transform part = transform();
        equal(part.dIn, d, "a transform's input dimension");
        check(part.trained || !seen.trained, "an index that is trained holds a transform that is not");
        d = part.dOut;
        reversible &= part.reversible;
    }
    const Seen inner = index();
    equal(inner.d, d, "the dimension of a transformed index");
    equal(inner.ntotal, seen.ntotal, "the number of vectors in a transformed index");
    equal(inner.metric, seen.metric, "the metric of a transformed index");
    check(inner.trained || !seen.trained, "an index that is trained holds one that is not");
    seen.labelsInRange = inner.labelsInRange;
    seen.labelsOnce = inner.labelsOnce;
    seen.reconstructs = inner.reconstructs && reversible;
    seen.alwaysAnswers = false; // what the transforms make of a vector may be too large to compare
    return seen;
}

Seen Walker::idMap() {
    Seen seen(header());
    const More once(wantOnce_);
    const Seen inner = index();
    equal(inner.d, seen.d, "the dimension of an id map's index");
    equal(inner.metric, seen.metric, "the metric of an id map's index");
    support(inner.fourcc != "IwFd", "FAISS cannot remove from an id map over IVFFlatDedup safely");
    mapIds(seen, inner);
    return seen;
}

/// The ids behind an id map's index, whose own labels are where they stand.
void Walker::mapIds(Seen& seen, const Seen& inner) {
    equal(inner.ntotal, seen.ntotal, "the number of vectors in an id map's index");
    check(inner.trained || !seen.trained, "an index that is trained holds one that is not");
    check(inner.labelsInRange && inner.labelsOnce, "an id map's index must number its vectors from 0 on, each once");
    const auto ids = vector<int64_t>("the ids");
    equal(ids.size(), size_t(seen.ntotal), "the count of ids");
    Labels outer = labels(seen.ntotal);
    outer.add(ids);
    seen.labelsInRange = outer.inRange();
    seen.labelsOnce = outer.once();
}

Seen Walker::refine() {
    Seen seen(header());
    const Seen base = index();
    const Seen fine = index();
    for (const Seen* part : {&base, &fine}) {
        equal(part->d, seen.d, "the dimension of a refined index's part");
        equal(part->ntotal, seen.ntotal, "the number of vectors in a refined index's part");
        equal(part->metric, seen.metric, "the metric of a refined index's part");
        check(part->trained || !seen.trained, "a refined index that is trained holds one that is not");
    }
    check(base.labelsInRange, "the index that is refined must number its vectors from 0 on");
    support(fine.computesDistances || !seen.trained, "FAISS cannot refine with ", fine.fourcc, " safely");
    // Below 1 FAISS reads results that it did not ask for.
    within(get<float>("a refined index"), 1.0f, kMostFactor, "a refined index's k_factor");
    seen.reconstructs = fine.reconstructs;
    return seen;
}

Seen Walker::rowwiseMinMax() {
    Seen seen(header());
    equal(seen.ntotal, int64_t{0}, "the number of vectors in a MinMax index, which stores none,");
    const Seen inner = index();
    equal(inner.d, seen.d, "the dimension of a MinMax index's inner index");
    return seen;
}

Seen Walker::multiIndex() {
    Seen seen(header());
    support(inQuantizer_ > 0, "a multi-index is no index by itself but an IVF's quantizer");
    equal(seen.metric, 1, "the metric of a multi-index");
    seen.pq = productQuantizer(seen.d);
    const size_t bits = times(seen.pq.M, seen.pq.nbits);
    check(bits <= 40, "a multi-index of 2^", bits, " lists is more than FAISS can hold");
    equal(seen.ntotal, seen.trained ? int64_t{1} << bits : int64_t{0}, "the number of a multi-index's lists");
    seen.reconstructs = seen.alwaysAnswers = true;
    return seen;
}

Seen Walker::residualCoarse() {
    Seen seen(header());
    const AdditiveQuantizer aq = residualQuantizer();
    equal(aq.d, size_t(seen.d), "an additive quantizer's dimension");
    support(seen.metric <= 1, "FAISS cannot search a residual quantizer by metric ", seen.metric);
    check(aq.trained == seen.trained, "a residual quantizer and its index must both be trained or neither");
    equal(aq.searchType, 0, "the search type of a residual quantizer for lists");
    check(aq.bits <= 40, "a residual quantizer of 2^", aq.bits, " lists is more than FAISS can hold");
    equal(seen.ntotal, seen.trained ? int64_t{1} << aq.bits : int64_t{0}, "the number of a residual quantizer's lists");
    const float beam = get<float>("a residual quantizer");
    check((beam >= 1 && beam <= kMostFactor) || (beam < 0 && beam >= -kMostFactor), "beam_factor must be from 1 to ", kMostFactor,
          " or negative, got ", beam);
    if (beam < 0) claim(times(seen.ntotal, sizeof(float)), true, "a residual quantizer's norms");
    seen.reconstructs = seen.alwaysAnswers = seen.trained;
    return seen;
}

} // namespace faiss_vision::index_check
