#include "vision/face_recognizer_factory.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "error.h"
#include "vision/box_chip.h"
#include "vision/face_chip.h"
#include "vision/facenet.h"
#include "vision/resnet128.h"

namespace faiss_vision {
namespace {

using Options = FaceRecognizerFactory::Options;

class Resnet128Recognition : public FaceRecognition {
public:
    Resnet128Recognition(const Options& options, double threshold)
        : FaceRecognition(Mtcnn(Safetensors(options.detectorWeights), options.detector)), net_(Safetensors(options.weights)), threshold_(threshold) {}

    int dimension() const override { return Resnet128::kDimension; }
    int chipSize() const override { return Resnet128::kChipSize; }
    double threshold() const override { return threshold_ > 0 ? threshold_ : 0.6; }
    Metric metric() const override { return Metric::Euclidean; }
    const char* thresholdSource() const override {
        return threshold_ > 0 ? "set by whoever added the model" : "the network's author: 99.38 % on LFW with it (http://dlib.net/face_recognition.py.html)";
    }

private:
    void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const override {
        cutFaceChip(picture, face.visibleLandmarks, chipSize(), chip);
    }
    void forward(const uint8_t* chips, int64_t n, float* features) override { net_.forward(chips, n, features); }

    Resnet128 net_;
    double threshold_;
};

class FaceNetRecognition : public FaceRecognition {
public:
    FaceNetRecognition(const Options& options, double threshold)
        : FaceRecognition(Mtcnn(Safetensors(options.detectorWeights), options.detector)),
          net_(Safetensors(options.weights), options.precision),
          margin_(options.margin),
          threshold_(threshold) {}

    int dimension() const override { return FaceNet::kDimension; }
    int chipSize() const override { return FaceNet::kChipSize; }
    double threshold() const override { return threshold_ > 0 ? threshold_ : std::sqrt(1.242); }
    Metric metric() const override { return Metric::Euclidean; }
    const char* thresholdSource() const override {
        return threshold_ > 0 ? "set by whoever added the model"
                              : "the paper's best on LFW, a squared distance of 1.242 (Schroff et al. 2015, 5.6), for its own network of 128 numbers";
    }

private:
    void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const override { cutBoxChip(picture, face.box, chipSize(), margin_, chip); }
    void forward(const uint8_t* chips, int64_t n, float* features) override { net_.forward(chips, n, features); }

    FaceNet net_;
    int margin_;
    double threshold_;
};

constexpr std::array<const char*, 2> kArchitectures = {"facenet", "resnet128"};

std::unique_ptr<FaceRecognition> make(const std::string& architecture, const Options& options, double threshold) {
    if (options.margin < 0 || options.margin >= FaceNet::kChipSize) {
        throw Error("ERR_INVALID_ARGUMENT", "margin: expected pixels from 0 to 159, got " + std::to_string(options.margin));
    }
    if (architecture == "facenet") return std::make_unique<FaceNetRecognition>(options, threshold);
    if (options.precision != Precision::Fp32) throw Error("ERR_UNSUPPORTED", "precision: resnet128 runs in fp32 only; facenet has bf16 too");
    return std::make_unique<Resnet128Recognition>(options, threshold);
}

std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

bool isArchitecture(const std::string& name) { return std::find(kArchitectures.begin(), kArchitectures.end(), name) != kArchitectures.end(); }

} // namespace

void FaceRecognizerFactory::add(const std::string& name, const Model& model) {
    if (!isArchitecture(model.architecture)) {
        throw Error("ERR_UNKNOWN_MODEL", "architecture: expected one of facenet, resnet128, got \"" + model.architecture + "\"");
    }
    if (name.empty() || isArchitecture(name) || !added_.emplace(name, model).second) {
        throw Error("ERR_INVALID_ARGUMENT", "name: expected one that is not taken by " + listed(names()) + ", got \"" + name + "\"");
    }
}

std::unique_ptr<FaceRecognition> FaceRecognizerFactory::create(const std::string& model, const Options& options) const {
    if (isArchitecture(model)) return make(model, options, 0);
    const auto found = added_.find(model);
    if (found == added_.end()) throw Error("ERR_UNKNOWN_MODEL", "model: expected one of " + listed(names()) + ", got \"" + model + "\"");
    Options own = options;
    if (own.weights.empty()) own.weights = found->second.weights;
    return make(found->second.architecture, own, found->second.threshold);
}

std::vector<std::string> FaceRecognizerFactory::names() const {
    std::vector<std::string> result(kArchitectures.begin(), kArchitectures.end());
    for (const auto& [name, model] : added_) result.push_back(name);
    return result;
}

} // namespace faiss_vision
