// The input gradient of a convolution: the second line of the table in nn/gpu/conv_windows.cu.

#include "conv_windows.cu"

// Shapes: x (n, groups c, h, w), weight (groups o, c, kh, kw), y (n, groups o, oh, ow); c and o count one group.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_input_gradient(
    T *dx, const T *dy, const T *weight, const T *bias, int n, int groups, int c, int h, int w, int o, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const Digits z = digits_of(blockIdx.z, sh, sw);  // group, row and column of the class
    const int group = z.a, taps = kh * kw;
    const Axis rows = gradient_axis(h, kh, sh, ph, dh, z.b), cols = gradient_axis(w, kw, sw, pw, dw, z.c);
    const Weights weights = {weight + (long long)group * o * c * taps, c, taps, o, c * taps, kw, rows, cols};
    const Windows windows = {dy + (long long)group * o * oh * ow, n, groups * o * oh * ow, o, oh, ow, rows, cols};
    convolve(dx, bias, weights, windows, group, groups, h, w);
}
