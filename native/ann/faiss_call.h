#pragma once

#include <string>

#include <faiss/impl/FaissException.h>

#include "ann/type_name.h"
#include "error.h"

namespace faiss_vision {

/// The text of a FAISS exception without the function, file and line it was thrown at.
inline std::string plainText(const faiss::FaissException& exception) {
    const std::string& text = exception.msg;
    const size_t file = text.find(".cpp:") != std::string::npos ? text.find(".cpp:") : text.find(".h:");
    const size_t colon = file == std::string::npos ? std::string::npos : text.find(": ", file);
    std::string plain = colon == std::string::npos ? text : text.substr(colon + 2);
    // FAISS_THROW_IF_NOT prints the condition; with a message behind it, the message is what a caller understands.
    const std::string failed = " failed: ";
    if (plain.rfind("Error: '", 0) == 0 && plain.find(failed) != std::string::npos && plain.back() != ' ') {
        plain = plain.substr(plain.find(failed) + failed.size());
    }
    while (!plain.empty() && (plain.back() == ' ' || plain.back() == '\n')) plain.pop_back();
    return plain;
}

/// Calls into FAISS; what it refuses becomes ERR_FAISS.
/// @param what  what could not be done, and `index` to whom: put together only where it is wanted
template <class Index, class Call>
auto faissCall(const char* what, const Index& index, Call call) -> decltype(call()) {
    try {
        return call();
    } catch (const faiss::FaissException& exception) {
        throw Error("ERR_FAISS", std::string("FAISS could not ") + what + " an " + typeName(index) + ": " + plainText(exception));
    }
}

/// Whether FAISS says that a type cannot do this at all.
inline bool notImplemented(const faiss::FaissException& exception) {
    const std::string text = plainText(exception);
    return text.find("not implemented") != std::string::npos || text.find("not supported") != std::string::npos ||
           text.find("not possible") != std::string::npos;
}

/// What a type cannot do, and how to do without.
template <class Index>
Error unsupported(const Index& index, const std::string& what, const std::string& wayRound) {
    return Error("ERR_UNSUPPORTED", "an " + typeName(index) + " cannot " + what + ". " + wayRound);
}

} // namespace faiss_vision
