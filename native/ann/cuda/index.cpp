#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <typeinfo>
#include <utility>

#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexReplicas.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/IndexShards.h>
#include <faiss/gpu/GpuCloner.h>
#include <faiss/gpu/GpuIndexFlat.h>
#include <faiss/gpu/GpuIndexIVF.h>
#include <faiss/gpu/impl/IndexUtils.h>

#include "ann/cuda/device.h"
#include "ann/faiss_call.h"
#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {
namespace {

/// FAISS's classes that its cloner takes whole, by exact type: a subclass would lose what makes it one.
bool moves(const faiss::Index& index) {
    if (dynamic_cast<const faiss::IndexFlat*>(&index) != nullptr) return true;
    if (const auto* const sq = dynamic_cast<const faiss::IndexScalarQuantizer*>(&index)) return sq->sq.qtype == faiss::ScalarQuantizer::QT_fp16;
    const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index);
    if (ivf == nullptr || dynamic_cast<const faiss::IndexFlat*>(ivf->quantizer) == nullptr) return false;
    const std::type_info& type = typeid(index);
    return type == typeid(faiss::IndexIVFFlat) || type == typeid(faiss::IndexIVFPQ) || type == typeid(faiss::IndexIVFScalarQuantizer);
}

std::vector<faiss::Index*> partsOf(faiss::Index& index) {
    std::vector<faiss::Index*> parts;
    if (auto* const replicas = dynamic_cast<faiss::IndexReplicas*>(&index)) {
        for (int i = 0; i < replicas->count(); i++) parts.push_back(replicas->at(i));
    } else if (auto* const shards = dynamic_cast<faiss::IndexShards*>(&index)) {
        for (int i = 0; i < shards->count(); i++) parts.push_back(shards->at(i));
    } else {
        parts.push_back(&index);
    }
    return parts;
}

/// In pieces: FAISS's own way to copy a flat index back takes as much GPU memory once more.
void appendFlat(const faiss::Index& from, int64_t n, faiss::IndexFlat& to) {
    constexpr int64_t kPiece = 64 << 20; // bytes
    const int64_t rows = std::max<int64_t>(1, kPiece / int64_t(to.code_size));
    const int64_t before = to.ntotal;
    to.codes.resize(size_t(before + n) * to.code_size);
    for (int64_t row = 0; row < n; row += rows) {
        from.reconstruct_n(row, std::min(rows, n - row), to.get_xb() + (before + row) * to.d);
    }
    to.ntotal = before + n;
}

