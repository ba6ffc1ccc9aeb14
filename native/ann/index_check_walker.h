#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "ann/index_check.h"

// Inside of index_check*.cpp only.
namespace faiss_vision::index_check {

constexpr int64_t kMaxDimension = 1 << 24;
constexpr int64_t kMaxVectors = int64_t{1} << 40;

/// a * b, or the largest number where that does not fit: no length in a file is equal to it.
inline size_t times(size_t a, size_t b) {
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<size_t>::max() : product;
}
inline size_t times(size_t a, size_t b, size_t c) { return times(times(a, b), c); }
inline size_t plus(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<size_t>::max() : sum;
}
inline size_t roundUp(size_t a, size_t b) { return (a + b - 1) / b * b; }

/// Numbers as they lie in the file, at any address.
template <class T>
class Array {
public:
    Array() = default;
    Array(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    size_t size() const { return size_; }
    T operator[](size_t i) const {
        T value;
        std::memcpy(&value, data_ + i * sizeof(T), sizeof(T));
        return value;
    }
    const uint8_t* bytes() const { return data_; }

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

struct Header {
    int64_t d = 0;
    int64_t ntotal = 0;
    bool trained = false;
    int metric = 0;
};

struct ProductQuantizer {
    size_t M = 0, nbits = 0, dsub = 0, ksub = 0, codeSize = 0;
};

struct AdditiveQuantizer {
    size_t d = 0, M = 0, codebookEntries = 0, codeSize = 0, bits = 0;
    std::vector<size_t> nbits;
    bool trained = false;
    int searchType = 0;
    size_t codebookNumbers = 0; // floats of all codebooks
};

struct Transform {
    std::string fourcc;
    int64_t dIn = 0, dOut = 0;
    bool trained = false;
    bool linear = false;
    bool reversible = true;
};

/// What whoever holds an index has to know of it.
struct Seen : Header {
    Seen() = default;
    explicit Seen(const Header& header) : Header(header) {}
    std::string fourcc;
    bool labelsInRange = true;      // every label it answers with is in [-1, ntotal)
    bool labelsOnce = true;         // and each is stored exactly once
    bool reconstructs = false;      // reconstruct() of a stored vector does not throw, which FAISS's parallel loops abort at
    bool computesDistances = false; // the same for get_distance_computer()
    bool alwaysAnswers = false;     // finds a nearest vector for every finite query
    ProductQuantizer pq;            // of PQ, Index2Layer and MultiIndexQuantizer
};

/// An id and where its vector lies: the list's number in the upper, the place in it in the lower 32 bits.
struct Place {
    int64_t id, place;
};

struct DirectMap {
    int type = 0; // 0 none, 1 array, 2 hash table
    Array<int64_t> array;
    Array<Place> places;
};

/// The labels that an index stores with its vectors: are they the numbers of the vectors?
class Labels {
public:
    Labels() = default;
    /// @param remember  whether once() will be asked: takes a bit for each vector
    Labels(int64_t ntotal, bool remember) : ntotal_(ntotal), remember_(remember), seen_(remember ? (ntotal + 63) / 64 : 0) {}

    void add(const Array<int64_t>& labels) {
        stored_ += labels.size();
        for (size_t i = 0; i < labels.size(); i++) {
            const int64_t label = labels[i];
            if (label < 0 || label >= ntotal_) {
                inRange_ = false;
            } else if (remember_) {
                uint64_t& word = seen_[label / 64];
                twice_ |= word >> (label % 64) & 1;
                word |= uint64_t{1} << (label % 64);
            }
        }
    }
    size_t stored() const { return stored_; }
    bool inRange() const { return inRange_; }
    bool once() const { return remember_ && inRange_ && !twice_ && stored_ == size_t(ntotal_); }

private:
    int64_t ntotal_ = 0;
    bool remember_ = false, inRange_ = true, twice_ = false;
    size_t stored_ = 0;
    std::vector<uint64_t> seen_;
};

struct Ivf : Header {
    size_t nlist = 0, nprobe = 0;
    Seen quantizer;
    DirectMap map;
    std::vector<Array<int64_t>> ids; // of each list; empty unless the format is an old one or a direct map points into them
    Labels labels;
    bool duplicatesInRange = true;
};

class Walker {
public:
    Walker(const uint8_t* data, size_t size, const std::string& name)
        : at_(data), left_(size), size_(size), name_(name) {}

    IndexNeeds run(IndexKind kind);

private:
    // ---- index_check.cpp: the bytes, the messages ----
    template <class T>
    T get(const char* what) {
        T value;
        std::memcpy(&value, take(sizeof value, what), sizeof value);
        return value;
    }
    bool flag(const char* what);
    const uint8_t* take(size_t bytes, const char* what);
    template <class T>
    Array<T> take(size_t count, const char* what) {
        return {take(times(count, sizeof(T)), what), count};
    }
    /// A length and as many numbers: FAISS's READVECTOR.
    template <class T>
    Array<T> vector(const char* what) {
        return take<T>(get<uint64_t>(what), what);
    }
    std::string fourcc(const char* what);
    static std::string printable(const std::string& fourcc);

    [[noreturn]] void corrupt(const std::string& why) const;
    [[noreturn]] void unsupported(const std::string& why) const;
    template <class... Parts>
    static std::string text(const Parts&... parts) {
        std::ostringstream stream;
        (stream << ... << parts);
        return stream.str();
    }
    template <class... Parts>
    void check(bool ok, const Parts&... parts) const {
        if (!ok) corrupt(text(parts...));
    }
    template <class... Parts>
    void support(bool ok, const Parts&... parts) const {
        if (!ok) unsupported(text(parts...));
    }
    template <class T, class U>
    void equal(const T& got, const U& expected, const char* what) const {
        if (!(got == T(expected))) corrupt(text(what, " must be ", T(expected), ", got ", got));
    }
    template <class T>
    void within(T got, T low, T high, const char* what) const {
        if (!(got >= low && got <= high)) corrupt(text(what, " must be from ", low, " to ", high, ", got ", got));
    }
    /// Numbers that distances are computed from without a NaN: FAISS indexes tables with what comes of them.
    void bounded(const Array<float>& values, const char* what, float limit = 1e15f) const;
    void codes(size_t bytes, const Header& header, size_t codeSize) const;
    /// Memory that FAISS takes beside what lies in the file. `borneOut`: other parts of the file agree on the size.
    void claim(size_t bytes, bool borneOut, const char* what);

    // ---- index_check.cpp: any index ----
    Seen index();
    Header header();
    bool metricKnown(int metric) const;

    // ---- index_check_quantizers.cpp ----
    ProductQuantizer productQuantizer(int64_t d);
    size_t scalarQuantizer(int64_t d, bool trained, bool* half); // its code size
    AdditiveQuantizer additiveQuantizer(bool old, bool product);
    AdditiveQuantizer residualQuantizer();
    AdditiveQuantizer localSearchQuantizer();
    AdditiveQuantizer productAdditiveQuantizer(bool residual);
    AdditiveQuantizer additiveQuantizerOf(char kind, const Header& header); // 'R', 'o' (R's old format), 'L', 'r' (product of R) or 'l'

    // ---- index_check_transforms.cpp ----
    Transform transform();
    void linearTransform(Transform& seen, bool pca, int balancedBins, const Array<float>* mean);

    // ---- index_check_flat.cpp: codes of equal size one after the other ----
    Seen flat(const std::string& fourcc);
    Seen lsh(const std::string& fourcc);
    Seen pq(const std::string& fourcc);
    Seen sq();
    Seen additive(char kind);
    Seen twoLayer();
    Seen lattice();

    // ---- index_check_fast_scan.cpp ----
    Seen pqFastScan();
    Seen additiveFastScan(char kind);
    Seen ivfPqFastScan();
    Seen ivfAdditiveFastScan(char kind);
    void fastScanSearch(int implem, int bbs, int qbs, bool ivf) const;
    void blockLists(Ivf& ivf, int bbs, size_t M2);

    // ---- index_check_graph.cpp ----
    void hnswGraph(int64_t ntotal);
    Seen hnsw(const std::string& fourcc);
    Seen nsg(const std::string& fourcc);
    Seen nnDescent();
    Seen storage(const Header& header);

    // ---- index_check_ivf.cpp ----
    Ivf ivfHeader(bool legacy = false);
    Seen quantizer();
    void listQuantizer(const Ivf& ivf, bool residual) const;
    DirectMap directMap();
    void directMapPoints(const Ivf& ivf) const;
    void arrayLists(Ivf& ivf, size_t codeSize);
    void legacyCodes(Ivf& ivf, size_t codeSize, size_t unit);
    void listMemory(const Ivf& ivf);
    Labels labels(int64_t ntotal) const;
    void startLists(Ivf& ivf) const;
    void listIds(Ivf& ivf, size_t list, const Array<int64_t>& ids) const;
    Seen finishLists(const Ivf& ivf);
    Seen ivfFlat(const std::string& fourcc);
    Seen ivfSq(const std::string& fourcc);
    Seen ivfPq(const std::string& fourcc);
    Seen ivfAdditive(char kind);
    Seen ivfSpectralHash();
    size_t precomputedTable(const Ivf& ivf, const ProductQuantizer& pq) const;

    // ---- index_check_wrappers.cpp: indexes around others ----
    Seen preTransform();
    Seen idMap();
    void mapIds(Seen& seen, const Seen& inner);
    Seen refine();
    Seen rowwiseMinMax();
    Seen multiIndex();
    Seen residualCoarse();

    // ---- index_check_binary.cpp ----
    Seen binaryIndex();
    Header binaryHeader(bool idMap = false);
    Seen binaryFlat();
    Seen binaryIvf();
    Seen binaryHnsw();
    Seen binaryFromFloat();
    Seen binaryIdMap();
    Seen binaryHash();
    Seen binaryMultiHash();
    void flips(int b, int nflip) const;

    const uint8_t* at_;
    size_t left_;
    const size_t size_;
    const std::string& name_;
    size_t claimed_ = 0;
    int depth_ = 0;
    int strict_ = 0;              // inside of a part whose vectors must be bounded: quantizers, NSG's storage
    int inQuantizer_ = 0;
    int wantOnce_ = 0;            // inside of an id map, which needs to know that each label is stored once
    IndexNeeds needs_;
};

/// One more for as long as it lives.
class More {
public:
    explicit More(int& count) : count_(count) { count_++; }
    ~More() { count_--; }
    More(const More&) = delete;
    More& operator=(const More&) = delete;

private:
    int& count_;
};

} // namespace faiss_vision::index_check
