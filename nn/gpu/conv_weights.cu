// The weight gradient of a convolution as an implicit matrix product: the third line of the table in nn/gpu/conv_windows.cu.
// dw[o, c, i, j] = sum over positions (image, r, q) of dy[o, r, q] x[c, r s + i d - p, q s + j d - p].
//
// The result is small and the sum long. So the sum is cut into parts, which blocks compute at the same time, and a
// second pass adds the parts in order. No atomics: every run gives the same bits.

#include "matrix_tiles.cu"

// First factor of the weight gradient: dy (output channel, depth), the depth being (image, row, column) of y.
struct OutputGradient {
    using Line = int;  // where a channel begins in an image, or -1
    const T *dy;
    int rows, size_a, size_b, size_c, image_size;

    __device__ Line line(int row) const { return row < rows ? row * size_b * size_c : -1; }
    __device__ T at(Line line, Digits k) const {
        return line < 0 || k.a >= size_a ? 0 : dy[(long long)k.a * image_size + line + k.b * size_c + k.c];
    }
};

// Second factor: x as the taps see it (depth, (input channel, i, j)), the depth being (image, row, column) of y.
struct Taps {
    struct Line {
        const T *plane;
        int row, col;
    };
    const T *x;
    int channels, size_a, size_b, size_c, image_size, height, width, kh, kw, sh, sw, ph, pw, dh, dw;

    __device__ Line line(int column) const {
        const Digits t = digits_of(column, kh, kw);
        if (t.a >= channels) return {x, NEVER, 0};
        return {x + t.a * height * width, t.b * dh - ph, t.c * dw - pw};
    }
    __device__ T at(Line line, Digits k) const {
        const int row = line.row + k.b * sh, col = line.col + k.c * sw;
        if (row < 0 || row >= height || col < 0 || col >= width || k.a >= size_a) return 0;
        return line.plane[(long long)k.a * image_size + row * width + col];
    }
};

// partial (splits, groups o, c, kh, kw): the positions of the batch fall into `splits` parts of `part` positions (a
// multiple of STEP), so that there are enough blocks where the weight is small. The second pass is array code.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_weight_gradient(
    T *partial, const T *dy, const T *x, int splits, int part, int n, int groups, int c, int h, int w, int o, int oh,
    int ow, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const int group = blockIdx.z / splits, split = blockIdx.z % splits, columns = c * kh * kw;
    const int row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;
    const int first = split * part, positions = n * oh * ow - first < part ? n * oh * ow - first : part;
    const OutputGradient of_y = {dy + (long long)group * o * oh * ow, o, n, oh, ow, groups * o * oh * ow};
    const T *of_group = x + (long long)group * c * h * w;
    const Taps taps = {of_group, c, n, oh, ow, groups * c * h * w, h, w, kh, kw, sh, sw, ph, pw, dh, dw};
    Tile tile;
    tile.add_product<true>(of_y, taps, row0, column0, first, (positions + STEP - 1) / STEP);
    T *dweight = partial + ((long long)split * groups + group) * o * columns;
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            const int row = row0 + tile.row(i), column = column0 + tile.column(j);
            if (row < o && column < columns) dweight[row * columns + column] = tile.sum[i][j];
        }
}
