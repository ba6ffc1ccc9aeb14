#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace faiss_vision {

/// Which of the first three channels comes first. A fourth channel is alpha.
enum class PixelOrder { RGB, BGR };

/// A picture that somebody else owns: `height` rows of `width` pixels of `channels` bytes (1 grey, 3 colour, 4 colour and alpha).
struct Image {
    const uint8_t* data = nullptr;
    int width = 0;
    int height = 0;
    int channels = 3;
    PixelOrder order = PixelOrder::RGB;
    size_t stride = 0; ///< bytes from one row to the next, at least width * channels
    size_t jpeg = 0;   ///< `data` are so many bytes of a JPEG file of that size, for recognisers that decode on a device; 0: pixels
};

/// Most pixels of one picture, 2^26 (8192 x 8192).
constexpr int64_t kMaxPixels = int64_t{1} << 26;

/// Throws ERR_INVALID_ARGUMENT for an impossible Image and ERR_IMAGE_TOO_LARGE above kMaxPixels.
/// @param decodes  whether whoever asks takes JPEG files too
void checkImage(const Image& image, bool decodes = false);

/// The pixels of an Image as the networks read them: RGB, three bytes each. RGB pictures stay where they are;
/// grey is repeated, BGR swapped and alpha laid over white, which is what a person sees, in one pass.
/// Throws what checkImage throws.
class RgbPixels {
public:
    explicit RgbPixels(const Image& image);
    RgbPixels(const RgbPixels&) = delete;
    RgbPixels& operator=(const RgbPixels&) = delete;
    RgbPixels(RgbPixels&&) = default; // moving a vector keeps its memory, so data_ stays right
    RgbPixels& operator=(RgbPixels&&) = default;

    int width() const { return width_; }
    int height() const { return height_; }
    ptrdiff_t stride() const { return stride_; }
    const uint8_t* at(int x, int y) const { return data_ + y * stride_ + ptrdiff_t{3} * x; }

private:
    std::vector<uint8_t> converted_; // empty for RGB
    const uint8_t* data_;
    int width_, height_;
    ptrdiff_t stride_;
};

} // namespace faiss_vision
