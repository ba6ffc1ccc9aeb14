#include "ann/ann.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include <faiss/IndexIDMap.h>
#include <faiss/index_io.h>
#include <faiss/utils/distances.h>

#include "ann/checked_file.h"
#include "ann/finite.h"
#include "error.h"

namespace faiss_vision {
namespace {

// Ids are handed to JavaScript as plain numbers, which are exact up to here.
constexpr int64_t kMaxId = (int64_t{1} << 53) - 1;

// What stands behind FAISS's part of a saved file.
struct Settings {
    uint32_t method;
    int32_t kValue;
    double threshold;
    int64_t nextId;
};

} // namespace

ANN::ANN(int dimension, int kValue, double threshold, Method method, Exact exact)
    : kValue_(kValue), threshold_(threshold), method_(method),
      index_(std::make_unique<BoundedFlat>(dimension, method == Method::Cosine ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2, exact)) {}

size_t ANN::bytes() const {
    return index_->codes.size() + index_->copyBytes() + ids_.size() * (sizeof(int64_t) + sizeof(std::pair<const int64_t, int64_t>) + 2 * sizeof(void*));
}

void ANN::searchOnGpu(int number) {
    requireGpu(number);
    gpuNumber_ = number;
    // The copy in one byte a number is for the processor's searches.
    index_ = BoundedFlat::take(std::move(*index_), Exact::Plain);
}

/// What a search reads. Where the GPU's memory does not suffice nothing is lost.
const faiss::Index& ANN::searched() const {
    if (gpuNumber_ < 0) return *index_;
    if (gpu_ == nullptr) {
        GpuPlacement placement;
        placement.devices.push_back(gpuNumber_);
        gpu_ = makeGpuIndex(*index_, placement);
    } else if (gpu_->ntotal < size()) {
        gpu_->add(size() - gpu_->ntotal, index_->get_xb() + gpu_->ntotal * dimension());
    }
    return *gpu_;
}

void ANN::normalise(int64_t n, float* vectors, const char* name) const {
    const int64_t d = dimension();
    checkFinite(vectors, n, d, name);
    for (int64_t i = 0; i < n; i++) {
        float* const x = vectors + i * d;
        double squares = 0; // in double: neither 1e-30 nor 1e30 leaves its range when squared
        for (int64_t j = 0; j < d; j++) squares += double(x[j]) * x[j];
        if (squares == 0) {
            throw Error("ERR_ZERO_VECTOR", std::string("`") + name + "` must hold vectors with a direction for cosine similarity, vector " +
                                               std::to_string(i) + " is all zeros");
        }
        const double scale = 1 / std::sqrt(squares);
        for (int64_t j = 0; j < d; j++) x[j] = float(x[j] * scale);
    }
}

std::vector<int64_t> ANN::add(int64_t n, const float* vectors, const int64_t* ids) {
    std::vector<int64_t> added(n);
    if (ids != nullptr) {
        std::copy(ids, ids + n, added.begin());
    } else {
        if (nextId_ > kMaxId - n) throw Error("ERR_INVALID_ID", "`ids` must be given: the numbers after the largest id are used up");
        std::iota(added.begin(), added.end(), nextId_);
    }

    const int64_t before = size();
    const auto takeBack = [&](int64_t registered) {
        for (int64_t i = 0; i < registered; i++) rows_.erase(added[i]);
        ids_.resize(before);
        index_->truncate(before);
    };
    int64_t registered = 0;
    try {
        for (; registered < n; registered++) {
            const int64_t id = added[registered];
            if (id < 0 || id > kMaxId) {
                throw Error("ERR_INVALID_ID", "`ids` must be from 0 to 2^53 - 1, got " + std::to_string(id));
            }
            if (!rows_.emplace(id, before + registered).second) {
                throw Error("ERR_DUPLICATE_ID", "`ids` must be new, " + std::to_string(id) +
                                                    (rows_[id] < before ? " is already known" : " comes twice"));
            }
        }
        ids_.insert(ids_.end(), added.begin(), added.end());
        const size_t bytes = size_t(n) * index_->code_size;
        const auto* const from = reinterpret_cast<const uint8_t*>(vectors);
        index_->codes.insert(index_->codes.end(), from, from + bytes);
        index_->ntotal = before + n;
        // Checked on the copy: the caller's memory may be written to by another thread meanwhile.
        float* const stored = index_->get_xb() + before * dimension();
        if (method_ == Method::Cosine) normalise(n, stored, "vectors");
        else checkFinite(stored, n, dimension(), "vectors");
        index_->catchUp();
    } catch (...) {
        takeBack(registered);
        throw;
    }
    for (const int64_t id : added) nextId_ = std::max(nextId_, id + 1);
    return added;
}

float ANN::score(const float* query, int64_t row) const {
    const size_t d = dimension();
    const float* const known = index_->get_xb() + row * d;
    if (method_ == Method::Cosine) return std::clamp(faiss::fvec_inner_product(query, known, d), -1.0f, 1.0f);
    return std::sqrt(faiss::fvec_L2sqr(query, known, d));
}

void ANN::search(int64_t n, const float* queries, int64_t* indices, float* scores, uint8_t* found) const {
    std::vector<float> normalised;
    if (method_ == Method::Cosine) {
        normalised.assign(queries, queries + n * dimension());
        normalise(n, normalised.data(), "vectors");
        queries = normalised.data();
    } else {
        checkFinite(queries, n, dimension(), "vectors");
    }

    std::fill(indices, indices + n * kValue_, int64_t{-1});
    std::fill(scores, scores + n * kValue_, std::numeric_limits<float>::quiet_NaN());
    std::fill(found, found + n, uint8_t{0});
    const int64_t k = std::min<int64_t>(kValue_, size());
    if (k == 0) return;

    std::vector<float> distances(n * k);
    std::vector<int64_t> rows(n * k);
    searched().search(n, queries, k, distances.data(), rows.data());

    // Where every vector was read for many queries at once, FAISS computed |x|^2 + |y|^2 - 2xy, which loses digits where
    // vectors are near: the few winners are computed again, so a score does not depend on what else was asked in the same call.
    std::vector<std::pair<float, int64_t>> best;
    for (int64_t i = 0; i < n; i++) {
        best.clear();
        for (int64_t j = 0; j < k; j++) {
            const int64_t row = rows[i * k + j];
            if (row >= 0) best.emplace_back(score(queries + i * dimension(), row), row);
        }
        std::stable_sort(best.begin(), best.end(), [this](const auto& a, const auto& b) {
            return method_ == Method::Cosine ? a.first > b.first : a.first < b.first;
        });
        best.resize(std::min<size_t>(best.size(), k));
        for (size_t j = 0; j < best.size(); j++) {
            scores[i * kValue_ + j] = best[j].first;
            indices[i * kValue_ + j] = ids_[best[j].second];
        }
        if (!best.empty()) {
            found[i] = method_ == Method::Cosine ? best[0].first > threshold_ : best[0].first < threshold_;
        }
    }
}

int64_t ANN::erase(int64_t n, const int64_t* ids) {
    const size_t d = dimension();
    int64_t erased = 0;
    for (int64_t i = 0; i < n; i++) {
        const auto known = rows_.find(ids[i]);
        if (known == rows_.end()) continue;
        // The last row moves into the gap: erasing costs one vector, not the whole index behind it.
        const int64_t row = known->second;
        const int64_t last = size() - 1;
        rows_.erase(known);
        if (row != last) {
            index_->overwrite(row, index_->get_xb() + last * d);
            ids_[row] = ids_[last];
            rows_[ids_[row]] = row;
        }
        ids_.pop_back();
        index_->truncate(last);
        erased++;
    }
    if (erased > 0) gpu_.reset(); // its rows are others now
    return erased;
}

void ANN::clear() {
    index_->reset();
    gpu_.reset();
    ids_.clear();
    rows_.clear();
}

void ANN::save(const std::string& path) const {
    faiss::IndexIDMap map; // its constructor wants an empty index, so it is filled by hand
    map.d = index_->d;
    map.metric_type = index_->metric_type;
    map.ntotal = index_->ntotal;
    map.is_trained = true;
    map.index = index_.get();
    map.own_fields = false;
    map.id_map.assign(ids_.begin(), ids_.end());

    const Settings settings{method_ == Method::Cosine ? 1u : 0u, kValue_, threshold_, nextId_};
    std::vector<uint8_t> extra(sizeof settings);
    std::memcpy(extra.data(), &settings, sizeof settings);
    CheckedFile::write(path, extra, [&](faiss::IOWriter& writer) { faiss::write_index(&map, &writer); });
}

ANN ANN::load(const std::string& path) {
    CheckedFile file(path);
    const auto refuse = [&](const std::string& why) -> Error {
        return Error("ERR_INDEX_CORRUPT", "`path` must name a file that Ann.save wrote, " + path + " " + why);
    };
    Settings settings;
    if (file.extra().size() != sizeof settings) throw refuse("is of another kind");
    std::memcpy(&settings, file.extra().data(), sizeof settings);

    auto reader = file.reader();
    const std::unique_ptr<faiss::Index> read(faiss::read_index(&reader));
    auto* const map = dynamic_cast<faiss::IndexIDMap*>(read.get());
    auto* const flat = map == nullptr ? nullptr : dynamic_cast<faiss::IndexFlat*>(map->index);
    const Method method = settings.method == 1 ? Method::Cosine : Method::Euclidean;
    if (flat == nullptr || settings.kValue < 1 || settings.method > 1 ||
        flat->metric_type != (method == Method::Cosine ? faiss::METRIC_INNER_PRODUCT : faiss::METRIC_L2) ||
        map->id_map.size() != size_t(flat->ntotal) || flat->codes.size() != flat->ntotal * flat->code_size) {
        throw refuse("holds another index");
    }

    ANN ann(flat->d, settings.kValue, settings.threshold, method);
    ann.index_ = BoundedFlat::take(std::move(*flat));
    ann.ids_.assign(map->id_map.begin(), map->id_map.end());
    ann.nextId_ = settings.nextId;
    ann.rows_.reserve(ann.ids_.size());
    for (size_t row = 0; row < ann.ids_.size(); row++) {
        if (ann.ids_[row] < 0 || ann.ids_[row] > kMaxId || !ann.rows_.emplace(ann.ids_[row], row).second) {
            throw refuse("holds an id that is invalid or comes twice");
        }
    }
    return ann;
}

} // namespace faiss_vision
