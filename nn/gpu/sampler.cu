// The kernels of nn/gpu/sampler.py: maps x (N, C, H, W) sampled at points row, column (B, P) in cells, of type T.
// Group b of points looks at image image_index[b], or where that is null at image b. A sample is
//
//     y[b, c, p] = mask[b, p] sum over i in {f(row), f(row) + 1}, j likewise of k(row - i) k(column - j) x[image, c, i,
// j]
//
// with f = floor, k(t) = max(0, 1 - |t|), x = 0 outside the map, mask = 1 where it is null. With taps = 1 instead of 2
// only the cell at the floor counts, with weight 1: the nearest one, for positions that have been rounded.

// The cell at or above a position, and how far the position lies beyond it. Both ends have two cells outside.
struct Point {
    int low;
    T fraction;

    __device__ Point(T position, int size)
    {
        T cell = fmin(fmax(floor(position), T(-2)), T(size));
        low = cell;
        fraction = position - cell;
    }

    __device__ T weight(int tap, int taps) const { return taps == 1 ? T(1) : tap ? fraction : 1 - fraction; }
};

__device__ bool inside(int row, int column, int h, int w) { return row >= 0 && row < h && column >= 0 && column < w; }

extern "C" __global__ void sample_forward(
    T* y, const T* x, const T* row, const T* column, const T* mask, const long long* image_index,
    int count, int n, int channels, int h, int w, int points, int taps)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int p = t % points, c = t / points % channels, b = t / ((long long)points * channels);
    long long image = image_index ? image_index[b] : b, at = (long long)b * points + p;
    Point down(row[at], h), across(column[at], w);

    T value = (row[at] - row[at]) + (column[at] - column[at]);  // 0, or NaN where a coordinate is not finite
    if (image < 0 || image >= n) {
        value = nan("");
    } else {
        const T* plane = x + (image * channels + c) * h * w;
        for (int i = 0; i < taps; i++)
            for (int j = 0; j < taps; j++)
                if (inside(down.low + i, across.low + j, h, w))
                    value += down.weight(i, taps) * across.weight(j, taps)
                             * plane[(down.low + i) * w + across.low + j];
    }
    y[t] = mask ? mask[at] * value : value;
}

// gradients (3, slices, B, P): those of row, column and mask. The sum over channels c is cut into slices, so that there
// are enough threads: the caller adds them up.
//
//     drow = mask sum over c of dy[b, c, p] sum over i, j of k'(row - i) k(column - j) x[image, c, i, j],  k' = -1, +1
extern "C" __global__ void sample_point_gradients(
    T* gradients, const T* dy, const T* x, const T* row, const T* column, const T* mask, const long long* image_index,
    int count, int groups, int n, int channels, int h, int w, int points, int slices)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    long long all = (long long)groups * points, at = t % all;
    int slice = t / all, b = at / points, p = at % points;
    long long image = image_index ? image_index[b] : b;
    Point down(row[at], h), across(column[at], w);
    T f = down.fraction, g = across.fraction, drow = 0, dcolumn = 0, dmask = 0;

    int first = (long long)channels * slice / slices, last = (long long)channels * (slice + 1) / slices;
    if (image < 0 || image >= n) last = first;
    for (int c = first; c < last; c++) {
        const T* plane = x + (image * channels + c) * h * w;
        T corner[2][2];
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) {
                int r = down.low + i, s = across.low + j;
                corner[i][j] = inside(r, s, h, w) ? plane[r * w + s] : T(0);
            }
        T flow = dy[((long long)b * channels + c) * points + p];
        T above = (1 - g) * corner[0][0] + g * corner[0][1], below = (1 - g) * corner[1][0] + g * corner[1][1];
        drow += flow * (below - above);
        dcolumn += flow * ((1 - f) * (corner[0][1] - corner[0][0]) + f * (corner[1][1] - corner[1][0]));
        dmask += flow * ((1 - f) * above + f * below);
    }
    T factor = mask ? mask[at] : T(1);
    gradients[t] = factor * drow;
    gradients[t + count] = factor * dcolumn;
    gradients[t + 2 * (long long)count] = dmask;
}

// cells (B, P): which cell (image, f(row), f(column)) each point stands on, as a flat index into (N, H + 1, W + 1):
// cells above and left of the map count, having neighbours on it. Points further out: N (H + 1) (W + 1).
extern "C" __global__ void sample_cells(
    int* cells, const T* row, const T* column, const long long* image_index,
    int count, int n, int h, int w, int points)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    long long image = image_index ? image_index[t / points] : t / points;
    int r = Point(row[t], h).low + 1, s = Point(column[t], w).low + 1;
    bool near = image >= 0 && image < n && inside(r, s, h + 1, w + 1);
    cells[t] = near ? ((int)image * (h + 1) + r) * (w + 1) + s : n * (h + 1) * (w + 1);
}

// dx[image, c, row, column] = sum of dy times weight over the points that stand on this cell, the one above, the one to
// the left, and the one above that. Points are sorted by cell: those of cell e are order[starts[e] .. starts[e + 1] -
// 1]. One thread per element of dx goes through its points in their order; no two threads add to one element.
extern "C" __global__ void sample_map_gradient(
    T* dx, const T* dy, const T* rows, const T* columns, const T* mask, const long long* order, const int* starts,
    int count, int channels, int h, int w, int points, int taps)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int column = t % w, row = t / w % h, c = t / (w * h) % channels, image = t / ((long long)w * h * channels);

    T sum = 0;
    for (int i = 0; i < taps; i++)
        for (int j = 0; j < taps; j++) {
            int cell = (image * (h + 1) + row + 1 - i) * (w + 1) + column + 1 - j;
            for (int e = starts[cell]; e < starts[cell + 1]; e++) {
                long long at = order[e], b = at / points;
                T weight = Point(rows[at], h).weight(i, taps) * Point(columns[at], w).weight(j, taps);
                if (mask) weight *= mask[at];
                sum += weight * dy[(b * channels + c) * points + at % points];
            }
        }
    dx[t] = sum;
}
