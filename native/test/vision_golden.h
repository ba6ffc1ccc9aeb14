#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "vision/device_convolution.h"
#include "vision/maps.h"
#include "vision_support.h"

/// Networks with seeded weights against what the golden data says of them.
namespace faiss_vision::test {

inline nlohmann::json readJson(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    return nlohmann::json::parse(file);
}

inline bool endsWith(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// What the golden data's README says of each kind of variable.
inline std::vector<float> weightsOf(const std::string& name, const std::vector<int64_t>& shape) {
    size_t count = 1;
    for (const int64_t size : shape) count *= size_t(size);
    std::vector<float> values = seeded(name, count);
    const bool fcrn = name.find('/') != std::string::npos;
    const bool kernel = endsWith(name, "/weights") || (!fcrn && endsWith(name, ".weight") && shape.size() > 1);
    const bool aroundOne = endsWith(name, "/scale") || endsWith(name, "/variance") || endsWith(name, ".running_var") || (endsWith(name, ".weight") && shape.size() == 1);
    const size_t fan = kernel ? (fcrn ? count / size_t(shape.back()) : count / size_t(shape.front())) : 1;
    const float factor = kernel ? float(std::sqrt(3.0 / double(fan))) : 0.1f;
    for (float& value : values) value = aroundOne ? 0.75f + value * 0.5f : (value * 2 - 1) * factor + (name == "ConvPred/biases" ? 100 : 0);
    return values;
}

/// A safetensors file of seeded weights, gone when the test ends.
class SeededFile {
public:
    SeededFile(const nlohmann::json& variables, const std::string& model)
        : path_((std::filesystem::temp_directory_path() / ("faiss-vision-" + model + "-" + std::to_string(::getpid()) + ".safetensors")).string()) {
        nlohmann::json header = {{"__metadata__", {{"model", model}}}};
        size_t at = 0;
        for (const auto& variable : variables) {
            const auto shape = variable[1].get<std::vector<int64_t>>();
            size_t bytes = 4;
            for (const int64_t size : shape) bytes *= size_t(size);
            header[variable[0].get<std::string>()] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
            at += bytes;
        }
        std::string text = header.dump();
        text.resize((text.size() + 7) / 8 * 8, ' ');
        std::ofstream file(path_, std::ios::binary);
        const uint64_t length = text.size();
        file.write(reinterpret_cast<const char*>(&length), 8).write(text.data(), std::streamsize(text.size()));
        for (const auto& variable : variables) {
            const auto values = weightsOf(variable[0], variable[1].get<std::vector<int64_t>>());
            file.write(reinterpret_cast<const char*>(values.data()), std::streamsize(values.size() * sizeof(float)));
        }
        if (!file.flush()) throw std::runtime_error("cannot write " + path_);
    }
    ~SeededFile() { std::remove(path_.c_str()); }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

inline std::vector<float> readFloats(const std::string& path) {
    const std::vector<uint8_t> bytes = readBytes(path);
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
}

/// Holds what a network's stages give against the golden means and standard deviations.
class Stages {
public:
    /// @param unbiased  whether the deviations are a sample's, as torch gives them
    Stages(const nlohmann::json& expected, bool unbiased) : expected_(expected), unbiased_(unbiased) {}
    Observer observer() {
        return [this](const char* name, const MapsView& maps) {
            if (!expected_.contains(name)) return;
            double sum = 0, squares = 0;
            const double count = double(maps.count) * maps.height * maps.width * maps.channels;
            for (int64_t i = 0; i < maps.count; i++) {
                for (int y = 0; y < maps.height; y++) {
                    for (int x = 0; x < maps.width; x++) {
                        for (int c = 0; c < maps.channels; c++) sum += maps.at(i, y, x)[c], squares += std::pow(maps.at(i, y, x)[c], 2);
                    }
                }
            }
            judge(name, sum, squares, count);
        };
    }
    DeviceObserver deviceObserver() {
        return [this](const char* name, const at::Tensor& maps) {
            if (!expected_.contains(name)) return;
            const at::Tensor values = maps.to(at::kCPU, at::kDouble);
            judge(name, values.sum().item<double>(), values.square().sum().item<double>(), double(values.numel()));
        };
    }
    size_t seen() const { return seen_; }

private:
    void judge(const char* name, double sum, double squares, double count) {
        const double mean = sum / count, deviation = std::sqrt((squares / count - mean * mean) * (unbiased_ ? count / (count - 1) : 1));
        const double wantedMean = expected_[name]["mean"], wantedDeviation = expected_[name]["std"];
        EXPECT_NEAR(mean, wantedMean, 1e-4 * std::max(std::abs(wantedMean), wantedDeviation)) << name;
        EXPECT_NEAR(deviation, wantedDeviation, 1e-4 * wantedDeviation) << name;
        seen_++;
    }

    const nlohmann::json& expected_;
    const bool unbiased_;
    size_t seen_ = 0;
};

} // namespace faiss_vision::test
