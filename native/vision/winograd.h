#pragma once

namespace faiss_vision {

/// What kernels::WinogradIn says, for vectors of any kind: 4 x 4 inputs, row by row, become what the 16 products take.
template <class V>
[[gnu::always_inline]] inline void winogradSquare(V (&square)[4][4]) {
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++) {
        const V a = square[0][x], b = square[1][x], d = square[2][x], e = square[3][x];
        square[0][x] = a - d, square[1][x] = b + d, square[2][x] = d - b, square[3][x] = b - e;
    }
#pragma GCC unroll 4
    for (int y = 0; y < 4; y++) {
        const V a = square[y][0], b = square[y][1], d = square[y][2], e = square[y][3];
        square[y][0] = a - d, square[y][1] = b + d, square[y][2] = d - b, square[y][3] = b - e;
    }
}

} // namespace faiss_vision
