#pragma once

#include <string>
#include <vector>

#include <faiss/MetricType.h>
#include <napi.h>

#include "addon/arguments.h"
#include "ann/basic_index.h"

namespace faiss_vision {

struct NamedMetric {
    const char* name;
    faiss::MetricType type;
};

inline const std::vector<NamedMetric>& metrics() {
    static const std::vector<NamedMetric> metrics = {
        {"l2", faiss::METRIC_L2}, {"ip", faiss::METRIC_INNER_PRODUCT}, {"l1", faiss::METRIC_L1},
        {"linf", faiss::METRIC_Linf}, {"canberra", faiss::METRIC_Canberra}, {"braycurtis", faiss::METRIC_BrayCurtis},
        {"jensenshannon", faiss::METRIC_JensenShannon},
    };
    return metrics;
}

inline faiss::MetricType metricArgument(Napi::Value value, const std::string& name) {
    if (value.IsUndefined()) return faiss::METRIC_L2;
    std::vector<std::string> names;
    for (const NamedMetric& metric : metrics()) names.push_back(metric.name);
    return metrics()[wordArgument(value, name, names)].type;
}

/// 'bounded' is by bounds from the size where they pay.
inline Exact exactArgument(Napi::Value value) {
    if (value.IsUndefined()) return Exact::Auto;
    return wordArgument(value, "exact", {"bounded", "plain"}) == 0 ? Exact::Auto : Exact::Plain;
}

template <class Vectors>
std::string metricName(faiss::MetricType type) {
    if (std::is_same_v<Vectors, BinaryVectors>) return "hamming";
    for (const NamedMetric& metric : metrics()) {
        if (metric.type == type) return metric.name;
    }
    return "metric " + std::to_string(int(type)); // of a file that FAISS wrote
}

} // namespace faiss_vision
