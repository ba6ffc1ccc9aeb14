#include "ann/basic_index.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFPQR.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>

#include "ann/flat_file.h"
#include "ann/faiss_call.h"
#include "ann/faiss_care.h"
#include "ann/finite.h"
#include "ann/huge_pages.h"
#include "ann/index_file.h"
#include "ann/index_merge.h"
#include "ann/index_remove.h"
#include "ann/index_search.h"
#include "ann/reconstruct.h"
#include "ann/type_name.h"

namespace faiss_vision {
namespace {

/// Lets flat indexes search by bounds, inside an IDMap or behind a transform too.
std::unique_ptr<faiss::Index> withBounds(std::unique_ptr<faiss::Index> index, Exact exact) {
    const auto inside = [exact](faiss::Index*& inner) { inner = withBounds(std::unique_ptr<faiss::Index>(inner), exact).release(); };
    if (const auto* const bounded = dynamic_cast<const BoundedFlat*>(index.get()); bounded != nullptr && bounded->exact() == exact) return index;
    if (auto* const flat = dynamic_cast<faiss::IndexFlat*>(index.get())) {
        if (flat->metric_type == faiss::METRIC_L2 || flat->metric_type == faiss::METRIC_INNER_PRODUCT) return BoundedFlat::take(std::move(*flat), exact);
    } else if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(index.get())) {
        if (map->own_fields) inside(map->index);
    } else if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(index.get())) {
        if (transform->own_fields) inside(transform->index);
    }
    return index;
}
std::unique_ptr<faiss::IndexBinary> withBounds(std::unique_ptr<faiss::IndexBinary> index, Exact) { return index; }

size_t copyBytes(const faiss::Index& index) {
    const auto* const flat = dynamic_cast<const BoundedFlat*>(&innermost(index));
    return flat == nullptr ? 0 : flat->copyBytes();
}
size_t copyBytes(const faiss::IndexBinary&) { return 0; }

/// Whether training changes what vectors are encoded as.
bool encodes(const faiss::Index& index) {
    if (const auto* const gpu = gpuPart(index)) return gpu->lists() > 0;
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return encodes(*map->index);
    if (const auto* const hnsw = dynamic_cast<const faiss::IndexHNSW*>(&index)) return hnsw->storage != nullptr && encodes(*hnsw->storage);
    if (const auto* const nsg = dynamic_cast<const faiss::IndexNSG*>(&index)) return nsg->storage != nullptr && encodes(*nsg->storage);
    return dynamic_cast<const faiss::IndexFlat*>(&index) == nullptr;
}
bool encodes(const faiss::IndexBinary& index) {
    if (const auto* const map = dynamic_cast<const faiss::IndexBinaryIDMap*>(&index)) return encodes(*map->index);
    return dynamic_cast<const faiss::IndexBinaryIVF*>(&index) != nullptr;
}

/// Graphs that are built once, of all vectors.
bool builtAtOnce(const faiss::Index& index) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) return builtAtOnce(*map->index);
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return builtAtOnce(*transform->index);
    if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) return builtAtOnce(*refine->base_index);
    return dynamic_cast<const faiss::IndexNSG*>(&index) != nullptr;
}
bool builtAtOnce(const faiss::IndexBinary&) { return false; }

} // namespace

template <class V>
BasicIndex<V>::BasicIndex(std::unique_ptr<Faiss> index, Exact exact) : index_(withBounds(std::move(index), exact)), exact_(exact) {
    settle();
}

/// Whenever it has grown by a quarter, so that many small additions do not pay for it each time.
template <class V>
void BasicIndex<V>::settle() {
    if constexpr (std::is_same_v<Component, float>) {
        constexpr size_t kWorth = 16 << 20; // less lies in the processor's caches for the most part
        const size_t now = bytes();
        if (now < kWorth || now < settled_ / 4 * 5) return;
        useHugePages(*index_);
        settled_ = now;
    }
}

template <class V>
int64_t BasicIndex<V>::width() const {
    if constexpr (std::is_same_v<Component, uint8_t>) return index_->d / 8; // an id map's code_size is 0
    else return index_->d;
}

template <class V>
std::string BasicIndex<V>::type() const { return typeName(*index_); }

template <class V>
size_t BasicIndex<V>::bytes() const {
    size_t each = width() * sizeof(Component);
    if constexpr (std::is_same_v<Faiss, faiss::Index>) {
        try {
            each = index_->sa_code_size() + sizeof(int64_t);
        } catch (const faiss::FaissException&) {
            // not known for this type
        }
    }
    return each * index_->ntotal + copyBytes(*index_);
}

