#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {
namespace {

enum SearchType { Decompress, LutNoNorm, NormFromLut, NormFloat, NormQint8, NormQint4, NormCqint8, NormCqint4, NormLsq2x4, NormRq2x4 };

size_t normBits(int searchType) {
    switch (searchType) {
    case NormFloat: return 32;
    case NormQint8: case NormCqint8: case NormLsq2x4: case NormRq2x4: return 8;
    case NormQint4: case NormCqint4: return 4;
    default: return 0;
    }
}

constexpr int kSkipCodebookTables = 2048; // a bit of a residual quantizer's train_type

} // namespace

ProductQuantizer Walker::productQuantizer(int64_t d) {
    ProductQuantizer pq;
    equal(get<uint64_t>("a product quantizer"), uint64_t(d), "a product quantizer's dimension");
    pq.M = get<uint64_t>("a product quantizer");
    within(pq.M, size_t{1}, size_t(d), "a product quantizer's M");
    check(d % pq.M == 0, "a product quantizer's M must divide its dimension, got ", pq.M, " for ", d);
    pq.nbits = get<uint64_t>("a product quantizer");
    within(pq.nbits, size_t{1}, size_t{24}, "a product quantizer's bits");
    pq.dsub = d / pq.M;
    pq.ksub = size_t{1} << pq.nbits;
    pq.codeSize = (pq.nbits * pq.M + 7) / 8;
    const auto centroids = vector<float>("a product quantizer's centroids");
    equal(centroids.size(), times(d, pq.ksub), "the count of a product quantizer's centroid numbers");
    bounded(centroids, "a product quantizer's centroids");
    return pq;
}

size_t Walker::scalarQuantizer(int64_t d, bool trained, bool* half) {
    // 8 bit, 4 bit, 8 bit uniform, 4 bit uniform, fp16, 8 bit direct, 6 bit
    const int type = get<int32_t>("a scalar quantizer");
    within(type, 0, 6, "a scalar quantizer's type");
    within(get<int32_t>("a scalar quantizer"), 0, 3, "a scalar quantizer's range statistic");
    get<float>("a scalar quantizer");
    equal(get<uint64_t>("a scalar quantizer"), uint64_t(d), "a scalar quantizer's dimension");
    const size_t codeSize = type == 1 || type == 3 ? (d + 1) / 2 : type == 4 ? 2 * d : type == 6 ? (6 * d + 7) / 8 : d;
    equal(get<uint64_t>("a scalar quantizer"), codeSize, "a scalar quantizer's code size");
    const auto values = vector<float>("a scalar quantizer's ranges");
    const size_t needed = type == 4 || type == 5 ? 0 : type == 2 || type == 3 ? 2 : 2 * d;
    if (trained || values.size() != 0) equal(values.size(), needed, "the count of a scalar quantizer's ranges");
    bounded(values, "a scalar quantizer's ranges");
    *half = type == 4;
    return codeSize;
}

AdditiveQuantizer Walker::additiveQuantizer(bool old, bool product) {
    AdditiveQuantizer aq;
    aq.d = get<uint64_t>("an additive quantizer");
    within(aq.d, size_t{1}, size_t(kMaxDimension), "an additive quantizer's dimension");
    aq.M = get<uint64_t>("an additive quantizer");
    const auto nbits = vector<uint64_t>("an additive quantizer's bits");
    equal(nbits.size(), aq.M, "the count of an additive quantizer's bits");
    within(aq.M, size_t{1}, size_t{4096}, "an additive quantizer's M");
    for (size_t m = 0; m < aq.M; m++) {
        within(nbits[m], uint64_t{1}, uint64_t{24}, "an additive quantizer's bits");
        aq.nbits.push_back(nbits[m]);
        aq.bits += nbits[m];
        aq.codebookEntries += size_t{1} << nbits[m];
    }
    aq.trained = flag("an additive quantizer's is_trained");
    if (old) { // train_type and beam size came before the codebooks
        get<int32_t>("a residual quantizer");
        within(get<int32_t>("a residual quantizer"), 1, 1024, "a residual quantizer's beam size");
    }
    const auto codebooks = vector<float>("an additive quantizer's codebooks");
    aq.codebookNumbers = codebooks.size();
    // A product's codebooks have the dimensions of its parts, which come later.
    if (!product && (aq.trained || codebooks.size() != 0)) {
        equal(codebooks.size(), times(aq.codebookEntries, aq.d), "the count of an additive quantizer's codebook numbers");
    }
    bounded(codebooks, "an additive quantizer's codebooks");
    aq.searchType = get<int32_t>("an additive quantizer");
    within(aq.searchType, 0, int(NormRq2x4), "an additive quantizer's search type");
    check(aq.searchType != NormFromLut, "an additive quantizer's search type is one that FAISS cannot search");
    take(2 * sizeof(float), "an additive quantizer"); // the least and the largest norm, NaN before training
    aq.bits += normBits(aq.searchType);
    aq.codeSize = (aq.bits + 7) / 8;

    const bool lookedUp = aq.searchType >= NormCqint8;
    const bool twice4 = aq.searchType >= NormLsq2x4;
    check(!old || !lookedUp, "a residual quantizer of the old format cannot have search type ", aq.searchType);
    if (lookedUp) {
        const auto norms = vector<float>("an additive quantizer's norms");
        if (aq.trained || norms.size() != 0) {
            equal(norms.size(), size_t(aq.searchType == NormCqint4 ? 16 : 256), "the count of an additive quantizer's norms");
        }
        bounded(norms, "an additive quantizer's norms", std::numeric_limits<float>::max());
    }
    if (twice4) {
        const auto tables = vector<float>("an additive quantizer's norm tables");
        if (aq.trained || tables.size() != 0) equal(tables.size(), size_t{32}, "the count of an additive quantizer's norm table numbers");
        bounded(tables, "an additive quantizer's norm tables", std::numeric_limits<float>::max());
    }
    return aq;
}

