#include <algorithm>

#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

/// As FAISS packs numbers of some bits, the lowest first.
class Bits {
public:
    explicit Bits(const Array<uint8_t>& bytes) : bytes_(bytes) {}
    uint64_t read(int count) {
        uint64_t value = 0;
        for (int done = 0; done < count;) {
            const int some = std::min<int>(count - done, 8 - at_ % 8);
            value |= uint64_t(bytes_[at_ / 8] >> (at_ % 8) & ((1 << some) - 1)) << done;
            done += some;
            at_ += some;
        }
        return value;
    }

private:
    const Array<uint8_t>& bytes_;
    size_t at_ = 0;
};

constexpr double kMostFlips = 1 << 20; // buckets that a search looks into

} // namespace

Header Walker::binaryHeader(bool idMap) {
    Header header;
    header.d = get<int32_t>("a header");
    within(header.d, int64_t{8}, kMaxDimension, "the dimension");
    check(header.d % 8 == 0, "the dimension must be a multiple of 8, got ", header.d);
    const int codeSize = get<int32_t>("a header");
    if (!idMap || codeSize != 0) equal(codeSize, int(header.d / 8), "the code size"); // an id map does not set its own
    header.ntotal = get<int64_t>("a header");
    within(header.ntotal, int64_t{0}, kMaxVectors, "the number of vectors");
    header.trained = flag("is_trained");
    header.metric = get<int32_t>("a header");
    check(metricKnown(header.metric), "the metric must be one of FAISS's, got ", header.metric);
    check(header.trained || header.ntotal == 0, "an index that is not trained cannot hold ", header.ntotal, " vectors");
    return header;
}

Seen Walker::binaryIndex() {
    const More level(depth_);
    check(depth_ <= 16, "more than 16 indexes lie in one another");
    const std::string f = fourcc("an index's type");
    Seen seen;
    if (f == "IBxF") seen = binaryFlat();
    else if (f == "IBwF") seen = binaryIvf();
    else if (f == "IBFf") seen = binaryFromFloat();
    else if (f == "IBHf") seen = binaryHnsw();
    else if (f == "IBMp" || f == "IBM2") seen = binaryIdMap();
    else if (f == "IBHh") seen = binaryHash();
    else if (f == "IBHm") seen = binaryMultiHash();
    else if (f.rfind("I", 0) == 0) unsupported("it holds no binary index that FAISS 1.7.3 knows: " + printable(f));
    else unsupported("it holds no index type that FAISS 1.7.3 knows: " + printable(f));
    seen.fourcc = f;
    return seen;
}

Seen Walker::binaryFlat() {
    Seen seen(binaryHeader());
    codes(vector<uint8_t>("the vectors").size(), seen, seen.d / 8);
    return seen;
}

Seen Walker::binaryIvf() {
    Ivf ivf;
    static_cast<Header&>(ivf) = binaryHeader();
    ivf.nlist = get<uint64_t>("a binary IVF index");
    check(ivf.nlist >= 1 && ivf.nlist < (size_t{1} << 31), "a binary IVF index's nlist must be from 1 to 2^31 - 1, got ", ivf.nlist);
    ivf.nprobe = get<uint64_t>("a binary IVF index");
    check(ivf.nprobe >= 1 && ivf.nprobe < (size_t{1} << 63), "a binary IVF index's nprobe must be at least 1, got ", ivf.nprobe);
    ivf.quantizer = binaryIndex();
    const std::string& f = ivf.quantizer.fourcc;
    support(f == "IBxF" || f == "IBHf", "FAISS cannot use ", f, " as the quantizer of a binary IVF index safely");
    ivf.map = directMap();
    listQuantizer(ivf, false);
    arrayLists(ivf, ivf.d / 8);
    return finishLists(ivf);
}

Seen Walker::binaryHnsw() {
    Seen seen(binaryHeader());
    hnswGraph(seen.ntotal);
    const Seen inner = binaryIndex();
    support(inner.fourcc == "IBxF", "FAISS cannot use ", inner.fourcc, " as the storage of a binary HNSW safely");
    equal(inner.d, seen.d, "the dimension of a graph's storage");
    equal(inner.ntotal, seen.ntotal, "the number of vectors in a graph's storage");
    check(inner.trained || !seen.trained, "an index that is trained holds one that is not");
    return seen;
}

Seen Walker::binaryFromFloat() {
    Seen seen(binaryHeader());
    within(seen.d, int64_t{8}, int64_t{8192}, "the dimension"); // each search makes 32768 vectors of floats
    const Seen inner = index();
    equal(inner.d, seen.d, "the dimension of a binary index's float index");
    equal(inner.ntotal, seen.ntotal, "the number of vectors in a binary index's float index");
    check(inner.trained || !seen.trained, "an index that is trained holds one that is not");
    seen.labelsInRange = inner.labelsInRange;
    seen.labelsOnce = inner.labelsOnce;
    return seen;
}

Seen Walker::binaryIdMap() {
    Seen seen(binaryHeader(true));
    const More once(wantOnce_);
    const Seen inner = binaryIndex();
    equal(inner.d, seen.d, "the dimension of an id map's index");
    mapIds(seen, inner);
    return seen;
}

