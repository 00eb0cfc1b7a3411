// The kernels of nn/gpu/roi_warp.py: where the points of boxes (K, 4) lie, and what goes back from there; of type T.

#include "rounding.cu"

// How far down or across the box point i of n lies, 0 .. 1.
__device__ T fraction(int i, int n) { return T((i + 0.5) / n); }

// row[k, i, j] = scale (y1 (1 - f_i) + y2 f_i) - shift and column[k, i, j] = scale (x1 (1 - f_j) + x2 f_j) - shift.
extern "C" __global__ void roi_warp_points(
    T* row, T* column, const T* boxes, int count, int ph, int pw, T scale, T shift)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    const T* box = boxes + 4 * (t / (ph * pw));
    T down = fraction(t / pw % ph, ph), across = fraction(t % pw, pw);
    row[t] = product(product(box[1], 1 - down) + product(box[3], down), scale) - shift;
    column[t] = product(product(box[0], 1 - across) + product(box[2], across), scale) - shift;
}

// dboxes (K, 4): that of y1 is scale times the sum of drow[k, i, j] (1 - f_i), and so on. One thread per coordinate.
extern "C" __global__ void roi_warp_box_gradients(
    T* dboxes, const T* drow, const T* dcolumn, int count, int ph, int pw, T scale)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int corner = t % 4;  // x1, y1, x2, y2
    const T* d = (corner % 2 ? drow : dcolumn) + t / 4 * ph * pw;
    T sum = 0;
    for (int i = 0; i < ph; i++)
        for (int j = 0; j < pw; j++) {
            T f = corner % 2 ? fraction(i, ph) : fraction(j, pw);
            sum += d[i * pw + j] * (corner < 2 ? 1 - f : f);
        }
    dboxes[t] = sum * scale;
}
