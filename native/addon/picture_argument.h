#pragma once

#include <string>

#include <napi.h>

#include "addon/arguments.h"
#include "error.h"
#include "vision/image.h"

namespace faiss_vision {

/// Pixels that were handed over, { data, width, height, channels, order, stride }, and the picture made of them; with `jpeg: true` the
/// bytes of a JPEG file of that size.
struct Picture {
    /// Throws ERR_INVALID_ARGUMENT.
    explicit Picture(Napi::Value value) : Picture(objectOf(value)) {}
    Picture(const Picture&) = delete; // `image` points into `bytes`

    Input<uint8_t> bytes;
    Image image;

private:
    static Napi::Object objectOf(Napi::Value value) {
        if (!value.IsObject()) refuse("image", "an object", value);
        return value.As<Napi::Object>();
    }

    explicit Picture(const Napi::Object& object) : bytes(bytesArgument(object.Get("data"), "image.data")) {
        constexpr int kMaxSide = 1 << 26;
        image.width = int(integerArgument(object.Get("width"), "image.width", 1, kMaxSide));
        image.height = int(integerArgument(object.Get("height"), "image.height", 1, kMaxSide));
        image.channels = int(integerArgument(object.Get("channels"), "image.channels", 1, 4));
        image.data = bytes.data();
        if (object.Get("jpeg").ToBoolean()) {
            image.jpeg = bytes.size();
            return;
        }
        const Napi::Value order = object.Get("order");
        if (!order.IsUndefined() && wordArgument(order, "image.order", {"rgb", "bgr"}) == 1) image.order = PixelOrder::BGR;
        const int64_t row = int64_t(image.width) * image.channels;
        const Napi::Value stride = object.Get("stride");
        image.stride = stride.IsUndefined() ? row : integerArgument(stride, "image.stride", row, int64_t{1} << 40);
        if (int64_t(image.stride) * (image.height - 1) + row > int64_t(bytes.size())) {
            throw Error("ERR_INVALID_ARGUMENT", "`image.data` must hold " + std::to_string(image.height) + " rows of " +
                                                    std::to_string(image.stride) + " bytes, got " + std::to_string(bytes.size()) + " bytes");
        }
    }
};

} // namespace faiss_vision
