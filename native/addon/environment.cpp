#include "addon/environment.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "addon/errors.h"

namespace faiss_vision {

/// A task with a promise. Its references and its promise are touched on the JavaScript thread only.
class Environment::Promised : public Task {
public:
    Promised(Environment& environment, std::function<void()> work, Result result)
        : Task(&environment), environment_(environment), work_(std::move(work)), result_(std::move(result)) {}

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

    void run() noexcept override {
        try {
            work_();
        } catch (...) {
            failure_ = std::current_exception();
        }
        work_ = nullptr; // what it captured may be large, and need not wait for the event loop
    }

    void settle(std::unique_ptr<Task> self) noexcept override {
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
    std::function<void()> work_;
    Result result_;
    napi_deferred deferred_ = nullptr;
    std::vector<napi_ref> held_;
    std::exception_ptr failure_;
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

std::shared_ptr<Queue> Environment::makeQueue() {
    queues_.erase(std::remove_if(queues_.begin(), queues_.end(), [](const auto& queue) { return queue.expired(); }), queues_.end());
    auto queue = std::make_shared<Queue>(pool_);
    queues_.push_back(queue);
    return queue;
}

Napi::Value Environment::submit(Queue& queue, std::function<void()> work, Result result,
                                const std::vector<Napi::Value>& held) {
    if (closed_) throw Error("ERR_CLOSED", "this thread is ending");
    auto task = std::make_unique<Promised>(*this, std::move(work), std::move(result));
    for (const auto& value : held) task->hold(value);
    const napi_value promise = task->promise();
    queue.push(std::move(task));
    if (pending_++ == 0) napi_ref_threadsafe_function(env_, wake_);
    return Napi::Value(env_, promise);
}

void Environment::deliver(std::unique_ptr<Promised> task) noexcept {
    bool first;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        first = delivered_.empty();
        delivered_.push_back(std::move(task));
    }
    if (first) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Environment::settleDelivered() {
    std::vector<std::unique_ptr<Promised>> delivered;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        delivered.swap(delivered_);
    }
    pending_ -= delivered.size();
    if (pending_ == 0) napi_unref_threadsafe_function(env_, wake_);
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
    napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

} // namespace faiss_vision
