#include "addon/index_binding.h"

#include <algorithm>
#include <future>
#include <optional>
#include <type_traits>
#include <utility>

#include "addon/arguments.h"
#include "addon/errors.h"
#include "addon/filter_argument.h"
#include "addon/given_vectors.h"
#include "addon/gpu_argument.h"
#include "addon/metrics.h"
#include "ann/factory.h"
#include "ann/finite.h"

namespace faiss_vision {

namespace {

template <class T>
Napi::TypedArrayOf<T> copied(Napi::Env env, const T* from, size_t n) {
    auto array = Napi::TypedArrayOf<T>::New(env, n);
    std::copy_n(from, n, array.Data());
    return array;
}

Napi::Array copiedNumbers(Napi::Env env, const std::vector<int>& numbers) {
    auto array = Napi::Array::New(env, numbers.size());
    for (size_t i = 0; i < numbers.size(); i++) array.Set(uint32_t(i), Napi::Number::New(env, numbers[i]));
    return array;
}

Progress progressArgument(Napi::Value value) {
    if (value.IsUndefined()) return nullptr;
    if (!value.IsFunction()) refuse("onProgress", "a function", value);
    return Environment::of(value.Env()).reporter(value.As<Napi::Function>());
}

// Ends a wait instead of settling a promise.
class Awaited : public Task {
public:
    Awaited(std::unique_ptr<Work> work, std::promise<void> done) : Task(nullptr, std::move(work)), done_(std::move(done)) {}
    void settle(std::unique_ptr<Task>) noexcept override {
        work_.reset();
        if (failure_ != nullptr) done_.set_exception(failure_);
        else done_.set_value();
    }

private:
    std::promise<void> done_;
};

class MergeWork : public Work {
public:
    explicit MergeWork(std::function<void()> merge) : merge_(std::move(merge)) {}
    void run() override { merge_(); }

private:
    const std::function<void()> merge_;
};

template <class V>
class ReadWork : public Work {
public:
    ReadWork(std::shared_ptr<SharedIndex<V>> shared, std::function<void()> work) : shared_(std::move(shared)), work_(std::move(work)) {}
    void run() override { work_(); }
    bool reads() const override { return true; }

private:
    const std::shared_ptr<SharedIndex<V>> shared_; // the work may refer to it
    const std::function<void()> work_;
};

template <class Call>
Napi::Value either(const Napi::CallbackInfo& info, Call call) {
    return info[0].ToBoolean() ? guarded(info, call) : promised(info, call);
}

Napi::Value nothing(Napi::Env env) { return env.Undefined(); }

constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();

} // namespace

template <class V>
Napi::Function IndexBinding<V>::define(Napi::Env env, const char* name) {
    using B = IndexBinding<V>;
    return B::DefineClass(env, name, {
        B::template InstanceMethod<&B::load>("load"), B::template InstanceMethod<&B::fromBuffer>("fromBuffer"),
        B::template InstanceMethod<&B::train>("train"), B::template InstanceMethod<&B::add>("add"),
        B::template InstanceMethod<&B::search>("search"), B::template InstanceMethod<&B::rangeSearch>("rangeSearch"),
        B::template InstanceMethod<&B::searchScratch>("searchScratch"), B::template InstanceMethod<&B::remove>("remove"), B::template InstanceMethod<&B::reconstruct>("reconstruct"),
        B::template InstanceMethod<&B::mergeFrom>("mergeFrom"), B::template InstanceMethod<&B::reset>("reset"),
        B::template InstanceMethod<&B::get>("get"), B::template InstanceMethod<&B::set>("set"),
        B::template InstanceMethod<&B::to>("to"),
        B::template InstanceMethod<&B::describe>("describe"), B::template InstanceMethod<&B::save>("save"),
        B::template InstanceMethod<&B::toBuffer>("toBuffer"), B::template InstanceMethod<&B::close>("close"),
        B::template InstanceMethod<&B::cancel>("cancel"), B::template InstanceMethod<&B::share>("share"),
        B::template InstanceMethod<&B::limit>("limit"), B::template InstanceMethod<&B::size>("size"),
        B::template InstanceMethod<&B::trained>("trained"), B::template InstanceMethod<&B::waiting>("waiting"),
        B::template InstanceMethod<&B::about>("about"),
    });
}

template <class V>
IndexBinding<V>::IndexBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IndexBinding<V>>(info) {
    guarded(info, [&]() -> Napi::Value {
        Environment& environment = Environment::of(info.Env());
        if (info.Length() == 1) {
            const std::string key = stringArgument(info[0], "handle");
            shared_ = Shared::find(key);
            if (shared_ == nullptr || shared_->openings == 0) {
                shared_ = nullptr;
                throw Error("ERR_CLOSED", "`handle` must be of an index that is still open in some thread of this process");
            }
            shared_->openings++;
            attached_ = true;
            environment.useQueue(shared_->queue);
            return info.Env().Undefined();
        }
        shared_ = std::make_shared<Shared>(environment.makeQueue());
        if (info.Length() == 0) return info.Env().Undefined();
        const std::string description = stringArgument(info[1], "description");
        if constexpr (std::is_same_v<V, FloatVectors>) {
            const int dimension = int(integerArgument(info[0], "dimension", 1, 1 << 20));
            const Exact exact = exactArgument(info[3]);
            Core core(makeIndex(dimension, description, metricArgument(info[2], "metric")), exact);
            if (!info[4].IsUndefined()) core.moveTo(placementArgument(info[4], info[5], info[6]));
            shared_->take(std::move(core));
        } else {
            const int bits = int(integerArgument(info[0], "dimension", 8, 1 << 20));
            if (bits % 8 != 0) refuse("dimension", "a multiple of 8, the number of bits", info[0]);
            shared_->take(Core(makeBinaryIndex(bits, description)));
        }
        return info.Env().Undefined();
    });
}

template <class V>
void IndexBinding<V>::Finalize(Napi::BasicEnv env) {
    if (shared_ != nullptr && !closed_) shared_->openings--;
    shared_.reset();
    accountMemory(env);
}

template <class V>
void IndexBinding<V>::accountMemory(Napi::BasicEnv env) {
    const int64_t now = shared_ == nullptr || attached_ ? 0 : shared_->bytes.load();
    if (now != accounted_) Napi::MemoryManagement::AdjustExternalMemory(env, now - accounted_);
    accounted_ = now;
}

template <class V>
typename IndexBinding<V>::Shared& IndexBinding<V>::open() const {
    if (closed_) throw Error("ERR_CLOSED", "this index was closed");
    return *shared_;
}

template <class V>
Environment::Submission IndexBinding<V>::submission(double ticket) const {
    Environment::Submission submission;
    submission.ticket = ticket;
    submission.limit = limit_;
    return submission;
}

template <class V>
Napi::Value IndexBinding<V>::read(const Napi::CallbackInfo& info, std::function<void()> work, Result result,
                                  const std::vector<Napi::Value>& held, double ticket) {
    if (info[0].ToBoolean()) {
        open().queue->runNow(work);
        return result(info.Env());
    }
    return Environment::of(info.Env()).submit(open().queue, std::make_unique<ReadWork<V>>(shared_, std::move(work)),
                                              [result = std::move(result)](Napi::Env env, Napi::Value) { return result(env); }, held, submission(ticket));
}

template <class V>
Napi::Value IndexBinding<V>::change(const Napi::CallbackInfo& info, std::function<void()> work, Result result, std::vector<Napi::Value> held) {
    auto changing = [shared = shared_, work = std::move(work)] {
        // Also where it fails: FAISS may have come some of the way.
        struct Changed {
            Shared& shared;
            ~Changed() { shared.changed(); }
        } changed{*shared};
        work();
    };
    if (info[0].ToBoolean()) {
        open().queue->runNow(changing);
        accountMemory(info.Env());
        return result(info.Env());
    }
    class Change : public Work {
    public:
        explicit Change(std::function<void()> work) : work_(std::move(work)) {}
        void run() override { work_(); }

    private:
        const std::function<void()> work_;
    };
    held.push_back(info.This()); // so that `this` is still there when the memory is accounted for
    return Environment::of(info.Env()).submit(
        open().queue, std::make_unique<Change>(std::move(changing)),
        [this, result = std::move(result)](Napi::Env env, Napi::Value) {
            accountMemory(env);
            return result(env);
        },
        held, submission());
}

/// (sync, path, exact)
template <class V>
Napi::Value IndexBinding<V>::load(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const Exact exact = exactArgument(info[2]);
        return change(info, [shared = &open(), path = stringArgument(info[1], "path"), exact] { shared->take(Core::load(path, exact)); }, nothing);
    });
}

