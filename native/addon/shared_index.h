#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "addon/queue.h"
#include "ann/basic_index.h"
#include "error.h"

namespace faiss_vision {

/// The index and its queue, of all environments that opened it; lives on while a task uses it.
template <class V>
struct SharedIndex {
    using Core = BasicIndex<V>;

    explicit SharedIndex(std::shared_ptr<Queue> queue) : queue(std::move(queue)) {}

    void take(Core&& made) {
        index.emplace(std::move(made));
        dimension = index->dimension();
        width = index->width();
        metric = index->metric();
        changed();
    }

    /// After each change, on the thread that made it: what these say meanwhile needs no turn in the queue.
    void changed() {
        size = index ? index->size() : 0;
        bytes = index ? int64_t(index->bytes()) : 0;
        trained = index && index->trained();
    }

    Core& core() {
        if (!index) throw Error("ERR_CLOSED", "this index was closed");
        return *index;
    }

    /// By key, so that another environment can open it. Weak: a key keeps nothing alive.
    static std::shared_ptr<SharedIndex> find(const std::string& key) {
        const std::lock_guard<std::mutex> lock(registryMutex());
        const auto found = registry().find(key);
        return found == registry().end() ? nullptr : found->second.lock();
    }
    static std::string publish(const std::shared_ptr<SharedIndex>& shared) {
        const std::lock_guard<std::mutex> lock(registryMutex());
        if (!shared->key.empty()) return shared->key;
        std::random_device random; // not to be guessed: who has the key has the index
        static const char digits[] = "0123456789abcdef";
        for (int i = 0; i < 32; i++) shared->key += digits[random() % 16];
        registry().emplace(shared->key, shared);
        return shared->key;
    }
    ~SharedIndex() {
        const std::lock_guard<std::mutex> lock(registryMutex());
        if (!key.empty()) registry().erase(key);
    }

    const std::shared_ptr<Queue> queue;
    std::optional<Core> index;
    int dimension = 0;
    int64_t width = 0;
    faiss::MetricType metric = faiss::METRIC_L2;
    std::atomic<int64_t> size{0};
    std::atomic<int64_t> bytes{0};
    std::atomic<bool> trained{false};
    std::atomic<int> openings{1};
    std::string key;

private:
    static std::mutex& registryMutex() {
        static std::mutex mutex;
        return mutex;
    }
    static std::unordered_map<std::string, std::weak_ptr<SharedIndex>>& registry() {
        static std::unordered_map<std::string, std::weak_ptr<SharedIndex>> registry;
        return registry;
    }
};

/// A search that waits. Those of few vectors, without a filter, that ask for the same run as one.
template <class V>
class SearchWork : public Work {
public:
    using Component = typename V::Component;
    using Distance = typename V::Distance;

    /// @param x          n x width components
    /// @param mayJoin    whether it is one of few vectors, whose memory is nobody else's
    /// @param distances  n x k, as `labels`; stay where they are until the task is settled
    SearchWork(std::shared_ptr<SharedIndex<V>> index, int64_t n, std::shared_ptr<const Component> x, bool mayJoin, int64_t k, Distance* distances,
               int64_t* labels, SearchOptions options)
        : index_(std::move(index)), n_(n), x_(std::move(x)), mayJoin_(mayJoin && options.filter == nullptr), k_(k), distances_(distances),
          labels_(labels), options_(std::move(options)) {}

    void run() override { index_->core().search(n_, x_.get(), k_, distances_, labels_, options_); }
    bool reads() const override { return true; }

    bool joins(const Work& work) const override {
        if (!mayJoin_) return false;
        const auto* const other = dynamic_cast<const SearchWork*>(&work);
        return other != nullptr && other->mayJoin_ && k_ == other->k_ && options_.parameters == other->options_.parameters;
    }

    /// One search on a GPU takes about as long as a hundred together.
    bool gathers() const override { return mayJoin_ && index_->index && index_->index->onGpu(); }

    void runWith(const std::vector<Work*>& others) override {
        std::vector<SearchWork*> all{this};
        for (Work* const work : others) all.push_back(static_cast<SearchWork*>(work));
        const int64_t width = index_->width;
        int64_t n = 0;
        for (const SearchWork* const search : all) n += search->n_;
        std::vector<Component> x(n * width);
        std::vector<Distance> distances(n * k_);
        std::vector<int64_t> labels(n * k_);
        Component* to = x.data();
        for (const SearchWork* const search : all) to = std::copy_n(search->x_.get(), search->n_ * width, to);

        index_->core().search(n, x.data(), k_, distances.data(), labels.data(), options_);

        int64_t begin = 0;
        for (const SearchWork* const search : all) {
            std::copy_n(distances.data() + begin, search->n_ * k_, search->distances_);
            std::copy_n(labels.data() + begin, search->n_ * k_, search->labels_);
            begin += search->n_ * k_;
        }
    }

private:
    const std::shared_ptr<SharedIndex<V>> index_;
    const int64_t n_;
    const std::shared_ptr<const Component> x_;
    const bool mayJoin_;
    const int64_t k_;
    Distance* const distances_;
    int64_t* const labels_;
    const SearchOptions options_;
};

} // namespace faiss_vision
