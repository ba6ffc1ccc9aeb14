#include "ann/index_check_walker.h"

#include <cmath>

namespace faiss_vision::index_check {

Seen Walker::flat(const std::string& fourcc) {
    Seen seen(header());
    if (fourcc == "IxFI") equal(seen.metric, 0, "the metric of an IndexFlatIP");
    if (fourcc == "IxF2") equal(seen.metric, 1, "the metric of an IndexFlatL2");
    const auto vectors = vector<float>("the vectors");
    codes(vectors.size() * sizeof(float), seen, times(seen.d, sizeof(float)));
    if (strict_ > 0) bounded(vectors, "the vectors of a quantizer or of an NSG");
    seen.reconstructs = seen.computesDistances = true;
    seen.alwaysAnswers = seen.metric <= 1;
    return seen;
}

Seen Walker::lsh(const std::string& fourcc) {
    Seen seen(header());
    const int bits = get<int32_t>("an LSH");
    within(int64_t(bits), int64_t{1}, kMaxDimension, "an LSH's bits");
    const bool rotate = flag("an LSH's rotate_data");
    const bool thresholded = flag("an LSH's train_thresholds");
    const auto thresholds = vector<float>("an LSH's thresholds");
    if ((seen.trained && thresholded) || thresholds.size() != 0) equal(thresholds.size(), size_t(bits), "the count of an LSH's thresholds");
    const bool old = fourcc == "IxHE"; // counted its codes in words of 8 bytes
    if (old) check(bits % 64 == 0, "an LSH of the old format must have a multiple of 64 bits, got ", bits);
    const size_t codeSize = (bits + 7) / 8;
    equal(get<int32_t>("an LSH"), int(old ? codeSize / 8 : codeSize), "an LSH's code size");
    const Transform rotation = transform();
    check(rotation.fourcc == "rrot", "an LSH must hold a random rotation");
    equal(rotation.dIn, seen.d, "the input dimension of an LSH's rotation");
    equal(rotation.dOut, int64_t(bits), "the output dimension of an LSH's rotation");
    if (rotate) check(rotation.trained, "an LSH's rotation must be initialised");
    else check(bits <= seen.d, "an LSH without rotation cannot have more bits than dimensions, got ", bits, " for ", seen.d);
    codes(vector<uint8_t>("the codes").size(), seen, codeSize);
    seen.reconstructs = true;
    return seen;
}

Seen Walker::pq(const std::string& fourcc) {
    Seen seen(header());
    if (fourcc != "IxPq") seen.metric = 1; // FAISS does the same: older files said inner product and meant L2
    seen.pq = productQuantizer(seen.d);
    codes(vector<uint8_t>("the codes").size(), seen, seen.pq.codeSize);
    int searchType = 0;
    if (fourcc != "IxPQ") {
        searchType = get<int32_t>("a PQ's search parameters");
        within(searchType, 0, 5, "a PQ's search type");
        check(searchType != 2 || seen.pq.codeSize % 8 == 0, "a PQ of codes of ", seen.pq.codeSize,
            " bytes cannot be searched by search type 2");
        flag("a PQ's encode_signs");
        get<int32_t>("a PQ's search parameters"); // polysemous_ht
    }
    seen.reconstructs = seen.computesDistances = true;
    seen.alwaysAnswers = searchType == 0; // others leave vectors out
    return seen;
}

Seen Walker::sq() {
    Seen seen(header());
    bool half = false;
    const size_t codeSize = scalarQuantizer(seen.d, seen.trained, &half);
    const auto values = vector<uint8_t>("the codes");
    codes(values.size(), seen, codeSize);
    support(seen.metric <= 1, "FAISS cannot search a scalar quantizer by metric ", seen.metric);
    if (half && strict_ > 0) {
        const Array<uint16_t> halves(values.bytes(), values.size() / 2);
        for (size_t i = 0; i < halves.size(); i++) {
            check((halves[i] & 0x7c00) != 0x7c00, "the vectors of a quantizer or of an NSG must be finite");
        }
    }
    seen.reconstructs = seen.computesDistances = seen.alwaysAnswers = true;
    return seen;
}

Seen Walker::additive(char kind) {
    Seen seen(header());
    const AdditiveQuantizer aq = additiveQuantizerOf(kind, seen);
    equal(get<uint64_t>("an additive quantizer's code size"), aq.codeSize, "an additive quantizer's code size");
    codes(vector<uint8_t>("the codes").size(), seen, aq.codeSize);
    seen.reconstructs = seen.trained;
    seen.computesDistances = seen.trained;
    return seen;
}

Seen Walker::twoLayer() {
    Seen seen(header());
    const Seen first = quantizer();
    const size_t nlist = get<uint64_t>("a two layer index");
    check(nlist >= 1 && nlist < (size_t{1} << 31), "a two layer index's nlist must be from 1 to 2^31 - 1, got ", nlist);
    within(int(get<uint8_t>("a two layer index")), 0, 2, "quantizer_trains_alone");
    equal(first.d, seen.d, "the dimension of a two layer index's quantizer");
    if (seen.trained) {
        check(first.trained, "a two layer index that is trained holds a quantizer that is not");
        equal(first.ntotal, int64_t(nlist), "the number of vectors in a two layer index's quantizer");
    } else {
        check(first.ntotal <= int64_t(nlist), "a two layer index of ", nlist, " lists holds ", first.ntotal, " centroids");
    }
    support(first.reconstructs && first.labelsInRange && first.alwaysAnswers, "FAISS cannot use ", first.fourcc,
            " as the quantizer of a two layer index safely");
    seen.pq = productQuantizer(seen.d);
    size_t size1 = 0;
    while ((uint64_t{1} << (8 * size1)) < nlist) size1++;
    equal(get<uint64_t>("a two layer index"), size1, "code_size_1 of a two layer index");
    equal(get<uint64_t>("a two layer index"), seen.pq.codeSize, "code_size_2 of a two layer index");
    const size_t codeSize = size1 + seen.pq.codeSize;
    equal(get<uint64_t>("a two layer index"), codeSize, "code_size of a two layer index");
    const auto all = vector<uint8_t>("the codes");
    codes(all.size(), seen, codeSize);
    for (int64_t i = 0; i < seen.ntotal; i++) {
        uint64_t list = 0;
        std::memcpy(&list, all.bytes() + i * codeSize, size1);
        check(list < nlist, "a vector of a two layer index is in list ", list, " of ", nlist);
    }
    seen.reconstructs = true;
    // An HNSW over it computes on groups of four dimensions with codes of a byte, and from two halves for a multi-index.
    const bool fast = seen.pq.dsub == 4;
    const bool multi = first.fourcc == "Imiq" && seen.pq.M % 2 == 0;
    seen.computesDistances = seen.metric == 1 && (!fast || (seen.pq.nbits == 8 && (!multi || first.pq.M == 2)));
    return seen;
}

Seen Walker::lattice() {
    const int d = get<int32_t>("a lattice");
    const int nsq = get<int32_t>("a lattice");
    const int scaleBits = get<int32_t>("a lattice");
    const int r2 = get<int32_t>("a lattice");
    within(int64_t(d), int64_t{1}, kMaxDimension, "a lattice's dimension");
    within(nsq, 1, d, "a lattice's nsq");
    check(d % nsq == 0, "a lattice's nsq must divide its dimension, got ", nsq, " for ", d);
    within(scaleBits, 0, 32, "a lattice's scale_nbit");
    // FAISS lists every way to write r2 as a sum of squares before it reads on.
    within(d / nsq, 1, 64, "the dimensions of a lattice's part");
    within(r2, 1, 128, "a lattice's r2");
    std::vector<double> points(r2 + 1, 0.0);
    points[0] = 1;
    for (int i = 0; i < d / nsq; i++) {
        std::vector<double> next(r2 + 1, 0.0);
        for (int sum = 0; sum <= r2; sum++) {
            for (int v = 0; sum + v * v <= r2; v++) next[sum + v * v] += points[sum] * (v == 0 ? 1 : 2);
        }
        points = next;
    }
    check(points[r2] >= 1 && points[r2] < 0x1p60, "a lattice of radius ", r2, " in ", d / nsq, " dimensions has ", points[r2], " points");

    Seen seen(header());
    equal(seen.d, int64_t(d), "a lattice's dimension");
    equal(seen.ntotal, int64_t{0}, "the number of vectors in a lattice index, which stores none,");
    const auto ranges = vector<float>("a lattice's ranges");
    if (seen.trained || ranges.size() != 0) equal(ranges.size(), size_t(2) * nsq, "the count of a lattice's ranges");
    return seen;
}

} // namespace faiss_vision::index_check
