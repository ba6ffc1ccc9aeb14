#pragma once

#include <cstdint>

#include "vision/image.h"
#include "vision/mtcnn.h"

namespace faiss_vision {

/// Turns, scales and moves, without shearing: x = a u - b v + x0, y = b u + a v + y0.
struct Similarity {
    double a, b, x0, y0;

    /// The one that brings `from` nearest to `to` in the sense of least squares (Umeyama 1991, in two dimensions).
    static Similarity fit(const Landmarks& from, const Landmarks& to);
};

/// Where a face's landmarks lie in a chip of `size` pixels as dlib cuts it (get_face_chip_details with a padding of 0.25):
/// centres of the eyes, tip of the nose and corners of the mouth of its mean face.
Landmarks meanFace(int size);

/// The part of a picture that a chip needs, and the grid of averaged squares that it is interpolated from.
struct ChipGrid {
    int left, top, sourceWidth, sourceHeight; ///< in the picture
    int width, height;                        ///< squares
    double scaleX, scaleY;                    ///< squares for each pixel of the picture

    /// @param place  from the chip of `size` pixels into a picture of that width and height
    ChipGrid(int pictureWidth, int pictureHeight, const Similarity& place, int size);
};

/// Cuts a face out so that its landmarks come to lie nearest to the mean face's: size x size x 3 bytes, RGB.
/// Averages where the face is larger than the chip, interpolates linearly, and is black beyond the picture's edges, as dlib's chips are.
void cutFaceChip(const RgbPixels& picture, const Landmarks& face, int size, uint8_t* chip);

} // namespace faiss_vision