AdditiveQuantizer Walker::residualQuantizer() {
    const AdditiveQuantizer aq = additiveQuantizer(false, false);
    const int trainType = get<int32_t>("a residual quantizer");
    // Each vector of a beam keeps as many candidates as the beam has: the square of it for each vector.
    within(get<int32_t>("a residual quantizer"), 1, 1024, "a residual quantizer's beam size");
    if (!(trainType & kSkipCodebookTables)) {
        support(aq.codebookNumbers != 0, "FAISS 1.7.3 cannot read a residual quantizer that is not trained");
        claim(times(aq.codebookEntries, aq.codebookEntries, sizeof(float)), true, "a residual quantizer's tables");
    }
    return aq;
}

AdditiveQuantizer Walker::localSearchQuantizer() {
    const AdditiveQuantizer aq = additiveQuantizer(false, false);
    const char* const what = "a local search quantizer";
    for (const size_t nbits : aq.nbits) equal(nbits, aq.nbits[0], "every number of a local search quantizer's bits");
    equal(get<uint64_t>(what), uint64_t{1} << aq.nbits[0], "a local search quantizer's K");
    for (const char* iterations : {"train_iters", "encode_ils_iters", "train_ils_iters", "icm_iters"}) {
        within(get<uint64_t>(what), uint64_t{0}, uint64_t{1024}, iterations);
    }
    take(8, what); // p and lambd, of the training
    within(get<uint64_t>(what), uint64_t{1}, uint64_t{1} << 32, "a local search quantizer's chunk_size");
    get<int32_t>(what); // random_seed
    within(get<uint64_t>(what), uint64_t{0}, std::max<uint64_t>(aq.M, aq.trained ? 0 : 1024), "a local search quantizer's nperts");
    flag("update_codebooks_with_double");
    // Computed by the first add, M x M tables of K x K.
    claim(times(aq.codebookEntries, aq.codebookEntries, sizeof(float)), true, "a local search quantizer's tables");
    return aq;
}

AdditiveQuantizer Walker::productAdditiveQuantizer(bool residual) {
    const AdditiveQuantizer aq = additiveQuantizer(false, true);
    const size_t splits = get<uint64_t>("a product of additive quantizers");
    within(splits, size_t{1}, aq.M, "the parts of a product of additive quantizers");
    size_t d = 0, numbers = 0;
    std::vector<size_t> nbits;
    for (size_t i = 0; i < splits; i++) {
        const AdditiveQuantizer part = residual ? residualQuantizer() : localSearchQuantizer();
        equal(part.d, aq.d / splits, "the dimension of a part of a product of additive quantizers");
        d += part.d;
        numbers += part.codebookNumbers;
        nbits.insert(nbits.end(), part.nbits.begin(), part.nbits.end());
        equal(part.searchType, int(Decompress), "the search type of a part of a product of additive quantizers");
        equal(part.trained, aq.trained, "is_trained of a part of a product of additive quantizers");
    }
    equal(d, aq.d, "the dimension of a product of additive quantizers");
    check(nbits == aq.nbits, "the bits of a product of additive quantizers must be those of its parts");
    if (aq.trained || aq.codebookNumbers != 0) equal(aq.codebookNumbers, numbers,
        "the count of codebook numbers of a product of additive quantizers");
    return aq;
}

AdditiveQuantizer Walker::additiveQuantizerOf(char kind, const Header& header) {
    const AdditiveQuantizer aq = kind == 'o' ? additiveQuantizer(true, false) : kind == 'R' ? residualQuantizer()
        : kind == 'L' ? localSearchQuantizer() : productAdditiveQuantizer(kind == 'r');
    equal(aq.d, size_t(header.d), "an additive quantizer's dimension");
    check(aq.trained || !header.trained, "an index that is trained holds an additive quantizer that is not");
    support(header.metric <= 1, "FAISS cannot search an additive quantizer by metric ", header.metric);
    return aq;
}

} // namespace faiss_vision::index_check