/// (sync, bytes)
template <class V>
Napi::Value IndexBinding<V>::fromBuffer(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const auto bytes = std::make_shared<Input<uint8_t>>(bytesArgument(info[1], "bytes"));
        const auto held = bytes->takeHeld();
        return change(info, [shared = &open(), bytes] { shared->take(Core::fromBytes(bytes->data(), bytes->size())); }, nothing, held);
    });
}

/// (sync, x, onProgress)
template <class V>
Napi::Value IndexBinding<V>::train(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        Shared& shared = open();
        const auto x = std::make_shared<Input<typename V::Component>>(vectors<V>(info[1], "vectors", shared.dimension, shared.width));
        const auto held = x->takeHeld();
        const Progress progress = progressArgument(info[2]);
        const int64_t n = int64_t(x->size()) / shared.width;
        // The result keeps `progress` too, so that the function it holds is let go of on the JavaScript thread.
        return change(info, [&shared, x, n, progress] { shared.core().train(n, x->data(), progress); }, [progress](Napi::Env env) { return nothing(env); }, held);
    });
}

/// (sync, x, ids, onProgress)
template <class V>
Napi::Value IndexBinding<V>::add(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        Shared& shared = open();
        const auto ids = std::make_shared<std::vector<int64_t>>();
        if (!info[2].IsUndefined()) *ids = idsArgument(info[2], "ids", kMaxId);
        Given<V> given(info[1], shared);
        const auto held = std::move(given.held);
        if (!info[2].IsUndefined() && int64_t(ids->size()) != given.n) {
            throw Error("ERR_INVALID_ARGUMENT", "`ids` must be as many as the vectors, " + std::to_string(given.n) + ", got " + std::to_string(ids->size()));
        }
        const Progress progress = progressArgument(info[3]);
        const auto add = [&shared, given, ids, progress] {
            given.use(shared.core(), [&](const typename V::Component* x, bool onGpu) {
                shared.core().add(given.n, x, ids->empty() ? nullptr : ids->data(), progress, onGpu);
            });
        };
        return change(info, add, [progress](Napi::Env env) { return nothing(env); }, held);
    });
}

