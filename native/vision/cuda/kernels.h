#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "vision/cutting.h"
#include "vision/device.h"
#include "vision/first_layer.h"

namespace faiss_vision::cuda {

/// Kernels for what takes torch's own operations many passes over memory. All go into torch's current stream.

/// cutOnto for every pixel of every cut.
/// @param sums    of DevicePictures
/// @param cuts    n x 7 whole numbers, a Cut each
/// @param most    pixels of the largest of them
/// @param canvas  height x width x 3 numbers
void cut(const at::Tensor& sums, const at::Tensor& cuts, int64_t most, const at::Tensor& canvas);

/// chipPixel for every pixel of every chip.
/// @param cuts   n x 14 whole numbers, which are the bits of a ChipCut each
/// @param chips  n x size x size x 3 numbers
void cutChips(const at::Tensor& sums, const at::Tensor& cuts, const at::Tensor& chips);

/// The sums of DevicePictures.
/// @param pixels    of all pictures one after the other x 3, bytes
/// @param pictures  n x 4 whole numbers, a Summed each
/// @param highest, widest  of the pictures
void addUp(const at::Tensor& pixels, const at::Tensor& pictures, int64_t highest, int64_t widest, const at::Tensor& sums);

/// FirstLayer of levels side by side, straight from the sums.
/// @param cuts    levels on a canvas of that width: a Cut each
/// @param maps    1 x 10 x half its height - 1 x half its width - 1, channels last; written where levels have places
void firstLayer(const at::Tensor& sums, const std::vector<Cut>& cuts, int64_t width, const FirstLayer& layer, const Device& device, const at::Tensor& maps);

/// maps = PReLU(maps + bias), in place. False where it is not for such maps.
bool addBiasAndPrelu(const at::Tensor& maps, const at::Tensor& bias, const at::Tensor& slope);

} // namespace faiss_vision::cuda
