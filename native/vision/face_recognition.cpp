#include "vision/face_recognition.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "error.h"

namespace faiss_vision {
namespace {

struct Name {
    ErrorCode code;
    const char* name;
};
constexpr Name kNames[] = {{ErrorCode::None, ""},
                           {ErrorCode::InvalidArgument, "ERR_INVALID_ARGUMENT"},
                           {ErrorCode::ImageTooLarge, "ERR_IMAGE_TOO_LARGE"},
                           {ErrorCode::NotFinite, "ERR_NOT_FINITE"},
                           {ErrorCode::OutOfMemory, "ERR_OUT_OF_MEMORY"},
                           {ErrorCode::Internal, "ERR_INTERNAL"}};

ErrorCode codeOf(const std::string& name) {
    for (const Name& known : kNames) {
        if (name == known.name) return known.code;
    }
    return ErrorCode::Internal;
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
        recognise(preload1);
        recognise(preload2);
        // A picture without a face would leave the second network cold.
        const std::vector<uint8_t> chip(size_t{3} * chipSize() * chipSize());
        featuresOf(chip.data(), 1);
    });
}

bool FaceRecognition::getFaces(const Image& image, std::vector<Face>& faces) {
    return attempt([&] { faces = recognise(image); });
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

std::vector<Face> FaceRecognition::recognise(const Image& image) const {
    const RgbPixels picture(image);
    const std::vector<Detection> found = detector_.detect({&picture}).front();
    const size_t chipBytes = size_t{3} * chipSize() * chipSize();
    std::vector<uint8_t> chips(found.size() * chipBytes);
    for (size_t i = 0; i < found.size(); i++) cutChip(picture, found[i], chips.data() + i * chipBytes);
    const std::vector<float> features = featuresOf(chips.data(), int64_t(found.size()));

    std::vector<Face> faces;
    faces.reserve(found.size());
    for (size_t i = 0; i < found.size(); i++) {
        const float* begin = features.data() + i * size_t(dimension());
        faces.emplace_back(found[i], std::vector<float>(begin, begin + dimension()));
    }
    return faces;
}

std::vector<float> FaceRecognition::featuresOf(const uint8_t* chips, int64_t n) const {
    std::vector<float> features(size_t(n) * size_t(dimension()));
    if (n > 0) forward(chips, n, features.data());
    const auto wrong = std::find_if(features.begin(), features.end(), [](float value) { return !std::isfinite(value); });
    if (wrong != features.end()) {
        throw Error("ERR_NOT_FINITE", "features: expected finite numbers, got " + std::to_string(*wrong) + " for face " +
                                          std::to_string((wrong - features.begin()) / dimension()));
    }
    return features;
}

} // namespace faiss_vision