/// (sync, x, k, params, filter, ticket): { distances, labels }
template <class V>
Napi::Value IndexBinding<V>::search(const Napi::CallbackInfo& info) {
    return either(info, [&]() -> Napi::Value {
        Shared& shared = open();
        const int64_t k = integerArgument(info[2], "k", 1, std::numeric_limits<int32_t>::max());
        SearchOptions options = searchOptions(info[3], info[4]); // before the vectors: getters run here, and may take memory away
        Given<V> given(info[1], shared);
        const int64_t n = given.n;
        if (n * k > int64_t{1} << 32) refuse("k", "such that there are at most 2^32 results, with " + std::to_string(n) + " vectors", info[2]);
        if constexpr (std::is_same_v<V, FloatVectors>) {
            if (given.copied) checkFinite(given.array.get(), n, shared.dimension, "vectors"); // now, so that it spoils no batch
        }

        // Results lie in arrays that JavaScript owns from the start, and are written in place.
        const Napi::Env env = info.Env();
        auto distances = Napi::TypedArrayOf<typename V::Distance>::New(env, n * k);
        auto labels = Napi::BigInt64Array::New(env, n * k);
        auto object = Napi::Object::New(env);
        object.Set("distances", distances);
        object.Set("labels", labels);
        std::vector<Napi::Value> held{object}; // and with it its arrays
        for (const auto& value : given.held) held.push_back(value);
        given.held.clear();
        if (info[0].ToBoolean()) {
            shared.queue->runNow([&] { searchGiven(shared, given, k, distances.Data(), labels.Data(), options); });
            return object;
        }
        std::unique_ptr<Work> work;
        if (given.there == nullptr) {
            work = std::make_unique<SearchWork<V>>(shared_, n, given.array, given.copied, k, distances.Data(), labels.Data(), std::move(options));
        } else {
            work = std::make_unique<ReadWork<V>>(shared_, [&shared, given, k, distances = distances.Data(), labels = labels.Data(), options] {
                searchGiven(shared, given, k, distances, labels, options);
            });
        }
        return Environment::of(env).submit(shared.queue, std::move(work), [](Napi::Env, Napi::Value result) { return result; }, held,
                                           submission(numberArgument(info[5], "ticket")));
    });
}

