#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <csignal>
#include <malloc.h>
#include <omp.h>
#include <unistd.h>

#include <faiss/Index2Layer.h>
#include <faiss/IndexAdditiveQuantizer.h>
#include <faiss/IndexAdditiveQuantizerFastScan.h>
#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexBinaryFromFloat.h>
#include <faiss/IndexBinaryHash.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFAdditiveQuantizer.h>
#include <faiss/IndexIVFAdditiveQuantizerFastScan.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexNNDescent.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPQFastScan.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/MetaIndexes.h>
#include <faiss/VectorTransform.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

#include "ann/checked_file.h"
#include "ann/index_check.h"
#include "error.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAISS_VISION_OTHER_ALLOCATOR
#endif

namespace {

// ---- what is allocated: operator new and, for FAISS's aligned tables, posix_memalign ----
std::atomic<size_t> largest{0}, live{0}, peak{0}; // stay 0 under a sanitizer, which has an allocator of its own

#ifndef FAISS_VISION_OTHER_ALLOCATOR
void counted(void* at, size_t asked) {
    const size_t now = live += malloc_usable_size(at);
    for (size_t old = largest; asked > old && !largest.compare_exchange_weak(old, asked);) {}
    for (size_t old = peak; now > old && !peak.compare_exchange_weak(old, now);) {}
}

void* allocate(size_t bytes) {
    void* const at = std::malloc(bytes == 0 ? 1 : bytes);
    if (at == nullptr) throw std::bad_alloc();
    counted(at, bytes);
    return at;
}

void release(void* at) {
    if (at == nullptr) return;
    live -= malloc_usable_size(at);
    std::free(at);
}
#endif

} // namespace

#ifndef FAISS_VISION_OTHER_ALLOCATOR
void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void operator delete(void* at) noexcept { release(at); }
void operator delete[](void* at) noexcept { release(at); }
void operator delete(void* at, size_t) noexcept { release(at); }
void operator delete[](void* at, size_t) noexcept { release(at); }
// Freed by free() without being taken off: an upper bound is all that is asked for.
extern "C" int posix_memalign(void** at, size_t alignment, size_t bytes) {
    *at = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (*at == nullptr) return ENOMEM;
    for (size_t old = largest; bytes > old && !largest.compare_exchange_weak(old, bytes);) {}
    return 0;
}
#endif

namespace faiss_vision {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kDimension = 16;
constexpr int kBits = 128; // of binary vectors
constexpr int kVectors = 300;

// ---- what was being done, for the last words of a test that crashes or hangs ----
char lastWords[256];

void sayLastWords(int signal) {
    const ssize_t written = ::write(2, lastWords, std::strlen(lastWords));
    (void)written;
    std::signal(signal, SIG_DFL);
    ::raise(signal);
}

void watch(const std::string& what) {
    std::snprintf(lastWords, sizeof lastWords, "\nended while: %s\n", what.c_str());
    ::alarm(300);
}

class IndexCheck : public testing::Test {
protected:
    static void SetUpTestSuite() {
        omp_set_num_threads(1);
        for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM}) std::signal(signal, sayLastWords);
    }
    static void TearDownTestSuite() { ::alarm(0); }
};

// ---- small indexes of every family ----
std::vector<float> floats(int64_t n, unsigned seed, int d = kDimension) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<float> x(n * d);
    for (float& v : x) v = uniform(engine);
    return x;
}

/// With room behind, as FAISS's hashes read eight bytes from any byte of a vector.
Bytes binaries(int64_t n, unsigned seed) {
    std::mt19937 engine(seed);
    Bytes x(n * kBits / 8 + 8);
    for (uint8_t& v : x) v = uint8_t(engine());
    return x;
}

struct Family {
    std::string name;
    IndexKind kind;
    Bytes bytes;
    size_t largestNeeded = 0, peakNeeded = 0; // by FAISS, to read them undamaged
};

Bytes write(const faiss::Index& index) {
    faiss::VectorIOWriter writer;
    faiss::write_index(&index, &writer);
    return std::move(writer.data);
}

Bytes write(const faiss::IndexBinary& index) {
    faiss::VectorIOWriter writer;
    faiss::write_index_binary(&index, &writer);
    return std::move(writer.data);
}

/// Writes the parts of a format of before.
class Pieces {
public:
    template <class T>
    Pieces& value(T v) {
        const auto* const from = reinterpret_cast<const uint8_t*>(&v);
        bytes_.insert(bytes_.end(), from, from + sizeof v);
        return *this;
    }
    template <class T>
    Pieces& vector(const T* from, size_t count, size_t unit = 1) {
        value<uint64_t>(count / unit);
        return raw(reinterpret_cast<const uint8_t*>(from), count * sizeof(T));
    }
    Pieces& raw(const uint8_t* from, size_t count) {
        bytes_.insert(bytes_.end(), from, from + count);
        return *this;
    }
    Pieces& text(const char* fourcc) { return raw(reinterpret_cast<const uint8_t*>(fourcc), 4); }
    Bytes bytes() const { return bytes_; }

private:
    Bytes bytes_;
};

/// The format in which the ids of the lists came before their codes.
Bytes oldIvf(const char* fourcc, const faiss::IndexIVF& ivf, size_t unit, const std::function<void(Pieces&)>& codec) {
    Pieces out;
    out.text(fourcc).value<int32_t>(ivf.d).value<int64_t>(ivf.ntotal).value<int64_t>(1 << 20).value<int64_t>(1 << 20);
    out.value<uint8_t>(1).value<int32_t>(ivf.metric_type).value<uint64_t>(ivf.nlist).value<uint64_t>(ivf.nprobe);
    const Bytes quantizer = write(*ivf.quantizer);
    out.raw(quantizer.data(), quantizer.size());
    for (size_t i = 0; i < ivf.nlist; i++) out.vector(ivf.invlists->get_ids(i), ivf.invlists->list_size(i));
    out.value<uint8_t>(0).value<uint64_t>(0); // no direct map
    codec(out);
    for (size_t i = 0; i < ivf.nlist; i++) out.vector(ivf.invlists->get_codes(i), ivf.invlists->list_size(i) * ivf.code_size, unit);
    return out.bytes();
}

