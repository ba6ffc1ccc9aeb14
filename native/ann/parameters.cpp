#include "ann/parameters.h"

#include <cmath>
#include <limits>
#include <sstream>

#include <faiss/IndexBinaryHNSW.h>
#include <faiss/IndexBinaryHash.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQR.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexRowwiseMinMax.h>

#include "ann/gpu.h"
#include "error.h"

namespace faiss_vision {
namespace {

constexpr double kMany = 1 << 24; // more neighbours, lists or candidates than that no index is asked to look at

std::string written(double number) {
    std::ostringstream text;
    text.precision(15);
    text << number;
    return text.str();
}

template <class T>
Parameter field(const std::string& name, T& value, double min, double max, bool whole = true) {
    return {name, min, max, whole, [&value] { return double(value); }, [&value](double number) { value = T(number); }};
}

void addHnsw(std::vector<Parameter>& parameters, faiss::HNSW& hnsw) {
    parameters.push_back(field("efSearch", hnsw.efSearch, 1, kMany));
    parameters.push_back(field("efConstruction", hnsw.efConstruction, 1, kMany));
}

// The Hamming threshold of polysemous codes; as many as there are bits means that all are looked at.
void addPolysemous(std::vector<Parameter>& parameters, faiss::IndexPQ& pq) {
    const double bits = double(pq.pq.code_size) * 8;
    parameters.push_back({"ht", 0, bits, true,
                          [&pq, bits] { return pq.search_type == faiss::IndexPQ::ST_polysemous ? double(pq.polysemous_ht) : bits; },
                          [&pq, bits](double number) {
                              pq.search_type = number >= bits ? faiss::IndexPQ::ST_PQ : faiss::IndexPQ::ST_polysemous;
                              if (number < bits) pq.polysemous_ht = int(number);
                          }});
}

void collect(faiss::Index& index, std::vector<Parameter>& parameters) {
    if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(&index)) return collect(*map->index, parameters);
    if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(&index)) return collect(*transform->index, parameters);
    if (auto* const rows = dynamic_cast<faiss::IndexRowwiseMinMaxBase*>(&index)) return collect(*rows->index, parameters);
    if (auto* const gpu = dynamic_cast<GpuIndex*>(&index)) {
        if (gpu->lists() == 0) return;
        parameters.push_back({"nprobe", 1, double(gpu->largestNprobe()), true, [gpu] { return double(gpu->nprobe()); },
                              [gpu](double number) { gpu->setNprobe(int64_t(number)); }});
        return;
    }
    if (auto* const refine = dynamic_cast<faiss::IndexRefine*>(&index)) {
        parameters.push_back(field("k_factor_rf", refine->k_factor, 1, kMany, false));
        return collect(*refine->base_index, parameters);
    }
    if (auto* const ivf = dynamic_cast<faiss::IndexIVF*>(&index)) {
        parameters.push_back(field("nprobe", ivf->nprobe, 1, double(ivf->nlist)));
        parameters.push_back(field("max_codes", ivf->max_codes, 0, double(int64_t{1} << 53)));
        if (auto* const pqr = dynamic_cast<faiss::IndexIVFPQR*>(&index)) {
            parameters.push_back(field("k_factor", pqr->k_factor, 1, kMany, false));
        } else if (auto* const pq = dynamic_cast<faiss::IndexIVFPQ*>(&index)) {
            const double bits = double(pq->pq.code_size) * 8;
            parameters.push_back({"ht", 0, bits, true, [pq, bits] { return pq->polysemous_ht == 0 ? bits : double(pq->polysemous_ht); },
                                  [pq, bits](double number) { pq->polysemous_ht = number >= bits ? 0 : int(number); }});
        }
        std::vector<Parameter> inner;
        collect(*ivf->quantizer, inner);
        for (Parameter& parameter : inner) {
            parameter.name = "quantizer_" + parameter.name;
            parameters.push_back(std::move(parameter));
        }
        return;
    }
    if (auto* const hnsw = dynamic_cast<faiss::IndexHNSW*>(&index)) return addHnsw(parameters, hnsw->hnsw);
    if (auto* const nsg = dynamic_cast<faiss::IndexNSG*>(&index)) {
        parameters.push_back(field("search_L", nsg->nsg.search_L, 1, kMany));
        return;
    }
    if (auto* const pq = dynamic_cast<faiss::IndexPQ*>(&index)) return addPolysemous(parameters, *pq);
}

void collect(faiss::IndexBinary& index, std::vector<Parameter>& parameters) {
    if (auto* const map = dynamic_cast<faiss::IndexBinaryIDMap*>(&index)) return collect(*map->index, parameters);
    if (auto* const ivf = dynamic_cast<faiss::IndexBinaryIVF*>(&index)) {
        parameters.push_back(field("nprobe", ivf->nprobe, 1, double(ivf->nlist)));
        parameters.push_back(field("max_codes", ivf->max_codes, 0, double(int64_t{1} << 53)));
        std::vector<Parameter> inner;
        collect(*ivf->quantizer, inner);
        for (Parameter& parameter : inner) {
            parameter.name = "quantizer_" + parameter.name;
            parameters.push_back(std::move(parameter));
        }
    }
    if (auto* const hnsw = dynamic_cast<faiss::IndexBinaryHNSW*>(&index)) addHnsw(parameters, hnsw->hnsw);
    // FAISS enumerates all the buckets that many bits away: b choose nflip of them.
    if (auto* const hash = dynamic_cast<faiss::IndexBinaryHash*>(&index)) parameters.push_back(field("nflip", hash->nflip, 0, hash->b));
    if (auto* const hash = dynamic_cast<faiss::IndexBinaryMultiHash*>(&index)) parameters.push_back(field("nflip", hash->nflip, 0, hash->b));
}

} // namespace

std::vector<Parameter> parametersOf(faiss::Index& index) {
    std::vector<Parameter> parameters;
    collect(index, parameters);
    return parameters;
}

std::vector<Parameter> parametersOf(faiss::IndexBinary& index) {
    std::vector<Parameter> parameters;
    collect(index, parameters);
    return parameters;
}

const Parameter& findParameter(const std::vector<Parameter>& parameters, const std::string& name, const std::string& type) {
    std::string names;
    for (const Parameter& parameter : parameters) {
        if (parameter.name == name) return parameter;
        names += (names.empty() ? "" : ", ") + parameter.name;
    }
    throw Error("ERR_UNKNOWN_PARAMETER", "`" + name + "` is no parameter of an " + type + ", which has " + (names.empty() ? "none" : names));
}

void setParameter(const Parameter& parameter, double value) {
    if (!(value >= parameter.min && value <= parameter.max) || (parameter.whole && value != std::floor(value))) {
        throw Error("ERR_INVALID_ARGUMENT", "`" + parameter.name + "` must be a " + (parameter.whole ? "whole " : "") + "number from " +
                                                written(parameter.min) + " to " + written(parameter.max) + ", got " + written(value));
    }
    parameter.set(value);
}

ScopedParameters::ScopedParameters(const std::vector<Parameter>& parameters, const ParameterValues& values, const std::string& type) {
    try {
        for (const auto& [name, value] : values) {
            const Parameter& parameter = findParameter(parameters, name, type);
            before_.emplace_back(parameter, parameter.get());
            setParameter(parameter, value);
        }
    } catch (...) {
        restore();
        throw;
    }
}

void ScopedParameters::restore() {
    for (auto entry = before_.rbegin(); entry != before_.rend(); ++entry) entry->first.set(entry->second);
}

} // namespace faiss_vision