/// (sync, n, k): a search of n x k at most kResults, on this thread, from the scratch's inputs into its results. Without
/// `sync` only where it is quick and nothing is under way: returns whether it was done.
template <class V>
Napi::Value IndexBinding<V>::searchScratch(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
        bool done = false;
        if constexpr (std::is_same_v<V, FloatVectors>) {
            Shared& shared = open();
            const int64_t n = info[1].As<Napi::Number>();
            const int64_t k = info[2].As<Napi::Number>();
            const auto& scratch = Environment::of(info.Env()).scratch();
            if (n < 1 || k < 1 || n > int64_t(scratch.kInputs) / shared.width || k > int64_t(scratch.kResults) / n) throw Error("ERR_INTERNAL", "too much for the scratch");
            const auto search = [&] { shared.core().search(n, scratch.inputs, k, scratch.distances, scratch.labels); };
            if (info[0].ToBoolean()) {
                shared.queue->runNow(search);
                done = true;
            } else {
                shared.queue->tryNow([&] {
                    if ((done = shared.core().quick(n))) search();
                });
            }
        }
        return Napi::Boolean::New(info.Env(), done);
    });
}

/// (sync, x, radius, params, filter, ticket): { limits, distances, labels }
template <class V>
Napi::Value IndexBinding<V>::rangeSearch(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        Shared& shared = open();
        const double radius = numberArgument(info[2], "radius");
        const auto options = std::make_shared<SearchOptions>(searchOptions(info[3], info[4]));
        const auto x = std::make_shared<Input<typename V::Component>>(vectors<V>(info[1], "vectors", shared.dimension, shared.width));
        const auto held = x->takeHeld();
        const int64_t n = int64_t(x->size()) / shared.width;
        const auto found = std::make_shared<faiss::RangeSearchResult>(n);
        return read(info, [&shared, x, n, radius, options, found] { shared.core().rangeSearch(n, x->data(), radius, *found, *options); },
                    [found, n](Napi::Env env) -> Napi::Value {
                        const size_t total = found->lims[n];
                        if (total > std::numeric_limits<uint32_t>::max()) {
                            throw Error("ERR_RESULT_TOO_LARGE", "`radius` must find at most 2^32 - 1 vectors in one call, it finds " + std::to_string(total));
                        }
                        auto limits = Napi::Uint32Array::New(env, n + 1);
                        std::copy_n(found->lims, n + 1, limits.Data());
                        auto distances = Napi::TypedArrayOf<typename V::Distance>::New(env, total);
                        std::copy_n(found->distances, total, distances.Data()); // FAISS has floats for Hamming distances too
                        auto object = Napi::Object::New(env);
                        object.Set("limits", limits);
                        object.Set("distances", distances);
                        object.Set("labels", copied(env, found->labels, total));
                        return object;
                    }, held, numberArgument(info[5], "ticket"));
    });
}