faiss::AdditiveQuantizer* additive(faiss::Index* index) {
    if (auto* const flat = dynamic_cast<faiss::IndexAdditiveQuantizer*>(index)) return flat->aq;
    if (auto* const fast = dynamic_cast<faiss::IndexAdditiveQuantizerFastScan*>(index)) return fast->aq;
    if (auto* const ivf = dynamic_cast<faiss::IndexIVFAdditiveQuantizer*>(index)) return ivf->aq;
    if (auto* const fast = dynamic_cast<faiss::IndexIVFAdditiveQuantizerFastScan*>(index)) return fast->aq;
    return nullptr;
}

/// The index within its wrappers that holds the vectors.
faiss::Index* innermost(faiss::Index* index) {
    if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(index)) return innermost(transform->index);
    if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(index)) return innermost(map->index);
    if (auto* const refine = dynamic_cast<faiss::IndexRefine*>(index)) return innermost(refine->base_index);
    return index;
}

template <class T>
bool within(faiss::Index* index) {
    for (;;) {
        if (dynamic_cast<T*>(index) != nullptr) return true;
        if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(index)) index = transform->index;
        else if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(index)) index = map->index;
        else if (auto* const refine = dynamic_cast<faiss::IndexRefine*>(index)) index = refine->base_index;
        else return false;
    }
}

/// Little training is enough here.
void hurry(faiss::AdditiveQuantizer* aq) {
    if (auto* const lsq = dynamic_cast<faiss::LocalSearchQuantizer*>(aq)) {
        lsq->train_iters = lsq->train_ils_iters = 2;
        lsq->encode_ils_iters = 3;
    }
    if (auto* const product = dynamic_cast<faiss::ProductAdditiveQuantizer*>(aq)) {
        for (auto* const part : product->quantizers) hurry(part);
    }
}

void hurry(faiss::Index* index) {
    index = innermost(index);
    if (auto* const hnsw = dynamic_cast<faiss::IndexHNSW*>(index)) index = hnsw->storage;
    if (auto* const nsg = dynamic_cast<faiss::IndexNSG*>(index)) index = nsg->storage;
    if (auto* const pq = dynamic_cast<faiss::IndexPQ*>(index)) pq->do_polysemous_training = false;
    if (auto* const pq = dynamic_cast<faiss::IndexIVFPQ*>(index)) pq->do_polysemous_training = false;
    hurry(additive(index));
}

