#include "ann/byte_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace faiss_vision {
namespace {

constexpr float kInfinite = std::numeric_limits<float>::infinity();

} // namespace

float roundedUp(double value) {
    const float near = float(value);
    return double(near) < value ? std::nextafter(near, kInfinite) : near;
}

float roundedDown(double value) {
    const float near = float(value);
    return double(near) > value ? std::nextafter(near, -kInfinite) : near;
}

double sumError(size_t d) {
    const double u = double(d + 4) * 0x1p-24;
    return u / (1 - u);
}

CodeBounds::CodeBounds(const bytes::Coded& coded, size_t d, double reserve)
    : scale(0), error(kInfinite), length(0), half(0), norm(kInfinite) {
    if (!(coded.largest <= bytes::kMost && coded.squares <= std::numeric_limits<float>::max())) return;
    // Sums of d squares in floats: a relative error, and an absolute one where squares fall below the normal numbers.
    const double relative = 2 * sumError(d), absolute = double(d) * 0x1p-125;
    norm = std::sqrt(coded.squares * (1 + relative) + absolute) * (1 + 0x1p-40);
    const double lost = std::sqrt(coded.lost * (1 + relative) + absolute);
    // 2^-18 (|x| + |r|) is room for the rounding of the loss itself and of all that is computed from it, sqrt(d) 2^-60 for what
    // is lost below the normal numbers, and 2^-19 of all for the rounding of its own product.
    const double all = (lost + 0x1p-18 * (norm + lost) + reserve * norm + std::sqrt(double(d)) * 0x1p-60) * (1 + 0x1p-19);
    scale = coded.scale;
    error = roundedUp(all);
    if (scale != 0) length = roundedUp(norm + all);
    half = roundedDown(std::max(0.0, (coded.squares * (1 - relative) - absolute) / 2 * (1 - 0x1p-20)));
}

CodedQuery::CodedQuery(const float* x, size_t d, const CodeBounds& bounds)
    : probe{bounds.scale, bounds.error, roundedUp(bounds.norm), -kInfinite}, squares(0) {
    for (size_t i = 0; i < d; i++) squares += double(x[i]) * x[i];
}

Bounds::Bounds(size_t d, bool innerProduct) : innerProduct_(innerProduct), sum_(sumError(d)), tiny_(double(d) * 0x1p-120) {}

float Bounds::reach(const CodedQuery& query, float key) const {
    if (!(key < kInfinite)) return -kInfinite;
    if (innerProduct_) return roundedDown(-double(key) - tiny_);
    return roundedDown((query.squares * (1 - 0x1p-30) - (double(key) + tiny_) / (1 - sum_)) / 2);
}

KeyBounds Bounds::key(const CodedQuery& query, float value, float error, float length, float half) const {
    // The whole width of what the codes leave open of the inner product.
    const double width = 2 * (double(error) * query.probe.length + double(length) * query.probe.error);
    double lower = -double(value) - tiny_, upper = -double(value) + width + tiny_;
    if (!innerProduct_) {
        lower = (query.squares * (1 - 0x1p-30) - 2 * double(value)) * (1 - sum_) - tiny_;
        upper = (query.squares * (1 + 0x1p-30) - 2 * double(value) + 2 * width + 2 * double(half) * (5 * sum_ + 0x1p-16)) * (1 + sum_) + 2 * tiny_;
    }
    // What is no number, because a vector or a sum is too large to be bounded, stands for everything.
    KeyBounds result{roundedDown(lower), roundedUp(upper)};
    if (!(result.lower < kInfinite)) result.lower = -kInfinite;
    if (!(result.upper > -kInfinite)) result.upper = kInfinite;
    if (!(result.lower < result.upper)) result.lower = std::nextafter(result.upper, -kInfinite);
    return result;
}

} // namespace faiss_vision
