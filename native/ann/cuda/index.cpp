#include <algorithm>
#include <cstring>
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
#include <faiss/gpu/utils/DeviceUtils.h>

#include "ann/cuda/device.h"
#include "ann/cuda/flat_search.h"
#include "ann/faiss_call.h"
#include "ann/moved_index.h"
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

class CudaIndex final : public MovedIndex {
public:
    CudaIndex(const faiss::Index& index, const GpuPlacement& placement)
        : MovedIndex(index.d, index.metric_type), placement_(placement), type_(typeName(index)),
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
            moveThere(index);
        } catch (const faiss::FaissException& exception) {
            throw Error("ERR_UNSUPPORTED", "an " + type_ + " like this stays on the CPU: " + plainText(exception));
        }
    }

    ~CudaIndex() override {
        Locked locked(*this);
        leave();
    }

    const GpuPlacement& placement() const override { return placement_; }
    const std::string& cpuType() const override { return type_; }
    int64_t lists() const override { return lists_; }
    size_t sa_code_size() const override { return codeSize_; }

    int64_t nprobe() const override {
        Locked locked(*this); // it may have to be mended first
        const faiss::Index* const part = partsOf(placed()).front();
        if (const auto* const cpu = dynamic_cast<const faiss::IndexIVF*>(part)) return int64_t(cpu->nprobe);
        const auto* const ivf = dynamic_cast<const faiss::gpu::GpuIndexIVF*>(part);
        return ivf == nullptr ? 0 : ivf->getNumProbes();
    }
    void setNprobe(int64_t nprobe) override {
        Locked locked(*this);
        for (faiss::Index* const part : partsOf(placed())) {
            if (auto* const cpu = dynamic_cast<faiss::IndexIVF*>(part)) cpu->nprobe = size_t(nprobe);
            if (auto* const ivf = dynamic_cast<faiss::gpu::GpuIndexIVF*>(part)) ivf->setNumProbes(int(nprobe));
        }
    }
    int64_t largestNprobe() const override { return std::min<int64_t>(lists_, faiss::gpu::getMaxKSelection()); }

    bool readsFrom(int gpu) const override { return settled() && placement_.devices == std::vector<int>{gpu}; }

    void train(int64_t n, const float* x) override {
        if (lists_ == 0) return; // nothing to learn
        changed("train", [&](faiss::Index& placed, const Extent&) {
            if (placement_.devices.size() == 1) return placed.train(n, x);
            // Each of several would learn something of its own: one learns for all.
            const auto one = cloneTo(*devices_.front(), *read(placed, nullptr));
            one->train(n, x);
            if (!replaceBy(read(*one, nullptr))) throw CudaOutOfMemory();
        });
    }

    void add(int64_t n, const float* x) override { addWith(n, x, nullptr); }

    void add_with_ids(int64_t n, const float* x, const int64_t* ids) override {
        // The words by which BasicIndex knows that the type keeps none.
        FAISS_THROW_IF_NOT_MSG(lists_ > 0, "add_with_ids not implemented for this type of index");
        addWith(n, x, ids);
    }

    void reset() override {
        changed("reset", [](faiss::Index& placed, const Extent&) { placed.reset(); });
    }

    void search(int64_t n, const float* x, int64_t k, float* distances, int64_t* labels, const faiss::SearchParameters* params) const override {
        FAISS_THROW_IF_NOT_MSG(params == nullptr, "search parameters are set on the index");
        if (k > faiss::gpu::getMaxKSelection()) {
            throw Error("ERR_UNSUPPORTED", "`k` can be at most " + std::to_string(faiss::gpu::getMaxKSelection()) + " on a GPU, got " +
                                               std::to_string(k) + ". Search on the CPU: to('cpu')");
        }
        Locked locked(*this);
        cudaCall("search", placement_.devices, [&] {
            faiss::Index& index = placed();
            // FAISS counts results in 31 bits and keeps them all on the GPU: so many at a time.
            const int64_t most = (int64_t{1} << 26) / k;
            for (int64_t i = 0; i < n; i += most) searchSome(index, std::min(most, n - i), x + i * d, k, distances + i * k, labels + i * k);
        });
    }

    void reconstruct(int64_t key, float* x) const override {
        FAISS_THROW_IF_NOT_MSG(lists_ == 0, "reconstruct not implemented for this type of index on a GPU");
        Locked locked(*this);
        cudaCall("read a vector", placement_.devices, [&] {
            const auto parts = partsOf(placed());
            size_t part = 0;
            while (placement_.shards && part + 1 < parts.size() && key >= parts[part]->ntotal) key -= parts[part++]->ntotal;
            parts[part]->reconstruct(key, x);
        });
    }

    std::unique_ptr<faiss::Index> toCpu() const override {
        Locked locked(*this);
        return cudaCall("copy an index to the CPU", placement_.devices, [&] { return read(placed(), nullptr); });
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

    void searchSome(faiss::Index& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels) const {
        const bool there = faiss::gpu::getDeviceForAddress(x) >= 0;
        const size_t input = there ? 0 : size_t(n) * size_t(d) * sizeof(float);
        const size_t results = size_t(n) * size_t(k);
        // Labels first: they must lie at multiples of eight.
        char* const staging = static_cast<char*>(devices_.front()->pageLocked(results * (sizeof(int64_t) + sizeof(float)) + input));
        if (staging == nullptr) return index.search(n, x, k, distances, labels); // large: FAISS goes through it in pieces
        auto* const stagedLabels = reinterpret_cast<int64_t*>(staging);
        auto* const stagedDistances = reinterpret_cast<float*>(stagedLabels + results);
        float* const staged = stagedDistances + results;
        if (!there) std::memcpy(staged, x, input);
        const float* const queries = there ? x : staged;
        auto* const flat = dynamic_cast<faiss::gpu::GpuIndexFlat*>(&index);
        if (flat != nullptr && searchesFlat(*flat, n, k)) {
            CudaDevice& device = *devices_.front();
            searchFlat(*device.resources().getResources(), *flat, n, queries, k, stagedDistances, stagedLabels, device.stream());
        } else {
            index.search(n, queries, k, stagedDistances, stagedLabels);
        }
        for (const auto& device : devices_) device->wait(); // copies to page-locked memory are only begun
        std::copy_n(stagedDistances, results, distances);
        std::copy_n(stagedLabels, results, labels);
    }

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

    std::unique_ptr<faiss::Index> place(const faiss::Index& index) const override {
        if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) {
            for (size_t list = 0; list < ivf->nlist; list++) requireRoom(int64_t(ivf->invlists->list_size(list)));
        }
        return cudaCall("copy an index to a GPU", placement_.devices, [&]() -> std::unique_ptr<faiss::Index> {
            if (devices_.size() == 1) return cloneTo(*devices_.front(), index);
            if (!placement_.shards) {
                auto replicas = std::make_unique<faiss::IndexReplicas>();
                replicas->own_fields = true;
                for (const auto& device : devices_) { // FAISS's own way would leave the first there where a later one finds no room
                    auto replica = cloneTo(*device, index);
                    replicas->addIndex(replica.get());
                    replica.release();
                }
                return replicas;
            }
            faiss::IndexFlat decoded(d, metric_type);
            const faiss::Index* source = &index;
            if (half_) { // as shards FAISS's cloner takes it as a flat one only
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
            return std::unique_ptr<faiss::Index>(faiss::gpu::index_cpu_to_gpu_multiple(providers, numbers, source, &multiple));
        });
    }

    std::unique_ptr<faiss::Index> read(faiss::Index& placed, const Extent* extent) const override {
        const auto parts = partsOf(placed);
        if (lists_ == 0) {
            auto flat = std::make_unique<faiss::IndexFlat>(d, metric_type);
            flat->metric_arg = metric_arg;
            int64_t left = extent != nullptr ? extent->total : placed.ntotal;
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
            if (extent != nullptr) {
                const std::vector<int>& lengths = extent->lists.at(part);
                ivf.ntotal = 0;
                for (size_t list = 0; list < lengths.size(); list++) {
                    ivf.invlists->resize(list, size_t(lengths[list]));
                    ivf.ntotal += lengths[list];
                }
            }
            if (whole == nullptr) whole = std::move(cpu);
            else dynamic_cast<faiss::IndexIVF&>(*whole).merge_from(ivf, 0);
            if (!placement_.shards) break;
        }
        return whole;
    }

    Extent extentOf(faiss::Index& placed) const override {
        Extent extent{placed.ntotal, {}};
        for (faiss::Index* const part : partsOf(placed)) {
            if (lists_ == 0 || !part->is_trained) break;
            std::vector<int>& own = extent.lists.emplace_back(lists_);
            const auto* const cpu = dynamic_cast<const faiss::IndexIVF*>(part);
            const auto* const ivf = dynamic_cast<const faiss::gpu::GpuIndexIVF*>(part);
            for (size_t list = 0; list < own.size(); list++) {
                own[list] = cpu != nullptr ? int(cpu->invlists->list_size(list)) : ivf->getListLength(int(list));
            }
        }
        return extent;
    }

    /// Else FAISS would take the centroids of a training that failed for those of the next.
    void forget(faiss::Index& placed) const override {
        for (faiss::Index* const part : partsOf(placed)) {
            if (auto* const cpu = dynamic_cast<faiss::IndexIVF*>(part)) cpu->quantizer->reset(), cpu->is_trained = false;
            if (auto* const ivf = dynamic_cast<faiss::gpu::GpuIndexIVF*>(part)) ivf->quantizer->reset();
        }
    }

    template <class Change>
    void changed(const char* what, const Change& change) {
        Locked locked(*this);
        const auto call = [&](const auto& work) { cudaCall(what, placement_.devices, work); };
        call([&] { changing([&](faiss::Index& placed, const Extent& before) { call([&] { change(placed, before); }); }); }); // mending may fail too
    }

    void addWith(int64_t n, const float* x, const int64_t* ids) {
        changed("add vectors", [&](faiss::Index& placed, const Extent& before) {
            if (placement_.shards && lists_ == 0 && ntotal > 0) {
                // FAISS's shards number the vectors of each by position, so they are dealt out anew.
                auto cpu = read(placed, nullptr);
                cpu->add(n, x);
                if (!replaceBy(std::move(cpu))) throw CudaOutOfMemory();
                return;
            }
            const auto some = [&](int64_t begin, int64_t count) {
                if (ids == nullptr) placed.add(count, x + begin * d);
                else placed.add_with_ids(count, x + begin * d, ids + begin);
            };
            if (lists_ == 0 || longest(before) + n <= mostOfList()) {
                some(0, n);
            } else {
                constexpr int64_t kPiece = 32 * 1024; // FAISS's own
                for (int64_t begin = 0; begin < n; begin += kPiece) {
                    const int64_t count = std::min(kPiece, n - begin);
                    requireRoom(longest(extentOf(placed)) + count);
                    some(begin, count);
                }
            }
            if (faiss::gpu::getDeviceForAddress(x) >= 0) devices_.front()->wait(); // its owner may use the memory anew
        });
    }

    static int64_t longest(const Extent& extent) {
        int64_t longest = 0;
        for (const auto& part : extent.lists) longest = std::max<int64_t>(longest, *std::max_element(part.begin(), part.end()));
        return longest;
    }

    /// FAISS's kernels count the bytes of a list in 31 bits, and it ends the process where a list that it is to copy has more.
    int64_t mostOfList() const { return 2'000'000'000 / int64_t(codeSize_); }
    void requireRoom(int64_t length) const {
        if (length <= mostOfList()) return;
        throw Error("ERR_UNSUPPORTED", "a list of an " + type_ + " on a GPU holds at most " + std::to_string(mostOfList()) +
                                           " of these vectors (2 GB), and " + std::to_string(length) +
                                           " may come to be in one: take more lists, or smaller codes");
    }

    const GpuPlacement placement_;
    const std::string type_;
    const bool half_; // on the CPU it is a scalar quantizer of halves, which on a GPU is a flat index
    size_t codeSize_ = 0;
    int64_t lists_ = 0;
    std::vector<std::shared_ptr<CudaDevice>> devices_, inOrder_;
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
