#include "addon/environment.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "addon/errors.h"

namespace faiss_vision {

namespace {

class FunctionWork : public Work {
public:
    explicit FunctionWork(std::function<void()> function) : function_(std::move(function)) {}
    void run() override { function_(); }

private:
    const std::function<void()> function_;
};

} // namespace

/// A task with a promise. Its references and its promise are touched on the JavaScript thread only.
class Environment::Promised : public Task {
public:
    Promised(Environment& environment, std::unique_ptr<Work> work, Result result, double ticket)
        : Task(&environment, std::move(work), ticket), environment_(environment), result_(std::move(result)) {}

    ~Promised() override {
        for (const napi_ref reference : held_) napi_delete_reference(environment_.env_, reference);
    }

    napi_value promise() {
        napi_value promise;
        if (napi_create_promise(environment_.env_, &deferred_, &promise) != napi_ok) throw Napi::Error::New(environment_.env_);
        return promise;
    }

    void hold(napi_value value) {
        held_.reserve(held_.size() + 1);
        napi_ref reference;
        if (napi_create_reference(environment_.env_, value, 1, &reference) != napi_ok) throw Napi::Error::New(environment_.env_);
        held_.push_back(reference);
    }

    void settle(std::unique_ptr<Task> self) noexcept override {
        work_.reset(); // what it holds may be large, and need not wait for the event loop
        environment_.deliver(std::unique_ptr<Promised>(static_cast<Promised*>(self.release())));
    }

    /// On the JavaScript thread. Where the environment is being ended under it, nobody waits any more.
    void settlePromise() {
        Napi::HandleScope scope(environment_.env_);
        if (failure_ == nullptr) {
            try {
                napi_value first = nullptr;
                if (!held_.empty()) napi_get_reference_value(environment_.env_, held_.front(), &first);
                const Napi::Env env = environment_.env_;
                napi_resolve_deferred(env, deferred_, result_(env, first == nullptr ? env.Undefined() : Napi::Value(env, first)));
                return;
            } catch (...) {
                failure_ = std::current_exception();
            }
        }
        const napi_value error = toJavaScript(environment_.env_, failure_);
        if (error != nullptr) napi_reject_deferred(environment_.env_, deferred_, error);
    }

private:
    Environment& environment_;
    Result result_;
    napi_deferred deferred_ = nullptr;
    std::vector<napi_ref> held_;
};

/// The way of a number from any thread to a JavaScript function.
class Environment::Reporter : public std::enable_shared_from_this<Reporter> {
public:
    Reporter(Environment& environment, Napi::Function function)
        : environment_(environment), function_(Napi::Persistent(function)) {}

    void report(double number) {
        {
            const std::lock_guard<std::mutex> lock(environment_.mutex_);
            number_ = number;
            if (std::exchange(waiting_, true)) return;
            environment_.reported_.push_back(shared_from_this());
        }
        environment_.wake();
    }

    /// Under the environment's lock.
    double take() {
        waiting_ = false;
        return number_;
    }

    void call(double number) {
        const Napi::Env env = environment_.env_;
        const Napi::HandleScope scope(env);
        const napi_value argument = Napi::Number::New(env, number);
        napi_value result, error;
        if (napi_call_function(env, env.Undefined(), function_.Value(), 1, &argument, &result) == napi_pending_exception &&
            napi_get_and_clear_last_exception(env, &error) == napi_ok) {
            napi_fatal_exception(env, error); // as where any other callback throws: 'uncaughtException'
        }
    }

private:
    Environment& environment_;
    Napi::FunctionReference function_;
    double number_ = 0;
    bool waiting_ = false;
};

void Environment::open(Napi::Env env, Pool::Prepare prepare) {
    auto environment = std::make_unique<Environment>(env, prepare);
    env.SetInstanceData(environment.release()); // deleted by Node with the environment
}

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

Environment::Environment(Napi::Env env, Pool::Prepare prepare) : env_(env), pool_(Pool::shared(prepare)) {
    const auto onWake = [](napi_env env, napi_value, void* self, void*) {
        if (env != nullptr) static_cast<Environment*>(self)->settleDelivered();
    };
    const napi_value name = Napi::String::New(env, "faiss-vision");
    const auto check = [&](napi_status status) { if (status != napi_ok) throw Napi::Error::New(env); };
    check(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, onWake, &wake_));
    check(napi_unref_threadsafe_function(env, wake_));
    // After the thread-safe function, so that it runs before that one's own end: hooks run last in, first out.
    check(napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Environment*>(self)->close(); }, this));
}

