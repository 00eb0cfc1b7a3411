// Convolution: the first line of the table in nn/gpu/conv_windows.cu.

#include "conv_windows.cu"

// Shapes: x (n, groups c, h, w), weight (groups o, c, kh, kw), y (n, groups o, oh, ow); c and o count one group.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d(
    T *y, const T *x, const T *weight, const T *bias, int n, int groups, int c, int h, int w, int o, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const int group = blockIdx.z, taps = kh * kw;
    const Axis rows = forward_axis(oh, kh, sh, ph, dh), cols = forward_axis(ow, kw, sw, pw, dw);
    const Weights weights = {weight + (long long)group * o * c * taps, o, c * taps, c, taps, kw, rows, cols};
    const Windows windows = {x + (long long)group * c * h * w, n, groups * c * h * w, c, h, w, rows, cols};
    convolve(y, bias, weights, windows, group, groups, oh, ow);
}
