// Layer normalisation of x (R, D), each row for itself; nn/layers/layer_norm.py has the same functions in array code.

#include "block_sums.cu"

// y = weight * (x - mean) * inv_std + bias; mean, inv_std (R,); weight, bias (D,) or null. One block per row.
extern "C" __global__ void layer_norm_forward(
    const T* x, const T* weight, const T* bias, T* y, T* mean, T* inv_std, T eps, int width)
{
    long long start = blockIdx.x * (long long)width;
    T sum = 0, squares = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += x[start + i];
    T centre = block_sum(sum) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T centred = x[start + i] - centre;
        squares += centred * centred;
    }
    T scale = 1 / sqrt(block_sum(squares) / width + eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        y[start + i] = (x[start + i] - centre) * scale * (weight ? weight[i] : T(1)) + (bias ? bias[i] : T(0));
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = centre;
        inv_std[blockIdx.x] = scale;
    }
}

// dx = inv_std * (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)), dx_hat = weight * dy. One block per row.
extern "C" __global__ void layer_norm_backward(
    const T* dy, const T* x, const T* mean, const T* inv_std, const T* weight, T* dx, int width)
{
    long long start = blockIdx.x * (long long)width;
    T centre = mean[blockIdx.x], scale = inv_std[blockIdx.x], sum = 0, dot = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T dx_hat = dy[start + i] * (weight ? weight[i] : T(1));
        sum += dx_hat;
        dot += dx_hat * (x[start + i] - centre) * scale;
    }
    sum = block_sum(sum) / width;
    dot = block_sum(dot) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T dx_hat = dy[start + i] * (weight ? weight[i] : T(1)), x_hat = (x[start + i] - centre) * scale;
        dx[start + i] = (dx_hat - sum - x_hat * dot) * scale;
    }
}

// partial (2, slices, D): dweight and dbias of each slice of `slice` rows. One thread per slice and column.
extern "C" __global__ void layer_norm_weights(
    const T* dy, const T* x, const T* mean, const T* inv_std, T* partial, int rows, int width, int slice, int slices)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x, all = slices * (long long)width;
    if (k >= all) return;
    int column = k % width;
    T dweight = 0, dbias = 0;
    for (long long row = k / width * slice; row < rows && row < (k / width + 1) * slice; row++) {
        long long i = row * width + column;
        dweight += dy[i] * (x[i] - mean[row]) * inv_std[row];
        dbias += dy[i];
    }
    partial[k] = dweight;
    partial[all + k] = dbias;
}
