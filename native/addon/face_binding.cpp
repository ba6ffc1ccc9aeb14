#include "addon/face_binding.h"

#include <cstring>
#include <mutex>
#include <shared_mutex>
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
    /// As many as the queue has lanes, and those of them that no photos are looked at with.
    std::vector<std::unique_ptr<FaceRecognition>> recognitions;
    std::mutex mutex;
    std::vector<FaceRecognition*> free;
    std::shared_mutex memory; ///< shared by those that look at photos, owned by one that needs the device's memory for itself

    /// On a device six: while boxes of some photos are sorted out on the processor, pixels copied to go up or kernels started, it looks at
    /// others. Each has the weights once more.
    size_t lanes() const { return options.device == "cpu" ? 1 : 6; }

    /// For what runs alone in the queue.
    FaceRecognition& recognition() const { return *recognitions.front(); }
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

/// The C++ class reports failures by a code, as in the article; here they become exceptions again.
void check(const FaceRecognition& recognition, bool succeeded) {
    if (!succeeded) throw Error(errorName(recognition.getErrorCode()), recognition.getErrorString());
}

void warmUp(FaceBinding::Shared& shared, const Image& first, const Image& second) {
    for (const auto& recognition : shared.recognitions) check(*recognition, recognition->initDetection(first, second));
}

/// A made picture for those who give none: the first real one must not wait for memory to be set up.
void warmUpWithGrey(FaceBinding::Shared& shared) {
    constexpr int kWidth = 640, kHeight = 480;
    const std::vector<uint8_t> pixels(size_t{3} * kWidth * kHeight, 128);
    const Image grey{pixels.data(), kWidth, kHeight, 3, PixelOrder::RGB, size_t{3} * kWidth};
    warmUp(shared, grey, grey);
}

/// One of the recognisers for as long as this lives. There is one: the queue runs no more groups at a time.
class Lane {
public:
    explicit Lane(FaceBinding::Shared& shared) : shared_(shared) {
        const std::lock_guard<std::mutex> lock(shared.mutex);
        recognition_ = shared.free.back();
        shared.free.pop_back();
    }
    ~Lane() {
        const std::lock_guard<std::mutex> lock(shared_.mutex);
        shared_.free.push_back(recognition_); // of no more than were there, so it takes no memory
    }
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    FaceRecognition& operator*() const { return *recognition_; }

private:
    FaceBinding::Shared& shared_;
    FaceRecognition* recognition_;
};

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
        const Lane lane(*shared_);
        std::shared_lock<std::shared_mutex> beside(shared_->memory);
        bool succeeded = (*lane).getFaces(requests, faces);
        if (!succeeded && others.empty() && (*lane).getErrorCode() == ErrorCode::CudaOutOfMemory) {
            beside.unlock();
            const std::lock_guard<std::shared_mutex> alone(shared_->memory);
            succeeded = (*lane).getFaces(requests, faces);
        }
        check(*lane, succeeded);
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
        shared_->options.decodes = options.Get("decodes").ToBoolean();
        shared_->queue = Environment::of(info.Env()).makeQueue(shared_->lanes());
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
                try {
                    for (size_t lane = 0; lane < shared->lanes(); lane++) {
                        shared->recognitions.push_back(shared->factory.create(shared->model, shared->options));
                        shared->free.push_back(shared->recognitions.back().get());
                    }
                    warmUpWithGrey(*shared);
                } catch (...) {
                    shared->free.clear();
                    shared->recognitions.clear(); // nobody closes what was not loaded, and until it is collected a device's memory may be short
                    throw;
                }
            },
            [shared = shared_](Napi::Env env, Napi::Value) {
                auto object = Napi::Object::New(env);
                const FaceRecognition& recognition = shared->recognition();
                object.Set("dimension", recognition.dimension());
                object.Set("chipSize", recognition.chipSize());
                object.Set("threshold", recognition.threshold());
                object.Set("thresholdSource", recognition.thresholdSource());
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
            [shared = shared_, first, second] { faiss_vision::warmUp(*shared, first->image, second->image); },
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
        const int64_t chip = int64_t(shared_->recognition().chipSize()) * shared_->recognition().chipSize() * 3;
        const int64_t n = int64_t(chips->size()) / chip;
        if (n == 0 || int64_t(chips->size()) % chip != 0) {
            throw Error("ERR_DIMENSION_MISMATCH", "`chips` must hold one or more chips of " + std::to_string(chip) + " bytes (RGB), got " +
                                                      std::to_string(chips->size()) + " bytes");
        }
        if (info[1].ToBoolean()) { // to stay on the device
            const auto kept = std::make_shared<DeviceFeatures>();
            return Environment::of(info.Env()).submit(
                shared_->queue,
                [shared = shared_, chips, n, kept] { check(shared->recognition(), shared->recognition().embed(chips->data(), n, *kept)); },
                [kept](Napi::Env env, Napi::Value) { return keptFeatures(env, std::move(*kept)); }, chips->takeHeld());
        }
        auto features = Napi::Float32Array::New(info.Env(), n * shared_->recognition().dimension());
        std::vector<Napi::Value> held{features};
        for (const auto& value : chips->takeHeld()) held.push_back(value);
        return Environment::of(info.Env()).submit(
            shared_->queue,
            [shared = shared_, chips, n, into = features.Data()] {
                check(shared->recognition(), shared->recognition().embed(chips->data(), n, into));
            },
            [](Napi::Env, Napi::Value features) { return features; }, held);
    });
}

Napi::Value FaceBinding::close(const Napi::CallbackInfo& info) {
    return promised(info, [&] {
        const auto promise = Environment::of(info.Env()).submit(
            open().queue, [shared = shared_] { shared->recognitions.clear(); },
            [](Napi::Env env, Napi::Value) { return env.Undefined(); });
        closed_ = true;
        return promise;
    });
}

} // namespace faiss_vision
