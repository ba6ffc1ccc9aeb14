#include "vision/face_recognizer_factory.h"

#include <functional>
#include <map>

#include "error.h"
#include "vision/face_chip.h"
#include "vision/resnet128.h"

namespace faiss_vision {
namespace {

using Options = FaceRecognizerFactory::Options;

class Resnet128Recognition : public FaceRecognition {
public:
    explicit Resnet128Recognition(const Options& options)
        : FaceRecognition(Mtcnn(Safetensors(options.detectorWeights), options.detector)),
          net_(Safetensors(options.weights)) {}

    int dimension() const override { return Resnet128::kDimension; }
    int chipSize() const override { return Resnet128::kChipSize; }
    /// Of the network's author: http://dlib.net/dnn_face_recognition_ex.cpp.html, 99.38 % on LFW with it.
    double threshold() const override { return 0.6; }
    Metric metric() const override { return Metric::Euclidean; }

private:
    void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const override {
        cutFaceChip(picture, face.visibleLandmarks, chipSize(), chip);
    }
    void forward(const uint8_t* chips, int64_t n, float* features) const override { net_.forward(chips, n, features); }

    Resnet128 net_;
};

using Make = std::function<std::unique_ptr<FaceRecognition>(const Options&)>;

const std::map<std::string, Make>& models() {
    static const std::map<std::string, Make> known = {
        {"resnet128", [](const Options& options) { return std::make_unique<Resnet128Recognition>(options); }},
    };
    return known;
}

} // namespace

std::unique_ptr<FaceRecognition> FaceRecognizerFactory::create(const std::string& model, const Options& options) {
    const auto found = models().find(model);
    if (found == models().end()) {
        std::string known;
        for (const std::string& name : names()) known += (known.empty() ? "" : ", ") + name;
        throw Error("ERR_UNKNOWN_MODEL", "model: expected one of " + known + ", got \"" + model + "\"");
    }
    return found->second(options);
}

std::vector<std::string> FaceRecognizerFactory::names() {
    std::vector<std::string> result;
    for (const auto& [name, make] : models()) result.push_back(name);
    return result;
}

} // namespace faiss_vision
