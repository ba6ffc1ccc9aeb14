#pragma once

#include <memory>
#include <vector>

#include "vision/device_facenet.h"
#include "vision/device_features.h"
#include "vision/device_mtcnn.h"
#include "vision/device_resnet128.h"
#include "vision/face_recognizer_factory.h"

namespace faiss_vision {

/// A recogniser whose networks run on a device. Pictures go up as bytes, and only boxes, landmarks and features come back.
class DeviceFaceRecognition : public FaceRecognition {
public:
    ~DeviceFaceRecognition() override;

protected:
    DeviceFaceRecognition(std::shared_ptr<const Device> device, const FaceRecognizerFactory::Options& options);

    /// To be called by the derived class: the network that makes features of chips.
    template <class Net>
    void setNetwork(const FaceRecognizerFactory::Options& options) {
        device_->run([&] {
            const auto net = std::make_shared<Net>(Safetensors(options.weights), *device_);
            network_ = std::make_unique<Batched>(device_, [net](const at::Tensor& chips) { return net->forward(chips); }, kBatch);
        });
    }

    /// n >= 1 faces as the network wants them: n x chipSize x chipSize x 3 numbers or bytes from 0 to 255.
    virtual at::Tensor cutChips(const DevicePictures& pictures, const std::vector<DevicePictures::Found>& faces) const = 0;

private:
    static constexpr int64_t kBatch = 128; // bounds memory: about 7 MB a chip in fp32

    std::vector<std::vector<Face>> recognise(const std::vector<Request>& requests) override;
    void forward(const uint8_t* chips, int64_t n, float* features) override;
    DeviceFeatures embedThere(const uint8_t* chips, int64_t n) override;
    at::Tensor forward(const uint8_t* chips, int64_t n);
    static void read(const at::Tensor& result, float* features);

    const std::shared_ptr<const Device> device_;
    std::unique_ptr<DeviceMtcnn> detector_;
    std::unique_ptr<JpegDecoder> decoder_; // null where JPEG files come as pixels
    std::unique_ptr<Batched> network_;
};

} // namespace faiss_vision