std::shared_ptr<Queue> Environment::makeQueue(size_t lanes) {
    auto queue = std::make_shared<Queue>(pool_, lanes);
    useQueue(queue);
    return queue;
}

void Environment::useQueue(const std::shared_ptr<Queue>& queue) {
    queues_.erase(std::remove_if(queues_.begin(), queues_.end(), [](const auto& queue) { return queue.expired(); }), queues_.end());
    queues_.push_back(queue);
}

Napi::Value Environment::submit(const std::shared_ptr<Queue>& queue, std::unique_ptr<Work> work, Result result,
                                const std::vector<Napi::Value>& held, const Submission& submission) {
    if (closed_) throw Error("ERR_CLOSED", "this thread is ending");
    if (submission.limit != std::numeric_limits<size_t>::max() && queue->waiting() >= submission.limit) {
        throw Error("ERR_QUEUE_FULL", "the queue is full: " + std::to_string(submission.limit) + " operations wait, which is the limit that was set");
    }
    auto task = std::make_unique<Promised>(*this, std::move(work), std::move(result), submission.ticket);
    for (const auto& value : held) task->hold(value);
    const napi_value promise = task->promise();
    if (submission.other == nullptr) queue->push(std::move(task));
    else Queue::pushBoth(queue, submission.other, std::move(task));
    if (pending_++ == 0) napi_ref_threadsafe_function(env_, wake_);
    return Napi::Value(env_, promise);
}

Napi::Value Environment::submit(const std::shared_ptr<Queue>& queue, std::function<void()> work, Result result,
                                const std::vector<Napi::Value>& held) {
    return submit(queue, std::make_unique<FunctionWork>(std::move(work)), std::move(result), held, {});
}

Napi::Value Environment::makeScratch() {
    const Napi::Env env = env_;
    auto inputs = Napi::Float32Array::New(env, Scratch::kInputs);
    auto distances = Napi::Float32Array::New(env, Scratch::kResults);
    auto labels = Napi::BigInt64Array::New(env, Scratch::kResults);
    scratch_.inputs = inputs.Data();
    scratch_.distances = distances.Data();
    scratch_.labels = labels.Data();
    auto object = Napi::Object::New(env);
    object.Set("inputs", inputs);
    object.Set("distances", distances);
    object.Set("labels", labels);
    return object;
}

std::function<void(double)> Environment::reporter(Napi::Function function) {
    const auto reporter = std::shared_ptr<Reporter>(std::make_shared<Reporter>(*this, function));
    return [reporter](double number) { reporter->report(number); };
}

/// Outside the lock, which the JavaScript thread wants as soon as it is awake.
void Environment::wake() {
    if (!awake_.exchange(true)) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Environment::deliver(std::unique_ptr<Promised> task) noexcept {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        delivered_.push_back(std::move(task));
    }
    wake();
}

void Environment::settleDelivered() {
    std::vector<std::unique_ptr<Promised>> delivered;
    std::vector<std::shared_ptr<Reporter>> reported;
    std::vector<double> numbers;
    awake_ = false; // before the lock: what is delivered from here on wakes again
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        delivered.swap(delivered_);
        reported.swap(reported_);
        for (const auto& reporter : reported) numbers.push_back(reporter->take());
    }
    pending_ -= delivered.size();
    if (pending_ == 0) napi_unref_threadsafe_function(env_, wake_);
    for (size_t i = 0; i < reported.size(); i++) reported[i]->call(numbers[i]);
    for (const auto& task : delivered) task->settlePromise();
}

void Environment::close(const Napi::CallbackInfo& info) { of(info.Env()).close(); }

void Environment::close() {
    if (closed_) return;
    closed_ = true;
    for (const auto& weak : queues_) {
        if (const auto queue = weak.lock()) queue->withdraw(this);
    }
    delivered_.clear();
    reported_.clear();
    napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

} // namespace faiss_vision
