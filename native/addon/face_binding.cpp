#include "addon/face_binding.h"

#include <cstring>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/kept_features.h"
#include "addon/picture_argument.h"
#include "vision/face_recognition.h"
#include "vision/face_recognizer_factory.h"
#include "vision/facenet.h"

namespace faiss_vision {

struct FaceBinding::Shared {
    std::shared_ptr<Queue> queue;
    std::string model;
    FaceRecognizerFactory factory;
    FaceRecognizerFactory::Options options;
    std::unique_ptr<FaceRecognition> recognition;

    /// The C++ class reports failures by a code, as in the article; here they become exceptions again.
    void check(bool succeeded) const {
        if (!succeeded) throw Error(errorName(recognition->getErrorCode()), recognition->getErrorString());
    }
};

namespace {

constexpr size_t kBoxNumbers = 15; // x, y, width, height, score and five landmarks

Napi::Float32Array floatArray(Napi::Env env, const std::vector<float>& numbers) {
    auto array = Napi::Float32Array::New(env, numbers.size());
    if (!numbers.empty()) std::memcpy(array.Data(), numbers.data(), numbers.size() * sizeof(float));
    return array;
}

struct FoundFaces {
    std::vector<float> boxes;
    std::vector<float> features;

    explicit FoundFaces(const std::vector<Face>& faces) {
        boxes.reserve(faces.size() * kBoxNumbers);
        for (const Face& face : faces) {
            boxes.insert(boxes.end(), {face.box.x, face.box.y, face.box.width, face.box.height, face.score});
            for (const auto& point : face.landmarks) boxes.insert(boxes.end(), point.begin(), point.end());
            const auto& numbers = face.getFeaturesData();
            features.insert(features.end(), numbers.begin(), numbers.end());
        }
    }
};

FaceOptions faceOptions(Napi::Value value) {
    FaceOptions options;
    if (value.IsUndefined()) return options;
    if (!value.IsObject()) refuse("options", "an object", value);
    const auto object = value.As<Napi::Object>();
    constexpr int kMost = 1 << 26;
    const Napi::Value maxFaces = object.Get("maxFaces"), region = object.Get("region"), minFaceSize = object.Get("minFaceSize");
    if (!minFaceSize.IsUndefined()) options.minFaceSize = numberArgument(minFaceSize, "minFaceSize");
    if (!maxFaces.IsUndefined()) options.maxFaces = int(integerArgument(maxFaces, "maxFaces", 1, kMost));
    if (!region.IsUndefined()) {
        if (!region.IsObject()) refuse("region", "{ x, y, width, height }", region);
        const auto part = region.As<Napi::Object>();
        options.region = {int(integerArgument(part.Get("x"), "region.x", 0, kMost)), int(integerArgument(part.Get("y"), "region.y", 0, kMost)),
                          int(integerArgument(part.Get("width"), "region.width", 1, kMost)), int(integerArgument(part.Get("height"), "region.height", 1, kMost))};
    }
    return options;
}

/// A made picture for those who give none: the first real one must not wait for memory to be set up.
void warmUpWithGrey(FaceBinding::Shared& shared) {
    constexpr int kWidth = 640, kHeight = 480;
    const std::vector<uint8_t> pixels(size_t{3} * kWidth * kHeight, 128);
    const Image grey{pixels.data(), kWidth, kHeight, 3, PixelOrder::RGB, size_t{3} * kWidth};
    shared.check(shared.recognition->initDetection(grey, grey));
}

/// A photo that waits. Those that wait beside it go through the networks together with it.
class FacesWork : public Work {
public:
    FacesWork(std::shared_ptr<FaceBinding::Shared> shared, std::shared_ptr<Picture> picture, const FaceOptions& options,
              std::shared_ptr<std::unique_ptr<FoundFaces>> found)
        : shared_(std::move(shared)), picture_(std::move(picture)), options_(options), found_(std::move(found)) {}

    void run() override { runWith({}); }
    bool reads() const override { return true; }
    bool joins(const Work& work) const override { return dynamic_cast<const FacesWork*>(&work) != nullptr; }
    size_t most() const override { return 8; } // photos in memory at once; more are hardly faster