void Walker::flips(int b, int nflip) const {
    within(nflip, 0, b, "a hash's nflip");
    double buckets = 1, of = 1;
    for (int i = 1; i <= nflip; i++) {
        of *= double(b - i + 1) / i;
        buckets += of;
    }
    check(buckets <= kMostFlips, "a hash of ", b, " bits with ", nflip, " flipped means ", buckets, " buckets for each search");
}

Seen Walker::binaryHash() {
    Seen seen(binaryHeader());
    const size_t codeSize = seen.d / 8;
    const int b = get<int32_t>("a hash");
    within(int64_t(b), int64_t{1}, std::min<int64_t>(seen.d, 63), "a hash's bits");
    flips(b, get<int32_t>("a hash"));
    const size_t buckets = get<uint64_t>("a hash");
    check(buckets <= size_t(seen.ntotal), "a hash of ", seen.ntotal, " vectors cannot have ", buckets, " buckets");
    const int sizeBits = get<int32_t>("a hash");
    within(sizeBits, buckets == 0 ? 0 : 1, 40, "the bits of a hash's bucket sizes");
    const auto table = vector<uint8_t>("a hash's buckets");
    equal(table.size(), plus(times(buckets, b + sizeBits), 7) / 8, "the bytes of a hash's buckets");
    claim(times(buckets, b + sizeBits), true, "a hash's buckets"); // FAISS takes a byte for each bit before it reads them
    Bits bits(table);
    std::vector<uint64_t> hashes;
    Labels stored = labels(seen.ntotal);
    for (size_t i = 0; i < buckets; i++) {
        const uint64_t hash = bits.read(b);
        const uint64_t count = bits.read(sizeBits);
        const auto ids = vector<int64_t>("a hash's bucket");
        const auto vectors = vector<uint8_t>("a hash's bucket");
        equal(ids.size(), count, "the count of a hash bucket's ids");
        equal(vectors.size(), times(count, codeSize), "the bytes of a hash bucket's vectors");
        for (size_t j = 0; j < ids.size(); j++) {
            uint64_t start = 0;
            std::memcpy(&start, vectors.bytes() + j * codeSize, std::min<size_t>(codeSize, sizeof start));
            if ((start & ((uint64_t{1} << b) - 1)) != hash) corrupt("a vector lies in another bucket than its own");
        }
        hashes.push_back(hash);
        stored.add(ids);
    }
    equal(stored.stored(), size_t(seen.ntotal), "the number of vectors in a hash's buckets");
    std::sort(hashes.begin(), hashes.end());
    check(std::adjacent_find(hashes.begin(), hashes.end()) == hashes.end(), "a hash's bucket comes twice");
    seen.labelsInRange = stored.inRange();
    seen.labelsOnce = stored.once();
    return seen;
}

Seen Walker::binaryMultiHash() {
    Seen seen(binaryHeader());
    const Seen inner = binaryIndex();
    check(inner.fourcc == "IBxF", "a multi-hash must hold a flat binary index");
    equal(inner.d, seen.d, "the dimension of a multi-hash's vectors");
    equal(inner.ntotal, seen.ntotal, "the number of a multi-hash's vectors");
    check(inner.trained || !seen.trained, "an index that is trained holds one that is not");
    const int b = get<int32_t>("a multi-hash");
    const int hashes = get<int32_t>("a multi-hash");
    const int nflip = get<int32_t>("a multi-hash");
    // A hash is cut out of 8 bytes that start at a byte.
    within(int64_t(b), int64_t{1}, std::min<int64_t>(seen.d, 57), "a multi-hash's bits");
    check(hashes >= 1 && hashes <= seen.d / b, "a multi-hash must have from 1 to ", seen.d / b, " hashes, got ", hashes);
    flips(b, nflip);
    claim(times(hashes, 64), true, "a multi-hash's tables");
    for (int h = 0; h < hashes; h++) {
        const int idBits = get<int32_t>("a multi-hash");
        const size_t buckets = get<uint64_t>("a multi-hash");
        check(buckets <= size_t(seen.ntotal), "a multi-hash of ", seen.ntotal, " vectors cannot have ", buckets, " buckets");
        within(idBits, buckets == 0 ? 0 : 1, 40, "the bits of a multi-hash's ids");
        const auto table = vector<uint8_t>("a multi-hash's buckets");
        const size_t needed = plus(times(buckets, b + idBits), times(seen.ntotal, idBits));
        equal(table.size(), plus(needed, 7) / 8, "the bytes of a multi-hash's buckets");
        Bits bits(table);
        std::vector<uint64_t> known;
        size_t stored = 0;
        for (size_t i = 0; i < buckets; i++) {
            known.push_back(bits.read(b));
            const uint64_t count = bits.read(idBits);
            stored += count;
            // FAISS writes a count of 2^n into n bits, so of a hash that tells no vectors apart it keeps none.
            check(count <= size_t(seen.ntotal) && stored <= size_t(seen.ntotal), "a multi-hash of ", seen.ntotal, " vectors has ", stored);
            for (uint64_t j = 0; j < count; j++) {
                const uint64_t id = bits.read(idBits);
                if (id >= uint64_t(seen.ntotal)) corrupt(text("a multi-hash holds vector ", id, " of ", seen.ntotal));
            }
        }
        equal(stored, size_t(seen.ntotal), "the number of vectors in a multi-hash's table");
        std::sort(known.begin(), known.end());
        check(std::adjacent_find(known.begin(), known.end()) == known.end(), "a multi-hash's bucket comes twice");
    }
    return seen;
}

} // namespace faiss_vision::index_check
