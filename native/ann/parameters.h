#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// A setting of an index, under FAISS's own name for it (as in faiss::ParameterSpace; a quantizer's have the prefix
/// "quantizer_").
struct Parameter {
    std::string name;
    double min;
    double max;
    bool whole;
    std::function<double()> get;
    std::function<void(double)> set;
};

/// Those that this type of index has, its inner indexes' included. Valid as long as the index.
std::vector<Parameter> parametersOf(faiss::Index& index);
std::vector<Parameter> parametersOf(faiss::IndexBinary& index);

/// Throws ERR_UNKNOWN_PARAMETER, which lists those that there are.
const Parameter& findParameter(const std::vector<Parameter>& parameters, const std::string& name, const std::string& type);

/// Throws ERR_INVALID_ARGUMENT where the value is out of range.
void setParameter(const Parameter& parameter, double value);

using ParameterValues = std::vector<std::pair<std::string, double>>;

/// Other values for the length of one call.
class ScopedParameters {
public:
    /// All or none are set.
    ScopedParameters(const std::vector<Parameter>& parameters, const ParameterValues& values, const std::string& type);
    ~ScopedParameters() { restore(); }
    ScopedParameters(const ScopedParameters&) = delete;
    ScopedParameters& operator=(const ScopedParameters&) = delete;

private:
    void restore();

    std::vector<std::pair<Parameter, double>> before_;
};

} // namespace faiss_vision