    void runWith(const std::vector<Work*>& others) override {
        std::vector<FacesWork*> all{this};
        for (Work* const work : others) all.push_back(static_cast<FacesWork*>(work));
        std::vector<FaceRecognition::Request> requests;
        for (const FacesWork* const work : all) requests.push_back({work->picture_->image, work->options_});
        std::vector<std::vector<Face>> faces;
        shared_->check(shared_->recognition->getFaces(requests, faces));
        for (size_t i = 0; i < all.size(); i++) *all[i]->found_ = std::make_unique<FoundFaces>(faces[i]);
    }

private:
    const std::shared_ptr<FaceBinding::Shared> shared_;
    const std::shared_ptr<Picture> picture_;
    const FaceOptions options_;
    const std::shared_ptr<std::unique_ptr<FoundFaces>> found_;
};

} // namespace

Napi::Function FaceBinding::define(Napi::Env env) {
    return DefineClass(env, "FaceRecognizer", {
        InstanceMethod<&FaceBinding::load>("load"), InstanceMethod<&FaceBinding::warmUp>("warmUp"),
        InstanceMethod<&FaceBinding::faces>("faces"), InstanceMethod<&FaceBinding::embed>("embed"),
        InstanceMethod<&FaceBinding::close>("close"),
    });
}

FaceBinding::FaceBinding(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FaceBinding>(info) {
    guarded(info, [&]() -> Napi::Value {
        if (!info[0].IsObject()) refuse("options", "an object", info[0]);
        const auto options = info[0].As<Napi::Object>();
        shared_ = std::make_shared<Shared>();
        shared_->queue = Environment::of(info.Env()).makeQueue();
        shared_->model = stringArgument(options.Get("model"), "model");
        shared_->options.weights = stringArgument(options.Get("weights"), "weights");
        shared_->options.detectorWeights = stringArgument(options.Get("detectorWeights"), "detectorWeights");
        const Napi::Value minFaceSize = options.Get("minFaceSize");
        if (!minFaceSize.IsUndefined()) shared_->options.detector.minFaceSize = numberArgument(minFaceSize, "minFaceSize");
        const Napi::Value thresholds = options.Get("thresholds");
        if (!thresholds.IsUndefined()) {
            if (!thresholds.IsArray() || thresholds.As<Napi::Array>().Length() != 3) refuse("thresholds", "three numbers between 0 and 1", thresholds);
            for (uint32_t i = 0; i < 3; i++) {
                shared_->options.detector.thresholds[i] = numberArgument(thresholds.As<Napi::Array>().Get(i), "thresholds[" + std::to_string(i) + "]");
            }
        }
        const Napi::Value precision = options.Get("precision");
        if (!precision.IsUndefined()) shared_->options.precision = Precision(wordArgument(precision, "precision", {"fp32", "bf16", "fp16"})); // in the enumeration's order
        const Napi::Value device = options.Get("device");
        if (!device.IsUndefined()) shared_->options.device = stringArgument(device, "device");
        const Napi::Value margin = options.Get("margin");
        if (!margin.IsUndefined()) shared_->options.margin = int(integerArgument(margin, "margin", 0, FaceNet::kChipSize - 1));
        const Napi::Value architecture = options.Get("architecture");
        if (!architecture.IsUndefined()) {
            const Napi::Value threshold = options.Get("threshold");
            shared_->factory.add(shared_->model, {stringArgument(architecture, "architecture"), shared_->options.weights,
                                                  threshold.IsUndefined() ? 0 : numberArgument(threshold, "threshold")});
        }
        return info.Env().Undefined();
    });
}

FaceBinding::Shared& FaceBinding::open() const {
    if (closed_) throw Error("ERR_CLOSED", "this FaceRecognizer was closed");
    return *shared_;
}

Napi::Value FaceBinding::load(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        return Environment::of(info.Env()).submit(
            open().queue,
            [shared = shared_] {
                shared->recognition = shared->factory.create(shared->model, shared->options);
                warmUpWithGrey(*shared);
            },
            [shared = shared_](Napi::Env env, Napi::Value) {
                auto object = Napi::Object::New(env);
                object.Set("dimension", shared->recognition->dimension());
                object.Set("chipSize", shared->recognition->chipSize());
                object.Set("threshold", shared->recognition->threshold());
                object.Set("thresholdSource", shared->recognition->thresholdSource());
                return object;
            });
    });
}

Napi::Value FaceBinding::warmUp(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const auto first = std::make_shared<Picture>(info[0]);
        const auto second = std::make_shared<Picture>(info[1]);
        auto held = first->bytes.takeHeld();
        for (const auto& value : second->bytes.takeHeld()) held.push_back(value);
        return Environment::of(info.Env()).submit(
            shared_->queue,
            [shared = shared_, first, second] { shared->check(shared->recognition->initDetection(first->image, second->image)); },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); }, held);
    });
}

Napi::Value FaceBinding::faces(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const FaceOptions options = faceOptions(info[1]); // before the pixels: getters run here, and may take memory away
        const auto picture = std::make_shared<Picture>(info[0]);
        const auto found = std::make_shared<std::unique_ptr<FoundFaces>>();
        return Environment::of(info.Env()).submit(
            shared_->queue, std::make_unique<FacesWork>(shared_, picture, options, found),
            [found](Napi::Env env, Napi::Value) {
                auto object = Napi::Object::New(env);
                object.Set("boxes", floatArray(env, (*found)->boxes));
                object.Set("features", floatArray(env, (*found)->features));
                return object;
            },
            picture->bytes.takeHeld(), {});
    });
}

Napi::Value FaceBinding::embed(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        open();
        const auto chips = std::make_shared<Input<uint8_t>>(bytesArgument(info[0], "chips"));
        const int64_t chip = int64_t(shared_->recognition->chipSize()) * shared_->recognition->chipSize() * 3;
        const int64_t n = int64_t(chips->size()) / chip;
        if (n == 0 || int64_t(chips->size()) % chip != 0) {
            throw Error("ERR_DIMENSION_MISMATCH", "`chips` must hold one or more chips of " + std::to_string(chip) + " bytes (RGB), got " +
                                                      std::to_string(chips->size()) + " bytes");
        }
        if (info[1].ToBoolean()) { // to stay on the device
            const auto kept = std::make_shared<DeviceFeatures>();
            return Environment::of(info.Env()).submit(
                shared_->queue, [shared = shared_, chips, n, kept] { shared->check(shared->recognition->embed(chips->data(), n, *kept)); },
                [kept](Napi::Env env, Napi::Value) { return keptFeatures(env, std::move(*kept)); }, chips->takeHeld());
        }
        auto features = Napi::Float32Array::New(info.Env(), n * shared_->recognition->dimension());
        std::vector<Napi::Value> held{features};
        for (const auto& value : chips->takeHeld()) held.push_back(value);
        return Environment::of(info.Env()).submit(
            shared_->queue,
            [shared = shared_, chips, n, into = features.Data()] { shared->check(shared->recognition->embed(chips->data(), n, into)); },
            [](Napi::Env, Napi::Value features) { return features; }, held);
    });
}

Napi::Value FaceBinding::close(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const auto promise = Environment::of(info.Env()).submit(
            open().queue, [shared = shared_] { shared->recognition.reset(); },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); });
        closed_ = true;
        return promise;
    });
}

} // namespace faiss_vision
