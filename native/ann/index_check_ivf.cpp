#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

// What FAISS keeps for an inverted list without a vector: two empty std::vectors, and its size while reading.
constexpr size_t kListBytes = 2 * sizeof(std::vector<uint8_t>) + sizeof(size_t);

} // namespace

Seen Walker::quantizer() {
    const More strict(strict_);
    const More inside(inQuantizer_);
    return index();
}

Ivf Walker::ivfHeader(bool legacy) {
    Ivf ivf;
    static_cast<Header&>(ivf) = header();
    support(ivf.metric <= 1, "FAISS cannot search an IVF index by metric ", ivf.metric);
    ivf.nlist = get<uint64_t>("an IVF index");
    check(ivf.nlist >= 1 && ivf.nlist < (size_t{1} << 31), "an IVF index's nlist must be from 1 to 2^31 - 1, got ", ivf.nlist);
    ivf.nprobe = get<uint64_t>("an IVF index");
    check(ivf.nprobe >= 1 && ivf.nprobe < (size_t{1} << 63), "an IVF index's nprobe must be at least 1, got ", ivf.nprobe);
    ivf.quantizer = quantizer();
    if (legacy) {
        check(ivf.nlist <= left_ / sizeof(uint64_t), ivf.nlist, " inverted lists cannot be in ", left_, " bytes");
        listMemory(ivf);
        for (size_t i = 0; i < ivf.nlist; i++) ivf.ids.push_back(vector<int64_t>("inverted lists"));
    }
    ivf.map = directMap();
    return ivf;
}

void Walker::listQuantizer(const Ivf& ivf, bool residual) const {
    const Seen& q = ivf.quantizer;
    equal(q.d, ivf.d, "the dimension of an IVF index's quantizer");
    if (ivf.trained) {
        check(q.trained, "an IVF index that is trained holds a quantizer that is not");
        equal(q.ntotal, int64_t(ivf.nlist), "the number of vectors in an IVF index's quantizer");
    } else {
        check(q.ntotal <= int64_t(ivf.nlist), "an IVF index of ", ivf.nlist, " lists holds ", q.ntotal, " centroids");
    }
    check(q.labelsInRange, "an IVF index's quantizer must number its vectors from 0 on");
    if (residual) support(q.reconstructs || !q.trained, "FAISS cannot use ", q.fourcc, " as the quantizer of an index of residuals safely");
}

DirectMap Walker::directMap() {
    DirectMap map;
    map.type = get<uint8_t>("a direct map");
    within(map.type, 0, 2, "a direct map's type");
    map.array = vector<int64_t>("a direct map");
    if (map.type != 1) equal(map.array.size(), size_t{0}, "the count of entries in a direct map that is not in use");
    if (map.type == 2) map.places = vector<Place>("a direct map");
    return map;
}

/// Where a direct map says that a vector lies, there must be the vector of that id: FAISS goes there unasked.
void Walker::directMapPoints(const Ivf& ivf) const {
    const auto points = [&](int64_t id, int64_t place) {
        const uint64_t list = uint64_t(place) >> 32, offset = uint64_t(place) & 0xffffffff;
        return place >= 0 && list < ivf.nlist && offset < ivf.ids[list].size() && ivf.ids[list][offset] == id;
    };
    if (ivf.map.type == 1) equal(ivf.map.array.size(), size_t(ivf.ntotal), "the count of entries in a direct map");
    for (size_t i = 0; i < ivf.map.array.size(); i++) {
        const int64_t place = ivf.map.array[i]; // below 0: in no list
        if (place >= 0 && !points(i, place)) corrupt(text("a direct map has ", place, " for vector ", i, ", which is not there"));
    }
    for (size_t i = 0; i < ivf.map.places.size(); i++) {
        const auto [id, place] = ivf.map.places[i];
        if (!points(id, place)) corrupt(text("a direct map has ", place, " for vector ", id, ", which is not there"));
    }
}

void Walker::listMemory(const Ivf& ivf) {
    const bool borneOut = ivf.quantizer.ntotal == int64_t(ivf.nlist);
    claim(times(ivf.nlist, kListBytes), borneOut, "the inverted lists");
}

Labels Walker::labels(int64_t ntotal) const {
    // Each label takes 8 bytes, so where there are fewer bytes the labels cannot be complete.
    return Labels(ntotal, wantOnce_ > 0 && size_t(ntotal) <= size_);
}

