#include "vision/device_recognition.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <c10/core/InferenceMode.h>

#include "error.h"

namespace faiss_vision {

DeviceFaceRecognition::DeviceFaceRecognition(std::shared_ptr<const Device> device, const FaceRecognizerFactory::Options& options)
    : device_(std::move(device)) {
    device_->run([&] { detector_ = std::make_unique<DeviceMtcnn>(Safetensors(options.detectorWeights), options.detector, device_); });
    if (options.decodes) decoder_ = std::make_unique<JpegDecoder>(device_);
}

DeviceFaceRecognition::~DeviceFaceRecognition() = default;

std::vector<std::vector<Face>> DeviceFaceRecognition::recognise(const std::vector<Request>& requests) {
    std::vector<std::vector<Detection>> found;
    std::vector<float> features;
    device_->run([&] {
        std::vector<Image> images;
        std::vector<double> minFaceSizes;
        for (const auto& [image, options] : requests) {
            images.push_back(image);
            minFaceSizes.push_back(options.minFaceSize);
            if (options.region.width > 0) checkRegion(options.region, image.width, image.height);
        }
        DevicePictures pictures(*device_, images, decoder_.get());
        for (size_t i = 0; i < requests.size(); i++) {
            const FaceOptions::Region& region = requests[i].options.region;
            if (region.width > 0) pictures.look(i, region.x, region.y, region.width, region.height);
        }
        found = detector_->detect(pictures, minFaceSizes);
        std::vector<DevicePictures::Found> faces;
        for (size_t i = 0; i < found.size(); i++) {
            keep(found[i], requests[i].options);
            for (const Detection& face : found[i]) faces.push_back({i, &face});
        }
        features.resize(faces.size() * size_t(dimension()));
        if (!faces.empty()) read((*network_)(cutChips(pictures, faces)), features.data());
    });
    return facesOf(found, features);
}

void DeviceFaceRecognition::forward(const uint8_t* chips, int64_t n, float* features) {
    device_->run([&] { read(forward(chips, n), features); });
}

DeviceFeatures DeviceFaceRecognition::embedThere(const uint8_t* chips, int64_t n) {
    DeviceFeatures features{device_, {}};
    device_->run([&] {
        features.numbers = forward(chips, n).to(at::kFloat).contiguous();
        // To ask is to wait until they are there.
        if (at::isfinite(features.numbers).all().item<bool>()) return;
        throw Error("ERR_NOT_FINITE", "features: expected finite numbers, got others for one of " + std::to_string(n) + " faces");
    });
    return features;
}

void DeviceFeatures::read(float* to) const {
    const c10::InferenceMode inference;
    const at::Tensor host = numbers.cpu();
    std::copy_n(host.data_ptr<float>(), host.numel(), to);
}

/// Within Device::run.
at::Tensor DeviceFaceRecognition::forward(const uint8_t* chips, int64_t n) {
    const int64_t size = chipSize(), bytes = 3 * size * size;
    std::vector<at::Tensor> parts;
    for (int64_t i = 0; i < n; i += kBatch) { // one batch is computed while the next goes up
        const int64_t some = std::min(kBatch, n - i);
        const at::Tensor staged = device_->staging(some * bytes);
        std::copy_n(chips + i * bytes, some * bytes, staged.data_ptr<uint8_t>());
        parts.push_back((*network_)(device_->up(staged).view({some, size, size, 3})));
    }
    return parts.size() == 1 ? parts.front() : at::cat(parts);
}

void DeviceFaceRecognition::read(const at::Tensor& result, float* features) {
    const at::Tensor host = result.to(at::kFloat).cpu().contiguous();
    std::copy_n(host.data_ptr<float>(), host.numel(), features);
}

} // namespace faiss_vision
