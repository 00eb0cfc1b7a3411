// The kernels of nn/gpu/roi_pool.py. x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw), all of type T.

#include "rounding.cu"

__device__ long long clip(long long value, long long low, long long high)
{
    return value < low ? low : value > high ? high : value;
}

// floor(v + 0.5); beyond 2^40 cells as if at 2^40, where whole numbers do not overflow yet.
__device__ long long cell(T v)
{
    const T limit = 1099511627776.0;
    return (long long)floor(fmin(fmax(v + T(0.5), -limit), limit));
}

// bins (K, ph + pw, 2): the first and the last + 1 row of each of the ph bins of region k, then columns of the pw bins,
// cut to the map; -1, -1 where the box is not finite. One thread per bin.
extern "C" __global__ void roi_pool_bins(
    int* bins, const T* boxes, int count, int h, int w, int ph, int pw, T scale, int split)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int k = t / (ph + pw), i = t % (ph + pw);
    bool is_row = i < ph;
    int bins_here = is_row ? ph : pw, size = is_row ? h : w;
    T low = boxes[4 * k + is_row], high = boxes[4 * k + 2 + is_row];
    i = is_row ? i : i - ph;

    if (!(low - low == 0) || !(high - high == 0)) {
        bins[2 * t] = bins[2 * t + 1] = -1;
        return;
    }
    long long start = cell(product(low, scale)), length = cell(product(high, scale)) - start + 1;
    if (length < 1) length = 1;
    long long first = i * length / bins_here, last = (i + 1) * length / bins_here;
    if (!split)
        last = ((i + 1) * length + bins_here - 1) / bins_here;  // ceil
    else if (last == first)
        last = first + 1;
    bins[2 * t] = clip(start + first, 0, size);
    bins[2 * t + 1] = clip(start + last, 0, size);
}

// y[k, c, i, j] = max of x[image_index[k], c] over the bin; source: its flat position in the plane, -1 where the bin is
// empty (y = 0). NaN where there is no such region: a box that is not finite, an image_index outside 0 .. N - 1.
extern "C" __global__ void roi_pool_forward(
    T* y, int* source, const T* x, const int* bins, const long long* image_index,
    int count, int n, int channels, int h, int w, int ph, int pw)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int j = t % pw, i = t / pw % ph, c = t / (pw * ph) % channels, k = t / ((long long)pw * ph * channels);
    const int* rows = bins + 2 * ((long long)k * (ph + pw) + i);
    const int* columns = bins + 2 * ((long long)k * (ph + pw) + ph + j);
    long long image = image_index[k];

    T best = 0;
    int position = -1;
    if (image < 0 || image >= n || rows[0] < 0 || columns[0] < 0) {
        best = nan("");
    } else {
        const T* plane = x + (image * channels + c) * h * w;
        for (int r = rows[0]; r < rows[1]; r++)
            for (int s = columns[0]; s < columns[1]; s++) {
                T value = plane[r * w + s];
                if (position < 0 || (!(value <= best) && best == best)) {  // so a NaN wins, and stays
                    best = value;
                    position = r * w + s;
                }
            }
    }
    y[t] = best;
    source[t] = position;
}

// dx[image, c, row, column] = sum of dy over all bins whose maximum came from there. One thread per element of dx goes
// through its image's regions, order[starts[image] .. starts[image + 1] - 1], in their order; no two threads add to one
// element.
extern "C" __global__ void roi_pool_backward(
    T* dx, const T* dy, const int* source, const int* bins, const long long* order, const int* starts,
    int count, int channels, int h, int w, int ph, int pw)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int column = t % w, row = t / w % h, c = t / (w * h) % channels, image = t / ((long long)w * h * channels);

    T sum = 0;
    for (int e = starts[image]; e < starts[image + 1]; e++) {
        const long long k = order[e];
        const int* rows = bins + 2 * k * (ph + pw);
        const int* columns = rows + 2 * ph;
        if (row < rows[0] || row >= rows[2 * ph - 1] || column < columns[0] || column >= columns[2 * pw - 1]) continue;
        for (int i = 0; i < ph; i++) {
            if (row < rows[2 * i] || row >= rows[2 * i + 1]) continue;
            for (int j = 0; j < pw; j++) {
                if (column < columns[2 * j] || column >= columns[2 * j + 1]) continue;
                long long bin = ((k * channels + c) * ph + i) * pw + j;
                if (source[bin] == row * w + column) sum += dy[bin];
            }
        }
    }
    dx[t] = sum;
}
