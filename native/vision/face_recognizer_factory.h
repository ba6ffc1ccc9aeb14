#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vision/convolution.h"
#include "vision/face_recognition.h"

namespace faiss_vision {

/// Makes recognisers by name: "resnet128", "facenet" and what was added.
class FaceRecognizerFactory {
public:
    struct Options {
        std::string weights;         ///< path of the recogniser's safetensors file; empty for the one that was added with the name
        std::string detectorWeights; ///< path of MTCNN's
        MtcnnOptions detector;
        Precision precision = Precision::Fp32; ///< of the recogniser; resnet128 has fp32 only
        int margin = 0;                        ///< facenet: pixels of the chip around the detector's box, as facenet-pytorch counts them
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
    /// Throws ERR_UNKNOWN_MODEL, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_MISMATCH, ERR_UNSUPPORTED or
    /// ERR_INVALID_ARGUMENT.
    std::unique_ptr<FaceRecognition> create(const std::string& model, const Options& options) const;

    std::vector<std::string> names() const;

private:
    std::map<std::string, Model> added_;
};

} // namespace faiss_vision