class CudaIndex final : public GpuIndex {
public:
    CudaIndex(const faiss::Index& index, const GpuPlacement& placement)
        : GpuIndex(index.d, index.metric_type), placement_(placement), type_(typeName(index)),
          half_(dynamic_cast<const faiss::IndexScalarQuantizer*>(&index) != nullptr) {
        metric_arg = index.metric_arg;
        codeSize_ = index.sa_code_size();
        if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) lists_ = int64_t(ivf->nlist);
        std::map<int, int> uses;
        for (const int number : placement.devices) devices_.push_back(CudaDevice::open(number, uses[number]++));
        // Always in the same order, whichever index they are for.
        inOrder_ = devices_;
        std::sort(inOrder_.begin(), inOrder_.end());
        Locked locked(*this);
        try {
            gpu_ = clone(index);
        } catch (const faiss::FaissException& exception) {
            throw Error("ERR_UNSUPPORTED", "an " + type_ + " like this stays on the CPU: " + plainText(exception));
        }
        adopt();
    }

    ~CudaIndex() override {
        Locked locked(*this);
        gpu_.reset();
    }

    const GpuPlacement& placement() const override { return placement_; }
    const std::string& cpuType() const override { return type_; }
    int64_t lists() const override { return lists_; }
    size_t sa_code_size() const override { return codeSize_; }

    int64_t nprobe() const override {
        const faiss::Index* const part = partsOf(*gpu_).front();
        if (const auto* const cpu = dynamic_cast<const faiss::IndexIVF*>(part)) return int64_t(cpu->nprobe);
        const auto* const ivf = dynamic_cast<const faiss::gpu::GpuIndexIVF*>(part);
        return ivf == nullptr ? 0 : ivf->getNumProbes();
    }
    void setNprobe(int64_t nprobe) override {
        for (faiss::Index* const part : partsOf(*gpu_)) {
            if (auto* const cpu = dynamic_cast<faiss::IndexIVF*>(part)) cpu->nprobe = size_t(nprobe);
            if (auto* const ivf = dynamic_cast<faiss::gpu::GpuIndexIVF*>(part)) ivf->setNumProbes(int(nprobe));
        }
    }
    int64_t largestNprobe() const override { return std::min<int64_t>(lists_, faiss::gpu::getMaxKSelection()); }

    void train(int64_t n, const float* x) override {
        if (lists_ == 0) return; // nothing to learn
        changing("train", [&] {
            if (placement_.devices.size() == 1) return gpu_->train(n, x);
            // Each of several would learn something of its own: one learns for all.
            const auto one = cloneTo(*devices_.front(), *cpuForm(*gpu_));
            one->train(n, x);
            gpu_ = clone(*cpuForm(*one));
        });
    }

    void add(int64_t n, const float* x) override {
        changing("add vectors", [&] {
            if (placement_.shards && lists_ == 0 && ntotal > 0) {
                // FAISS's shards number the vectors of each by position, so they are dealt out anew.
                auto cpu = cpuForm(*gpu_);
                cpu->add(n, x);
                if (!replaceBy(std::move(cpu))) throw CudaOutOfMemory();
            } else {
                gpu_->add(n, x);
            }
        });
    }

    void add_with_ids(int64_t n, const float* x, const int64_t* ids) override {
        // The words by which BasicIndex knows that the type keeps none.
        FAISS_THROW_IF_NOT_MSG(lists_ > 0, "add_with_ids not implemented for this type of index");
        changing("add vectors", [&] { gpu_->add_with_ids(n, x, ids); });
    }

    void reset() override {
        changing("reset", [&] { gpu_->reset(); });
    }

    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, const faiss::SearchParameters* params) const override {
        FAISS_THROW_IF_NOT_MSG(params == nullptr, "search parameters are set on the index");
        if (k > faiss::gpu::getMaxKSelection()) {
            throw Error("ERR_UNSUPPORTED", "`k` can be at most " + std::to_string(faiss::gpu::getMaxKSelection()) + " on a GPU, got " +
                                               std::to_string(k) + ". Search on the CPU: to('cpu')");
        }
        if (n > std::numeric_limits<int>::max()) {
            throw Error("ERR_UNSUPPORTED", "a search on a GPU takes at most 2^31 - 1 vectors, got " + std::to_string(n));
        }
        Locked locked(*this);
        cudaCall("search", placement_.devices, [&] {
            const size_t input = size_t(n) * size_t(d) * sizeof(float);
            const size_t results = size_t(n) * size_t(k);
            // Labels first: they must lie at multiples of eight.
            char* const staging = static_cast<char*>(devices_.front()->pageLocked(results * (sizeof(int64_t) + sizeof(float)) + input));
            if (staging == nullptr) return gpu_->search(n, x, k, distances, labels); // large: FAISS goes through it in pieces
            auto* const stagedLabels = reinterpret_cast<int64_t*>(staging);
            auto* const stagedDistances = reinterpret_cast<float*>(stagedLabels + results);
            float* const staged = stagedDistances + results;
            std::memcpy(staged, x, input);
            gpu_->search(n, staged, k, stagedDistances, stagedLabels);
            for (const auto& device : devices_) device->wait(); // copies to page-locked memory are only begun
            std::copy_n(stagedDistances, results, distances);
            std::copy_n(stagedLabels, results, labels);
        });
    }

    void reconstruct(int64_t key, float* x) const override {
        FAISS_THROW_IF_NOT_MSG(lists_ == 0, "reconstruct not implemented for this type of index on a GPU");
        Locked locked(*this);
        cudaCall("read a vector", placement_.devices, [&] {
            const auto parts = partsOf(*gpu_);
            size_t part = 0;
            while (placement_.shards && part + 1 < parts.size() && key >= parts[part]->ntotal) key -= parts[part++]->ntotal;
            parts[part]->reconstruct(key, x);
        });
    }

    std::unique_ptr<faiss::Index> toCpu() const override {
        Locked locked(*this);
        return cudaCall("copy an index to the CPU", placement_.devices, [&] { return cpuForm(*gpu_); });
    }

