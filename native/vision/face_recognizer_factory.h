#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vision/face_recognition.h"

namespace faiss_vision {

/// Makes recognisers by name.
class FaceRecognizerFactory {
public:
    struct Options {
        std::string weights;         ///< path of the recogniser's safetensors file
        std::string detectorWeights; ///< path of MTCNN's
        MtcnnOptions detector;
    };

    /// @param model  one of names()
    /// Throws ERR_UNKNOWN_MODEL, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_MISMATCH or ERR_INVALID_ARGUMENT.
    static std::unique_ptr<FaceRecognition> create(const std::string& model, const Options& options);

    static std::vector<std::string> names();
};

} // namespace faiss_vision
