#pragma once

#include <cstdlib>
#include <cxxabi.h>
#include <memory>
#include <string>
#include <typeinfo>

namespace faiss_vision {

/// The name of an object's class without its namespaces: "IndexIVFFlat".
template <class T>
std::string typeName(const T& object) {
    struct Free {
        void operator()(char* text) const { std::free(text); }
    };
    int status = 0;
    const std::unique_ptr<char, Free> text(abi::__cxa_demangle(typeid(object).name(), nullptr, nullptr, &status));
    std::string name = status == 0 ? text.get() : typeid(object).name();
    for (size_t at; (at = name.find("faiss::")) != std::string::npos;) name.erase(at, 7);
    return name;
}

} // namespace faiss_vision