/// (sync, ids): how many
template <class V>
Napi::Value IndexBinding<V>::remove(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const auto ids = std::make_shared<std::vector<int64_t>>(idsArgument(info[1], "ids", kMaxId));
        const auto removed = std::make_shared<int64_t>(0);
        return change(info, [shared = &open(), ids, removed] { *removed = shared->core().remove(int64_t(ids->size()), ids->data()); },
                      [removed](Napi::Env env) { return Napi::Number::New(env, double(*removed)); });
    });
}

/// (sync, ids): n x width
template <class V>
Napi::Value IndexBinding<V>::reconstruct(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        Shared& shared = open();
        const auto ids = std::make_shared<std::vector<int64_t>>(idsArgument(info[1], "ids", kMaxId));
        const auto x = std::make_shared<std::vector<typename V::Component>>(ids->size() * shared.width);
        return read(info, [&shared, ids, x] { shared.core().reconstruct(int64_t(ids->size()), ids->data(), x->data()); },
                    [x](Napi::Env env) { return copied(env, x->data(), x->size()); });
    });
}

/// (sync, other, addId)
template <class V>
Napi::Value IndexBinding<V>::mergeFrom(const Napi::CallbackInfo& info) {
    return either(info, [&]() -> Napi::Value {
        Shared& shared = open();
        IndexBinding* const binding = IndexBinding::Unwrap(info[1].As<Napi::Object>());
        Shared& other = binding->open();
        if (&other == &shared) throw Error("ERR_INVALID_ARGUMENT", "`other` must be another index, got the index itself");
        const int64_t addId = info[2].IsUndefined() ? 0 : idArgument(info[2], "addId", kMaxId);
        auto work = std::make_unique<MergeWork>([shared = shared_, from = binding->shared_, addId] {
            shared->core().mergeFrom(from->core(), addId);
            shared->changed();
            from->changed();
        });
        const auto account = [this, binding](Napi::Env env) {
            accountMemory(env);
            binding->accountMemory(env);
            return nothing(env);
        };
        if (info[0].ToBoolean()) {
            std::promise<void> done;
            auto finished = done.get_future();
            Queue::pushBoth(shared.queue, other.queue, std::make_unique<Awaited>(std::move(work), std::move(done)));
            finished.get();
            return account(info.Env());
        }
        auto submitted = submission();
        submitted.other = other.queue;
        return Environment::of(info.Env()).submit(shared.queue, std::move(work), [account](Napi::Env env, Napi::Value) { return account(env); },
                                                  {info.This(), info[1]}, submitted);
    });
}

/// (sync)
template <class V>
Napi::Value IndexBinding<V>::reset(const Napi::CallbackInfo& info) {
    return either(info, [&] { return change(info, [shared = &open()] { shared->core().reset(); }, nothing); });
}

/// (sync, name)
template <class V>
Napi::Value IndexBinding<V>::get(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const auto value = std::make_shared<double>();
        return read(info, [shared = &open(), name = stringArgument(info[1], "name"), value] { *value = shared->core().parameter(name); },
                    [value](Napi::Env env) { return Napi::Number::New(env, *value); });
    });
}

/// (sync, name, value)
template <class V>
Napi::Value IndexBinding<V>::set(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        return change(info, [shared = &open(), name = stringArgument(info[1], "name"), value = numberArgument(info[2], "value")] {
            shared->core().setParameter(name, value);
        }, nothing);
    });
}

/// (sync): { type, dimension, metric, ntotal, isTrained, bytes, devices, parameters }
template <class V>
Napi::Value IndexBinding<V>::describe(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const auto description = std::make_shared<IndexDescription>();
        return read(info, [shared = &open(), description] { *description = shared->core().describe(); },
                    [description](Napi::Env env) -> Napi::Value {
                        auto object = Napi::Object::New(env);
                        object.Set("type", description->type);
                        object.Set("dimension", description->dimension);
                        object.Set("metric", metricName<V>(description->metric));
                        object.Set("ntotal", double(description->size));
                        object.Set("isTrained", description->trained);
                        object.Set("bytes", double(description->bytes));
                        if constexpr (std::is_same_v<V, FloatVectors>) object.Set("exact", description->exact == Exact::Plain ? "plain" : "bounded");
                        if (description->placement) object.Set("devices", copiedNumbers(env, description->placement->devices));
                        auto parameters = Napi::Object::New(env);
                        for (const auto& [name, value] : description->parameters) parameters.Set(name, value);
                        object.Set("parameters", parameters);
                        return object;
                    });
    });
}

