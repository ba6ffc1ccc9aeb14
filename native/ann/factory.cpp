#include "ann/factory.h"

#include <algorithm>
#include <regex>
#include <stdexcept>
#include <utility>

#include <faiss/IndexAdditiveQuantizer.h>
#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexFastScan.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexLSH.h>
#include <faiss/IndexNSG.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexRowwiseMinMax.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_factory.h>

#include "ann/faiss_call.h"
#include "ann/faiss_care.h"
#include "ann/type_name.h"

namespace faiss_vision {
namespace {

[[noreturn]] void refuse(const std::string& description, const std::string& why) {
    const std::string shown = description.size() <= 80 ? description : description.substr(0, 77) + "...";
    throw Error("ERR_INVALID_ARGUMENT", "`description` must be one that FAISS's factory knows, got '" + shown + "': " + why);
}

struct Rule {
    const char* pattern; // its first group is the number
    long min, max;
    const char* name;
};

// Each limit is far above what FAISS's users use, and below what makes FAISS crash or ask for all the memory there is.
const Rule kRules[] = {
    {"HNSW([0-9]+)", 2, 2048, "a graph's neighbours"},
    {"NSG([0-9]+)", 8, 2048, "an NSG's neighbours"}, // with fewer, FAISS may look for a free place for ever
    {"IVF([0-9]+)", 1, 1 << 24, "the number of lists"},
    {"IMI2x([0-9]+)", 1, 12, "a multi-index's bits"},
    {"(?:PCA[WR]*|RR|ITQ|Pad)([0-9]+)", 1, 1 << 20, "a transform's output"},
    {"OPQ[0-9]+_([0-9]+)", 1, 1 << 20, "a transform's output"},
    {"(?:RQ|RCQ|LSQ|LSCQ|_)([0-9]+)x", 1, 1024, "the parts of a code"},
    {"(?:PRQ|PLSQ)[0-9]+x([0-9]+)x", 1, 1024, "the parts of a code"},
    {"Residual[0-9]+x([0-9]+)", 1, 12, "a residual's bits"},
    {"(?:PQ|RQ|RCQ|LSQ|LSCQ)[0-9]+x([0-9]+)", 1, 16, "the bits of a code"},
    {"[0-9]x[0-9]+_[0-9]+x([0-9]+)", 1, 16, "the bits of a code"},
    {"(?:PRQ|PLSQ)[0-9]+x[0-9]+x([0-9]+)", 1, 16, "the bits of a code"},
    {"ZnLattice[0-9]+x([0-9]+)", 1, 24, "a lattice's r2"},
};

void checkNumbers(const std::string& description) {
    if (description.size() > 400) refuse(description, "it is longer than 400 characters");
    if (!std::regex_match(description, std::regex("[A-Za-z0-9_,+().-]*"))) refuse(description, "it has characters that no description has");
    int depth = 0;
    for (const char character : description) {
        depth += character == '(' ? 1 : character == ')' ? -1 : 0;
        if (depth < 0 || depth > 8) refuse(description, "its parentheses do not fit or are nested too deep");
    }
    if (depth != 0) refuse(description, "its parentheses do not fit");

    const auto each = [&](const char* pattern, const auto& check) {
        const std::regex regex(pattern);
        for (std::sregex_iterator found(description.begin(), description.end(), regex), end; found != end; ++found) check((*found)[1].str());
    };
    const auto inRange = [&](const std::string& digits, long min, long max, const std::string& name) {
        if (digits.size() > 9 || std::stol(digits) < min || std::stol(digits) > max) {
            refuse(description, name + " must be from " + std::to_string(min) + " to " + std::to_string(max) + ", not " + digits);
        }
    };
    for (const Rule& rule : kRules) each(rule.pattern, [&](const std::string& digits) { inRange(digits, rule.min, rule.max, rule.name); });
    // "SH-0.5" and the like are fractions; every other number counts something.
    if (description.find(",SH") == std::string::npos) {
        each("([0-9]+)", [&](const std::string& digits) { inRange(digits, 1, 1 << 26, "a number"); });
    }
}

// Rotations of d dimensions are matrices of d x d numbers, whose making takes d x d x d steps.
constexpr int kMostRotated = 8192;

// An NSG links what it is given once. FAISS divides by zero for up to 100 vectors and never ends for fewer than R + 32.
constexpr size_t kFewestInNsg = 200;

bool canReconstruct(const faiss::Index& index) {
    if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) return canReconstruct(*transform->index);
    if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) return canReconstruct(*refine->refine_index);
    return dynamic_cast<const faiss::IndexFlatCodes*>(&index) != nullptr || dynamic_cast<const faiss::IndexHNSW*>(&index) != nullptr ||
           dynamic_cast<const faiss::IndexNSG*>(&index) != nullptr || dynamic_cast<const faiss::MultiIndexQuantizer*>(&index) != nullptr ||
           dynamic_cast<const faiss::AdditiveCoarseQuantizer*>(&index) != nullptr;
}

