#pragma once

#include <string>

namespace faiss_vision {

/// What does the matrix products behind FAISS.
struct BlasInfo {
    std::string config;  // OpenBLAS's own line: version, threading, build options
    std::string kernels; // the processor whose kernels are in use, e.g. "SkylakeX"
};

/// Empty strings where the BLAS is not OpenBLAS.
BlasInfo blasInfo();

} // namespace faiss_vision
