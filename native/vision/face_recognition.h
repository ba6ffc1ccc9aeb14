#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vision/image.h"
#include "vision/mtcnn.h"

namespace faiss_vision {

/// What went wrong in a call that returned false. errorName() gives the stable name.
enum class ErrorCode {
    None,
    InvalidArgument, ///< ERR_INVALID_ARGUMENT
    ImageTooLarge,   ///< ERR_IMAGE_TOO_LARGE
    ImageDecode,     ///< ERR_IMAGE_DECODE: the device's decoder does not take a JPEG file
    NotFinite,       ///< ERR_NOT_FINITE: the network gave a feature that is no number
    Unsupported,     ///< ERR_UNSUPPORTED
    OutOfMemory,     ///< ERR_OUT_OF_MEMORY
    CudaOutOfMemory, ///< ERR_CUDA_OUT_OF_MEMORY
    Internal,        ///< ERR_INTERNAL: anything else; getErrorString() says what
};

/// "ERR_..." as in Error::code() and in the code of the JavaScript error; "" for None.
const char* errorName(ErrorCode code);

struct DeviceFeatures;

/// How features are compared.
enum class Metric { Euclidean, Cosine };

/// One face of a picture, in pixels of that picture.
class Face {
public:
    struct Rectangle {
        float x, y, width, height;
    };

    Face(const Detection& detection, std::vector<float> features);

    Rectangle box;       ///< may stand over the picture's edges where the face does
    float score;         ///< 0 to 1: how sure the detector is
    Landmarks landmarks; ///< left eye, right eye, nose, left and right corner of the mouth, as one sees them

    /// `dimension()` numbers to compare faces by.
    const std::vector<float>& getFeaturesData() const { return features_; }

private:
    std::vector<float> features_;
};

/// What to look for in one picture.
struct FaceOptions {
    int maxFaces = 0; ///< keep so many of the largest; 0: all
    struct Region {
        int x = 0, y = 0, width = 0, height = 0; ///< width 0: the whole picture
    } region; ///< the part of the picture to look at, in pixels
    double minFaceSize = 0; ///< as in MtcnnOptions, for this picture; 0: the detector's
};

/// Finds the faces of a picture and turns them into features. Made by FaceRecognizerFactory.
/// A call that fails returns false, leaves its result as it was and says why in getErrorCode() and getErrorString().
/// One call at a time; the caller sees to that. Different objects work side by side.
class FaceRecognition {
public:
    virtual ~FaceRecognition() = default;
    FaceRecognition(const FaceRecognition&) = delete;
    FaceRecognition& operator=(const FaceRecognition&) = delete;

    /// Runs everything once on two pictures, so that the first real one does not wait for memory to be set up.
    bool initDetection(const Image& preload1, const Image& preload2);

    /// The faces of a picture with their features, largest first. Fails with InvalidArgument or ImageTooLarge.
    bool getFaces(const Image& image, std::vector<Face>& faces, const FaceOptions& options = {});

    struct Request {
        Image image;
        FaceOptions options;
    };
    /// Those of several pictures, which go through the networks together.
    bool getFaces(const std::vector<Request>& requests, std::vector<std::vector<Face>>& faces);

    /// Features of faces cut out already.
    /// @param chips     n x chipSize x chipSize x 3 bytes, RGB
    /// @param features  n x dimension
    bool embed(const uint8_t* chips, int64_t n, float* features);

    /// The same for n >= 1, left in the memory of the device that the networks run on. Fails with Unsupported where that is the processor.
    bool embed(const uint8_t* chips, int64_t n, DeviceFeatures& features);

    /// Of the last call.
    ErrorCode getErrorCode() const { return errorCode_; }
    /// Of the last call, empty where it succeeded.
    const std::string& getErrorString() const { return errorString_; }

    /// Numbers in a face's features.
    virtual int dimension() const = 0;
    /// Pixels on each side of a chip.
    virtual int chipSize() const = 0;
    /// Features of one person are nearer than this (Euclidean) or more alike than this (cosine).
    virtual double threshold() const = 0;
    virtual Metric metric() const = 0;
    /// Who says so.
    virtual const char* thresholdSource() const = 0;

protected:
    FaceRecognition() = default;

    /// The faces of several pictures, with their features.
    virtual std::vector<std::vector<Face>> recognise(const std::vector<Request>& requests) = 0;
    /// The network, for n >= 1 chips.
    virtual void forward(const uint8_t* chips, int64_t n, float* features) = 0;
    virtual DeviceFeatures embedThere(const uint8_t* chips, int64_t n);

    /// Throws ERR_INVALID_ARGUMENT for a part that is none of a picture of this size.
    static void checkRegion(const FaceOptions::Region& region, int width, int height);
    /// Of what was found in the part that was looked at, what the options ask for, in pixels of the whole picture.
    static void keep(std::vector<Detection>& found, const FaceOptions& options);
    /// Shares features out to the faces that they belong to. Throws ERR_NOT_FINITE.
    std::vector<std::vector<Face>> facesOf(const std::vector<std::vector<Detection>>& found, const std::vector<float>& features) const;
    std::vector<float> featuresOf(const uint8_t* chips, int64_t n);

private:
    bool attempt(const std::function<void()>& work);
    void checkFinite(const std::vector<float>& features) const;

    ErrorCode errorCode_ = ErrorCode::None;
    std::string errorString_;
};

/// One whose networks run on the processor, by kernels of this project.
class CpuFaceRecognition : public FaceRecognition {
protected:
    explicit CpuFaceRecognition(Mtcnn detector) : detector_(std::move(detector)) {}

    /// Cuts a face out as the network wants it.
    virtual void cutChip(const RgbPixels& picture, const Detection& face, uint8_t* chip) const = 0;

private:
    std::vector<std::vector<Face>> recognise(const std::vector<Request>& requests) override;

    Mtcnn detector_;
};

} // namespace faiss_vision
