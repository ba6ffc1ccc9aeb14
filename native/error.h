#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace faiss_vision {

/// The one exception of the native core. `code` is stable (ERR_...) and becomes
/// the `code` of the JavaScript error; the message names what came and what was expected.
class Error : public std::runtime_error {
public:
    Error(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
    const char* code() const noexcept { return code_; }

private:
    const char* code_; // always a string literal
};

} // namespace faiss_vision
