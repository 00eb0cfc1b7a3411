// Softmax and its logarithm along K of x (N, K, M); nn/layers/softmax.py has the same functions in array code.
//
// A position is an (n, m). A thread computes one, or a block where it is `together`: where M is 1, and so the K elements of
// a position are contiguous.

#include "block_sums.cu"

// mask (N, K, M), or null: where it is 0, so is y; where it is 0 along all of K, so is all of y.
extern "C" __global__ void softmax_forward(
    const T* x, const bool* mask, T* y, int positions, int size, int plane, int together, int logarithm)
{
    long long position = together ? blockIdx.x : blockIdx.x * (long long)blockDim.x + threadIdx.x;
    int first = together ? threadIdx.x : 0, step = together ? blockDim.x : 1;
    if (position >= positions) return;  // a whole block or, not together, threads that no other waits for
    long long start = position / plane * size * plane + position % plane;
    T infinity = 1 / T(0), largest = -infinity, total = 0;
    for (int k = first; k < size; k += step) {
        long long i = start + k * (long long)plane;
        if ((!mask || mask[i]) && !(x[i] <= largest)) largest = x[i];  // NaN wins
    }
    if (together) largest = block_max(largest);
    for (int k = first; k < size; k += step) {
        long long i = start + k * (long long)plane;
        if (!mask || mask[i]) total += exp(x[i] - largest);
    }
    if (together) total = block_sum(total);
    T log_total = log(total);
    for (int k = first; k < size; k += step) {
        long long i = start + k * (long long)plane;
        if (mask && !mask[i]) y[i] = 0;
        else y[i] = logarithm ? x[i] - largest - log_total : exp(x[i] - largest) / total;
    }
}

extern "C" __global__ void softmax_backward(
    const T* dy, const T* y, T* dx, int positions, int size, int plane, int together, int logarithm)
{
    long long position = together ? blockIdx.x : blockIdx.x * (long long)blockDim.x + threadIdx.x;
    int first = together ? threadIdx.x : 0, step = together ? blockDim.x : 1;
    if (position >= positions) return;
    long long start = position / plane * size * plane + position % plane;
    T sum = 0;
    for (int k = first; k < size; k += step) {
        long long i = start + k * (long long)plane;
        sum += logarithm ? dy[i] : dy[i] * y[i];
    }
    if (together) sum = block_sum(sum);
    for (int k = first; k < size; k += step) {
        long long i = start + k * (long long)plane;
        dx[i] = logarithm ? dy[i] - exp(y[i]) * sum  // dy[k] / dx[j] = [k = j] - softmax(x)[j], and softmax(x) = exp(y)
                          : (dy[i] - sum) * y[i];    // dy[k] / dx[j] = y[k] ([k = j] - y[j])
    }
}
