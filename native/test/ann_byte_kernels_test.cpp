#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <faiss/utils/distances.h>

#include "ann/byte_bounds.h"
#include "ann/byte_copy.h"
#include "ann/byte_kernels.h"

namespace faiss_vision {
namespace {

using bytes::kLanes;

class ByteKernelsTest : public testing::TestWithParam<bytes::Variant> {};
INSTANTIATE_TEST_SUITE_P(Variants, ByteKernelsTest, testing::ValuesIn(bytes::variants()), [](const auto& info) { return std::string(info.param.name); });

/// Memory that begins on a line of the cache, filled with a byte.
class Aligned {
public:
    Aligned(size_t size, int fill) : memory_(size + 64) {
        std::memset(memory_.data(), fill, memory_.size());
    }
    uint8_t* data() { return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory_.data()) + 63) / 64 * 64); }

private:
    std::vector<uint8_t> memory_;
};

TEST_P(ByteKernelsTest, DotProductsAreExactWhateverTheCodes) {
    const bytes::Variant& kernels = GetParam();
    std::mt19937 engine(1);
    for (int round = 0; round < 400; round++) {
        const size_t d = round < 100 ? size_t(round) + 1 : round < 396 ? 1 + engine() % 700 : round == 399 ? bytes::kMaxDimension : 4096 + engine() % 3;
        const size_t words = bytes::words(d), panels = d > 4000 ? 2 : 1 + engine() % 9, count = d > 4000 ? 3 + engine() % 3 : 1 + engine() % 50;
        const size_t vectors = panels * kLanes, stride = (d + 63) / 64 * 64;
        // Extremes of one sign, of alternating signs, and anything.
        const int kind = round % 4;
        const auto code = [&](size_t j) -> int8_t {
            if (kind == 0) return 127;
            if (kind == 1) return -127;
            if (kind == 2) return j % 2 != 0 ? 127 : -127;
            return int8_t(int(engine() % 255) - 127);
        };
        std::vector<int8_t> rows(vectors * words * 4, 0);
        for (size_t v = 0; v < vectors; v++) {
            for (size_t j = 0; j < d; j++) rows[v * words * 4 + j] = code(j);
        }
        const size_t padded = (count + 15) / 16 * 16;
        Aligned codes(vectors * words * 4 + bytes::kSlack, 0xA5), queryMemory(padded * stride, 0);
        for (size_t p = 0; p < panels; p++) {
            // The lanes in two goes, as vectors come one by one.
            const size_t first = engine() % (kLanes + 1);
            kernels.interleave(rows.data() + p * kLanes * words * 4, words, 0, first, codes.data() + p * kLanes * words * 4);
            kernels.interleave(rows.data() + (p * kLanes + first) * words * 4, words, first, kLanes - first, codes.data() + p * kLanes * words * 4);
        }
        int8_t* const queryCodes = reinterpret_cast<int8_t*>(queryMemory.data());
        std::vector<int32_t> bias(padded * kLanes, 0);
        for (size_t q = 0; q < count; q++) {
            int32_t sum = 0;
            for (size_t j = 0; j < d; j++) sum += queryCodes[q * stride + j] = code(j + q);
            std::fill_n(bias.begin() + ptrdiff_t(q * kLanes), kLanes, -128 * sum);
        }
        const size_t outStride = vectors + 16;
        std::vector<int32_t> out(padded * outStride), one(vectors);
        const bytes::Queries queries{queryCodes, stride, bias.data(), count};
        kernels.enter();
        kernels.dotsOfMany(codes.data(), words, panels, queries, out.data(), outStride);
        kernels.dotsOfOne(codes.data(), words, panels, {queryCodes, stride, bias.data(), 1}, one.data(), vectors);
        kernels.leave();
        for (size_t q = 0; q < count; q++) {
            for (size_t v = 0; v < vectors; v++) {
                int64_t expected = 0;
                for (size_t j = 0; j < d; j++) expected += int64_t(rows[v * words * 4 + j]) * queryCodes[q * stride + j];
                ASSERT_EQ(out[q * outStride + v], expected) << kernels.name << ", d " << d << ", query " << q << " of " << count << ", vector " << v;
                if (q == 0) {
                    ASSERT_EQ(one[v], expected) << kernels.name << ", d " << d << ", vector " << v;
                }
            }
        }
    }
}

