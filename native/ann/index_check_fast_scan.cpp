#include "ann/index_check_walker.h"

namespace faiss_vision::index_check {

void Walker::fastScanSearch(int implem, int bbs, int qbs, bool ivf) const {
    check(bbs > 0 && bbs % 32 == 0, "a fast scan's block size must be a multiple of 32, got ", bbs);
    support(bbs <= 160, "FAISS cannot search a fast scan in blocks of ", bbs);
    const bool blocks32 = bbs == 32;
    const bool known = implem == 0 || (ivf ? implem == 10 || implem == 11 || (implem >= 12 && implem <= 15 && blocks32)
                                           : implem == 14 || implem == 15 || ((implem == 12 || implem == 13) && blocks32));
    check(known, "a fast scan in blocks of ", bbs, " cannot be searched by implementation ", implem);
    if (ivf) return;
    // Either the sizes of the query blocks, four bits for each, or the queries of one.
    if (blocks32 && implem != 14 && implem != 15) {
        for (int rest = qbs; rest != 0; rest = int(unsigned(rest) >> 4)) {
            check((rest & 15) >= 1 && (rest & 15) <= 4, "a fast scan's query blocks must be of 1 to 4, got ", qbs);
        }
    } else {
        within(qbs, 0, 4, "a fast scan's query block");
    }
}

Seen Walker::pqFastScan() {
    Seen seen(header());
    const ProductQuantizer pq = productQuantizer(seen.d);
    equal(pq.nbits, size_t{4}, "a fast scan's bits");
    const int implem = get<int32_t>("a fast scan");
    const int bbs = get<int32_t>("a fast scan");
    const int qbs = get<int32_t>("a fast scan");
    fastScanSearch(implem, bbs, qbs, false);
    const size_t rounded = roundUp(seen.ntotal, bbs);
    equal(get<uint64_t>("a fast scan"), rounded, "a fast scan's vectors in whole blocks");
    const size_t M2 = roundUp(pq.M, 2);
    equal(get<uint64_t>("a fast scan"), M2, "a fast scan's M in pairs");
    equal(vector<uint8_t>("the codes").size(), times(rounded, M2) / 2, "the bytes of a fast scan's codes");
    seen.reconstructs = true;
    seen.computesDistances = seen.metric == 1;
    return seen;
}

Seen Walker::additiveFastScan(char kind) {
    Seen seen(header());
    const AdditiveQuantizer aq = additiveQuantizerOf(kind, seen);
    const int implem = get<int32_t>("a fast scan");
    const int bbs = get<int32_t>("a fast scan");
    const int qbs = get<int32_t>("a fast scan");
    fastScanSearch(implem, bbs, qbs, false);
    for (const size_t nbits : aq.nbits) equal(nbits, size_t{4}, "a fast scan's bits");
    check(seen.metric == 1 ? aq.searchType >= 8 : aq.searchType == 1, "a fast scan by metric ", seen.metric,
        " cannot have search type ", aq.searchType);
    const size_t M = aq.M + (seen.metric == 1 ? 2 : 0);
    equal(get<uint64_t>("a fast scan"), M, "a fast scan's M");
    equal(get<uint64_t>("a fast scan"), size_t{4}, "a fast scan's bits");
    equal(get<uint64_t>("a fast scan"), size_t{16}, "a fast scan's ksub");
    equal(get<uint64_t>("a fast scan"), aq.codeSize, "a fast scan's code size");
    const size_t rounded = roundUp(seen.ntotal, bbs);
    equal(get<uint64_t>("a fast scan"), rounded, "a fast scan's vectors in whole blocks");
    const size_t M2 = roundUp(M, 2);
    equal(get<uint64_t>("a fast scan"), M2, "a fast scan's M in pairs");
    flag("a fast scan's rescale_norm");
    get<int32_t>("a fast scan");  // norm_scale
    get<uint64_t>("a fast scan"); // max_train_points
    equal(vector<uint8_t>("the codes").size(), times(rounded, M2) / 2, "the bytes of a fast scan's codes");
    seen.reconstructs = seen.trained;
    seen.computesDistances = seen.trained && seen.metric == 1;
    return seen;
}

void Walker::blockLists(Ivf& ivf, int bbs, size_t M2) {
    // Others take the smaller of the two; fast scans make room for as many probes as are asked for.
    check(ivf.nprobe <= ivf.nlist, "a fast scan's nprobe must be at most ", ivf.nlist, ", got ", ivf.nprobe);
    const std::string f = fourcc("inverted lists");
    check(f == "ilbl", "a fast scan's inverted lists must be in blocks");
    equal(get<uint64_t>("inverted lists"), ivf.nlist, "the number of inverted lists");
    equal(get<uint64_t>("inverted lists"), ~uint64_t{0}, "the code size of inverted lists in blocks");
    equal(get<uint64_t>("inverted lists"), uint64_t(bbs), "the vectors of an inverted list's block");
    const size_t blockBytes = times(bbs, M2) / 2;
    equal(get<uint64_t>("inverted lists"), blockBytes, "the bytes of an inverted list's block");
    check(ivf.nlist <= left_ / (2 * sizeof(uint64_t)), ivf.nlist, " inverted lists cannot be in ", left_, " bytes");
    listMemory(ivf);
    startLists(ivf);
    for (size_t i = 0; i < ivf.nlist; i++) {
        const auto ids = vector<int64_t>("inverted lists");
        equal(vector<uint8_t>("inverted lists").size(), times(roundUp(ids.size(), bbs) / bbs, blockBytes),
            "the bytes of an inverted list's codes");
        listIds(ivf, i, ids);
    }
}

Seen Walker::ivfPqFastScan() {
    Ivf ivf = ivfHeader();
    flag("by_residual");
    const size_t codeSize = get<uint64_t>("a fast scan");
    const int bbs = get<int32_t>("a fast scan");
    const size_t M2 = get<uint64_t>("a fast scan");
    const int implem = get<int32_t>("a fast scan");
    fastScanSearch(implem, bbs, 0, true);
    within(get<uint64_t>("a fast scan"), uint64_t{0}, uint64_t{11}, "a fast scan's qbs2");
    const ProductQuantizer pq = productQuantizer(ivf.d);
    equal(pq.nbits, size_t{4}, "a fast scan's bits");
    equal(codeSize, pq.codeSize, "a fast scan's code size");
    equal(M2, roundUp(pq.M, 2), "a fast scan's M in pairs");
    // FAISS computes its tables whatever by_residual says, from every centroid.
    listQuantizer(ivf, true);
    claim(precomputedTable(ivf, pq), true, "a fast scan's tables");
    blockLists(ivf, bbs, M2);
    return finishLists(ivf);
}

Seen Walker::ivfAdditiveFastScan(char kind) {
    Ivf ivf = ivfHeader();
    const AdditiveQuantizer aq = additiveQuantizerOf(kind, ivf);
    const bool residual = flag("by_residual");
    const int implem = get<int32_t>("a fast scan");
    const int bbs = get<int32_t>("a fast scan");
    get<int32_t>("a fast scan"); // qbs, which only searches without lists use
    fastScanSearch(implem, bbs, 0, true);
    for (const size_t nbits : aq.nbits) equal(nbits, size_t{4}, "a fast scan's bits");
    check(ivf.metric == 1 ? aq.searchType >= 8 : aq.searchType == 1, "a fast scan by metric ", ivf.metric,
        " cannot have search type ", aq.searchType);
    const size_t M = aq.M + (ivf.metric == 1 ? 2 : 0);
    equal(get<uint64_t>("a fast scan"), M, "a fast scan's M");
    equal(get<uint64_t>("a fast scan"), size_t{4}, "a fast scan's bits");
    equal(get<uint64_t>("a fast scan"), size_t{16}, "a fast scan's ksub");
    const size_t M2 = roundUp(M, 2);
    equal(get<uint64_t>("a fast scan"), M2 / 2, "a fast scan's code size");
    within(get<uint64_t>("a fast scan"), uint64_t{0}, uint64_t{11}, "a fast scan's qbs2");
    equal(get<uint64_t>("a fast scan"), M2, "a fast scan's M in pairs");
    flag("a fast scan's rescale_norm");
    get<int32_t>("a fast scan");  // norm_scale
    get<uint64_t>("a fast scan"); // max_train_points
    listQuantizer(ivf, residual);
    // It looks up the centroid of every probe, also where the quantizer found none.
    if (residual) support(ivf.quantizer.alwaysAnswers, "FAISS cannot use ", ivf.quantizer.fourcc,
        " as the quantizer of this fast scan safely");
    blockLists(ivf, bbs, M2);
    return finishLists(ivf);
}

} // namespace faiss_vision::index_check
