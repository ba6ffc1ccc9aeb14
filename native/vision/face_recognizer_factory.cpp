#include "vision/face_recognizer_factory.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "error.h"
#include "vision/box_chip.h"
#include "vision/device_recognition.h"
#include "vision/face_chip.h"
#include "vision/facenet.h"
#include "vision/resnet128.h"

namespace faiss_vision {
namespace {

using Options = FaceRecognizerFactory::Options;

/// What is known of a network, whatever runs it.
template <class Base>
class Resnet128Recognition : public Base {
public:
    int dimension() const override { return Resnet128::kDimension; }
    int chipSize() const override { return Resnet128::kChipSize; }
    double threshold() const override { return threshold_ > 0 ? threshold_ : 0.6; }
    Metric metric() const override { return Metric::Euclidean; }
    const char* thresholdSource() const override {
        return threshold_ > 0 ? "set by whoever added the model" : "the network's author: 99.38 % on LFW with it (http://dlib.net/face_recognition.py.html)";
    }

protected:
    template <class... Arguments>
    explicit Resnet128Recognition(double threshold, Arguments&&... arguments) : Base(std::forward<Arguments>(arguments)...), threshold_(threshold) {}

private:
    double threshold_;
};

template <class Base>
class FaceNetRecognition : public Base {
public:
    int dimension() const override { return FaceNet::kDimension; }
    int chipSize() const override { return FaceNet::kChipSize; }
    double threshold() const override { return threshold_ > 0 ? threshold_ : std::sqrt(1.242); }
    Metric metric() const override { return Metric::Euclidean; }
    const char* thresholdSource() const override {
        return threshold_ > 0 ? "set by whoever added the model"
                              : "the paper's best on LFW, a squared distance of 1.242 (Schroff et al. 2015, 5.6), for its own network of 128 numbers";
    }

protected:
    template <class... Arguments>
    explicit FaceNetRecognition(double threshold, Arguments&&... arguments) : Base(std::forward<Arguments>(arguments)...), threshold_(threshold) {}

private:
    double threshold_;
};

class CpuResnet128 : public Resnet128Recognition<CpuFaceRecognition> {
public:
    CpuResnet128(const Options& options, double threshold)
        : Resnet128Recognition(threshold, Mtcnn(Safetensors(options.detectorWeights), options.detector)), net_(Safetensors(options.weights)) {}

private:
    void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const override {
        cutFaceChip(picture, face.visibleLandmarks, chipSize(), chip);
    }
    void forward(const uint8_t* chips, int64_t n, float* features) override { net_.forward(chips, n, features); }

    Resnet128 net_;
};

class CpuFaceNet : public FaceNetRecognition<CpuFaceRecognition> {
public:
    CpuFaceNet(const Options& options, double threshold)
        : FaceNetRecognition(threshold, Mtcnn(Safetensors(options.detectorWeights), options.detector)),
          net_(Safetensors(options.weights), options.precision),
          margin_(options.margin) {}

private:
    void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const override { cutBoxChip(picture, face.box, chipSize(), margin_, chip); }
    void forward(const uint8_t* chips, int64_t n, float* features) override { net_.forward(chips, n, features); }

    FaceNet net_;
    int margin_;
};

class DeviceResnet128Recognition : public Resnet128Recognition<DeviceFaceRecognition> {
public:
    DeviceResnet128Recognition(const Options& options, double threshold, std::shared_ptr<const Device> device)
        : Resnet128Recognition(threshold, std::move(device), options) {
        setNetwork<DeviceResnet128>(options);
    }

private:
    at::Tensor cutChips(const DevicePictures& pictures, const std::vector<DevicePictures::Found>& faces) const override {
        return pictures.faceChips(faces, chipSize());
    }
};

class DeviceFaceNetRecognition : public FaceNetRecognition<DeviceFaceRecognition> {
public:
    DeviceFaceNetRecognition(const Options& options, double threshold, std::shared_ptr<const Device> device)
        : FaceNetRecognition(threshold, std::move(device), options), margin_(options.margin) {
        setNetwork<DeviceFaceNet>(options);
    }

private:
    at::Tensor cutChips(const DevicePictures& pictures, const std::vector<DevicePictures::Found>& faces) const override {
        return pictures.boxChips(faces, chipSize(), margin_);
    }

    int margin_;
};

constexpr std::array<const char*, 2> kArchitectures = {"facenet", "resnet128"};

std::unique_ptr<FaceRecognition> make(const std::string& architecture, const Options& options, double threshold) {
    if (options.margin < 0 || options.margin >= FaceNet::kChipSize) {
        throw Error("ERR_INVALID_ARGUMENT", "margin: expected pixels from 0 to 159, got " + std::to_string(options.margin));
    }
    if (std::shared_ptr<const Device> device = options.place(); device != nullptr) {
        if (architecture == "facenet") return std::make_unique<DeviceFaceNetRecognition>(options, threshold, std::move(device));
        return std::make_unique<DeviceResnet128Recognition>(options, threshold, std::move(device));
    }
    if (options.decodes) throw Error("ERR_UNSUPPORTED", "decoder: only a recogniser on a GPU decodes there");
    if (architecture == "facenet") return std::make_unique<CpuFaceNet>(options, threshold);
    if (options.precision != Precision::Fp32) throw Error("ERR_UNSUPPORTED", "precision: resnet128 runs in fp32 only on the processor; facenet has bf16 too");
    return std::make_unique<CpuResnet128>(options, threshold);
}

std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

bool isArchitecture(const std::string& name) { return std::find(kArchitectures.begin(), kArchitectures.end(), name) != kArchitectures.end(); }

} // namespace

std::shared_ptr<const Device> FaceRecognizerFactory::Options::place() const {
    if (opened != nullptr) return opened;
    return device == "cpu" ? nullptr : Device::open(device, precision);
}

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