template <class V>
IndexDescription BasicIndex<V>::describe() const {
    size_t total;
    try {
        total = writtenBytes(*index_) + copyBytes(*index_);
    } catch (const faiss::FaissException&) { // no file format for this type
        total = bytes();
    }
    ParameterValues parameters;
    for (const Parameter& parameter : parametersOf(*index_)) parameters.emplace_back(parameter.name, parameter.get());
    std::optional<GpuPlacement> placement;
    if (const auto* const gpu = gpuPart(*index_)) placement = gpu->placement();
    return {type(), dimension(), metric(), size(), trained(), total, exact_, std::move(placement), std::move(parameters)};
}

template <class V>
void BasicIndex<V>::requireTrained(const char* what) const {
    if (!index_->is_trained) throw Error("ERR_NOT_TRAINED", "an " + type() + " must be trained before it can " + what + ": call train() with vectors like those that will be added");
}

/// What FAISS does on the CPU alone.
template <class V>
void BasicIndex<V>::requireCpu(const char* what) const {
    if (gpuPart(*index_) != nullptr) throw unsupported(*index_, std::string(what) + " on a GPU", "Bring it back first: to('cpu')");
}

template <class V>
void BasicIndex<V>::requireFinite(int64_t n, const Component* x) const {
    if constexpr (std::is_same_v<Component, float>) {
        checkFinite(x, n, index_->d, "vectors");
        constexpr float kLarge = 1e15f;
        if (dreadsLargeNumbers(*index_) && std::any_of(x, x + n * index_->d, [](float number) { return std::abs(number) > kLarge; })) {
            throw Error("ERR_INVALID_ARGUMENT", "`vectors` must hold numbers from -1e15 to 1e15 for an " + type());
        }
    }
}

/// The same vectors where nothing is read behind them.
template <class V>
const typename V::Component* BasicIndex<V>::safe(int64_t n, const Component* x, std::vector<Component>& padded) const {
    if constexpr (std::is_same_v<Component, uint8_t>) {
        if (readsBehind(*index_)) {
            padded.assign(x, x + n * width());
            padded.resize(n * width() + sizeof(uint64_t));
            return padded.data();
        }
    }
    return x;
}

template <class V>
void BasicIndex<V>::train(int64_t n, const Component* x, const Progress& progress) {
    if (size() > 0 && encodes(*index_)) {
        throw Error("ERR_NOT_EMPTY", "an " + type() + " must be empty to be trained: its " + std::to_string(size()) +
                                         " vectors were encoded by the training before. Call reset() first");
    }
    requireFinite(n, x);
    const TrainingProgress counted(*index_, n, progress);
    faissCall("train", *index_, [&] { index_->train(n, x); });
    if (progress) progress(1);
}

template <class V>
void BasicIndex<V>::add(int64_t n, const Component* x, const int64_t* ids, const Progress& progress, bool onGpu) {
    requireTrained("take vectors");
    if (!onGpu) requireFinite(n, x);
    if (size() > std::numeric_limits<int32_t>::max() - n && builtAtOnce(*index_)) throw Error("ERR_INVALID_ARGUMENT", "a graph holds at most 2^31 - 1 vectors");
    std::vector<Component> padded;
    x = safe(n, x, padded);
    if constexpr (std::is_same_v<Component, float>) {
        if (ids != nullptr && dynamic_cast<const faiss::IndexIVFPQR*>(&innermost(*index_)) != nullptr) {
            throw unsupported(*index_, "keep ids", "Leave `ids` out: an IVFPQR finds its codes by position");
        }
    }
    // All at once unless somebody watches: FAISS goes through large inputs in pieces of its own.
    const int64_t piece = progress && !builtAtOnce(*index_) ? std::max<int64_t>(1024, n / 100) : n;
    for (int64_t done = 0; done < n; done += piece) {
        const int64_t count = std::min(piece, n - done);
        try {
            if (ids != nullptr) index_->add_with_ids(count, x + done * width(), ids + done);
            else index_->add(count, x + done * width());
        } catch (const faiss::FaissException& exception) {
            if (ids == nullptr && (dynamic_cast<faiss::IndexIDMap*>(index_.get()) != nullptr || plainText(exception).find("add_with_ids") != std::string::npos)) {
                throw Error("ERR_INVALID_ARGUMENT", "`ids` must be given: an " + type() + " numbers nothing by itself");
            }
            if (ids != nullptr && notImplemented(exception)) {
                throw unsupported(*index_, "keep ids", "Put 'IDMap2,' before the factory's description, or leave `ids` out: vectors are then numbered by position");
            }
            throw Error("ERR_FAISS", "FAISS could not add to an " + type() + ": " + plainText(exception));
        }
        if (progress) progress(double(done + count) / double(n));
    }
    settle();
}

