#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "vision/area_resampler.h"
#include "vision/box_chip.h"
#include "vision/cutting.h"
#include "vision/device.h"
#include "vision/face_chip.h"
#include "vision/first_layer.h"
#include "vision/image.h"
#include "vision/jpeg_decoder.h"
#include "vision/mtcnn_cascade.h"

namespace faiss_vision {

/// The places of several grids, row by row, one grid after the other: which grid, which row and which column, whole numbers each.
struct Places {
    /// @param sizes  width and height of each. Within Device::run.
    Places(const Device& device, const std::vector<std::pair<int, int>>& sizes);

    at::Tensor grid, row, column;
};

/// How a face is cut out of a picture of that size whose sums begin there.
ChipCut chipCut(const Landmarks& face, int64_t sums, int width, int height, int size);

/// Pictures on a device: they go up once, as bytes, and everything that the networks read is cut out of them there.
/// Beside the bytes it keeps sums over everything above and to the left of each pixel, in whole numbers: the mean over any
/// rectangle is four of them, so every level of a pyramid, every crop and every chip is as exact as the CPU's, and a small level
/// costs no more than its own pixels. (Sums of the largest pictures run over 2^32, differences of them do not.)
class DevicePictures {
public:
    /// @param decoder  for JPEG files among them
    /// Within Device::run. Throws what checkImage and JpegDecoder::decode throw.
    DevicePictures(const Device& device, const std::vector<Image>& images, JpegDecoder* decoder = nullptr);

    size_t count() const { return places_.size(); }
    MtcnnCascade::Size size(size_t picture) const { return {places_[picture].width, places_[picture].height}; }

    /// Makes one of the pictures a part of itself for levels() and crops(), which then count from its corner.
    void look(size_t picture, int x, int y, int width, int height);

    /// The whole picture averaged to height x width x 3 numbers from 0 to 255, as AreaResampler scales.
    at::Tensor scaled(size_t picture, int width, int height) const;

    /// What is looked at of a picture, averaged to width x height, its corner at (x, y) of a canvas.
    struct Tile {
        size_t picture;
        int width, height, x, y;
    };
    /// Tiles of any pictures side by side, as `scaled` gives each: height x width x 3. Between them lies 0.
    at::Tensor canvas(const std::vector<Tile>& tiles, int width, int height) const;

    /// PNet's first layer over such a canvas, whose tiles stand at even places: 1 x 10 x (height / 2 - 1) x (width / 2 - 1), channels last.
    /// Each tile's own places are what the layer gives for it alone; between them lies 0. For CUDA alone, in one kernel.
    at::Tensor firstLayer(const std::vector<Tile>& tiles, int width, int height, const FirstLayer& layer) const;

    /// Parts of pictures, n x side x side x 3.
    at::Tensor crops(const MtcnnCascade::Crop* crops, int64_t n, int side) const;

    /// A face, and which picture it is in.
    struct Found {
        size_t picture;
        const Detection* face;
    };
    /// As cutFaceChip cuts them, from whole pictures: n x size x size x 3 numbers without fractions.
    at::Tensor faceChips(const std::vector<Found>& faces, int size) const;

    /// As cutBoxChip cuts them, from whole pictures: n x size x size x 3 bytes.
    at::Tensor boxChips(const std::vector<Found>& faces, int size, int margin) const;

private:
    struct Place {
        int64_t pixels, sums; // the picture's first row in pixels_ and in sums_
        int wholeWidth, wholeHeight;
        int x, y, width, height; // what is looked at
    };
    std::vector<Cut> cutsOf(const std::vector<Tile>& tiles, int width) const;
    static Cut cutOf(const Place& place, const AreaResampler::Rectangle& part, int columns, int rows, int64_t to);
    at::Tensor up(const std::vector<Cut>& cuts) const;
    at::Tensor cut(const at::Tensor& table, const std::vector<Cut>& cuts, int64_t height, int64_t width) const; ///< for CUDA alone
    at::Tensor windows(const at::Tensor& above, const at::Tensor& below, const at::Tensor& left, const at::Tensor& right) const;
    at::Tensor boxChipsOf(const Found* faces, const std::vector<BoxCut>& cuts, int size) const;

    const Device& device_;
    std::vector<Place> places_;
    at::Tensor pixels_; // all pictures' pixels one after the other x 3, bytes
    at::Tensor sums_;   // for each picture (height + 1) x (width + 1) x 3 whole numbers
};

} // namespace faiss_vision
