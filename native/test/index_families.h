#pragma once

// Small indexes of every family as FAISS writes them, for the tests of what is read.

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <omp.h>

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
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

#include "ann/checked_file.h"
#include "ann/index_check.h"
#include "index_check_watch.h"

namespace faiss_vision {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr int kDimension = 16;
constexpr int kBits = 128; // of binary vectors
constexpr int kVectors = 300;

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

void Families::add(const std::string& name, IndexKind kind, Bytes bytes) {
    const Needs needs = allocated([&] { load(bytes, kind); });
    families_.push_back({name, kind, std::move(bytes), needs.largest, needs.peak});
}

} // namespace
} // namespace faiss_vision