template <class V>
void BasicIndex<V>::search(int64_t n, const Component* x, int64_t k, Distance* distances, int64_t* labels, const SearchOptions& options, bool onGpu) const {
    requireTrained("be searched");
    if (options.filter != nullptr) requireCpu("leave vectors out of a search");
    if (!onGpu) requireFinite(n, x);
    const auto parameters = options.parameters.empty() ? std::vector<Parameter>() : parametersOf(*index_);
    const ScopedParameters scoped(parameters, options.parameters, options.parameters.empty() ? "" : type());

    std::vector<Component> padded;
    x = safe(n, x, padded);
    // FAISS's heaps are as long as k: never longer than there are vectors.
    const int64_t found = std::min(k, size());
    std::vector<Distance> shortDistances;
    std::vector<int64_t> shortLabels;
    Distance* toDistances = distances;
    int64_t* toLabels = labels;
    if (found < k) {
        const bool largest = metric() == faiss::METRIC_INNER_PRODUCT && std::is_same_v<Component, float>;
        std::fill(distances, distances + n * k, largest ? std::numeric_limits<Distance>::lowest() : std::numeric_limits<Distance>::max());
        std::fill(labels, labels + n * k, int64_t{-1});
        if (found == 0) return;
        shortDistances.resize(n * found);
        shortLabels.resize(n * found);
        toDistances = shortDistances.data();
        toLabels = shortLabels.data();
    }
    faissCall("search", *index_, [&] {
        if constexpr (std::is_same_v<Component, float>) {
            searchIndex(*index_, options.filter.get(), n, x, found, toDistances, toLabels);
        } else {
            if (options.filter != nullptr) throw unsupported(*index_, "leave vectors out of a search", "Ask for more neighbours and leave out the others");
            index_->search(n, x, found, toDistances, toLabels);
        }
    });
    if (found < k) {
        for (int64_t i = 0; i < n; i++) {
            std::copy_n(toDistances + i * found, found, distances + i * k);
            std::copy_n(toLabels + i * found, found, labels + i * k);
        }
    }
}

template <class V>
bool BasicIndex<V>::readsFrom(int gpu) const {
    if constexpr (std::is_same_v<Component, float>) {
        const faiss::Index* inner = index_.get(); // an IDMap hands vectors on, a transform computes with them
        while (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(inner)) inner = map->index;
        const auto* const there = dynamic_cast<const GpuIndex*>(inner);
        return there != nullptr && there->readsFrom(gpu);
    }
    return false;
}

template <class V>
bool BasicIndex<V>::quick(int64_t n) const {
    constexpr int64_t kNumbers = 1 << 18; // read and multiplied in about 30 microseconds
    if constexpr (!std::is_same_v<Component, float>) return false;
    else {
        const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(index_.get());
        const auto* const flat = dynamic_cast<const faiss::IndexFlat*>(map != nullptr ? map->index : index_.get());
        return flat != nullptr && n * flat->ntotal * flat->d <= kNumbers;
    }
}

template <class V>
void BasicIndex<V>::rangeSearch(int64_t n, const Component* x, double radius, RangeResult& result, const SearchOptions& options) const {
    requireTrained("be searched");
    requireCpu("search by radius");
    requireFinite(n, x);
    const auto parameters = options.parameters.empty() ? std::vector<Parameter>() : parametersOf(*index_);
    const ScopedParameters scoped(parameters, options.parameters, options.parameters.empty() ? "" : type());
    try {
        if constexpr (std::is_same_v<Component, float>) {
            rangeSearchIndex(*index_, options.filter.get(), n, x, float(radius), result);
        } else {
            if (options.filter != nullptr) throw unsupported(*index_, "leave vectors out of a search", "Leave them out of the result");
            std::vector<Component> padded;
            index_->range_search(n, safe(n, x, padded), int(std::clamp(std::ceil(radius), 0.0, double(index_->d) + 1)), &result);
        }
    } catch (const faiss::FaissException& exception) {
        if (notImplemented(exception)) throw unsupported(*index_, "search by radius", "Search for k neighbours and leave out those beyond the radius");
        throw Error("ERR_FAISS", "FAISS could not search an " + type() + ": " + plainText(exception));
    }
}