void Walker::startLists(Ivf& ivf) const {
    ivf.labels = labels(ivf.ntotal);
    if (ivf.map.type != 0) ivf.ids.resize(ivf.nlist);
}

void Walker::listIds(Ivf& ivf, size_t list, const Array<int64_t>& ids) const {
    ivf.labels.add(ids);
    if (ivf.map.type != 0) ivf.ids[list] = ids;
}

Seen Walker::finishLists(const Ivf& ivf) {
    const size_t stored = ivf.labels.stored();
    check(stored <= size_t(ivf.ntotal), "an IVF index of ", ivf.ntotal, " vectors has ", stored, " in its lists");
    // Vectors that were NaN are counted and in no list.
    claim(times(ivf.ntotal - stored, sizeof(int64_t)), false, "the vectors that are in no list");
    directMapPoints(ivf);
    Seen seen;
    static_cast<Header&>(seen) = ivf;
    seen.labelsInRange = ivf.labels.inRange() && ivf.duplicatesInRange;
    seen.labelsOnce = ivf.labels.once();
    return seen;
}

void Walker::arrayLists(Ivf& ivf, size_t codeSize) {
    const std::string f = fourcc("inverted lists");
    support(f != "ilod", "its inverted lists lie in another file");
    support(f != "il00", "it was saved without its inverted lists");
    check(f == "ilar", "its inverted lists are of no known type");
    equal(get<uint64_t>("inverted lists"), ivf.nlist, "the number of inverted lists");
    equal(get<uint64_t>("inverted lists"), codeSize, "the code size of inverted lists");
    listMemory(ivf);
    startLists(ivf);
    const auto read = [&](size_t list, uint64_t count) {
        take(times(count, codeSize), "an inverted list's codes");
        listIds(ivf, list, take<int64_t>(count, "an inverted list's ids"));
    };
    const std::string kind = fourcc("inverted lists");
    const auto sizes = vector<uint64_t>("the sizes of inverted lists");
    if (kind == "full") {
        equal(sizes.size(), ivf.nlist, "the count of inverted lists' sizes");
        for (size_t i = 0; i < ivf.nlist; i++) read(i, sizes[i]);
        return;
    }
    check(kind == "sprs", "the sizes of its inverted lists are of no known type");
    check(sizes.size() % 2 == 0, "the sizes of inverted lists must be in pairs, got ", sizes.size());
    uint64_t next = 0;
    for (size_t i = 0; i < sizes.size(); i += 2) {
        check(sizes[i] >= next && sizes[i] < ivf.nlist, "inverted list ", sizes[i], " of ", ivf.nlist, " comes after list ",
            int64_t(next) - 1);
        next = sizes[i] + 1;
        read(sizes[i], sizes[i + 1]);
    }
}

/// The codes of the old formats, whose ids came before: `unit` bytes are counted as one.
void Walker::legacyCodes(Ivf& ivf, size_t codeSize, size_t unit) {
    startLists(ivf);
    for (size_t i = 0; i < ivf.nlist; i++) {
        const uint64_t count = get<uint64_t>("inverted lists");
        take(times(count, unit), "inverted lists");
        equal(times(count, unit), times(ivf.ids[i].size(), codeSize), "the bytes of an inverted list's codes");
        listIds(ivf, i, Array<int64_t>(ivf.ids[i]));
    }
}

Seen Walker::ivfFlat(const std::string& fourcc) {
    const bool legacy = fourcc == "IvFl" || fourcc == "IvFL";
    Ivf ivf = ivfHeader(legacy);
    listQuantizer(ivf, false);
    const size_t codeSize = times(ivf.d, sizeof(float));
    if (fourcc == "IwFd") {
        const auto duplicates = vector<int64_t>("duplicates");
        check(duplicates.size() % 2 == 0, "duplicates must be in pairs, got ", duplicates.size());
        for (size_t i = 0; i < duplicates.size(); i++) ivf.duplicatesInRange &= duplicates[i] >= 0 && duplicates[i] < ivf.ntotal;
    }
    if (legacy) legacyCodes(ivf, codeSize, fourcc == "IvFl" ? sizeof(float) : 1);
    else arrayLists(ivf, codeSize);
    return finishLists(ivf);
}

Seen Walker::ivfSq(const std::string& fourcc) {
    const bool legacy = fourcc == "IvSQ";
    Ivf ivf = ivfHeader(legacy);
    bool half = false;
    const size_t codeSize = scalarQuantizer(ivf.d, ivf.trained, &half);
    equal(get<uint64_t>("a scalar quantizer's code size"), codeSize, "a scalar quantizer's code size");
    const bool residual = fourcc == "IwSq" ? flag("by_residual") : true;
    listQuantizer(ivf, residual);
    if (legacy) legacyCodes(ivf, codeSize, 1);
    else arrayLists(ivf, codeSize);
    return finishLists(ivf);
}

