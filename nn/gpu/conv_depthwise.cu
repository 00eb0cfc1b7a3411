// Convolution of groups with one input channel, c = 1 ("depthwise"). It contains no matrix product: each element of the
// input is multiplied kh kw times. So memory is the limit: a 3 x 3 kernel does 18 operations for the 8 bytes that it
// reads and writes at least. One thread per element of the output; neighbouring threads read neighbouring elements of
// the same plane (coalesced), and what windows share comes from the cache.
//
// Shapes: x (n, groups, h, w), weight (groups o, kh, kw), y (n, groups o, oh, ow): output channel k sees channel k / o;
// count: elements of the output. Indices are ints, since dividing long longs takes several times as long; offsets are
// long long. Sums have a fixed order, without atomics: every run gives the same bits.

// y[k, r, c] = bias[k] + sum over taps (i, j) of weight[k, i, j] x[k / o, r s + i d - p, c s + j d - p]
extern "C" __global__ void __launch_bounds__(256) depthwise(
    T *y, const T *x, const T *weight, const T *bias, int count, int n, int groups, int c, int h, int w, int o,
    int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread, position = i % (oh * ow), row0 = position / ow * sh - ph, col0 = position % ow * sw - pw;
    const int plane = i / (oh * ow), channel = plane % (groups * o);  // plane = image * groups * o + channel
    const T *from = x + (long long)(plane / o) * h * w, *taps = weight + channel * kh * kw;
    T sum = 0;
    for (int a = 0; a < kh; ++a) {
        const int row = row0 + a * dh;
        if (row < 0 || row >= h) continue;
        for (int b = 0; b < kw; ++b) {
            const int col = col0 + b * dw;
            if (col >= 0 && col < w) sum += taps[a * kw + b] * from[row * w + col];
        }
    }
    y[i] = bias ? sum + bias[channel] : sum;
}

// distance / stride: the index of the window that begins there; negative if none does.
__device__ int window_at(int distance, int stride) {
    if (stride == 1) return distance;
    return distance % stride ? -1 : distance / stride;
}

// dx[k, h, w] = bias[k] + sum over the o outputs of channel k, and the taps (i, j) with h = r s + i d - p for a whole r
// (w likewise), of weight[., i, j] dy[., r, c]. The bias is for the transposed convolution, whose forward this is.
extern "C" __global__ void __launch_bounds__(256) depthwise_input_gradient(
    T *dx, const T *dy, const T *weight, const T *bias, int count, int n, int groups, int c, int h, int w, int o,
    int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread, position = i % (h * w), row0 = position / w + ph, col0 = position % w + pw;
    const int plane = i / (h * w), channel = plane % groups;
    T sum = 0;
    for (int k = 0; k < o; ++k) {
        const T *from = dy + ((long long)plane * o + k) * oh * ow, *taps = weight + (channel * o + k) * kh * kw;
        for (int a = 0; a < kh; ++a) {
            const int r = window_at(row0 - a * dh, sh);
            if (r < 0 || r >= oh) continue;
            for (int b = 0; b < kw; ++b) {
                const int q = window_at(col0 - b * dw, sw);
                if (q >= 0 && q < ow) sum += taps[a * kw + b] * from[r * ow + q];
            }
        }
    }
    dx[i] = bias ? sum + bias[channel] : sum;
}

// partial[part, k, i, j] = sum over positions (image, r, c) of this part of dy[k, r, c] x[k / o, r s + i d - p, ...].
// A block of 256 threads for each: blockIdx.x part, y tap, z output channel k. Each thread sums every 256th position,
// then the 256 sums are added in pairs, in pairs of pairs and so on. The kh kw blocks that read the same elements run
// about at the same time: all but the first read them from the cache. The sum over the parts is array code.
extern "C" __global__ void __launch_bounds__(256) depthwise_weight_gradient(
    T *partial, const T *dy, const T *x, int parts, int part, int n, int groups, int c, int h, int w, int o,
    int oh, int ow, int kh, int kw, int sh, int sw, int ph, int pw, int dh, int dw) {
    __shared__ T sums[256];
    const int tap = blockIdx.y, channel = blockIdx.z;
    const int row0 = tap / kw * dh - ph, col0 = tap % kw * dw - pw;
    const int positions = n * oh * ow;
    const int first = blockIdx.x * part, end = first < positions - part ? first + part : positions;
    int position = first + threadIdx.x, q = position % ow, r = position / ow % oh, image = position / ow / oh;
    T sum = 0;
    for (; position < end; position += 256) {
        const int row = r * sh + row0, col = q * sw + col0;
        if (row >= 0 && row < h && col >= 0 && col < w)
            sum += dy[(((long long)image * groups * o + channel) * oh + r) * ow + q] *
                   x[(((long long)image * groups + channel / o) * h + row) * w + col];
        q += 256 % ow;  // the digits of position + 256, with carries: cheaper than divisions
        if (q >= ow) { q -= ow; ++r; }
        r += 256 / ow % oh;
        if (r >= oh) { r -= oh; ++image; }
        image += 256 / ow / oh;
    }
    sums[threadIdx.x] = sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) partial[((long long)blockIdx.x * groups * o + channel) * kh * kw + tap] = sums[0];
}
