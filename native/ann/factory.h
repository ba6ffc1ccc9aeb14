#pragma once

#include <memory>
#include <string>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// faiss::index_factory, for descriptions that may be anything: numbers that FAISS would divide by, abort over or fill
/// the memory with are refused first. Throws ERR_INVALID_ARGUMENT.
std::unique_ptr<faiss::Index> makeIndex(int dimension, const std::string& description, faiss::MetricType metric);

/// faiss::index_binary_factory, and "IDMap," or "IDMap2," before its descriptions. `bits` is a multiple of 8.
std::unique_ptr<faiss::IndexBinary> makeBinaryIndex(int bits, const std::string& description);

/// Throws ERR_UNSUPPORTED where FAISS computes this metric for other types of index only.
void checkMetric(const faiss::Index& index);

} // namespace faiss_vision