private:
    /// All its GPUs, for one call.
    class Locked {
    public:
        explicit Locked(const CudaIndex& index) {
            for (const auto& device : index.inOrder_) locks_.emplace_back(device->mutex());
        }

    private:
        std::vector<std::unique_lock<std::mutex>> locks_;
    };

    faiss::gpu::GpuMultipleClonerOptions options() const {
        faiss::gpu::GpuMultipleClonerOptions options;
        options.useFloat16 = placement_.float16 || half_;
        options.shard = placement_.shards;
        return options;
    }

    std::unique_ptr<faiss::Index> cloneTo(CudaDevice& device, const faiss::Index& index) const {
        const auto single = options();
        return std::unique_ptr<faiss::Index>(faiss::gpu::index_cpu_to_gpu(&device.resources(), device.number(), &index, &single));
    }

    std::unique_ptr<faiss::Index> clone(const faiss::Index& index) const {
        return cudaCall("copy an index to a GPU", placement_.devices, [&]() -> std::unique_ptr<faiss::Index> {
            if (devices_.size() == 1) return cloneTo(*devices_.front(), index);
            faiss::IndexFlat decoded(d, metric_type);
            const faiss::Index* source = &index;
            if (half_) { // to several GPUs FAISS's cloner takes it as a flat one only
                appendFlat(index, index.ntotal, decoded);
                source = &decoded;
            }
            std::vector<faiss::gpu::GpuResourcesProvider*> providers;
            std::vector<int> numbers;
            for (const auto& device : devices_) {
                providers.push_back(&device->resources());
                numbers.push_back(device->number());
            }
            const auto multiple = options();
            std::unique_ptr<faiss::Index> cloned(faiss::gpu::index_cpu_to_gpu_multiple(providers, numbers, source, &multiple));
            if (auto* const replicas = dynamic_cast<faiss::IndexReplicas*>(cloned.get())) replicas->own_fields = true;
            return cloned;
        });
    }

    /// @param lengths  what of each list counts, and `total` of all; everything without
    std::unique_ptr<faiss::Index> cpuForm(faiss::Index& gpu, const std::vector<std::vector<int>>& lengths = {},
                                          std::optional<int64_t> total = {}) const {
        const auto parts = partsOf(gpu);
        if (lists_ == 0) {
            auto flat = std::make_unique<faiss::IndexFlat>(d, metric_type);
            flat->metric_arg = metric_arg;
            int64_t left = total.value_or(ntotal);
            for (const faiss::Index* const part : parts) {
                const int64_t n = std::min<int64_t>(left, part->ntotal);
                appendFlat(*part, n, *flat);
                if (!placement_.shards) break;
                left -= n;
            }
            if (!half_) return flat;
            auto halves = std::make_unique<faiss::IndexScalarQuantizer>(d, faiss::ScalarQuantizer::QT_fp16, metric_type);
            if (flat->ntotal > 0) halves->add(flat->ntotal, flat->get_xb());
            return halves;
        }
        std::unique_ptr<faiss::Index> whole;
        for (size_t part = 0; part < parts.size(); part++) {
            std::unique_ptr<faiss::Index> cpu(faiss::gpu::index_gpu_to_cpu(parts[part]));
            auto& ivf = dynamic_cast<faiss::IndexIVF&>(*cpu);
            if (total) {
                ivf.ntotal = 0;
                for (size_t list = 0; list < lengths[part].size(); list++) {
                    ivf.invlists->resize(list, lengths[part][list]);
                    ivf.ntotal += lengths[part][list];
                }
            }
            if (whole == nullptr) whole = std::move(cpu);
            else dynamic_cast<faiss::IndexIVF&>(*whole).merge_from(ivf, 0);
            if (!placement_.shards) break;
        }
        return whole;
    }

    std::vector<std::vector<int>> listLengths() const {
        std::vector<std::vector<int>> lengths;
        for (faiss::Index* const part : partsOf(*gpu_)) {
            if (lists_ == 0 || !part->is_trained) return {};
            auto& own = lengths.emplace_back(lists_);
            const auto* const cpu = dynamic_cast<const faiss::IndexIVF*>(part);
            const auto* const ivf = dynamic_cast<const faiss::gpu::GpuIndexIVF*>(part);
            for (size_t list = 0; list < own.size(); list++) {
                own[list] = cpu != nullptr ? int(cpu->invlists->list_size(list)) : ivf->getListLength(int(list));
            }
        }
        return lengths;
    }

    void adopt() {
        ntotal = gpu_->ntotal;
        is_trained = gpu_->is_trained;
    }

    /// Returns whether it could be placed on the GPUs. Where even that fails it is kept on the CPU, which answers until a
    /// later change finds memory.
    bool replaceBy(std::unique_ptr<faiss::Index> cpu) {
        gpu_.reset(); // for both at once there may be no room
        try {
            gpu_ = clone(*cpu);
            waiting_ = false;
        } catch (const std::exception&) {
            gpu_ = std::move(cpu);
            waiting_ = true;
        }
        adopt();
        return !waiting_;
    }

    /// A change that fails leaves FAISS's index half changed: it is then made again of what was there before.
    template <class Change>
    void changing(const char* what, const Change& change) {
        Locked locked(*this);
        if (waiting_) replaceBy(std::move(gpu_));
        const int64_t before = ntotal;
        const auto lengths = listLengths();
        try {
            cudaCall(what, placement_.devices, change);
        } catch (...) {
            // What was never trained has nothing to lose, and what was there before fitted.
            if (is_trained) replaceBy(cpuForm(*gpu_, lengths, before));
            throw;
        }
        adopt();
    }

    const GpuPlacement placement_;
    const std::string type_;
    const bool half_; // on the CPU it is a scalar quantizer of halves, which on a GPU is a flat index
    size_t codeSize_ = 0;
    int64_t lists_ = 0;
    bool waiting_ = false; // on the CPU, for GPU memory
    std::vector<std::shared_ptr<CudaDevice>> devices_, inOrder_;
    std::unique_ptr<faiss::Index> gpu_; // before the devices end: its memory is theirs
};

} // namespace

std::unique_ptr<GpuIndex> makeGpuIndex(const faiss::Index& index, const GpuPlacement& placement) {
    if (!moves(index)) {
        throw Error("ERR_UNSUPPORTED", "an " + typeName(index) + " stays on the CPU: FAISS searches Flat, SQfp16, and IVF with Flat, PQ or SQ over "
                                           "a flat quantizer on a GPU, also behind IDMap and transforms");
    }
    return std::make_unique<CudaIndex>(index, placement);
}

} // namespace faiss_vision
