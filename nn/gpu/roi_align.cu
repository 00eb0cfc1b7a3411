// The kernels of nn/gpu/roi_align.py. x (N, C, H, W), boxes (K, 4), image_index (K,), y (K, C, ph, pw), all of type T.

#include "rounding.cu"

const T OUTSIDE = -2;  // a position from which a sample is 0

// Along one axis of a map of `extent` cells: where a region's first bin begins, a bin's size, its samples.
struct Bins {
    T start, size;
    int samples, extent;

    // The position of sample `tap` of bin `i`, moved to the map or OUTSIDE.
    __device__ T position(int i, int tap) const
    {
        T at = start + product(i, size) + product(tap + T(0.5), size) / (samples > 1 ? samples : 1);
        if (!(at >= -1 && at <= extent)) return OUTSIDE;
        return fmin(fmax(at, T(0)), T(extent - 1));
    }

    // What rounding can move a sample of bin i by, and two cells.
    __device__ T slack(int i) const { return 2 + (fabs(start + product(i, size)) + fabs(size)) * T(1e-6); }

    // The samples `first` .. `last` - 1 of bin i may be on the map, or next to one that is; all others are OUTSIDE. So
    // huge regions take no longer than the map.
    __device__ void near(int i, int* first, int* last) const
    {
        T step = size / (samples > 1 ? samples : 1), begin = start + product(i, size);
        *first = 0;
        *last = samples;
        if (!(step > 0)) return;
        *first = fmin(fmax(floor((-1 - begin - slack(i)) / step), T(0)), T(samples));
        *last = fmin(fmax(ceil((extent - begin + slack(i)) / step) + 1, T(0)), T(samples));
    }
};

// axis 0: rows, 1: columns
__device__ Bins bins_of(const T* box, int axis, int bins_along, int extent, T scale, int sampling_ratio, int aligned)
{
    T low = product(box[1 - axis], scale) - T(0.5) * aligned, high = product(box[3 - axis], scale) - T(0.5) * aligned;
    T length = high - low;
    if (!aligned) length = fmax(length, T(1));
    T samples = fmin(fmax(ceil(length / bins_along), T(0)), T(1 << 30));
    return {low, length / bins_along, sampling_ratio > 0 ? sampling_ratio : (int)samples, extent};
}

// The weight of a cell at a position: 1 - |position - cell|, or 0.
__device__ T weight(T position, int cell)
{
    T low = floor(position), fraction = position - low;
    return cell == low ? 1 - fraction : cell == low + 1 ? fraction : T(0);
}

__device__ bool is_finite(const T* box)
{
    return box[0] - box[0] == 0 && box[1] - box[1] == 0 && box[2] - box[2] == 0 && box[3] - box[3] == 0;
}

// Whether one of a region's bins has this cell in its range.
__device__ bool in_region(const int* ranges, int bins_along, int cell)
{
    const int* end = ranges + 2 * (bins_along - 1);  // the last bin, or in a region of negative size the first
    return cell >= min(ranges[0], end[0]) && cell < max(ranges[1], end[1]);
}