/// Combinations that the factory makes, and that end the process or never end once they are used.
void checkParts(const std::string& description, const faiss::Index& index) {
    if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(&index)) {
        checkParts(description, *map->index);
    } else if (const auto* const rows = dynamic_cast<const faiss::IndexRowwiseMinMaxBase*>(&index)) {
        checkParts(description, *rows->index);
    } else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(&index)) {
        for (const faiss::VectorTransform* const step : transform->chain) {
            if (dynamic_cast<const faiss::LinearTransform*>(step) != nullptr && std::max(step->d_in, step->d_out) > kMostRotated) {
                refuse(description, "a rotation is of at most " + std::to_string(kMostRotated) + " dimensions");
            }
        }
        checkParts(description, *transform->index);
    } else if (const auto* const refine = dynamic_cast<const faiss::IndexRefine*>(&index)) {
        checkParts(description, *refine->base_index);
        checkParts(description, *refine->refine_index);
        const std::string cannot = "an " + typeName(*refine->refine_index) + " cannot refine, since it gives no single distances";
        if (!canReconstruct(*refine->refine_index)) refuse(description, cannot);
        try {
            const std::unique_ptr<faiss::DistanceComputer> distances(refine->refine_index->get_distance_computer());
        } catch (const faiss::FaissException&) {
            refuse(description, cannot);
        }
    } else if (const auto* const ivf = dynamic_cast<const faiss::IndexIVF*>(&index)) {
        checkParts(description, *ivf->quantizer);
        if (!canReconstruct(*ivf->quantizer)) refuse(description, "an " + typeName(*ivf->quantizer) + " does not give its centroids back");
        const auto* const nsg = dynamic_cast<const faiss::IndexNSG*>(ivf->quantizer);
        if (nsg != nullptr && ivf->nlist < std::max<size_t>(kFewestInNsg, nsg->nsg.R + 33)) {
            refuse(description, "an NSG wants at least " + std::to_string(std::max<size_t>(kFewestInNsg, nsg->nsg.R + 33)) + " lists");
        }
    } else if (const auto* const scan = dynamic_cast<const faiss::IndexFastScan*>(&index)) {
        if (scan->bbs != 32) refuse(description, "FAISS searches a FastScan in blocks of 32 only");
    } else if (const auto* const lsh = dynamic_cast<const faiss::IndexLSH*>(&index)) {
        if (lsh->rotate_data && std::max(lsh->d, lsh->nbits) > kMostRotated) {
            refuse(description, "a rotation is of at most " + std::to_string(kMostRotated) + " dimensions");
        }
    }
}

/// FAISS divides by the numbers of a lattice's block, which is the dimension's M-th part.
void checkLattice(int dimension, const std::string& description) {
    if (description.find("ZnLattice") == std::string::npos) return;
    std::smatch parts;
    if (!std::regex_match(description, parts, std::regex("(?:IDMap2?,)?(?:L2[nN]orm,)?ZnLattice([0-9]+)x[0-9]+_[0-9]+(?:,IDMap2?)?(?:,RFlat)?"))) {
        refuse(description, "a lattice stands alone, or with L2norm, IDMap, IDMap2 or RFlat");
    }
    if (dimension % std::stol(parts[1].str()) != 0) refuse(description, "a lattice's parts must divide the dimension, " + std::to_string(dimension));
}