class Families {
public:
    static const std::vector<Family>& all() {
        static const Families families;
        return families.families_;
    }

private:
    Families() {
        omp_set_num_threads(1);
        const auto x = floats(kVectors, 1);
        const auto factory = [&](const std::string& description, faiss::MetricType metric = faiss::METRIC_L2, bool fill = true) {
            watch("making " + description);
            std::unique_ptr<faiss::Index> index(faiss::index_factory(kDimension, description.c_str(), metric));
            hurry(index.get());
            if (fill) index->train(kVectors, x.data());
            return index;
        };
        const auto filled = [&](const std::string& description, faiss::MetricType metric = faiss::METRIC_L2) {
            auto index = factory(description, metric);
            if (within<faiss::IndexIDMap>(index.get())) {
                std::vector<int64_t> ids(kVectors);
                for (int i = 0; i < kVectors; i++) ids[i] = 1000 + 7 * i;
                index->add_with_ids(kVectors, x.data(), ids.data());
            } else {
                index->add(kVectors, x.data());
            }
            return index;
        };

        for (const char* description : {
                 "Flat", "LSH", "LSHr", "LSHt", "LSHrt", "PQ4x4", "PQ2x7", "PQ4x4np", "SQ8", "SQ4", "SQ6", "SQfp16", "RQ2x4",
                 "RQ1x3_2x4_Nfloat", "RQ2x4_Nqint8", "RQ2x4_Nqint4", "RQ4x4_Ncqint8", "RQ2x4_Ncqint4", "RQ2x4_Nlsq2x4",
                 "RQ2x4_Nrq2x4", "LSQ2x4", "LSQ2x4_Nrq2x4", "PRQ2x2x4", "PRQ2x2x4_Nqint8", "PLSQ2x2x4", "PQ8x4fs",
                 "PQ8x4fs_64", "RQ3x4fs_32_Nrq2x4", "LSQ4x4fs_32_Nrq2x4", "PRQ2x2x4fs_32_Nrq2x4", "PLSQ2x2x4fs_32_Nrq2x4",
                 "IVF8,Flat", "IVF200,Flat", "IVF8,FlatDedup", "IVF8,SQ8", "IVF8,SQ4", "IVF8,SQfp16", "IVF8,PQ4x4",
                 "IVF8,PQ4x8np", "IVF8,PQ4+4", "IVF8,PQ8x4fs", "IVF8,PQ8x4fsr", "IVF8,PQ8x4fs_64", "IVF8,RQ2x4",
                 "IVF8,RQ2x4_Nqint8", "IVF8,RQ4x4_Ncqint8", "IVF8,LSQ2x4_Nrq2x4", "IVF8,PRQ2x2x4_Nfloat", "IVF8,PLSQ2x2x4",
                 "IVF8,RQ3x4fs_32_Nrq2x4", "IVF8,RQ4x4fsr_32_Nrq2x4", "IVF8,LSQ4x4fs_32_Nrq2x4", "IVF8,PRQ2x2x4fs_32_Nrq2x4",
                 "IVF8,PLSQ2x2x4fsr_32_Nrq2x4", "IVF8,ITQ8,SH", "IVF8,PCA8,SH0.5g", "IVF8,PCAR8,SH0.5c", "IVF8_HNSW4,Flat",
                 "IVF8_HNSW4,PQ4x4", "IVF120_NSG8,Flat", "IVF32(PQ4x4),Flat", "IVF8(SQ8),PQ4x4", "IMI2x3,Flat", "IMI2x3,PQ4x4",
                 "IVF16(RCQ2x2),Flat", "IVF16(RCQ2x2),PQ4x4", "HNSW8,Flat", "HNSW8,SQ8", "HNSW8_PQ2", "HNSW8_8+PQ4",
                 "HNSW8_2x3+PQ4", "NSG8,Flat", "NSG8,SQ8", "NSG8_PQ2", "PCA8,Flat", "PCAR8,Flat", "PCAW8,SQ8", "OPQ4_8,PQ4x4",
                 "RR,Flat", "RR20,Flat", "ITQ8,LSH", "L2norm,Flat", "Pad20,Flat", "PCA8,IVF8,PQ4x4", "PCA8,IDMap,Flat",
                 "IDMap,Flat", "IDMap2,Flat", "IDMap,HNSW8", "IDMap,IVF8,Flat", "IDMap2,PQ4x4", "PQ4x4,RFlat",
                 "IVF8,PQ4x4,RFlat", "PQ4x4,Refine(SQ8)", "IVF8,PQ8x4fs,RFlat", "Residual8,PQ4x4", "Residual2x3,PQ4x4"}) {
            add(description, *filled(description));
        }
        for (const char* description : {
                 "Flat", "PQ4x4", "SQ8", "RQ2x4", "LSQ2x4", "PQ8x4fs", "RQ4x4fs", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ4x4",
                 "IVF8,RQ2x4", "IVF8,PQ8x4fsr", "IVF8,RQ4x4fsr", "HNSW8,Flat", "NSG8,Flat", "L2norm,IVF8,Flat",
                 "PQ4x4,RFlat"}) {
            add(std::string(description) + " by inner product", *filled(description, faiss::METRIC_INNER_PRODUCT));
        }
        for (const auto metric : {faiss::METRIC_L1, faiss::METRIC_Lp, faiss::METRIC_BrayCurtis}) {
            add("Flat by metric " + std::to_string(metric), *filled("Flat", metric));
            add("HNSW8 by metric " + std::to_string(metric), *filled("HNSW8", metric));
        }
        // Trained but empty, and not trained.
        for (const char* description : {
                 "Flat", "PQ4x4", "SQ8", "IVF8,Flat", "IVF8,PQ4x4", "IVF8,PQ8x4fs", "HNSW8,Flat", "NSG8,Flat", "IDMap,Flat",
                 "PQ8x4fs", "PCA8,Flat", "ZnLattice2x5_4", "MinMax,SQ8", "MinMaxFP16,SQ4", "RCQ2x3", "PQ4x4,RFlat"}) {
            add(std::string(description) + ", empty", *factory(description));
        }
        for (const char* description : {
                 "PQ4x4", "SQ8", "LSHt", "IVF8,Flat", "IVF8,PQ4x4", "IVF8,PQ8x4fs", "HNSW8,SQ8", "PCA8,Flat", "OPQ4,PQ4x4",
                 "ITQ8,LSH", "LSQ2x4", "IMI2x3,Flat", "IDMap,IVF8,Flat"}) {
            add(std::string(description) + ", not trained", *factory(description, faiss::METRIC_L2, false));
        }
        for (const auto type : {faiss::ScalarQuantizer::QT_8bit_uniform, faiss::ScalarQuantizer::QT_4bit_uniform,
            faiss::ScalarQuantizer::QT_8bit_direct}) {
            faiss::IndexScalarQuantizer index(kDimension, type);
            index.train(kVectors, x.data());
            index.add(kVectors, x.data());
            add("SQ of type " + std::to_string(type), index);
        }
        for (const auto type : {faiss::DirectMap::Array, faiss::DirectMap::Hashtable}) {
            for (const char* description : {"IVF8,Flat", "IVF8,PQ4x4"}) {
                auto index = filled(description);
                dynamic_cast<faiss::IndexIVF&>(*index).set_direct_map_type(type);
                add(std::string(description) + " with direct map " + std::to_string(type), *index);
            }
        }
        {
            auto index = filled("IVF8,Flat");
            std::vector<int64_t> ids(40);
            for (int i = 0; i < 40; i++) ids[i] = (int64_t{1} << 40) + i;
            index->add_with_ids(40, x.data(), ids.data());
            add("IVF8,Flat with ids of its own", *index);
        }
        {
            auto index = factory("IVF8,FlatDedup");
            index->add(kVectors, x.data());
            index->add(50, x.data());
            add("IVF8,FlatDedup with duplicates", *index);
        }
        {
            auto index = filled("IVF16(RCQ2x2),Flat");
            dynamic_cast<faiss::ResidualCoarseQuantizer&>(*dynamic_cast<faiss::IndexIVF&>(*index).quantizer).set_beam_factor(-1);
            add("IVF16(RCQ2x2),Flat without beam", *index);
        }
        {
            faiss::IndexNNDescentFlat index(kDimension, 16);
            index.nndescent.L = 66;
            index.add(kVectors, x.data());
            add("NNDescent", index);
        }
        {
            auto inner = factory("Flat");
            auto* const centering = new faiss::CenteringTransform(kDimension); // the index owns it
            faiss::IndexPreTransform index(centering, inner.release());
            index.own_fields = true;
            index.train(kVectors, x.data());
            index.add(kVectors, x.data());
            add("centering, Flat", index);
        }
        addOldFormats([&](const std::string& description) { return filled(description); });
        addBinaries();
    }

