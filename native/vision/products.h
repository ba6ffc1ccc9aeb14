#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// The inner loops of Convolution: products of rows of inputs with the weights of 32 output channels, on the units that
/// multiply bf16 (the upper half of a float: 8 bits of it count). For fp32 every number is taken apart into two of them,
/// x = high + low + what is lost (2^-18 of x at most), and three products are added up: high * high, high * low and
/// low * high (Henry, Tang, Heinecke: "Leveraging the bfloat16 AI datatype for higher-precision computations", 2019).
namespace faiss_vision::products {

constexpr int kRows = 32;     // rows of inputs that are worked on at once
constexpr int kChannels = 32; // output channels of a group
constexpr int kDepth = 32;    // inputs of a chunk

/// `rows` <= kRows rows of inputs: chunks x kRows x kDepth numbers. Rows beyond the last hold anything that is finite.
struct Inputs {
    const uint16_t* high;
    const uint16_t* low; ///< null for bf16
    int rows;
};

/// One group's weights: for each chunk, twice (16 channels each) 16 x 16 x 2 numbers: pairs of inputs, then channels. For fp32
/// the lower halves of a chunk follow its upper ones.
constexpr size_t chunkNumbers(bool split) { return size_t{kDepth} * kChannels * (split ? 2 : 1); }

struct Variant {
    const char* name; ///< "amx" or "avx512bf16"
    bool splits;      ///< whether it is the best way to fp32 too
    /// Takes `count` floats of one row apart, to its places in as many chunks as they fill; zeros behind the last. `low` may be null.
    void (*take)(const float* from, int count, uint16_t* high, uint16_t* low);
    /// Takes `count` channels of 16 positions, puts them together as kernels::winogradIn does, and takes those to the places of one row
    /// of 16 products, `step` numbers from one product to the next.
    void (*takeSquare)(const float* const* from, int count, uint16_t* to, ptrdiff_t step);
    /// sums (kRows x kChannels floats) = inputs x weights over the first `depth` of each row, plus what is in them where `onto` says so.
    /// What is left of the last chunk is zero.
    void (*multiply)(const Inputs& inputs, const uint16_t* weights, size_t depth, bool onto, float* sums);
    /// Around the calls of multiply() on one thread; null where there is nothing to do.
    void (*enter)();
    void (*leave)();
};

/// Those that this processor has, and the system grants, the fastest first; may be none.
const std::vector<Variant>& variants();

/// The nearest bf16, and back.
uint16_t toBf16(float value);
float fromBf16(uint16_t value);

} // namespace faiss_vision::products
