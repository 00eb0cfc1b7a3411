// The kernels of nn/gpu/upsample.py, modes "nearest" and "bilinear". x (N, C, H, W), y (N, C, oh, ow).

enum { NEAREST, BILINEAR, CORNERS };

// Where positions 0 .. count - 1 of an axis of y lie among the n points of x; scale as in nn.layers.upsample.
struct Axis {
    int n, count, mode;
    T scale;

    __device__ T at(int r) const
    {
        if (mode == NEAREST)  // in whole numbers where the scale is a ratio of such
            return scale == T(count) / n ? T(r * (long long)n / count) : floor(r / scale);
        T position = mode == CORNERS ? r * T(n - 1) / (count > 1 ? count - 1 : 1) : (r + T(0.5)) / scale - T(0.5);
        return fmin(fmax(position, T(0)), T(n - 1));
    }
};

// For each of the oh rows and then ow columns of y the row or column of x at or before its position, low (oh + ow), and
// how far the position is beyond, fraction (oh + ow). And for each row i of x the first one of y with low >= i, starts
// (H + 1 + W + 1), oh where there is none; then for columns. T is double, whatever the type of x. One thread per
// position.
extern "C" __global__ void upsample_axes(
    int* low, T* fraction, int* starts, int count, int h, int w, int out_h, int out_w, T scale_h, T scale_w, int mode)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    bool is_row = t < out_h;
    Axis axis = is_row ? Axis{h, out_h, mode, scale_h} : Axis{w, out_w, mode, scale_w};
    int r = is_row ? t : t - out_h, own = axis.at(r), before = r ? (int)axis.at(r - 1) : -1;
    low[t] = own;
    fraction[t] = axis.at(r) - own;
    if (!is_row) starts += h + 1;
    for (int i = before + 1; i <= own; i++) starts[i] = r;
    for (int i = own + 1; r == axis.count - 1 && i <= axis.n; i++) starts[i] = axis.count;
}

// y[.., r, c] = (1 - f) ((1 - g) x[i, j] + g x[i, j + 1]) + f ((1 - g) x[i + 1, j] + g x[i + 1, j + 1]), i = low[r],
// f = fraction[r], and j, g those of column c. One thread per element of y.
extern "C" __global__ void upsample_forward(
    T* y, const T* x, const int* low, const T* fraction, int count, int h, int w, int out_h, int out_w)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int c = t % out_w, r = t / out_w % out_h;
    int i = low[r], j = low[out_h + c], below = min(i + 1, h - 1), right = min(j + 1, w - 1);
    T f = fraction[r], g = fraction[out_h + c];
    const T* plane = x + t / (out_w * out_h) * h * w;
    T upper = g == 0 ? plane[i * w + j] : (1 - g) * plane[i * w + j] + g * plane[i * w + right];
    T lower = g == 0 ? plane[below * w + j] : (1 - g) * plane[below * w + j] + g * plane[below * w + right];
    y[t] = f == 0 ? upper : (1 - f) * upper + f * lower;
}

// dx[.., i, j] = sum of weight weight dy[.., r, c] over the rows r of y with i = low[r], weight 1 - f, or i = low[r] +
// 1, weight f, and columns likewise; if nearest, where f is 0, the former alone. One thread per element of dx.
extern "C" __global__ void upsample_backward(
    T* dx, const T* dy, const int* low, const T* fraction, const int* starts,
    int count, int h, int w, int out_h, int out_w, int nearest)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int j = t % w, i = t / w % h;
    const int* of_columns = starts + h + 1;
    const T* plane = dy + t / (w * h) * out_h * out_w;
    int top = starts[nearest ? i : max(i - 1, 0)], bottom = starts[i + 1];
    int left = of_columns[nearest ? j : max(j - 1, 0)], right = of_columns[j + 1];

    T sum = 0;
    for (int r = top; r < bottom; r++) {
        T band = 0;
        for (int c = left; c < right; c++)
            band += (low[out_h + c] == j ? 1 - fraction[out_h + c] : fraction[out_h + c]) * plane[r * out_w + c];
        sum += (low[r] == i ? 1 - fraction[r] : fraction[r]) * band;
    }
    dx[t] = sum;
}
