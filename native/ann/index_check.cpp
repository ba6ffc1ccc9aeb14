#include "ann/index_check.h"

#include <algorithm>
#include <cmath>
#include <iomanip>

#include "ann/index_check_walker.h"
#include "error.h"

namespace faiss_vision {
namespace index_check {
namespace {

// Nothing in the file but one number says it: a few bytes must not make FAISS take much.
constexpr size_t kMostFromOneNumber = size_t{4} << 20;
// Tables whose size follows from data in the file, as FAISS computes them for every index of the type.
constexpr size_t kMostFromData = size_t{512} << 20;
constexpr int kMaxDepth = 16;

} // namespace

const uint8_t* Walker::take(size_t bytes, const char* what) {
    if (bytes > left_) {
        corrupt(text("it ends within ", what, ", where ", left_, " bytes are left"));
    }
    const uint8_t* const from = at_;
    at_ += bytes;
    left_ -= bytes;
    return from;
}

bool Walker::flag(const char* what) {
    const uint8_t value = get<uint8_t>(what);
    check(value <= 1, what, " must be 0 or 1, got ", int(value));
    return value == 1;
}

std::string Walker::fourcc(const char* what) {
    const uint8_t* const from = take(4, what);
    return std::string(reinterpret_cast<const char*>(from), 4);
}

/// The four letters, or the number where they are no letters.
std::string Walker::printable(const std::string& fourcc) {
    std::ostringstream out;
    const bool letters = std::all_of(fourcc.begin(), fourcc.end(), [](unsigned char c) { return c > ' ' && c < 127; });
    if (letters) return '"' + fourcc + '"';
    out << "0x" << std::hex << std::setfill('0');
    for (size_t i = fourcc.size(); i-- > 0;) out << std::setw(2) << int(uint8_t(fourcc[i]));
    return out.str();
}

void Walker::corrupt(const std::string& why) const {
    throw Error("ERR_INDEX_CORRUPT", name_ + " is damaged or no index: " + why);
}

void Walker::unsupported(const std::string& why) const {
    throw Error("ERR_INDEX_UNSUPPORTED", name_ + " cannot be loaded: " + why);
}

void Walker::bounded(const Array<float>& values, const char* what, float limit) const {
    bool ok = true;
    for (size_t i = 0; i < values.size(); i++) ok &= std::fabs(values[i]) <= limit; // false for NaN
    check(ok, what, " must be finite numbers up to ", limit);
}

void Walker::codes(size_t bytes, const Header& header, size_t codeSize) const {
    check(bytes == times(header.ntotal, codeSize), "codes: ", times(header.ntotal, codeSize), " bytes expected for ", header.ntotal,
          " vectors of ", codeSize, ", got ", bytes);
}

void Walker::claim(size_t bytes, bool borneOut, const char* what) {
    claimed_ = plus(claimed_, bytes);
    const size_t most = std::max(times(size_, 2), borneOut ? kMostFromData : kMostFromOneNumber);
    check(claimed_ <= most, what, " would make FAISS take ", claimed_, " bytes, for a file of ", size_);
}

bool Walker::metricKnown(int metric) const { return (metric >= 0 && metric <= 4) || (metric >= 20 && metric <= 22); }

Header Walker::header() {
    Header header;
    header.d = get<int32_t>("a header");
    within(header.d, int64_t{1}, kMaxDimension, "the dimension");
    header.ntotal = get<int64_t>("a header");
    within(header.ntotal, int64_t{0}, kMaxVectors, "the number of vectors");
    take(16, "a header"); // two numbers that FAISS does not use
    header.trained = flag("is_trained");
    header.metric = get<int32_t>("a header");
    check(metricKnown(header.metric), "the metric must be one of FAISS's, got ", header.metric);
    if (header.metric > 1) take(4, "a header"); // the metric's argument, any number
    check(header.trained || header.ntotal == 0, "an index that is not trained cannot hold ", header.ntotal, " vectors");
    return header;
}

Seen Walker::index() {
    const More level(depth_);
    check(depth_ <= kMaxDepth, "more than ", kMaxDepth, " indexes lie in one another");
    const std::string f = fourcc("an index's type");
    Seen seen;
    if (f == "IxFI" || f == "IxF2" || f == "IxFl") seen = flat(f);
    else if (f == "IxHE" || f == "IxHe") seen = lsh(f);
    else if (f == "IxPQ" || f == "IxPo" || f == "IxPq") seen = pq(f);
    else if (f == "IxRQ") seen = additive('o');
    else if (f == "IxRq") seen = additive('R');
    else if (f == "IxLS") seen = additive('L');
    else if (f == "IxPR") seen = additive('r');
    else if (f == "IxPL") seen = additive('l');
    else if (f == "IxSQ") seen = sq();
    else if (f == "IxLa") seen = lattice();
    else if (f == "Ix2L") seen = twoLayer();
    else if (f == "ImRQ") seen = residualCoarse();
    else if (f == "Imiq") seen = multiIndex();
    else if (f == "IPfs") seen = pqFastScan();
    else if (f == "IRfs") seen = additiveFastScan('R');
    else if (f == "ILfs") seen = additiveFastScan('L');
    else if (f == "IPRf") seen = additiveFastScan('r');
    else if (f == "IPLf") seen = additiveFastScan('l');
    else if (f == "IwPf") seen = ivfPqFastScan();
    else if (f == "IVRf") seen = ivfAdditiveFastScan('R');
    else if (f == "IVLf") seen = ivfAdditiveFastScan('L');
    else if (f == "NPRf") seen = ivfAdditiveFastScan('r');
    else if (f == "NPLf") seen = ivfAdditiveFastScan('l');
    else if (f == "IvFl" || f == "IvFL" || f == "IwFl" || f == "IwFd") seen = ivfFlat(f);
    else if (f == "IvSQ" || f == "IwSQ" || f == "IwSq") seen = ivfSq(f);
    else if (f == "IvPQ" || f == "IvQR" || f == "IwPQ" || f == "IwQR") seen = ivfPq(f);
    else if (f == "IwRQ") seen = ivfAdditive('R');
    else if (f == "IwLS") seen = ivfAdditive('L');
    else if (f == "IwPR") seen = ivfAdditive('r');
    else if (f == "IwPL") seen = ivfAdditive('l');
    else if (f == "IwSh") seen = ivfSpectralHash();
    else if (f == "IHNf" || f == "IHNp" || f == "IHNs" || f == "IHN2") seen = hnsw(f);
    else if (f == "INSf" || f == "INSp" || f == "INSs") seen = nsg(f);
    else if (f == "INNf") seen = nnDescent();
    else if (f == "IxPT") seen = preTransform();
    else if (f == "IxMp" || f == "IxM2") seen = idMap();
    else if (f == "IxRF") seen = refine();
    else if (f == "IRMf" || f == "IRMh") seen = rowwiseMinMax();
    else if (f.rfind("IB", 0) == 0) unsupported("it holds a binary index (" + f + ") where one of float vectors is expected");
    else unsupported("it holds no index type that FAISS 1.7.3 knows: " + printable(f));
    seen.fourcc = f;
    return seen;
}

IndexNeeds Walker::run(IndexKind kind) {
    if (kind == IndexKind::Float) index();
    else binaryIndex();
    check(left_ == 0, left_, " bytes are left over behind the index");
    return needs_;
}

} // namespace index_check

IndexNeeds checkIndexBytes(const uint8_t* data, size_t size, IndexKind kind, const std::string& name) {
    return index_check::Walker(data, size, name).run(kind);
}

} // namespace faiss_vision