// Of each bin, the ph of the rows and then the pw of the columns of region k: the cells first .. last - 1 that its
// samples may weigh, as ranges (K, ph + pw, 2), and the mean of their weights, as means (K, ph * h + pw * w), of which
// only these cells are filled. -1, -1 where the box is not finite. One thread per bin.
extern "C" __global__ void roi_align_means(
    T* means, int* ranges, const T* boxes, int count, int h, int w, int ph, int pw, T scale, int sampling_ratio,
    int aligned)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int k = t / (ph + pw), i = t % (ph + pw), axis = i >= ph, bins_along = axis ? pw : ph, extent = axis ? w : h;
    T* mean = means + (long long)k * (ph * h + pw * w) + (axis ? ph * h + (i - ph) * w : i * h);
    int* range = ranges + 2 * t;
    const T* box = boxes + 4 * (long long)k;
    i = axis ? i - ph : i;
    if (!is_finite(box)) {
        range[0] = range[1] = -1;
        return;
    }
    Bins bins = bins_of(box, axis, bins_along, extent, scale, sampling_ratio, aligned);

    T begin = bins.start + product(i, bins.size), end = begin + bins.size;  // end < begin in a region of negative size
    T slack = bins.slack(i);
    range[0] = floor(fmin(fmax(fmin(begin, end) - slack, T(0)), T(extent)));
    range[1] = floor(fmin(fmax(fmax(begin, end) + slack + 1, T(0)), T(extent)));
    for (int cell = range[0]; cell < range[1]; cell++) mean[cell] = 0;

    int first, last;
    bins.near(i, &first, &last);
    for (int tap = first; tap < last; tap++) {
        T at = bins.position(i, tap);
        if (at == OUTSIDE) continue;
        int cell = floor(at);
        mean[cell] += weight(at, cell);
        if (cell + 1 < extent) mean[cell + 1] += weight(at, cell + 1);
    }
    for (int cell = range[0]; cell < range[1]; cell++) mean[cell] /= bins.samples > 1 ? bins.samples : 1;
}

// y[k, c, i, j] = sum over cells r, s of mean[i, r] mean[j, s] x[image_index[k], c, r, s]. NaN where there is no such
// region: a box that is not finite, an image_index outside 0 .. N - 1.
extern "C" __global__ void roi_align_average_forward(
    T* y, const T* x, const T* means, const int* ranges, const long long* image_index,
    int count, int n, int channels, int h, int w, int ph, int pw)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int j = t % pw, i = t / pw % ph, c = t / (pw * ph) % channels, k = t / ((long long)pw * ph * channels);
    const int* rows = ranges + 2 * ((long long)k * (ph + pw) + i);
    const int* columns = ranges + 2 * ((long long)k * (ph + pw) + ph + j);
    const T* of_rows = means + (long long)k * (ph * h + pw * w) + i * h;
    const T* of_columns = means + (long long)k * (ph * h + pw * w) + ph * h + j * w;
    long long image = image_index[k];

    T sum = 0;
    if (image < 0 || image >= n || rows[0] < 0) {
        sum = nan("");
    } else {
        for (int r = rows[0]; r < rows[1]; r++) {
            if (of_rows[r] == 0) continue;
            const T* line = x + ((image * channels + c) * h + r) * w;
            T band = 0;
            for (int s = columns[0]; s < columns[1]; s++)
                if (of_columns[s] != 0) band += of_columns[s] * line[s];
            sum += of_rows[r] * band;
        }
    }
    y[t] = sum;
}

// dx[image, c, row, column] = sum over regions k and bins i, j of mean[i, row] mean[j, column] dy[k, c, i, j]. One
// thread per element of dx goes through its image's regions, order[starts[image] .. starts[image + 1] - 1], in their
// order; no two threads add to one element.
extern "C" __global__ void roi_align_average_backward(
    T* dx, const T* dy, const T* means, const int* ranges, const long long* order, const int* starts,
    int count, int channels, int h, int w, int ph, int pw)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int column = t % w, row = t / w % h, c = t / (w * h) % channels, image = t / ((long long)w * h * channels);

    T sum = 0;
    for (int e = starts[image]; e < starts[image + 1]; e++) {
        const long long k = order[e];
        const int* rows = ranges + 2 * k * (ph + pw);
        const int* columns = rows + 2 * ph;
        if (!in_region(rows, ph, row) || !in_region(columns, pw, column)) continue;
        const T* of_rows = means + k * (ph * h + pw * w) + row;
        const T* of_columns = means + k * (ph * h + pw * w) + ph * h + column;
        for (int i = 0; i < ph; i++) {
            if (row < rows[2 * i] || row >= rows[2 * i + 1] || of_rows[i * h] == 0) continue;
            const T* line = dy + ((k * channels + c) * ph + i) * pw;
            T band = 0;
            for (int j = 0; j < pw; j++)
                if (column >= columns[2 * j] && column < columns[2 * j + 1]) band += of_columns[j * w] * line[j];
            sum += of_rows[i * h] * band;
        }
    }
    dx[t] = sum;
}