TEST_P(ByteKernelsTest, SiftsOutWhatReachesAndWhatIsNoNumber) {
    const bytes::Variant& kernels = GetParam();
    std::mt19937 engine(2);
    std::uniform_real_distribution<float> uniform(0, 1);
    for (int round = 0; round < 2000; round++) {
        const size_t count = 1 + engine() % 200, room = (count + 15) / 16 * 16;
        std::vector<int32_t> dots(room, 1 << 30);
        std::vector<float> scale(room, 1), error(room, HUGE_VALF), length(room, 1), half(room, 0); // behind the end all would reach
        const bytes::Probe probe{uniform(engine), uniform(engine), uniform(engine), round % 7 == 0 ? -HUGE_VALF : 200 * uniform(engine)};
        std::vector<double> expected(count);
        for (size_t i = 0; i < count; i++) {
            dots[i] = int(engine() % 2001) - 1000;
            scale[i] = uniform(engine), error[i] = uniform(engine), length[i] = uniform(engine), half[i] = uniform(engine);
            if (engine() % 50 == 0) error[i] = HUGE_VALF;
            if (engine() % 50 == 0) error[i] = std::nanf("");
            expected[i] = double(scale[i]) * probe.scale * dots[i] + double(error[i]) * probe.length + double(length[i]) * probe.error - half[i];
        }
        std::vector<uint16_t> positions(count + 16);
        std::vector<float> values(count + 16);
        const size_t found = kernels.sift(dots.data(), count, {scale.data(), error.data(), length.data(), half.data()}, probe, positions.data(), values.data());
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            if (at < found && positions[at] == i) {
                if (std::isfinite(expected[i])) {
                    ASSERT_NEAR(values[at], expected[i], 1e-3);
                } else {
                    ASSERT_FALSE(std::isfinite(values[at]));
                }
                ASSERT_FALSE(values[at] < probe.reach);
                at++;
            } else {
                ASSERT_LT(expected[i], probe.reach + 1e-3) << kernels.name << ", position " << i;
            }
        }
        ASSERT_EQ(at, found);
    }
}

