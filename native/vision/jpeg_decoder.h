#pragma once

#include <memory>
#include <vector>

#include "vision/device.h"
#include "vision/image.h"

namespace faiss_vision {

/// JPEG files to pixels in a device's memory, by NVIDIA's nvJPEG: on the GPU's own decoders where it has such, else by kernels. The library
/// is found at run time: beside the addon, in the toolkit it was built with, or where the system looks.
/// Its pixels differ from the processor's by a few levels.
class JpegDecoder {
public:
    /// Throws ERR_CUDA_UNAVAILABLE with the reason.
    explicit JpegDecoder(std::shared_ptr<const Device> device);
    ~JpegDecoder();
    JpegDecoder(const JpegDecoder&) = delete;
    JpegDecoder& operator=(const JpegDecoder&) = delete;

    struct File {
        const uint8_t* data;
        size_t bytes;
        int width, height;
        uint8_t* pixels; ///< height x width x 3 bytes of the device's, RGB
    };
    /// In the device's stream. Within Device::run. One call at a time.
    /// Throws ERR_IMAGE_DECODE where it does not take one of them, or one has another size.
    void decode(const std::vector<File>& files);

private:
    struct Library;

    const std::shared_ptr<const Device> device_;
    std::unique_ptr<Library> library_;
};

} // namespace faiss_vision