// y[k, c, i, j] = the largest sample of the bin, and which one it is, counted in reading order: winner, -1 where the
// bin has none (y = 0). Values are summed up as NumPy does, so that equal ones are equal here as well.
extern "C" __global__ void roi_align_max_forward(
    T* y, long long* winner, const T* x, const T* boxes, const long long* image_index,
    int count, int n, int channels, int h, int w, int ph, int pw, T scale, int sampling_ratio, int aligned)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int j = t % pw, i = t / pw % ph, c = t / (pw * ph) % channels, k = t / ((long long)pw * ph * channels);
    const T* box = boxes + 4 * (long long)k;
    long long image = image_index[k];
    y[t] = 0;
    winner[t] = -1;
    if (image < 0 || image >= n || !is_finite(box)) {
        y[t] = nan("");
        return;
    }
    Bins rows = bins_of(box, 0, ph, h, scale, sampling_ratio, aligned);
    Bins columns = bins_of(box, 1, pw, w, scale, sampling_ratio, aligned);
    const T* plane = x + (image * channels + c) * h * w;

    // Of the samples outside, which are 0, the first in reading order is enough: it is in row 0 or column 0 of the
    // samples, or next to one that is inside.
    int first_u, last_u, first_v, last_v;
    rows.near(i, &first_u, &last_u);
    columns.near(j, &first_v, &last_v);
    for (int u = 0; u < max(last_u, min(rows.samples, 1)); u = max(u + 1, first_u))
        for (int v = 0; v < max(last_v, min(columns.samples, 1)); v = max(v + 1, first_v)) {
            T row = rows.position(i, u), column = columns.position(j, v), value = 0;
            for (int a = 0; a < 2 && row != OUTSIDE && column != OUTSIDE; a++)
                for (int b = 0; b < 2; b++) {
                    int r = (int)floor(row) + a, s = (int)floor(column) + b;
                    if (r < h && s < w) value += product(product(weight(row, r), weight(column, s)), plane[r * w + s]);
                }
            if (winner[t] < 0 || (!(value <= y[t]) && y[t] == y[t])) {  // so a NaN wins, and stays
                y[t] = value;
                winner[t] = (long long)u * columns.samples + v;
            }
        }
}

// dx[image, c, row, column] = sum of dy over all bins, times the weight of this cell in the sample that won there.
extern "C" __global__ void roi_align_max_backward(
    T* dx, const T* dy, const long long* winner, const T* boxes, const int* ranges, const long long* order,
    const int* starts, int count, int channels, int h, int w, int ph, int pw, T scale, int sampling_ratio, int aligned)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int column = t % w, row = t / w % h, c = t / (w * h) % channels, image = t / ((long long)w * h * channels);

    T sum = 0;
    for (int e = starts[image]; e < starts[image + 1]; e++) {
        const long long k = order[e];
        const int* rows = ranges + 2 * k * (ph + pw);
        const int* columns = rows + 2 * ph;
        if (!in_region(rows, ph, row) || !in_region(columns, pw, column)) continue;
        Bins down = bins_of(boxes + 4 * k, 0, ph, h, scale, sampling_ratio, aligned);
        Bins across = bins_of(boxes + 4 * k, 1, pw, w, scale, sampling_ratio, aligned);
        for (int i = 0; i < ph; i++) {
            if (row < rows[2 * i] || row >= rows[2 * i + 1]) continue;
            for (int j = 0; j < pw; j++) {
                long long bin = ((k * channels + c) * ph + i) * pw + j;
                if (column < columns[2 * j] || column >= columns[2 * j + 1] || winner[bin] < 0) continue;
                T at = down.position(i, winner[bin] / across.samples);
                T beside = across.position(j, winner[bin] % across.samples);
                if (at != OUTSIDE && beside != OUTSIDE) sum += weight(at, row) * weight(beside, column) * dy[bin];
            }
        }
    }
    dx[t] = sum;
}
