// Pooling into oh x ow bins. One thread for each element of the output: forward one for each bin, backward one for each
// pixel, which looks through the few bins that it is in. Fixed order of sums: the same bits in each run.
//
// Shapes: x, dx (planes, h, w), y, dy, source (planes, oh, ow); planes = images * channels; count: the elements of the
// output. Memory is the limit. Bins of many pixels leave few threads, which read positions far apart: for a single bin
// nn.GlobalAvgPool2d, a reduction, does better.

// Bin i of `bins` over 0 .. size - 1 is [floor(i size / bins), ceil((i + 1) size / bins)).
// The products are long long: i * size may pass 2^31 where no array has so many elements.
__device__ int bin_start(long long i, int size, int bins) { return i * size / bins; }
__device__ int bin_end(long long i, int size, int bins) { return ((i + 1) * size + bins - 1) / bins; }
// So position k is in the bins with i size / bins < k + 1 and (i + 1) size / bins > k.
__device__ int first_bin(long long k, int size, int bins) { return k * bins / size; }
__device__ int last_bin(long long k, int size, int bins) { return ((k + 1) * bins - 1) / size; }

// y = mean over the bin.
extern "C" __global__ void __launch_bounds__(256) adaptive_avg_forward(
    T *y, const T *x, int count, int h, int w, int oh, int ow) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int r = i / ow % oh, c = i % ow;
    const int top = bin_start(r, h, oh), bottom = bin_end(r, h, oh);
    const int left = bin_start(c, w, ow), right = bin_end(c, w, ow);
    const T *plane = x + (long long)(i / (oh * ow)) * h * w;
    T sum = 0;
    for (int row = top; row < bottom; ++row)
        for (int col = left; col < right; ++col) sum += plane[row * w + col];
    y[i] = sum / ((bottom - top) * (right - left));
}

// dx = sum over the bins that this pixel is in of dy / pixels of the bin.
extern "C" __global__ void __launch_bounds__(256) adaptive_avg_backward(
    T *dx, const T *dy, int count, int h, int w, int oh, int ow) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int row = i / w % h, col = i % w;
    const T *bins = dy + (long long)(i / (h * w)) * oh * ow;
    T sum = 0;
    for (int r = first_bin(row, h, oh); r <= last_bin(row, h, oh); ++r) {
        const int rows = bin_end(r, h, oh) - bin_start(r, h, oh);
        for (int c = first_bin(col, w, ow); c <= last_bin(col, w, ow); ++c)
            sum += bins[r * ow + c] / (rows * (bin_end(c, w, ow) - bin_start(c, w, ow)));
    }
    dx[i] = sum;
}

// y = max over the bin; source = its flat position in the h w of the plane, the first of equals; a NaN wins.
extern "C" __global__ void __launch_bounds__(256) adaptive_max_forward(
    T *y, long long *source, const T *x, int count, int h, int w, int oh, int ow) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int r = i / ow % oh, c = i % ow, bottom = bin_end(r, h, oh), right = bin_end(c, w, ow);
    const T *plane = x + (long long)(i / (oh * ow)) * h * w;
    int position = bin_start(r, h, oh) * w + bin_start(c, w, ow);
    T best = plane[position];
    for (int row = bin_start(r, h, oh); row < bottom; ++row)
        for (int col = bin_start(c, w, ow); col < right; ++col) {
            const T value = plane[row * w + col];
            if (!(value <= best) && best == best) {  // as in max_pool.cu
                best = value;
                position = row * w + col;
            }
        }
    y[i] = best;
    source[i] = position;
}

// dx = sum of dy over the bins that this pixel won.
extern "C" __global__ void __launch_bounds__(256) adaptive_max_backward(
    T *dx, const T *dy, const long long *source, int count, int h, int w, int oh, int ow) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const int position = i % (h * w), row = position / w, col = position % w;
    const long long plane = (long long)(i / (h * w)) * oh * ow;
    T sum = 0;
    for (int r = first_bin(row, h, oh); r <= last_bin(row, h, oh); ++r)
        for (int c = first_bin(col, w, ow); c <= last_bin(col, w, ow); ++c) {
            const long long bin = plane + r * ow + c;
            if (source[bin] == position) sum += dy[bin];
        }
    dx[i] = sum;
}
