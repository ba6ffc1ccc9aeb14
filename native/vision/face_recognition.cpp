#include "vision/face_recognition.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "error.h"
#include "vision/device_features.h"

namespace faiss_vision {
namespace {

struct Name {
    ErrorCode code;
    const char* name;
};
constexpr Name kNames[] = {{ErrorCode::None, ""},
                           {ErrorCode::InvalidArgument, "ERR_INVALID_ARGUMENT"},
                           {ErrorCode::ImageTooLarge, "ERR_IMAGE_TOO_LARGE"},
                           {ErrorCode::ImageDecode, "ERR_IMAGE_DECODE"},
                           {ErrorCode::NotFinite, "ERR_NOT_FINITE"},
                           {ErrorCode::Unsupported, "ERR_UNSUPPORTED"},
                           {ErrorCode::OutOfMemory, "ERR_OUT_OF_MEMORY"},
                           {ErrorCode::CudaOutOfMemory, "ERR_CUDA_OUT_OF_MEMORY"},
                           {ErrorCode::Internal, "ERR_INTERNAL"}};

ErrorCode codeOf(const std::string& name) {
    for (const Name& known : kNames) {
        if (name == known.name) return known.code;
    }
    return ErrorCode::Internal;
}

void move(Detection& face, float x, float y) {
    face.box.x1 += x, face.box.x2 += x, face.box.y1 += y, face.box.y2 += y;
    for (Landmarks* const points : {&face.landmarks, &face.visibleLandmarks}) {
        for (auto& point : *points) point[0] += x, point[1] += y;
    }
}

} // namespace

const char* errorName(ErrorCode code) {
    for (const Name& known : kNames) {
        if (code == known.code) return known.name;
    }
    return "ERR_INTERNAL";
}

Face::Face(const Detection& detection, std::vector<float> features)
    : box{detection.box.x1, detection.box.y1, detection.box.x2 - detection.box.x1, detection.box.y2 - detection.box.y1},
      score(detection.box.score),
      landmarks(detection.landmarks),
      features_(std::move(features)) {}

bool FaceRecognition::attempt(const std::function<void()>& work) {
    errorCode_ = ErrorCode::None;
    errorString_.clear();
    try {
        work();
    } catch (const Error& error) {
        errorCode_ = codeOf(error.code());
        errorString_ = error.what();
    } catch (const std::bad_alloc&) {
        errorCode_ = ErrorCode::OutOfMemory;
        errorString_ = "not enough memory";
    } catch (const std::exception& error) {
        errorCode_ = ErrorCode::Internal;
        errorString_ = error.what();
    }
    return errorCode_ == ErrorCode::None;
}

bool FaceRecognition::initDetection(const Image& preload1, const Image& preload2) {
    return attempt([&] {
        recognise({{preload1, {}}});
        recognise({{preload2, {}}});
        // A picture without a face would leave the second network cold.
        const std::vector<uint8_t> chip(size_t{3} * chipSize() * chipSize());
        featuresOf(chip.data(), 1);
    });
}

bool FaceRecognition::getFaces(const Image& image, std::vector<Face>& faces, const FaceOptions& options) {
    return attempt([&] { faces = std::move(recognise({{image, options}}).front()); });
}

bool FaceRecognition::getFaces(const std::vector<Request>& requests, std::vector<std::vector<Face>>& faces) {
    return attempt([&] { faces = recognise(requests); });
}

bool FaceRecognition::embed(const uint8_t* chips, int64_t n, float* features) {
    return attempt([&] {
        if (n < 0 || (n > 0 && (chips == nullptr || features == nullptr))) {
            throw Error("ERR_INVALID_ARGUMENT",
                        "chips: expected 0 or more chips and room for their features, got " + std::to_string(n));
        }
        const std::vector<float> result = featuresOf(chips, n);
        std::copy(result.begin(), result.end(), features);
    });
}

bool FaceRecognition::embed(const uint8_t* chips, int64_t n, DeviceFeatures& features) {
    return attempt([&] { features = embedThere(chips, n); });
}

DeviceFeatures FaceRecognition::embedThere(const uint8_t*, int64_t) {
    throw Error("ERR_UNSUPPORTED", "features stay on the device where the recogniser runs on one: this one runs on the processor");
}

void FaceRecognition::checkRegion(const FaceOptions::Region& region, int width, int height) {
    if (region.x < 0 || region.y < 0 || region.width < 1 || region.height < 1 || region.width > width - region.x || region.height > height - region.y) {
        throw Error("ERR_INVALID_ARGUMENT", "region: expected a part of the picture's " + std::to_string(width) + " x " + std::to_string(height) +
                                                " pixels, got " + std::to_string(region.width) + " x " + std::to_string(region.height) + " at " +
                                                std::to_string(region.x) + ", " + std::to_string(region.y));
    }
}

void FaceRecognition::keep(std::vector<Detection>& found, const FaceOptions& options) {
    if (options.maxFaces > 0 && found.size() > size_t(options.maxFaces)) found.erase(found.begin() + options.maxFaces, found.end());
    if (options.region.width == 0) return;
    for (Detection& face : found) move(face, float(options.region.x), float(options.region.y));
}

std::vector<std::vector<Face>> FaceRecognition::facesOf(const std::vector<std::vector<Detection>>& found, const std::vector<float>& features) const {
    checkFinite(features);
    std::vector<std::vector<Face>> faces(found.size());
    const float* next = features.data();
    for (size_t i = 0; i < found.size(); i++) {
        for (const Detection& face : found[i]) {
            faces[i].emplace_back(face, std::vector<float>(next, next + dimension()));
            next += dimension();
        }
    }
    return faces;
}

std::vector<float> FaceRecognition::featuresOf(const uint8_t* chips, int64_t n) {
    std::vector<float> features(size_t(n) * size_t(dimension()));
    if (n > 0) forward(chips, n, features.data());
    checkFinite(features);
    return features;
}

void FaceRecognition::checkFinite(const std::vector<float>& features) const {
    const auto wrong = std::find_if(features.begin(), features.end(), [](float value) { return !std::isfinite(value); });
    if (wrong != features.end()) {
        throw Error("ERR_NOT_FINITE", "features: expected finite numbers, got " + std::to_string(*wrong) + " for face " +
                                          std::to_string((wrong - features.begin()) / dimension()));
    }
}

std::vector<std::vector<Face>> CpuFaceRecognition::recognise(const std::vector<Request>& requests) {
    std::vector<RgbPixels> pictures, regions;
    pictures.reserve(requests.size()); // what is looked at may be the picture itself
    regions.reserve(requests.size());
    std::vector<const RgbPixels*> lookedAt;
    std::vector<double> minFaceSizes;
    for (const auto& [image, options] : requests) {
        const RgbPixels& picture = pictures.emplace_back(image);
        minFaceSizes.push_back(options.minFaceSize);
        const FaceOptions::Region& region = options.region;
        if (region.width == 0) {
            lookedAt.push_back(&picture);
        } else {
            checkRegion(region, picture.width(), picture.height());
            regions.emplace_back(Image{picture.at(region.x, region.y), region.width, region.height, 3, PixelOrder::RGB, size_t(picture.stride())});
            lookedAt.push_back(&regions.back());
        }
    }
    std::vector<std::vector<Detection>> found = detector_.detect(lookedAt, minFaceSizes);
    size_t total = 0;
    for (size_t i = 0; i < found.size(); i++) {
        keep(found[i], requests[i].options);
        total += found[i].size();
    }
    const size_t chipBytes = size_t{3} * chipSize() * chipSize();
    std::vector<uint8_t> chips(total * chipBytes);
    uint8_t* chip = chips.data();
    for (size_t i = 0; i < found.size(); i++) {
        for (const Detection& face : found[i]) cutChip(pictures[i], face, chip), chip += chipBytes;
    }
    return facesOf(found, featuresOf(chips.data(), int64_t(total)));
}

} // namespace faiss_vision
