#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vision/convolution.h"
#include "vision/device.h"
#include "vision/face_recognition.h"

namespace faiss_vision {

/// Makes recognisers by name: "resnet128", "facenet" and what was added.
class FaceRecognizerFactory {
public:
    struct Options {
        std::string weights;         ///< path of the recogniser's safetensors file; empty for the one that was added with the name
        std::string detectorWeights; ///< path of MTCNN's
        MtcnnOptions detector;
        Precision precision = Precision::Fp32; ///< on the processor of the recogniser alone, and resnet128 has fp32 only; elsewhere of all networks
        int margin = 0;                        ///< facenet: pixels of the chip around the detector's box, as facenet-pytorch counts them
        std::string device = "cpu";            ///< or as Device::open takes it
        bool decodes = false;                  ///< JPEG files are decoded there, by JpegDecoder
        std::shared_ptr<const Device> opened;  ///< instead of `device`, for tests

        /// Where the networks run; null for the processor. Throws what Device::open throws.
        std::shared_ptr<const Device> place() const;
    };
    /// Weights of one's own for a network that is known.
    struct Model {
        std::string architecture; ///< "resnet128" or "facenet"
        std::string weights;
        double threshold; ///< of Euclidean distance; 0 for the architecture's own
    };

    /// Throws ERR_UNKNOWN_MODEL for another architecture, ERR_INVALID_ARGUMENT for a name that is taken or empty.
    void add(const std::string& name, const Model& model);

    /// @param model  one of names()
    /// Throws ERR_UNKNOWN_MODEL, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_MISMATCH, ERR_UNSUPPORTED,
    /// ERR_CUDA_UNAVAILABLE, ERR_CUDA_OUT_OF_MEMORY or ERR_INVALID_ARGUMENT.
    std::unique_ptr<FaceRecognition> create(const std::string& model, const Options& options) const;

    std::vector<std::string> names() const;

private:
    std::map<std::string, Model> added_;
};

} // namespace faiss_vision