size_t Walker::precomputedTable(const Ivf& ivf, const ProductQuantizer& pq) const {
    if (ivf.quantizer.metric == 0) return 0;
    const Seen& q = ivf.quantizer;
    if (q.fourcc == "Imiq" && pq.M % q.pq.M == 0) {
        return plus(times(times(q.pq.ksub, pq.M, pq.ksub), sizeof(float)), times(ivf.d, q.pq.ksub, sizeof(float)));
    }
    const size_t bytes = times(times(q.ntotal, pq.M, pq.ksub), sizeof(float));
    return bytes > (size_t{1} << 31) ? 0 : bytes; // then FAISS does without
}

Seen Walker::ivfPq(const std::string& fourcc) {
    const bool legacy = fourcc == "IvPQ" || fourcc == "IvQR";
    const bool refined = fourcc == "IwQR" || fourcc == "IvQR";
    Ivf ivf = ivfHeader(legacy);
    const bool residual = flag("by_residual");
    const size_t codeSize = get<uint64_t>("a product quantizer's code size");
    const ProductQuantizer pq = productQuantizer(ivf.d);
    within(pq.nbits, size_t{1}, size_t{8}, "an IVFPQ index's bits");
    equal(codeSize, pq.codeSize, "a product quantizer's code size");
    listQuantizer(ivf, residual || refined);
    if (legacy) legacyCodes(ivf, codeSize, 1);
    else arrayLists(ivf, codeSize);
    if (ivf.trained && residual) {
        const size_t table = precomputedTable(ivf, pq);
        if (inQuantizer_ > 0) claim(table, true, "an IVFPQ index's tables"); // a quantizer is read without the caller's flags
        else needs_.tableBytes = plus(needs_.tableBytes, table);
    }
    if (refined) {
        support(ivf.trained, "FAISS 1.7.3 cannot read an IVFPQR index that is not trained");
        const ProductQuantizer fine = productQuantizer(ivf.d);
        equal(vector<uint8_t>("the codes that refine").size(), times(ivf.ntotal, fine.codeSize), "the bytes of the codes that refine");
        within(get<float>("an IVFPQR index"), 1.0f, 1e4f, "an IVFPQR index's k_factor");
        check(ivf.labels.inRange(), "an IVFPQR index must number its vectors from 0 on");
    }
    return finishLists(ivf);
}

Seen Walker::ivfAdditive(char kind) {
    Ivf ivf = ivfHeader();
    const size_t codeSize = get<uint64_t>("an additive quantizer's code size");
    const AdditiveQuantizer aq = additiveQuantizerOf(kind, ivf);
    equal(codeSize, aq.codeSize, "an additive quantizer's code size");
    const bool residual = flag("by_residual");
    get<int32_t>("an IVF index"); // use_precomputed_table, which does nothing
    listQuantizer(ivf, residual);
    arrayLists(ivf, codeSize);
    return finishLists(ivf);
}

Seen Walker::ivfSpectralHash() {
    Ivf ivf = ivfHeader();
    const Transform change = transform();
    const int bits = get<int32_t>("a spectral hash");
    within(int64_t(bits), int64_t{1}, kMaxDimension, "a spectral hash's bits");
    equal(change.dIn, ivf.d, "the input dimension of a spectral hash's transform");
    equal(change.dOut, int64_t(bits), "the output dimension of a spectral hash's transform");
    check(change.trained || !ivf.trained, "a spectral hash that is trained holds a transform that is not");
    get<float>("a spectral hash"); // period
    const int thresholds = get<int32_t>("a spectral hash");
    within(thresholds, 0, 3, "a spectral hash's threshold type");
    const auto trained = vector<float>("a spectral hash's thresholds");
    if (ivf.trained && thresholds != 0) {
        check(trained.size() >= times(ivf.nlist, bits), "a spectral hash's thresholds: at least ", times(ivf.nlist, bits),
            " expected, got ", trained.size());
    }
    equal(ivf.metric, 1, "the metric of a spectral hash");
    listQuantizer(ivf, false);
    arrayLists(ivf, (bits + 7) / 8);
    return finishLists(ivf);
}

} // namespace faiss_vision::index_check