    void addOldFormats(const std::function<std::unique_ptr<faiss::Index>(const std::string&)>& filled) {
        const auto pq = filled("PQ4x4");
        Bytes bytes = write(*pq);
        std::memcpy(bytes.data(), "IxPo", 4);
        add("old PQ with polysemous codes", IndexKind::Float, bytes);
        bytes.resize(bytes.size() - 9);
        std::memcpy(bytes.data(), "IxPQ", 4);
        add("old PQ", IndexKind::Float, bytes);

        const auto flat = filled("IVF8,Flat");
        const auto& ivfFlat = dynamic_cast<faiss::IndexIVF&>(*flat);
        add("old IVF of bytes", IndexKind::Float, oldIvf("IvFL", ivfFlat, 1, [](Pieces&) {}));
        add("old IVF of floats", IndexKind::Float, oldIvf("IvFl", ivfFlat, sizeof(float), [](Pieces&) {}));
        const auto ivfPq = filled("IVF8,PQ4x4");
        const auto& pqLists = dynamic_cast<faiss::IndexIVFPQ&>(*ivfPq);
        add("old IVFPQ", IndexKind::Float, oldIvf("IvPQ", pqLists, 1, [&](Pieces& out) {
                out.value<uint8_t>(1).value<uint64_t>(pqLists.code_size).value<uint64_t>(pqLists.pq.d).value<uint64_t>(pqLists.pq.M);
                out.value<uint64_t>(pqLists.pq.nbits).vector(pqLists.pq.centroids.data(), pqLists.pq.centroids.size());
            }));
        const auto ivfSq = filled("IVF8,SQ8");
        const auto& sqLists = dynamic_cast<faiss::IndexIVFScalarQuantizer&>(*ivfSq);
        add("old IVFSQ", IndexKind::Float, oldIvf("IvSQ", sqLists, 1, [&](Pieces& out) {
                out.value<int32_t>(sqLists.sq.qtype).value<int32_t>(sqLists.sq.rangestat).value<float>(sqLists.sq.rangestat_arg);
                out.value<uint64_t>(sqLists.sq.d).value<uint64_t>(sqLists.sq.code_size);
                out.vector(sqLists.sq.trained.data(), sqLists.sq.trained.size()).value<uint64_t>(sqLists.code_size);
            }));
        const auto rq = filled("RQ2x4");
        const auto& residual = dynamic_cast<faiss::IndexResidualQuantizer&>(*rq);
        Pieces out;
        out.text("IxRQ").value<int32_t>(rq->d).value<int64_t>(rq->ntotal).value<int64_t>(0).value<int64_t>(0).value<uint8_t>(1)
            .value<int32_t>(1);
        out.value<uint64_t>(residual.rq.d).value<uint64_t>(residual.rq.M).vector(residual.rq.nbits.data(), residual.rq.M).value<uint8_t>(1);
        out.value<int32_t>(residual.rq.train_type).value<int32_t>(residual.rq.max_beam_size);
        out.vector(residual.rq.codebooks.data(), residual.rq.codebooks.size()).value<int32_t>(residual.rq.search_type);
        out.value<float>(0).value<float>(1).value<uint64_t>(residual.code_size).vector(residual.codes.data(), residual.codes.size());
        add("old RQ", IndexKind::Float, out.bytes());
    }

    void addBinaries() {
        const auto x = binaries(kVectors, 2);
        for (const char* description : {"BFlat", "BIVF8", "BIVF8_HNSW4", "BHNSW8", "BHash10", "BHash3x9"}) {
            for (const bool fill : {true, false}) {
                std::unique_ptr<faiss::IndexBinary> index(faiss::index_binary_factory(kBits, description));
                if (fill) {
                    index->train(kVectors, x.data());
                    index->add(kVectors, x.data());
                }
                add(std::string(description) + (fill ? "" : ", empty"), *index);
                if (fill && std::string(description) == "BIVF8") {
                    for (const auto type : {faiss::DirectMap::Array, faiss::DirectMap::Hashtable}) {
                        dynamic_cast<faiss::IndexBinaryIVF&>(*index).set_direct_map_type(type);
                        add("BIVF8 with direct map " + std::to_string(type), *index);
                    }
                }
            }
        }
        std::vector<int64_t> ids(kVectors);
        for (int i = 0; i < kVectors; i++) ids[i] = 5000 - 3 * i;
        faiss::IndexBinaryFlat under(kBits), under2(kBits);
        faiss::IndexBinaryIDMap map(&under);
        faiss::IndexBinaryIDMap2 map2(&under2);
        map.add_with_ids(kVectors, x.data(), ids.data());
        map2.add_with_ids(kVectors, x.data(), ids.data());
        add("binary IDMap", map);
        add("binary IDMap2", map2);
        faiss::IndexFlatL2 flat(kBits);
        faiss::IndexBinaryFromFloat fromFloat(&flat);
        fromFloat.add(kVectors, x.data());
        add("binary from float", fromFloat);
    }

    void add(const std::string& name, const faiss::Index& index) { add(name, IndexKind::Float, write(index)); }
    void add(const std::string& name, const faiss::IndexBinary& index) { add(name, IndexKind::Binary, write(index)); }
    void add(const std::string& name, IndexKind kind, Bytes bytes);

    std::vector<Family> families_;
};

// ---- reading and everything that can be done with what was read ----
struct Loaded {
    std::unique_ptr<faiss::Index> floats;
    std::unique_ptr<faiss::IndexBinary> binary;
};