template <class V>
int64_t BasicIndex<V>::remove(int64_t n, const int64_t* ids) {
    requireCpu("remove vectors");
    const IdFilter selector = IdFilter::list(std::vector<int64_t>(ids, ids + n), true);
    return int64_t(faissCall("remove from", *index_, [&] { return removeIds(*index_, selector); }));
}

template <class V>
void BasicIndex<V>::reconstruct(int64_t n, const int64_t* ids, Component* x) const {
    requireTrained("give vectors back");
    if (const auto* const gpu = gpuPart(*index_); gpu != nullptr && gpu->lists() > 0) requireCpu("give vectors back");
    try {
        reconstructIds(*index_, n, ids, x);
    } catch (const faiss::FaissException& exception) {
        throw unsupported(*index_, "give vectors back", "Keep them beside it, for example in a Refine ('...,RFlat')");
    }
}

template <class V>
void BasicIndex<V>::mergeFrom(BasicIndex& other, int64_t addId) {
    requireCpu("take over another's vectors");
    other.requireCpu("give its vectors to another");
    checkMerge(*index_, *other.index_, addId);
    if (other.size() == 0) return;
    try {
        if constexpr (std::is_same_v<Component, uint8_t>) {
            // FAISS's own compares a type with a pointer's, and so refuses every index. checkMerge has let through IVFs only.
            auto& lists = dynamic_cast<faiss::IndexBinaryIVF&>(*index_);
            lists.invlists->merge_from(dynamic_cast<faiss::IndexBinaryIVF&>(*other.index_).invlists, addId);
            lists.ntotal += other.size();
        } else {
            index_->merge_from(*other.index_, addId);
        }
    } catch (const faiss::FaissException& exception) {
        throw Error("ERR_FAISS", "FAISS could not merge an " + type() + ": " + plainText(exception));
    }
    finishEmptying(*other.index_);
    settle();
}

template <class V>
void BasicIndex<V>::reset() {
    faissCall("reset", *index_, [&] { index_->reset(); });
    finishEmptying(*index_);
    settled_ = 0;
}

template <class V>
double BasicIndex<V>::parameter(const std::string& name) const {
    return findParameter(parametersOf(*index_), name, type()).get();
}

template <class V>
void BasicIndex<V>::setParameter(const std::string& name, double value) {
    const auto parameters = parametersOf(*index_);
    faiss_vision::setParameter(findParameter(parameters, name, type()), value);
}

template <class V>
void BasicIndex<V>::moveTo(const std::optional<GpuPlacement>& placement) {
    if constexpr (std::is_same_v<Component, float>) {
        if (placement) moveToGpu(index_, *placement);
        else if (gpuPart(*index_) != nullptr) moveToCpu(index_);
        if (!placement) index_ = withBounds(std::move(index_), exact_);
    } else if (placement) {
        throw unsupported(*index_, "be searched on a GPU", "FAISS does not move indexes of bits");
    }
}

template <class V>
void BasicIndex<V>::save(const std::string& path, const Progress& progress) const {
    saveIndex(*index_, path, progress);
}

template <class V>
std::vector<uint8_t> BasicIndex<V>::toBytes() const {
    return indexToBytes(*index_);
}

template <class V>
BasicIndex<V> BasicIndex<V>::load(const std::string& path, Exact exact) {
    if constexpr (std::is_same_v<Component, float>) {
        if (auto flat = loadFlat(path, exact)) return BasicIndex(std::move(flat), exact);
    }
    return BasicIndex(parseIndex<Faiss>(CheckedFile(path, CheckedFile::Foreign::Allowed), path), exact);
}

template <class V>
BasicIndex<V> BasicIndex<V>::fromBytes(const uint8_t* bytes, size_t size) {
    const std::string name = "`bytes`";
    return BasicIndex(parseIndex<Faiss>(CheckedFile(std::vector<uint8_t>(bytes, bytes + size), name, CheckedFile::Foreign::Allowed), name));
}

template class BasicIndex<FloatVectors>;
template class BasicIndex<BinaryVectors>;

} // namespace faiss_vision