/// (sync, devices, shards, float16): to these GPUs, or to the CPU where `devices` is undefined.
template <class V>
Napi::Value IndexBinding<V>::to(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        std::optional<GpuPlacement> placement;
        if (!info[1].IsUndefined()) placement = placementArgument(info[1], info[2], info[3]);
        return change(info, [shared = &open(), placement] { shared->core().moveTo(placement); }, nothing);
    });
}

/// (sync, path, onProgress)
template <class V>
Napi::Value IndexBinding<V>::save(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const Progress progress = progressArgument(info[2]);
        return read(info, [shared = &open(), path = stringArgument(info[1], "path"), progress] { shared->core().save(path, progress); },
                    [progress](Napi::Env env) { return nothing(env); });
    });
}

/// (sync): bytes
template <class V>
Napi::Value IndexBinding<V>::toBuffer(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        const auto bytes = std::make_shared<std::vector<uint8_t>>();
        return read(info, [shared = &open(), bytes] { *bytes = shared->core().toBytes(); },
                    [bytes](Napi::Env env) { return copied(env, bytes->data(), bytes->size()); });
    });
}

/// (sync). The memory is freed once the last of those that opened the index has closed it.
template <class V>
Napi::Value IndexBinding<V>::close(const Napi::CallbackInfo& info) {
    return either(info, [&] {
        limit_ = std::numeric_limits<size_t>::max(); // a full queue is no reason to stay open
        const auto result = change(info, [shared = &open()] {
            if (--shared->openings == 0) shared->index.reset();
        }, nothing);
        closed_ = true;
        return result;
    });
}

/// (ticket): whether that search still waited; it rejects then.
template <class V>
Napi::Value IndexBinding<V>::cancel(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        const auto aborted = std::make_exception_ptr(Error("ERR_ABORTED", "the search was taken out of the queue"));
        const bool waited = shared_->queue->cancel(&Environment::of(info.Env()), numberArgument(info[0], "ticket"), aborted);
        return Napi::Boolean::New(info.Env(), waited);
    });
}

template <class V>
Napi::Value IndexBinding<V>::share(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
        open();
        return Napi::String::New(info.Env(), Shared::publish(shared_));
    });
}

/// (how many operations may wait, Infinity for any number)
template <class V>
Napi::Value IndexBinding<V>::limit(const Napi::CallbackInfo& info) {
    return guarded(info, [&]() -> Napi::Value {
        const bool none = info[0].IsNumber() && info[0].As<Napi::Number>().DoubleValue() == std::numeric_limits<double>::infinity();
        limit_ = none ? std::numeric_limits<size_t>::max() : size_t(integerArgument(info[0], "queueLimit", 1, kMaxSafeInteger));
        return info.Env().Undefined();
    });
}

template <class V>
Napi::Value IndexBinding<V>::size(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), double(shared_->size)); }

template <class V>
Napi::Value IndexBinding<V>::trained(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), shared_->trained); }

template <class V>
Napi::Value IndexBinding<V>::waiting(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), double(shared_->queue->waiting())); }

/// What never changes: { dimension, metric }
template <class V>
Napi::Value IndexBinding<V>::about(const Napi::CallbackInfo& info) {
    auto object = Napi::Object::New(info.Env());
    object.Set("dimension", shared_->dimension);
    object.Set("metric", metricName<V>(shared_->metric));
    return object;
}

template class IndexBinding<FloatVectors>;
template class IndexBinding<BinaryVectors>;

} // namespace faiss_vision
