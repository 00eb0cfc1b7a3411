// Convolution (nn/layers/conv.py) as an implicit matrix product: what the windows see is never copied.
//
// Each of the three functions is, for every group of channels, a matrix product of a ROWS x DEPTH by a DEPTH x COLUMNS
// matrix. The entries of both are read from the arrays themselves:
//
//                    rows             columns             depth, summed over          first factor   second factor
//   forward          output channel   output position     input channel, tap (i, j)   weight         x, or 0 outside it
//   input gradient   input channel    input position      output channel, tap         weight         dy, or 0
//   weight gradient  output channel   input channel, tap  output position             dy             x, or 0
//
// A position is an (image, row, column): all images of the batch make up one long axis. y[o, r, c] = sum over (i, j) of
// w[o, i, j] x[r s + i d - p, c s + j d - p], so dx[h, w] takes dy[r, c] for those taps where h = r s + i d - p for a
// whole r. These taps depend on h mod s only: the positions of dx fall into s x s classes, and each class is a
// convolution with stride 1 and every s-th tap. So no product is wasted, and with s = 1 there is one class.
//
// nn/gpu/matrix_tiles.cu explains how such a product is computed, and what limits it. The kernels are in nn/gpu/conv.cu,
// conv_input_gradient.cu and conv_weights.cu, which are compiled for one size of tile at a time: CuPy's compiler takes a
// second or more for each, and most networks use few.

#include "matrix_tiles.cu"

// How outputs read the input along one axis. Output r, r < outputs, reads input r * stride + t * step + offset for
// its tap t, t < taps, which is tap first + t * every of the kernel. Its own position is begin + r * apart.
struct Axis {
    int outputs, stride, step, offset, taps, first, every, begin, apart;
};

__device__ Axis forward_axis(int outputs, int kernel, int stride, int padding, int dilation) {
    return {outputs, stride, dilation, -padding, kernel, 0, 1, 0, 1};
}

// The input gradient at h = begin, begin + s, ...: taps i with h + p - i d divisible by s come every s / gcd(s, d).
__device__ Axis gradient_axis(int size, int kernel, int stride, int padding, int dilation, int begin) {
    int gcd = stride;
    for (int rest = dilation; rest; ) { int next = gcd % rest; gcd = rest; rest = next; }
    const int every = stride / gcd;
    int first = 0;
    while (first < kernel && (begin + padding - first * dilation) % stride) ++first;
    const int taps = (kernel - first + every - 1) / every, outputs = (size - begin + stride - 1) / stride;
    const int offset = (begin + padding - first * dilation) / stride;  // exact if there are taps
    return {outputs > 0 ? outputs : 0, 1, -dilation / gcd, offset, taps, first, every, begin, stride};
}

// First factor: weight (rows, depth), the depth being (channel, tap i, tap j).
struct Weights {
    using Line = int;  // where a row begins, or -1
    const T *weight;
    int rows, row_apart, size_a, channel_apart, kernel_w;
    Axis v, h;
    int size_b = v.taps, size_c = h.taps;

    __device__ Line line(int row) const { return row < rows ? row * row_apart : -1; }
    __device__ T at(Line line, Digits k) const {
        if (line < 0 || k.a >= size_a) return 0;
        return weight[line + k.a * channel_apart + (v.first + k.b * v.every) * kernel_w + h.first + k.c * h.every];
    }
};

// Second factor: what the window of each position sees (depth, positions), the depth being (channel, tap i, tap j).
struct Windows {
    struct Line {
        const T *image;
        int row, col;
    };
    const T *x;
    int images, image_size, size_a, height, width;
    Axis v, h;
    int size_b = v.taps, size_c = h.taps;

    __device__ Line line(int position) const {
        const Digits p = digits_of(position, v.outputs, h.outputs);
        if (p.a >= images) return {x, NEVER, 0};
        return {x + (long long)p.a * image_size, p.b * v.stride + v.offset, p.c * h.stride + h.offset};
    }
    __device__ T at(Line line, Digits k) const {
        const int row = line.row + k.b * v.step, col = line.col + k.c * h.step;
        if (row < 0 || row >= height || col < 0 || col >= width || k.a >= size_a) return 0;
        return line.image[(k.a * height + row) * width + col];
    }
};

// y (N, G O, out_h, out_w) = products of weight and x (N, G C, height, width) of the same group, + bias (G O,) or null.
// blockIdx: x tiles of positions, y tiles of channels, z group and, for the input gradient, class of positions.
__device__ void convolve(
    T *y, const T *bias, Weights weights, Windows windows, int group, int groups, int out_h, int out_w) {
    const Axis v = weights.v, h = weights.h;
    const int row0 = blockIdx.y * ROWS, column0 = blockIdx.x * COLUMNS;
    if (column0 >= windows.images * v.outputs * h.outputs) return;  // the other classes may have more positions
    Tile tile;
    const int depth = weights.size_a * v.taps * h.taps;
    tile.add_product<false>(weights, windows, row0, column0, 0, (depth + STEP - 1) / STEP);
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        const Digits position = digits_of(column0 + tile.column(j), v.outputs, h.outputs);
        if (position.a >= windows.images) continue;
        const int row = v.begin + position.b * v.apart, col = h.begin + position.c * h.apart;
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            const int o = row0 + tile.row(i), channel = group * weights.rows + o;
            if (o >= weights.rows) continue;
            const T sum = bias ? tile.sum[i][j] + bias[channel] : tile.sum[i][j];
            y[(((long long)position.a * groups * weights.rows + channel) * out_h + row) * out_w + col] = sum;
        }
    }
}