/// What FAISS 1.7.3 leaves undone when it reads: it does not count the norms of additive quantizers, and then looks the
/// nearest up among none; and it does not hand a two layer index its quantizer, which is leaked.
void mend(faiss::Index* index) {
    index = innermost(index);
    if (auto* const hnsw = dynamic_cast<faiss::IndexHNSW*>(index)) index = hnsw->storage;
    if (auto* const layers = dynamic_cast<faiss::Index2Layer*>(index)) layers->q1.own_fields = true;
    auto* const aq = additive(index);
    if (aq == nullptr || aq->qnorm.codes.empty()) return;
    aq->qnorm.ntotal = aq->qnorm.codes.size() / sizeof(float);
    aq->qnorm.update_permutation();
}

Loaded load(const Bytes& bytes, IndexKind kind, int flags = 0) {
    CheckedFile::Reader reader(bytes.data(), bytes.size());
    Loaded loaded;
    if (kind == IndexKind::Float) {
        loaded.floats.reset(faiss::read_index(&reader, flags));
        mend(loaded.floats.get());
    } else {
        loaded.binary.reset(faiss::read_index_binary(&reader, flags));
    }
    return loaded;
}

struct Needs {
    size_t largest, peak;
};

template <class Work>
Needs allocated(Work work) {
    const size_t before = live;
    largest = 0;
    peak = before;
    work();
    return {largest, peak - before};
}

void Families::add(const std::string& name, IndexKind kind, Bytes bytes) {
    const Needs needs = allocated([&] { load(bytes, kind); });
    families_.push_back({name, kind, std::move(bytes), needs.largest, needs.peak});
}

/// What FAISS cannot do is an exception of its own; anything else that is thrown fails the test.
template <class Work>
void maybe(Work work) {
    try {
        work();
    } catch (const faiss::FaissException&) {
    }
}

void use(faiss::Index& index) {
    constexpr int n = 3;
    faiss::Index* const inside = innermost(&index);
    if (!index.is_trained) return;
    const auto queries = floats(n, 99, index.d);
    const int64_t k = std::min<int64_t>(5, index.ntotal);
    // What FAISS 1.7.3 cannot do with any such index, without an exception to say so, is left out.
    const bool nsg = dynamic_cast<faiss::IndexNSG*>(inside) != nullptr || dynamic_cast<faiss::IndexNNDescent*>(inside) != nullptr;
    const bool blocks = dynamic_cast<faiss::IndexIVFFastScan*>(inside) != nullptr;
    const bool mapped = within<faiss::IndexIDMap>(&index);
    const bool lists = dynamic_cast<faiss::IndexIVF*>(inside) != nullptr;

    const auto search = [&] {
        if (index.ntotal == 0 || k == 0) return;
        std::vector<float> distances(n * k);
        std::vector<int64_t> labels(n * k);
        for (int i = 0; i < n; i++) maybe([&] { index.search(1, queries.data() + i * index.d, k, distances.data(), labels.data()); });
        const auto* const fast = dynamic_cast<faiss::IndexFastScan*>(inside);
        if (fast == nullptr || fast->bbs == 32) maybe([&] { index.search(n, queries.data(), k, distances.data(), labels.data()); });
        maybe([&] {
            faiss::RangeSearchResult result(n);
            index.range_search(n, queries.data(), 0.5f, &result);
        });
    };
    const auto reconstruct = [&] {
        std::vector<float> one(index.d);
        for (const int64_t at : {int64_t{0}, index.ntotal - 1}) {
            if (at >= 0 && at < index.ntotal) maybe([&] { index.reconstruct(at, one.data()); });
        }
        if (mapped) maybe([&] { index.reconstruct(1007, one.data()); });
    };
    search();
    reconstruct();
    if (!nsg) {
        const int64_t ids[n] = {700, 701, 702};
        const auto* const ivf = dynamic_cast<faiss::IndexIVF*>(inside);
        const bool hashed = ivf != nullptr && ivf->direct_map.type == faiss::DirectMap::Hashtable; // maps ids by chance else
        if (mapped || hashed) maybe([&] { index.add_with_ids(n, queries.data(), ids); });
        else maybe([&] { index.add(n, queries.data()); });
        search();
    }
    if (!blocks && !(mapped && lists)) {
        const int64_t ids[] = {0, 3, index.ntotal - 1, 1007, 701};
        maybe([&] { index.remove_ids(faiss::IDSelectorArray(5, ids)); });
        search();
        reconstruct();
    }
}

void use(faiss::IndexBinary& index) {
    constexpr int n = 3;
    if (!index.is_trained) return;
    const size_t codeSize = index.d / 8; // an id map leaves its own at 0
    Bytes queries(n * codeSize + 8, 0x5a);
    const int64_t k = std::min<int64_t>(5, index.ntotal);
    const auto search = [&] {
        if (index.ntotal == 0 || k == 0) return;
        std::vector<int32_t> distances(n * k);
        std::vector<int64_t> labels(n * k);
        maybe([&] { index.search(n, queries.data(), k, distances.data(), labels.data()); });
        maybe([&] {
            faiss::RangeSearchResult result(n);
            index.range_search(n, queries.data(), 50, &result);
        });
    };
    const auto reconstruct = [&] {
        Bytes one(codeSize);
        if (index.ntotal > 0) maybe([&] { index.reconstruct(0, one.data()); });
    };
    search();
    reconstruct();
    const int64_t ids[] = {0, 3, 701, 702, 4997};
    if (dynamic_cast<faiss::IndexBinaryIDMap*>(&index) != nullptr) maybe([&] { index.add_with_ids(n, queries.data(), ids + 2); });
    else maybe([&] { index.add(n, queries.data()); });
    search();
    maybe([&] { index.remove_ids(faiss::IDSelectorArray(5, ids)); });
    search();
    reconstruct();
}

