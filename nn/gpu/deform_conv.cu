// The kernel of nn/gpu/deform_conv.py: where the taps look; of type T.

// For offset (N, G, taps, 2, oh, ow): row and column (N, G, taps, oh, ow) of each tap of a kernel kh x kw,
//
//     row = r s - p + d i + offset[0],    column = c s - p + d j + offset[1]
//
// at the output (r, c), with stride s, padding p and dilation d of each axis. One thread per tap and output.
extern "C" __global__ void deform_conv_points(
    T* row, T* column, const T* offset, int count, int out_h, int out_w, int kh, int kw,
    int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int area = out_h * out_w, position = t % area, tap = t / area % (kh * kw);
    const T* moved = offset + t / area * 2 * area + position;
    row[t] = T(position / out_w * stride_h - padding_h + tap / kw * dilation_h) + moved[0];
    column[t] = T(position % out_w * stride_w - padding_w + tap % kw * dilation_w) + moved[area];
}
