// Batch normalisation of x (N, C, M), channels c; nn/layers/batch_norm.py has the same functions in array code.
//
// Sums over the N * M elements of a channel, `count`, take two steps: each block adds up `slice` of them, `slices` blocks
// a channel, to `partial` (C, slices, 2); then one block a channel adds up the sums of the slices.

#include "block_sums.cu"

// Index of the j-th element of channel c.
__device__ long long element(int j, int c, int channels, int length)
{
    return (j / length * (long long)channels + c) * length + j % length;
}

// Elements of the s-th slice.
__device__ int slice_size(int s, int slice, int count) { return count - s * slice < slice ? count - s * slice : slice; }

// The mean of each slice, and the sum of the squared distances from it.
extern "C" __global__ void slice_statistics(
    const T* x, T* partial, int channels, int length, int count, int slice, int slices)
{
    int c = blockIdx.x / slices, s = blockIdx.x % slices, size = slice_size(s, slice, count);
    T sum = 0, squares = 0;
    for (int j = threadIdx.x; j < size; j += blockDim.x) sum += x[element(s * slice + j, c, channels, length)];
    T mean = block_sum(sum) / size;
    for (int j = threadIdx.x; j < size; j += blockDim.x) {  // read again, from the cache
        T centred = x[element(s * slice + j, c, channels, length)] - mean;
        squares += centred * centred;
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) {
        partial[2LL * blockIdx.x] = mean;
        partial[2LL * blockIdx.x + 1] = squares;
    }
}

// mean, inv_std = 1 / sqrt(var + eps) and, unless null, running = keep * running + momentum * batch, all (C,), with the
// unbiased variance. Where partial is null, mean and inv_std of the running statistics.
// The sum of squares about the common mean: Chan et al. 1979, Updating formulae and a pairwise algorithm, eq. 2.1.
extern "C" __global__ void batch_statistics(
    const T* partial, T* running_mean, T* running_var, T* mean, T* inv_std, T eps, T keep, T momentum, int count,
    int slice, int slices)
{
    int c = blockIdx.x;
    if (!partial) {
        if (threadIdx.x == 0) {
            mean[c] = running_mean[c];
            inv_std[c] = 1 / sqrt(running_var[c] + eps);
        }
        return;
    }
    const T* own = partial + 2LL * slices * c;
    T sum = 0, squares = 0;
    for (int s = threadIdx.x; s < slices; s += blockDim.x) sum += slice_size(s, slice, count) * own[2 * s];
    T centre = block_sum(sum) / count;
    for (int s = threadIdx.x; s < slices; s += blockDim.x) {
        T off = own[2 * s] - centre;
        squares += own[2 * s + 1] + slice_size(s, slice, count) * off * off;
    }
    T all_squares = block_sum(squares);
    if (threadIdx.x) return;
    mean[c] = centre;
    inv_std[c] = 1 / sqrt(all_squares / count + eps);
    if (!running_mean) return;
    running_mean[c] = keep * running_mean[c] + momentum * centre;
    running_var[c] = keep * running_var[c] + momentum * (all_squares / (count - 1));
}

// y = weight * (x - mean) * inv_std + bias; weight and bias may be null. One thread per element.
extern "C" __global__ void normalise(
    const T* x, const T* mean, const T* inv_std, const T* weight, const T* bias, T* y, int size, int channels,
    int length)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= size) return;
    int c = (int)i / length % channels;
    T scale = weight ? weight[c] * inv_std[c] : inv_std[c];
    y[i] = (x[i] - mean[c]) * scale + (bias ? bias[c] : T(0));
}

// Of each slice, the sums of dy and of dy * (x - mean).
extern "C" __global__ void slice_gradients(
    const T* dy, const T* x, const T* mean, T* partial, int channels, int length, int count, int slice, int slices)
{
    int c = blockIdx.x / slices, s = blockIdx.x % slices, size = slice_size(s, slice, count);
    T sum = 0, dot = 0;
    for (int j = threadIdx.x; j < size; j += blockDim.x) {
        long long i = element(s * slice + j, c, channels, length);
        sum += dy[i];
        dot += dy[i] * (x[i] - mean[c]);
    }
    sum = block_sum(sum);
    dot = block_sum(dot);
    if (threadIdx.x == 0) {
        partial[2LL * blockIdx.x] = sum;
        partial[2LL * blockIdx.x + 1] = dot;
    }
}

// sums (2, C): dbias and dweight.
extern "C" __global__ void batch_gradients(const T* partial, const T* inv_std, T* sums, int channels, int slices)
{
    int c = blockIdx.x;
    const T* own = partial + 2LL * slices * c;
    T sum = 0, dot = 0;
    for (int s = threadIdx.x; s < slices; s += blockDim.x) {
        sum += own[2 * s];
        dot += own[2 * s + 1];
    }
    T dbias = block_sum(sum), dweight = block_sum(dot) * inv_std[c];  // y = weight * x_hat + bias
    if (threadIdx.x) return;
    sums[c] = dbias;
    sums[channels + c] = dweight;
}

// dx = weight * inv_std * dy and, from_batch, the two terms through mean and variance, which are functions of x then.
extern "C" __global__ void normalise_backward(
    const T* dy, const T* x, const T* mean, const T* inv_std, const T* weight, const T* sums, T* dx, int size,
    int channels, int length, int count, int from_batch)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= size) return;
    int c = (int)i / length % channels;
    T scale = weight ? weight[c] * inv_std[c] : inv_std[c], d = dy[i];
    if (from_batch) d -= (sums[c] + sums[channels + c] * inv_std[c] * (x[i] - mean[c])) / count;
    dx[i] = scale * d;
}
