#pragma once

#include <exception>
#include <new>
#include <string>

#include <napi.h>

#include "error.h"

namespace faiss_vision {

/// The JavaScript error for a C++ one: `code` and message. nullptr where the environment can make none any more.
inline napi_value toJavaScript(napi_env env, const std::exception_ptr& failure) {
    const auto make = [env](const char* code, const char* message) -> napi_value {
        napi_value codeValue, messageValue, error;
        if (napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &codeValue) != napi_ok ||
            napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &messageValue) != napi_ok ||
            napi_create_error(env, codeValue, messageValue, &error) != napi_ok) {
            return nullptr;
        }
        return error;
    };
    try {
        std::rethrow_exception(failure);
    } catch (const Error& error) {
        return make(error.code(), error.what());
    } catch (const Napi::Error& error) {
        return error.Value();
    } catch (const std::bad_alloc&) {
        return make("ERR_OUT_OF_MEMORY", "not enough memory");
    } catch (const std::exception& error) {
        return make("ERR_INTERNAL", error.what()); // FAISS's and torch's own checks: their text names the condition
    }
}

/// Runs a binding; what it throws becomes a JavaScript exception with a code.
template <class Work>
Napi::Value guarded(const Napi::CallbackInfo& info, Work work) {
    try {
        return work();
    } catch (const Napi::Error&) {
        throw;
    } catch (...) {
        const napi_value error = toJavaScript(info.Env(), std::current_exception());
        if (error != nullptr) napi_throw(info.Env(), error);
        return info.Env().Undefined();
    }
}

/// The same for a binding that returns a promise: it rejects, it never throws.
template <class Work>
Napi::Value promised(const Napi::CallbackInfo& info, Work work) {
    std::exception_ptr failure;
    try {
        return work();
    } catch (...) {
        failure = std::current_exception();
    }
    const auto deferred = Napi::Promise::Deferred::New(info.Env());
    const napi_value error = toJavaScript(info.Env(), failure);
    if (error != nullptr) deferred.Reject(error);
    return deferred.Promise();
}

} // namespace faiss_vision
