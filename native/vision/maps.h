#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "vision/parallel.h"

namespace faiss_vision {

/// Feature maps in memory that somebody else owns: count x height x width positions, the channels of one side by side.
/// The steps (in floats) let a view be a range of channels, or every second position, of larger maps.
struct MapsView {
    float* data;
    int64_t count;
    int height, width, channels;
    ptrdiff_t mapStep, rowStep, step;

    float* at(int64_t map, int y, int x) const { return data + map * mapStep + y * rowStep + x * step; }

    MapsView slice(int firstChannel, int channelCount) const {
        MapsView view = *this;
        view.data += firstChannel;
        view.channels = channelCount;
        return view;
    }
    /// Every second row and column, from row y and column x (0 or 1) on.
    MapsView everySecond(int y, int x) const {
        MapsView view = *this;
        view.data = at(0, y, x);
        view.height = (height - y + 1) / 2;
        view.width = (width - x + 1) / 2;
        view.rowStep *= 2;
        view.step *= 2;
        return view;
    }
};

/// Memory for the maps of a forward pass, kept for the next one: to get as much anew from the system takes longer than many
/// a layer. Taken piece by piece, given back together.
class MapsMemory {
public:
    /// Not set to anything; valid until the next rewind().
    MapsView take(int64_t count, int height, int width, int channels);
    void rewind() { next_ = 0; }

private:
    struct Free {
        void operator()(float* memory) const;
    };
    struct Piece {
        std::unique_ptr<float, Free> memory;
        size_t bytes = 0;
    };
    std::vector<Piece> pieces_; // the k-th take of every pass is about as large, so its memory fits again
    size_t next_ = 0;
};

/// Told of every stage of a forward pass by its name in the paper's own code, for tests; null for none.
using Observer = std::function<void(const char* stage, const MapsView& maps)>;

// Each of these is one step of a walk.

/// A max pool of 3 x 3 with stride 2. Windows may stand over the lower and the right edge, where `out` is so large.
/// Channels are multiples of 16.
void maxPool3(const MapsView& in, const MapsView& out, Steps::Walk& walk);

/// The mean of each map, to `out` of one position.
void averagePool(const MapsView& in, const MapsView& out, Steps::Walk& walk);

} // namespace faiss_vision
