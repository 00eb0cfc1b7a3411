// Max pooling and unpooling. One thread for each number of the output, neighbours on neighbouring places of a plane, so
// that reads and writes are coalesced; what windows share comes from the cache. A comparison or two for each number
// read: memory is the limit, and the floor is one reading of the input and one writing of the output and the taps.
//
// Shapes: x, dx (planes, h, w), y, dy, taps (planes, oh, ow); planes = images * channels; count: the output's numbers.
// All gather, in a fixed order: the same bits at each run. The one atomic, atomicMax of whole numbers, has a result
// that no order changes. Indices are ints, since dividing long longs takes several times as long; offsets are long.

// y = max over the window; taps: which place of the window it came from, 0 .. kh kw - 1, the first of equals; a NaN
// wins. Padding counts as minus infinity, so that the first place wins where all are that. indices, if not null: the
// flat place in the h w of the input plane, moved inside where the window's first place is in the padding.
extern "C" __global__ void __launch_bounds__(256) max_pool_forward(
    T *y, int *taps, long long *indices, const T *x, int count, int h, int w, int oh, int ow,
    int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int place = i % (oh * ow), row0 = place / ow * sh - ph, col0 = place % ow * sw - pw;
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
    if (indices) {
        const int row = row0 + tap / kw * dh, col = col0 + tap % kw * dw;
        indices[i] = (long long)min(max(row, 0), h - 1) * w + min(max(col, 0), w - 1);
    }
}

// distance / dilation: which tap reads so far from the first place of a window; -1 if none does.
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
    const int place = i % (h * w), row = place / w + ph, col = place % w + pw;
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

// Unpooling: y[indices] = x, (planes, oh ow) from (planes, size). First, kept[place] = the last of those numbers of x
// that go there, where kept began as -1; then each place takes its number. An index outside its plane, for which
// waiting to report it would cost more than all the rest, is kept as OUTSIDE at place 0, and makes a NaN of it.
constexpr int OUTSIDE = 0x7fffffff;

extern "C" __global__ void __launch_bounds__(256) keep_last(
    int *kept, const long long *indices, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const bool inside = indices[i] >= 0 && indices[i] < out_size;
    int *plane = kept + (long long)(i / size) * out_size;
    atomicMax(&plane[inside ? indices[i] : 0], inside ? i % size : OUTSIDE);
}

extern "C" __global__ void __launch_bounds__(256) unpool_forward(
    T *y, const int *kept, const T *x, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    if (kept[i] == OUTSIDE) y[i] = __int_as_float(0x7fffffff);  // NaN
    else y[i] = kept[i] < 0 ? 0 : x[(long long)(i / out_size) * size + kept[i]];
}

// dx = dy at its index, if this number of x is the one that was kept there, else 0.
extern "C" __global__ void __launch_bounds__(256) unpool_backward(
    T *dx, const int *kept, const long long *indices, const T *dy, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const bool inside = indices[i] >= 0 && indices[i] < out_size;
    const long long place = (long long)(i / size) * out_size + (inside ? indices[i] : 0);
    dx[i] = inside && kept[place] == i % size ? dy[place] : 0;
}
