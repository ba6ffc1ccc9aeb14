#pragma once

#include <cstdlib>
#include <cxxabi.h>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>

#include <faiss/Index.h>

#include "ann/gpu.h"

namespace faiss_vision {

/// The name of an object's class as FAISS's users know it: "IndexIVFFlat".
template <class T>
std::string typeName(const T& object) {
    if constexpr (std::is_base_of_v<faiss::Index, T>) {
        if (const auto* const gpu = dynamic_cast<const GpuIndex*>(&object)) return gpu->cpuType();
    }
    struct Free {
        void operator()(char* text) const { std::free(text); }
    };
    int status = 0;
    const std::unique_ptr<char, Free> text(abi::__cxa_demangle(typeid(object).name(), nullptr, nullptr, &status));
    std::string name = status == 0 ? text.get() : typeid(object).name();
    if (name == "faiss_vision::BoundedFlat") return object.metric_type == faiss::METRIC_L2 ? "IndexFlatL2" : "IndexFlatIP"; // to FAISS
    const auto replace = [&](const std::string& from, const std::string& to) {
        for (size_t at; (at = name.find(from)) != std::string::npos;) name.replace(at, from.size(), to);
    };
    replace("faiss::", "");
    const bool binary = name.find("<IndexBinary>") != std::string::npos;
    replace("<IndexBinary>", "");
    replace("<Index>", "");
    replace("Template", "");
    if (binary) replace("IndexIDMap", "IndexBinary\x01"); // not to be found again
    replace("\x01", "IDMap");
    return name;
}

} // namespace faiss_vision
