#include "vision/image.h"

#include <string>

#include <ATen/Parallel.h>

#include "error.h"

namespace faiss_vision {
namespace {

/// One row to RGB. `first` and `last` are the places of red and blue in a source pixel.
template <int Channels>
void convertRow(const uint8_t* from, int width, int first, int last, uint8_t* to) {
    for (int x = 0; x < width; x++, from += Channels, to += 3) {
        if constexpr (Channels == 1) {
            to[0] = to[1] = to[2] = from[0];
        } else {
            to[0] = from[first];
            to[1] = from[1];
            to[2] = from[last];
            if constexpr (Channels == 4) {
                const int alpha = from[3];
                for (int c = 0; c < 3; c++) to[c] = uint8_t((to[c] * alpha + 255 * (255 - alpha) + 127) / 255);
            }
        }
    }
}

} // namespace

void checkImage(const Image& image, bool decodes) {
    const auto fail = [](const std::string& what) { throw Error("ERR_INVALID_ARGUMENT", "image: " + what); };
    if (image.width < 1 || image.height < 1) {
        fail("expected a width and a height of at least 1, got " + std::to_string(image.width) + " x " +
             std::to_string(image.height));
    }
    const int64_t pixels = int64_t{image.width} * image.height;
    if (pixels > kMaxPixels) {
        throw Error("ERR_IMAGE_TOO_LARGE", "image: " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                                               " = " + std::to_string(pixels) + " pixels; the limit is " +
                                               std::to_string(kMaxPixels) + " pixels");
    }
    if (image.channels != 1 && image.channels != 3 && image.channels != 4) {
        fail("expected 1, 3 or 4 channels, got " + std::to_string(image.channels));
    }
    if (image.data == nullptr) fail("expected pixels, got a null pointer");
    if (image.jpeg != 0) {
        if (!decodes) fail("expected pixels, got a JPEG file, which only a recogniser that decodes on a GPU takes");
        return;
    }
    const size_t row = size_t(image.width) * image.channels;
    if (image.stride < row) {
        fail("expected a stride of at least width * channels = " + std::to_string(row) + " bytes, got " +
             std::to_string(image.stride));
    }
}

RgbPixels::RgbPixels(const Image& image) {
    checkImage(image);
    width_ = image.width;
    height_ = image.height;
    if (image.channels == 3 && image.order == PixelOrder::RGB) {
        data_ = image.data;
        stride_ = ptrdiff_t(image.stride);
        return;
    }
    stride_ = ptrdiff_t{3} * width_;
    converted_.resize(size_t(stride_) * height_);
    data_ = converted_.data();
    const auto convert = image.channels == 1 ? convertRow<1> : image.channels == 3 ? convertRow<3> : convertRow<4>;
    const int red = image.order == PixelOrder::RGB ? 0 : 2;
    const int64_t grain = 1 + (1 << 16) / width_;
    at::parallel_for(0, height_, grain, [&](int64_t begin, int64_t end) {
        for (int64_t y = begin; y < end; y++) {
            convert(image.data + size_t(y) * image.stride, width_, red, 2 - red, converted_.data() + y * stride_);
        }
    });
}

} // namespace faiss_vision
