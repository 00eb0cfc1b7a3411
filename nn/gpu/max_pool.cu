// Max pooling. One thread for each element of the output, neighbours on neighbouring positions of a plane, so that
// reads and writes are coalesced; the cache holds what windows share. There is a comparison or two for each element
// read, so memory is the limit: the floor is one reading of the input and one writing of the output and the taps.
//
// Shapes: x, dx (planes, h, w), y, dy, taps (planes, oh, ow); planes = images * channels; count: elements of y or dx.
// All gather, in a fixed order: the same bits in each run. Indices are ints, since dividing long longs takes several
// times as long; offsets are long long.

// y = max over the window; taps: which position of the window it came from, 0 .. kh kw - 1, the first of equals; a NaN
// wins. Padding counts as minus infinity, so that the first position wins where all are minus infinity.
extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    T *y, int *taps, const T *x, int count, int h, int w, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (oh * ow), row0 = position / ow * sh - ph, col0 = position % ow * sw - pw;
    const T *plane = x + (long long)(i / (oh * ow)) * h * w;
    T best = -(T)__int_as_float(0x7f800000);  // minus infinity
    int tap = 0;
    for (int a = 0; a < kh; ++a) {
        const int row = row0 + a * dh;
        if (row < 0 || row >= h) continue;
        for (int b = 0; b < kw; ++b) {
            const int col = col0 + b * dw;
            if (col < 0 || col >= w) continue;
            const T value = plane[row * w + col];
            if (!(value <= best) && best == best) {  // not "value > best": so a NaN wins, and once there it stays
                best = value;
                tap = a * kw + b;
            }
        }
    }
    y[i] = best;
    taps[i] = tap;
}

// indices: the flat position in the h w of the input plane, moved inside where the tap is in the padding.
extern "C" __global__ void __launch_bounds__(256) max_pool_indices(
    long long *indices, const int *taps, int count, int h, int w, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (oh * ow), tap = taps[i];
    const int row = position / ow * sh - ph + tap / kw * dh, col = position % ow * sw - pw + tap % kw * dw;
    indices[i] = (long long)min(max(row, 0), h - 1) * w + min(max(col, 0), w - 1);
}

// distance / dilation: which tap reads so far from the first position of a window; -1 if none does.
__device__ int tap_at(int distance, int dilation) {
    if (dilation == 1) return distance;
    return distance % dilation ? -1 : distance / dilation;
}

// dx = sum of dy over the windows that this pixel won. Window r has it as its tap i where h = r s + i d - p, i < kh.
extern "C" __global__ void __launch_bounds__(256) max_pool_backward(
    T *dx, const T *dy, const int *taps, int count, int h, int w, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (h * w), row = position / w + ph, col = position % w + pw;
    const long long plane = (long long)(i / (h * w)) * oh * ow;
    T sum = 0;
    for (int r = min(row / sh, oh - 1); r >= 0 && row - r * sh <= (kh - 1) * dh; --r) {
        const int a = tap_at(row - r * sh, dh);
        if (a < 0) continue;
        for (int c = min(col / sw, ow - 1); c >= 0 && col - c * sw <= (kw - 1) * dw; --c) {
            const int b = tap_at(col - c * sw, dw);
            if (b >= 0 && taps[plane + r * ow + c] == a * kw + b) sum += dy[plane + r * ow + c];
        }
    }
    dx[i] = sum;
}
