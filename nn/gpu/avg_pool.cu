// Average pooling over windows. One thread for each element of the output, neighbours on neighbouring positions, so
// that reads and writes are coalesced. Memory is the limit, and what windows share comes from the cache. Fixed order of
// sums: the same bits in each run.
//
// Shapes: x, dx (planes, h, w), y, dy (planes, oh, ow); planes = images * channels; count: elements of the output.
// Window r begins at r s - p.

// How many positions of a window count along one axis.
__device__ int counted_along(int start, int kernel, int size, int padding, bool count_include_pad) {
    const int end = min(start + kernel, size + padding);
    return count_include_pad ? end - start : min(end, size) - max(start, 0);
}

// y = sum over the window / divisor; divisor = the positions that count, or divisor_override where it is not 0.
extern "C" __global__ void __launch_bounds__(256) avg_pool_forward(
    T *y, const T *x, int count, int h, int w, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
    int count_include_pad, int divisor_override) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (oh * ow), row0 = position / ow * sh - ph, col0 = position % ow * sw - pw;
    const T *plane = x + (long long)(i / (oh * ow)) * h * w;
    T sum = 0;
    for (int row = max(row0, 0); row < min(row0 + kh, h); ++row)
        for (int col = max(col0, 0); col < min(col0 + kw, w); ++col) sum += plane[row * w + col];
    const int rows = counted_along(row0, kh, h, ph, count_include_pad);
    const int columns = counted_along(col0, kw, w, pw, count_include_pad);
    y[i] = sum / (divisor_override ? T(divisor_override) : T(rows) * columns);
}

// dx = sum over the windows (r, c) that this pixel is in of dy[r, c] / divisor[r, c].
extern "C" __global__ void __launch_bounds__(256) avg_pool_backward(
    T *dx, const T *dy, int count, int h, int w, int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw,
    int count_include_pad, int divisor_override) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (h * w), row = position / w + ph, col = position % w + pw;
    const T *windows = dy + (long long)(i / (h * w)) * oh * ow;
    T sum = 0;
    for (int r = min(row / sh, oh - 1); r >= 0 && row - r * sh < kh; --r) {
        const int counted = counted_along(r * sh - ph, kh, h, ph, count_include_pad);
        for (int c = min(col / sw, ow - 1); c >= 0 && col - c * sw < kw; --c) {
            const T divisor = T(counted) * counted_along(c * sw - pw, kw, w, pw, count_include_pad);
            sum += windows[r * ow + c] / (divisor_override ? T(divisor_override) : divisor);
        }
    }
    dx[i] = sum;
}