Bytes save(const Loaded& loaded) { return loaded.floats ? write(*loaded.floats) : write(*loaded.binary); }

std::string refusal(const Bytes& bytes, IndexKind kind, std::string* message = nullptr) {
    try {
        checkIndexBytes(bytes.data(), bytes.size(), kind, "bytes");
    } catch (const Error& error) {
        if (message != nullptr) *message = error.what();
        return error.code();
    }
    return "none";
}

const Family& family(const std::string& name) {
    for (const Family& f : Families::all()) {
        if (f.name == name) return f;
    }
    throw std::invalid_argument(name);
}

// ---- the tests ----
TEST_F(IndexCheck, TakesEveryFamilyAsFaissWritesItAndAfterUse) {
    for (const Family& f : Families::all()) {
        SCOPED_TRACE(f.name);
        watch("using " + f.name);
        std::string message;
        EXPECT_EQ(refusal(f.bytes, f.kind, &message), "none") << message;
        const Loaded loaded = load(f.bytes, f.kind);
        if (loaded.floats) use(*loaded.floats);
        else use(*loaded.binary);
        EXPECT_EQ(refusal(save(loaded), f.kind, &message), "none") << message;
    }
}

TEST_F(IndexCheck, RefusesEveryCutOfEveryFamily) {
    for (const Family& f : Families::all()) {
        SCOPED_TRACE(f.name);
        watch("cutting " + f.name);
        const size_t size = f.bytes.size();
        const size_t step = std::max<size_t>(1, size / 1000);
        size_t taken = 0;
        for (size_t cut = 0; cut < size; cut += cut < 300 || size - cut < 300 ? 1 : step) {
            // In memory of its own, so that a sanitizer sees a byte that is read behind it.
            if (refusal(Bytes(f.bytes.begin(), f.bytes.begin() + cut), f.kind) == "none") taken++;
        }
        EXPECT_EQ(taken, 0u);
        Bytes longer = f.bytes;
        longer.push_back(0);
        EXPECT_EQ(refusal(longer, f.kind), "ERR_INDEX_CORRUPT");
    }
}