/// FAISS's readers make an IndexFlatL2 of what its factory makes an IndexFlat, and its merge wants equal types.
std::unique_ptr<faiss::Index> asRead(std::unique_ptr<faiss::Index> index) {
    faiss::Index* flat = index.get();
    faiss::Index** place = nullptr; // where it hangs, if it is not the whole
    while (true) {
        if (auto* const map = dynamic_cast<faiss::IndexIDMap*>(flat)) place = &map->index;
        else if (auto* const transform = dynamic_cast<faiss::IndexPreTransform*>(flat)) place = &transform->index;
        else break;
        flat = *place;
    }
    std::unique_ptr<faiss::Index> named;
    if (typeid(*flat) == typeid(faiss::IndexFlat)) {
        if (flat->metric_type == faiss::METRIC_L2) named = std::make_unique<faiss::IndexFlatL2>(flat->d);
        if (flat->metric_type == faiss::METRIC_INNER_PRODUCT) named = std::make_unique<faiss::IndexFlatIP>(flat->d);
    }
    if (named == nullptr) return index;
    if (place == nullptr) return named;
    const std::unique_ptr<faiss::Index> before(std::exchange(*place, named.release()));
    return index;
}

} // namespace

void checkMetric(const faiss::Index& index) {
    if (index.metric_type == faiss::METRIC_L2 || index.metric_type == faiss::METRIC_INNER_PRODUCT) return;
    const faiss::Index* inner = &index;
    while (true) {
        if (const auto* const map = dynamic_cast<const faiss::IndexIDMap*>(inner)) inner = map->index;
        else if (const auto* const transform = dynamic_cast<const faiss::IndexPreTransform*>(inner)) inner = transform->index;
        else break;
    }
    if (typeid(*inner) == typeid(faiss::IndexFlat) || typeid(*inner) == typeid(faiss::IndexHNSWFlat)) return;
    throw Error("ERR_UNSUPPORTED", "`metric` must be 'l2' or 'ip' for an " + typeName(*inner) + ": FAISS computes the others for Flat and HNSW only");
}

std::unique_ptr<faiss::Index> makeIndex(int dimension, const std::string& description, faiss::MetricType metric) {
    checkNumbers(description);
    checkLattice(dimension, description);
    try {
        auto index = std::unique_ptr<faiss::Index>(faiss::index_factory(dimension, description.c_str(), metric));
        checkMetric(*index);
        checkParts(description, *index);
        return asRead(std::move(index));
    } catch (const faiss::FaissException& exception) {
        refuse(description, plainText(exception));
    } catch (const std::logic_error& error) { // of std::stoi
        refuse(description, error.what());
    }
}

std::unique_ptr<faiss::IndexBinary> makeBinaryIndex(int bits, const std::string& description) {
    checkNumbers(description);
    // FAISS looks at the beginning of a description only.
    std::smatch parts;
    if (!std::regex_match(description, parts, std::regex("(IDMap2?,)?(BFlat|BIVF[0-9]+(?:_HNSW[0-9]+)?|BHNSW[0-9]+|BHash([0-9]+)(?:x([0-9]+))?)"))) {
        refuse(description, "it must be BFlat, BIVF<lists>, BIVF<lists>_HNSW<neighbours>, BHNSW<neighbours>, BHash<bits> or "
                            "BHash<tables>x<bits>, with IDMap, or IDMap2, before it or not");
    }
    if (parts[3].matched) {
        const long first = std::stol(parts[3].str());
        const long width = parts[4].matched ? std::stol(parts[4].str()) : first;
        const long tables = parts[4].matched ? first : 1;
        if (width > 62 || width * tables > bits) refuse(description, "its tables must not need more bits than a vector has, nor a key more than 62");
        if (bits < 64) refuse(description, "a hash reads 64 bits of a vector, which has " + std::to_string(bits));
    }
    try {
        auto index = std::unique_ptr<faiss::IndexBinary>(faiss::index_binary_factory(bits, parts[2].str().c_str()));
        const std::string prefix = parts[1].str();
        if (prefix.empty()) return index;
        std::unique_ptr<faiss::IndexBinaryIDMap> map;
        if (prefix == "IDMap2,") map = std::make_unique<faiss::IndexBinaryIDMap2>(index.get());
        else map = std::make_unique<faiss::IndexBinaryIDMap>(index.get());
        map->own_fields = true;
        map->code_size = bits / 8; // which FAISS leaves at 0
        index.release(); // the map's from here on
        return map;
    } catch (const faiss::FaissException& exception) {
        refuse(description, plainText(exception));
    }
}

} // namespace faiss_vision