TEST_P(ByteKernelsTest, CodesStayInRangeAndTheLossIsTold) {
    const bytes::Variant& kernels = GetParam();
    std::mt19937 engine(3);
    std::normal_distribution<float> normal;
    for (int round = 0; round < 3000; round++) {
        const size_t d = 1 + engine() % 150;
        const float size = std::ldexp(1.0f, int(engine() % 80) - 45);
        std::vector<float> x(d), centre(d);
        for (float& number : x) number = normal(engine) * size;
        if (round % 3 == 0) x[engine() % d] *= 1000;
        for (float& number : centre) number = normal(engine) * size;
        const bool centred = round % 2 == 0;
        std::vector<int8_t> codes(bytes::words(d) * 4 + 1, 99);
        const bytes::Coded coded = kernels.code(x.data(), centred ? centre.data() : nullptr, d, codes.data());
        long double squares = 0, lost = 0, largest = 0;
        for (size_t j = 0; j < d; j++) {
            const long double number = static_cast<long double>(x[j]) - (centred ? centre[j] : 0.0f);
            ASSERT_GE(codes[j], -127);
            squares += number * number;
            largest = std::max(largest, std::abs(number));
            const long double rest = number - static_cast<long double>(coded.scale) * codes[j];
            lost += rest * rest;
        }
        for (size_t j = d; j < codes.size(); j++) ASSERT_EQ(codes[j], j + 1 == codes.size() ? 99 : 0);
        ASSERT_NEAR(double(coded.squares / squares), 1, 1e-5);
        ASSERT_NEAR(double(coded.largest / largest), 1, 1e-5);
        ASSERT_NEAR(double(std::sqrt(static_cast<long double>(coded.lost)) / std::sqrt(squares)), double(std::sqrt(lost) / std::sqrt(squares)), 1e-5);
        ASSERT_LE(double(lost), double(d) * std::pow(double(largest) / 127 * 0.501, 2)) << kernels.name << ", d " << d;
    }
    for (const float odd : {0.0f, 1e-30f, 1e-45f, 1e20f, 3e38f, HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
        for (size_t d : {1, 5, 16, 70}) {
            for (size_t at = 0; at < d; at += 3) {
                std::vector<float> x(d, 0);
                x[at] = odd;
                std::vector<int8_t> codes(bytes::words(d) * 4, 99);
                const bytes::Coded coded = kernels.code(x.data(), nullptr, d, codes.data());
                ASSERT_EQ(coded.scale, 0);
                for (const int8_t code : codes) ASSERT_EQ(code, 0);
                const CodeBounds bounds(coded, d, 0);
                if (std::abs(odd) < 1) {
                    ASSERT_GE(bounds.error, std::abs(odd));
                    ASSERT_LT(bounds.error, 1e-15f);
                } else {
                    ASSERT_EQ(bounds.error, HUGE_VALF);
                }
            }
        }
    }
}

/// Vectors and queries made so that the bounds are as tight as they can be, and at every scale.
class Adversary {
public:
    explicit Adversary(unsigned seed) : engine_(seed) {}

    size_t dimension() {
        constexpr size_t usual[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 64, 65, 100, 128, 200, 513};
        return usual[engine_() % std::size(usual)];
    }
    float scale() {
        switch (engine_() % 4) {
        case 0: return 1;
        case 1: return std::ldexp(1.0f, int(engine_() % 20) - 10);
        case 2: return std::ldexp(1.0f, int(engine_() % 104) - 52);
        default: return std::ldexp(1.0f, int(engine_() % 260) - 140);
        }
    }
    std::vector<float> query(size_t d) {
        std::vector<float> q(d);
        const int kind = int(engine_() % 6);
        const float size = scale();
        for (float& number : q) {
            number = kind == 0   ? normal_(engine_)
                     : kind == 1 ? (engine_() % 2 != 0 ? 1.0f : -1.0f)
                     : kind == 2 ? std::ldexp(normal_(engine_), -int(engine_() % 24))
                     : kind == 3 ? float(int(engine_() % 255) - 127) + 0.5f // every code half way between two
                     : kind == 4 ? (engine_() % 8 == 0 ? normal_(engine_) : 0.0f)
                                 : 1 + normal_(engine_) * 0x1p-10f;
            number *= size;
        }
        return q;
    }
    /// A vector for that query.
    std::vector<float> vector(const std::vector<float>& q) {
        const size_t d = q.size();
        std::vector<float> x = query(d);
        switch (engine_() % 8) {
        case 0: return x;
        case 1: { // as long as the query
            float largest = 0, own = 0;
            for (size_t j = 0; j < d; j++) largest = std::max(largest, std::abs(q[j])), own = std::max(own, std::abs(x[j]));
            for (float& number : x) number *= own > 0 ? largest / own : 1;
            return x;
        }
        case 2: return q;
        case 3: // opposite
            for (size_t j = 0; j < d; j++) x[j] = -q[j];
            return x;
        case 4: // near
            for (size_t j = 0; j < d; j++) x[j] = q[j] * (1 + normal_(engine_) * 0x1p-20f);
            return x;
        default: { // what rounding loses points along the query, or against it: there Cauchy and Schwarz give equality
            float largest = 0;
            for (const float number : q) largest = std::max(largest, std::abs(number));
            const float step = largest * std::ldexp(1.0f, int(engine_() % 5) - 2) / 127, side = engine_() % 2 != 0 ? 0.499f : -0.499f;
            for (size_t j = 0; j < d; j++) x[j] = step * (float(int(engine_() % 253) - 126) + (largest > 0 ? side * q[j] / largest : 0));
            x[engine_() % d] = 127 * step;
            return x;
        }
        }
    }
    size_t below(size_t n) { return engine_() % n; }

private:
    std::mt19937 engine_;
    std::normal_distribution<float> normal_;
};

/// What a sum may be in single precision, whatever the order: FAISS's own and three others.
std::vector<float> keys(const float* q, const float* x, size_t d, bool innerProduct) {
    std::vector<float> terms(d);
    for (size_t j = 0; j < d; j++) terms[j] = innerProduct ? -(q[j] * x[j]) : (q[j] - x[j]) * (q[j] - x[j]);
    float forward = 0, backward = 0;
    for (size_t j = 0; j < d; j++) forward += terms[j];
    for (size_t j = d; j-- > 0;) backward += terms[j];
    float fused = 0;
    for (size_t j = 0; j < d; j++) fused = innerProduct ? std::fma(-q[j], x[j], fused) : std::fma(q[j] - x[j], q[j] - x[j], fused);
    const float faissKey = innerProduct ? -faiss::fvec_inner_product(q, x, d) : faiss::fvec_L2sqr(q, x, d);
    return {faissKey, forward, backward, fused};
}

TEST_P(ByteKernelsTest, NoKeyIsOutsideItsBounds) {
    const bytes::Variant& kernels = GetParam();
    Adversary adversary(4);
    int64_t checked = 0, useful = 0;
    for (int round = 0; round < 3000; round++) {
        const size_t d = adversary.dimension(), stride = (d + 63) / 64 * 64;
        const std::vector<float> q = adversary.query(d);
        std::vector<float> rows;
        for (size_t v = 0; v < kLanes; v++) {
            const std::vector<float> x = adversary.vector(q);
            rows.insert(rows.end(), x.begin(), x.end());
        }
        for (const bool innerProduct : {false, true}) {
            ByteCopy copy(d, innerProduct, kernels);
            copy.append(rows.data(), kLanes);
            const Bounds bounds(d, innerProduct);
            Aligned queryMemory(16 * stride, 0);
            int8_t* const codes = reinterpret_cast<int8_t*>(queryMemory.data());
            const CodeBounds coded(kernels.code(q.data(), nullptr, d, codes), d, 0);
            if (coded.scale == 0) continue; // such a query is answered without bounds
            CodedQuery query(q.data(), d, coded);
            int32_t sum = 0;
            for (size_t j = 0; j < d; j++) sum += codes[j];
            const std::vector<int32_t> bias(16 * kLanes, -128 * sum);
            std::vector<int32_t> dots(kLanes);
            const ByteCopy::Part part = copy.part(0);
            kernels.dotsOfOne(part.codes, bytes::words(d), 1, {codes, stride, bias.data(), 1}, dots.data(), kLanes);
            std::vector<uint16_t> positions(2 * kLanes);
            std::vector<float> values(2 * kLanes);
            ASSERT_EQ(kernels.sift(dots.data(), kLanes, part.scales, query.probe, positions.data(), values.data()), kLanes);
            for (size_t v = 0; v < kLanes; v++) {
                const KeyBounds between = bounds.key(query, values[v], part.scales.error[v], part.scales.length[v], part.scales.half[v]);
                ASSERT_LT(between.lower, between.upper);
                for (const float key : keys(q.data(), rows.data() + v * d, d, innerProduct)) {
                    if (!(key < HUGE_VALF)) continue; // FAISS would not take it
                    const auto what = [&] {
                        return std::string(kernels.name) + ", d " + std::to_string(d) + (innerProduct ? ", inner product" : ", L2") + ", round " +
                               std::to_string(round) + ", vector " + std::to_string(v);
                    };
                    ASSERT_LE(between.lower, key) << what();
                    ASSERT_GE(between.upper, key) << what();
                    ASSERT_FALSE(values[v] < bounds.reach(query, key)) << what();
                    checked++;
                    useful += std::isfinite(between.lower) && std::isfinite(between.upper);
                }
            }
        }
    }
    EXPECT_GT(checked, 150000);
    EXPECT_GT(double(useful), 0.5 * double(checked)); // infinite bounds prove nothing
}

TEST(ByteCopyTest, IsTheSameHoweverItsVectorsCame) {
    std::mt19937 engine(5);
    std::normal_distribution<float> normal;
    for (const size_t d : {1, 13, 64, 300, 5000}) {
        const size_t n = 700 + 20000 / d;
        std::vector<float> x(n * d);
        for (float& number : x) number = normal(engine);
        ByteCopy whole(d, false, bytes::chosen()), parts(d, false, bytes::chosen());
        whole.append(x.data(), n);
        for (size_t at = 0; at < n;) {
            const size_t some = std::min<size_t>(n - at, 1 + engine() % 40);
            parts.append(x.data() + at * d, some);
            at += some;
            if (engine() % 4 == 0) {
                const size_t back = engine() % some;
                at -= back;
                parts.truncate(at);
            }
        }
        for (int i = 0; i < 20; i++) {
            const size_t row = engine() % n;
            parts.set(row, x.data() + engine() % n * d);
            parts.set(row, x.data() + row * d);
        }
        ASSERT_EQ(parts.size(), n);
        ASSERT_EQ(parts.parts(), whole.parts());
        size_t seen = 0;
        for (size_t i = 0; i < whole.parts(); i++) {
            const ByteCopy::Part a = whole.part(i), b = parts.part(i);
            ASSERT_EQ(a.first, seen);
            seen += a.count;
            ASSERT_EQ(a.count, b.count);
            const size_t bytesOfRow = bytes::words(d) * 4;
            for (size_t row = 0; row < a.count; row++) {
                const size_t panel = row / kLanes * kLanes * bytesOfRow, lane = row % kLanes * 4;
                for (size_t w = 0; w < bytes::words(d); w++) {
                    ASSERT_EQ(std::memcmp(a.codes + panel + w * kLanes * 4 + lane, b.codes + panel + w * kLanes * 4 + lane, 4), 0);
                }
                ASSERT_EQ(a.scales.scale[row], b.scales.scale[row]);
                ASSERT_EQ(a.scales.error[row], b.scales.error[row]);
                ASSERT_EQ(a.scales.length[row], b.scales.length[row]);
                ASSERT_EQ(a.scales.half[row], b.scales.half[row]);
            }
        }
        ASSERT_EQ(seen, n);
    }
}

TEST(ByteKernels, AreChosenByName) {
    ASSERT_FALSE(bytes::variants().empty());
    for (const bytes::Variant& one : bytes::variants()) EXPECT_EQ(bytes::variant(one.name), &one);
    EXPECT_EQ(bytes::variant("none"), nullptr);
    EXPECT_STREQ(bytes::variants().back().name, "plain");
}

} // namespace
} // namespace faiss_vision