TEST_F(IndexCheck, SaysWhatDoesNotFit) {
    std::string message;
    Bytes bytes = family("Flat").bytes;
    const int64_t one = kVectors + 1;
    std::memcpy(bytes.data() + 8, &one, sizeof one); // fourcc, d, ntotal
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_EQ(message, "bytes is damaged or no index: codes: 19264 bytes expected for 301 vectors of 64, got 19200");

    bytes = family("Flat").bytes;
    std::memcpy(bytes.data(), "Ix??", 4);
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_EQ(message, "bytes cannot be loaded: it holds no index type that FAISS 1.7.3 knows: \"Ix??\"");
    EXPECT_EQ(refusal({1, 2, 3, 4, 5}, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_NE(message.find("0x04030201"), std::string::npos) << message;
    EXPECT_EQ(refusal({}, IndexKind::Float), "ERR_INDEX_CORRUPT");
    EXPECT_EQ(refusal(family("BFlat").bytes, IndexKind::Float), "ERR_INDEX_UNSUPPORTED");
    EXPECT_EQ(refusal(family("Flat").bytes, IndexKind::Binary), "ERR_INDEX_UNSUPPORTED");

    bytes = family("IVF8,Flat").bytes;
    const auto lists = std::search(bytes.begin(), bytes.end(), "ilar", "ilar" + 4);
    ASSERT_NE(lists, bytes.end());
    std::memcpy(&*lists, "ilod", 4);
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_NE(message.find("another file"), std::string::npos) << message;
}

TEST_F(IndexCheck, RefusesANestWithoutEnd) {
    // Each level is an IDMap header whose index is the next.
    Pieces nest;
    for (int i = 0; i < 100000; i++) {
        nest.text("IxMp").value<int32_t>(4).value<int64_t>(0).value<int64_t>(0).value<int64_t>(0).value<uint8_t>(1).value<int32_t>(1);
    }
    EXPECT_EQ(refusal(nest.bytes(), IndexKind::Float), "ERR_INDEX_CORRUPT");
}

TEST_F(IndexCheck, RefusesAFewBytesThatMeanMuchMemory) {
    const auto header = [](Pieces& out, const char* fourcc, int64_t ntotal, bool trained) -> Pieces& {
        return out.text(fourcc).value<int32_t>(4).value<int64_t>(ntotal).value<int64_t>(0).value<int64_t>(0).value<uint8_t>(trained)
            .value<int32_t>(1);
    };
    Pieces lists; // 2^30 lists, none of them with a vector
    header(lists, "IwFl", 0, false).value<uint64_t>(1 << 30).value<uint64_t>(1);
    header(lists, "IxF2", 0, true).value<uint64_t>(0);
    lists.value<uint8_t>(0).value<uint64_t>(0).text("ilar").value<uint64_t>(1 << 30).value<uint64_t>(16).text("sprs").value<uint64_t>(0);
    std::string message;
    EXPECT_EQ(refusal(lists.bytes(), IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_NE(message.find("would make FAISS take"), std::string::npos) << message;

    Pieces table; // a table of 2^16 x 2^16 between the codes of a PQ
    header(table, "IHNp", 0, true);
    const double probability = 1;
    const int32_t links[] = {0, 16};
    const uint64_t offset = 0;
    table.vector(&probability, 1).vector(links, 2).value<uint64_t>(0).vector(&offset, 1).value<uint64_t>(0);
    table.value<int32_t>(-1).value<int32_t>(-1).value<int32_t>(40).value<int32_t>(16).value<int32_t>(1);
    const std::vector<float> centroids(4 << 16);
    header(table, "IxPq", 0, true).value<uint64_t>(4).value<uint64_t>(1).value<uint64_t>(16).vector(centroids.data(), centroids.size());
    table.value<uint64_t>(0).value<int32_t>(0).value<uint8_t>(0).value<int32_t>(0);
    EXPECT_EQ(refusal(table.bytes(), IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_NE(message.find("would make FAISS take"), std::string::npos) << message;
}

TEST_F(IndexCheck, TellsTheSizeOfTheTablesThatCanBeLeftOut) {
    const Family& f = family("IVF8,PQ4x4");
    EXPECT_EQ(checkIndexBytes(f.bytes.data(), f.bytes.size(), f.kind, "bytes").tableBytes, 8u * 4 * 16 * sizeof(float));
    const auto tableOf = [&](int flags) {
        const Loaded loaded = load(f.bytes, f.kind, flags);
        return dynamic_cast<faiss::IndexIVFPQ&>(*loaded.floats).precomputed_table.size() * sizeof(float);
    };
    EXPECT_EQ(tableOf(0), 8u * 4 * 16 * sizeof(float));
    EXPECT_EQ(tableOf(faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE), 0u);
}

TEST(CheckedFileInMemory, ReadsWhatItWroteAndTellsOursFromForeign) {
    const Family& f = family("IVF8,Flat");
    const Bytes extra{1, 2, 3};
    int calls = 0;
    const Bytes bytes = CheckedFile::toBytes(extra, [&](faiss::IOWriter& writer) {
        calls++;
        writer(f.bytes.data(), 1, f.bytes.size());
    });
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(bytes.capacity(), bytes.size());
    const CheckedFile ours(bytes, "bytes", CheckedFile::Foreign::Allowed);
    EXPECT_TRUE(ours.hasTrailer());
    EXPECT_EQ(ours.extra(), extra);
    EXPECT_EQ(Bytes(ours.indexData(), ours.indexData() + ours.indexSize()), f.bytes);

    const CheckedFile foreign(f.bytes, "bytes", CheckedFile::Foreign::Allowed);
    EXPECT_FALSE(foreign.hasTrailer());
    EXPECT_EQ(foreign.indexSize(), f.bytes.size());
    EXPECT_THROW(CheckedFile(f.bytes, "bytes", CheckedFile::Foreign::Refused), Error);

    const std::string path = testing::TempDir() + "index_check_" + std::to_string(::getpid());
    CheckedFile::write(path, extra, [&](faiss::IOWriter& writer) { writer(f.bytes.data(), 1, f.bytes.size()); });
    EXPECT_EQ(CheckedFile(path).indexSize(), f.bytes.size());
    {
        std::ifstream file(path, std::ios::binary);
        EXPECT_EQ(Bytes(std::istreambuf_iterator<char>(file), {}), bytes);
    }
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(f.bytes.data()), f.bytes.size());
    EXPECT_FALSE(CheckedFile(path, CheckedFile::Foreign::Allowed).hasTrailer());
    std::remove(path.c_str());
}

// ---- damage ----
class Damage {
public:
    explicit Damage(uint64_t seed) : engine_(seed) {}

    /// Damages the bytes in one or two of eleven ways; says which.
    std::string apply(Bytes& bytes, const Bytes& other) {
        std::string how = once(bytes, other);
        if (below(4) == 0 && !bytes.empty()) how += " and " + once(bytes, other);
        return how;
    }

    size_t below(size_t n) { return n == 0 ? 0 : engine_() % n; }

private:
    std::string once(Bytes& bytes, const Bytes& other) {
        switch (below(11)) {
        case 0:
            bytes.resize(below(bytes.size()));
            return "cut";
        case 1: case 2:
            for (size_t i = 1 + below(4); i > 0; i--) bytes[below(bytes.size())] ^= uint8_t(1 << below(8));
            return "bits";
        case 3:
            bytes[field(bytes, 4)] ^= uint8_t(1 << below(8));
            return "a bit of a field";
        case 4: case 5:
            overwrite<uint32_t>(bytes);
            return "a field of 4";
        case 6: case 7:
            overwrite<uint64_t>(bytes);
            return "a field of 8";
        case 8: {
            const size_t at = below(bytes.size()), n = 1 + below(std::min<size_t>(64, bytes.size() - at));
            if (below(2) == 0) bytes.erase(bytes.begin() + at, bytes.begin() + at + n);
            else bytes.insert(bytes.begin() + at, n, uint8_t(below(256)));
            return "length";
        }
        case 9:
            everywhere(bytes);
            return "a number everywhere";
        default: {
            const size_t n = 1 + below(std::min(bytes.size(), other.size()) / 2);
            const size_t from = below(other.size() - n), to = below(bytes.size() - n);
            if (below(2) == 0) std::copy(other.begin() + from, other.begin() + from + n, bytes.begin() + to);
            else std::swap_ranges(bytes.begin(), bytes.begin() + n, bytes.end() - n);
            return "parts";
        }
        }
    }

    /// A place to write `size` bytes to: mostly where a small number lies, as lengths and settings are.
    size_t field(const Bytes& bytes, size_t size) {
        if (bytes.size() <= size) return 0;
        for (int tries = 0; tries < 200 && below(8) != 0; tries++) {
            const size_t at = below(tries % 2 == 0 ? bytes.size() - size : std::min<size_t>(bytes.size() - size, 400));
            uint32_t value;
            std::memcpy(&value, bytes.data() + at, sizeof value);
            if (value < 100000 || value == ~uint32_t{0}) return at;
        }
        return below(bytes.size() - size);
    }

    template <class T>
    T another(T old) {
        const auto two = [](int power) { return uint64_t{1} << power; };
        const uint64_t values[] = {0, 1, 2, 3, ~uint64_t{0}, two(16), two(31), two(31) - 1, two(32), two(40), two(62), two(63), two(63) - 1,
                                   old + 1, old - 1, uint64_t{old} * 2, old / 2, below(64), below(1000), 0x7fc00000, 0x7f800000, 0x7f000000};
        return T(values[below(std::size(values))]);
    }

    template <class T>
    void overwrite(Bytes& bytes) {
        if (bytes.size() <= sizeof(T)) return;
        const size_t at = field(bytes, sizeof(T));
        T value;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        value = another(value);
        std::memcpy(bytes.data() + at, &value, sizeof value);
    }

    /// One number in all the places that hold it, so that they still agree: a count of vectors, lists or dimensions.
    void everywhere(Bytes& bytes) {
        if (bytes.size() <= sizeof(uint32_t)) return;
        uint32_t old, value;
        std::memcpy(&old, bytes.data() + field(bytes, sizeof old), sizeof old);
        value = below(2) == 0 ? old + uint32_t(below(5)) - 2 : another(old);
        if (old == 0) return;
        for (size_t at = 0; at + sizeof value <= bytes.size(); at++) {
            uint32_t here;
            std::memcpy(&here, bytes.data() + at, sizeof here);
            if (here == old) std::memcpy(bytes.data() + at, &value, sizeof value);
        }
    }

    std::mt19937_64 engine_;
};

size_t fromEnvironment(const char* name, size_t otherwise) {
    const char* const value = std::getenv(name);
    return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST_F(IndexCheck, TenThousandDamagesAreLoadedRightlyOrRefused) {
    // More of them, or one again: FAISS_VISION_DAMAGES counts them from FAISS_VISION_FIRST_DAMAGE on.
    const size_t count = fromEnvironment("FAISS_VISION_DAMAGES", 10000);
    const size_t first = fromEnvironment("FAISS_VISION_FIRST_DAMAGE", 0);
    const auto& families = Families::all();
    std::map<std::string, size_t> codes;
    size_t taken = 0;
    for (size_t i = first; i < first + count; i++) {
        const Family& f = families[i % families.size()];
        Damage damage(i);
        Bytes bytes = f.bytes;
        const std::string how = damage.apply(bytes, families[damage.below(families.size())].bytes);
        const std::string what = "damage " + std::to_string(i) + " of " + f.name + ": " + how;
        SCOPED_TRACE(what);
        watch(what);

        int flags = 0;
        size_t tables = 0;
        try {
            tables = checkIndexBytes(bytes.data(), bytes.size(), f.kind, "bytes").tableBytes;
        } catch (const Error& error) {
            codes[error.code()]++;
            continue;
        }
        taken++;
        if (tables > 2 * bytes.size()) flags = faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE;
        try {
            Loaded loaded;
            const Needs needs = allocated([&] { loaded = load(bytes, f.kind, flags); });
            // A few bytes may be settings alone.
            const size_t most = std::max(2 * bytes.size(), size_t{1} << (bytes.size() < 1000 ? 20 : 16));
            EXPECT_LE(needs.largest, std::max(most, f.largestNeeded));
            EXPECT_LE(needs.peak, std::max(most, f.peakNeeded + f.peakNeeded / 4));
            if (loaded.floats) use(*loaded.floats);
            else use(*loaded.binary);
            std::string message;
            EXPECT_EQ(refusal(save(loaded), f.kind, &message), "none") << message;
        } catch (const std::exception& error) {
            ADD_FAILURE() << "was not refused, and then: " << error.what();
        }
    }
    EXPECT_EQ(codes["ERR_INDEX_CORRUPT"] + codes["ERR_INDEX_UNSUPPORTED"] + taken, count);
    if (count >= 10000) {
        EXPECT_GT(taken, count / 20); // a changed float is no reason to refuse
        EXPECT_GT(codes["ERR_INDEX_CORRUPT"], count / 4);
    }
    std::cout << "of " << count << " damages " << taken << " were loaded, " << codes["ERR_INDEX_CORRUPT"] << " found and "
              << codes["ERR_INDEX_UNSUPPORTED"] << " taken for something else\n";
}

TEST_F(IndexCheck, NoDamageOfAFileOfOursIsLoaded) {
    const size_t count = fromEnvironment("FAISS_VISION_DAMAGES", 10000);
    const auto& families = Families::all();
    std::vector<Bytes> files;
    for (const Family& f : families) {
        files.push_back(CheckedFile::toBytes({7}, [&](faiss::IOWriter& writer) { writer(f.bytes.data(), 1, f.bytes.size()); }));
    }
    for (size_t i = 0; i < count; i++) {
        const Family& f = families[i % families.size()];
        Damage damage(i + 1000000);
        Bytes bytes = files[i % files.size()];
        const std::string how = damage.apply(bytes, files[damage.below(files.size())]);
        const std::string what = "damage " + std::to_string(i) + " of our " + f.name + ": " + how;
        SCOPED_TRACE(what);
        watch(what);
        // The damage changed nothing, or took out as much as is ours: nothing tells the rest from a foreign file.
        if (bytes == files[i % files.size()] || bytes.size() == f.bytes.size()) continue;
        std::string code = "none";
        try {
            const CheckedFile file(bytes, "bytes", CheckedFile::Foreign::Allowed);
            checkIndexBytes(file.indexData(), file.indexSize(), f.kind, "bytes");
        } catch (const Error& error) {
            code = error.code();
        }
        EXPECT_TRUE(code == "ERR_INDEX_CORRUPT" || code == "ERR_INDEX_UNSUPPORTED") << code;
    }
}

} // namespace
} // namespace faiss_vision
