#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "error.h"
#include "vision/image.h"

/// What the vision tests share: where weights and golden data lie, and seeded pictures.
namespace faiss_vision::test {

inline std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

/// A weights file as the set-up leaves it.
inline std::string model(const std::string& name) {
    std::string folder = environment("FAISS_VISION_MODELS");
    if (folder.empty()) {
        std::string cache = environment("FAISS_VISION_CACHE");
        if (cache.empty()) {
            const std::string xdg = environment("XDG_CACHE_HOME");
            cache = (xdg.empty() ? environment("HOME") + "/.cache" : xdg) + "/faiss-vision";
        }
        folder = cache + "/models";
    }
    return folder + "/" + name + ".safetensors";
}

inline std::string golden(const std::string& name) { return std::string(FAISS_VISION_TEST_DATA) + "/" + name; }

inline std::vector<uint8_t> readBytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

/// The golden data's seeded numbers in [0, 1): FNV-1a of the name, then MurmurHash3's finaliser of a counter.
inline std::vector<float> seeded(const std::string& name, size_t count) {
    uint32_t hash = 0x811C9DC5;
    for (const char c : name) hash = (hash ^ uint8_t(c)) * 0x01000193;
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++) {
        uint32_t x = hash + uint32_t(i) * 0x9E3779B9;
        x = (x ^ (x >> 16)) * 0x85EBCA6B;
        x = (x ^ (x >> 13)) * 0xC2B2AE35;
        x ^= x >> 16;
        values[i] = float(x >> 8) / float(1 << 24);
    }
    return values;
}

/// A seeded picture of noise, height x width x channels.
inline std::vector<uint8_t> noise(const std::string& name, int height, int width, int channels = 3) {
    const std::vector<float> values = seeded(name, size_t(height) * width * channels);
    std::vector<uint8_t> pixels(values.size());
    for (size_t i = 0; i < values.size(); i++) pixels[i] = uint8_t(values[i] * 256);
    return pixels;
}

/// A tight RGB picture on pixels that stay elsewhere.
inline Image rgb(const std::vector<uint8_t>& pixels, int width, int height) {
    return {pixels.data(), width, height, 3, PixelOrder::RGB, size_t{3} * width};
}

/// The golden 150 x 150 chip of a photo: "obama.jpg", ...
inline std::vector<uint8_t> chip(const std::string& photo) { return readBytes(golden("resnet128/" + photo + ".150x150.rgb")); }

/// A grey canvas with a chip laid on it, its corner at (x, y).
inline void lay(const std::vector<uint8_t>& chip, int x, int y, std::vector<uint8_t>& canvas, int width) {
    for (int row = 0; row < 150; row++) {
        std::copy_n(chip.begin() + row * 450, 450, canvas.begin() + (ptrdiff_t{y + row} * width + x) * 3);
    }
}

/// The code of the Error that `work` throws, empty where it throws none.
template <class Work>
std::string codeOf(Work work, std::string* message = nullptr) {
    try {
        work();
    } catch (const Error& error) {
        if (message != nullptr) *message = error.what();
        return error.code();
    }
    return "";
}

} // namespace faiss_vision::test
