#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <napi.h>

#include "addon/device_vectors.h"

namespace faiss_vision {

/// Numbers that came in an array: a copy of a small one, a pointer into a large one, which `held` keeps alive.
/// JavaScript hands over only large arrays that nobody can detach or resize meanwhile (lib/buffers.ts).
template <class T>
class Input {
public:
    Input(const T* data, size_t size, Napi::Value owner) : size_(size) {
        if (size * sizeof(T) <= kCopied) copy_.assign(data, data + size);
        else { pinned_ = data; held_.push_back(owner); }
    }
    /// Whether it was copied, so that the memory is nobody else's.
    bool copied() const { return pinned_ == nullptr; }
    const T* data() const { return pinned_ != nullptr ? pinned_ : copy_.data(); }
    size_t size() const { return size_; }
    /// For Environment::submit; empty after a copy.
    std::vector<Napi::Value> takeHeld() { return std::move(held_); }

private:
    static constexpr size_t kCopied = 64 * 1024; // below this a copy is cheaper than keeping a reference
    size_t size_;
    const T* pinned_ = nullptr;
    std::vector<T> copy_;
    std::vector<Napi::Value> held_;
};

/// Throws ERR_INVALID_ARGUMENT: "`name` must be <expected>, got <value>".
[[noreturn]] void refuse(const std::string& name, const std::string& expected, Napi::Value came);

/// A short description of a value for messages: "undefined", "-1", "a Float64Array of 3".
std::string describe(Napi::Value value);

/// A whole number in [min, max], from a number or a bigint.
int64_t integerArgument(Napi::Value value, const std::string& name, int64_t min, int64_t max);

/// A finite number.
double numberArgument(Napi::Value value, const std::string& name);

std::string stringArgument(Napi::Value value, const std::string& name);

/// One of the given words; returns its place among them.
size_t wordArgument(Napi::Value value, const std::string& name, const std::vector<std::string>& words);

/// One or more vectors in one Float32Array. Throws ERR_INVALID_ARGUMENT, ERR_DETACHED, ERR_EMPTY_INPUT or
/// ERR_DIMENSION_MISMATCH.
Input<float> vectorsArgument(Napi::Value value, const std::string& name, int dimension);

/// Vectors that vision.node left in a device's memory; nullptr where it is no such thing. Throws ERR_DIMENSION_MISMATCH, ERR_CLOSED.
std::shared_ptr<const HeldVectors> deviceVectorsArgument(Napi::Value value, const std::string& name, int dimension);

/// One or more vectors of `width` bytes in one Uint8Array. Throws the same.
Input<uint8_t> bitsArgument(Napi::Value value, const std::string& name, int width);

/// Bytes of a Uint8Array, Buffer or Uint8ClampedArray.
Input<uint8_t> bytesArgument(Napi::Value value, const std::string& name);

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1; // up to here JavaScript's plain numbers are exact

/// Ids from 0 to max: one number or bigint, an array of them or a BigInt64Array. Throws ERR_INVALID_ID.
std::vector<int64_t> idsArgument(Napi::Value value, const std::string& name, int64_t max = kMaxSafeInteger);

/// One id.
int64_t idArgument(Napi::Value value, const std::string& name, int64_t max);

} // namespace faiss_vision
