// Rows of a table by their indices, and the sums of their gradients; nn/layers/embedding.py has the same functions in
// array code.

// y (P, D) = weight[x], weight (V, D); NaN for an x outside 0 .. V - 1. One thread per element.
extern "C" __global__ void embedding_forward(
    const T* weight, const long long* x, T* y, int count, int width, int height)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = x[k / width];
    y[k] = row >= 0 && row < height ? weight[row * width + k % width] : T(0) / T(0);
}

// grad[row] += sum of dy[p] over the positions p with x[p] = row. sorted (P,) is x in order, order (P,) the position of
// each: equal ones make a run. Block (p, j) computes columns 32 j .. 32 j + 31 of the run that begins at p, if one does:
// its 8 rows of threads share the run, then their sums are added up. Always the same order, no atomics.
extern "C" __global__ void embedding_backward(
    const T* dy, const long long* sorted, const long long* order, T* grad, int positions, int width, int height,
    int padding)
{
    __shared__ T shared[8][32];
    long long p = blockIdx.x, row = sorted[p], column = blockIdx.y * 32LL + threadIdx.x;
    if (row < 0 || row >= height || row == padding) return;  // all threads of the block or none
    if (p > 0 && sorted[p - 1] == row) return;
    T sum = 0;
    if (column < width)
        for (long long q = p + threadIdx.y; q < positions && sorted[q] == row; q += 8)
            sum += dy[order[q] * width + column];
    shared[threadIdx.y][threadIdx.x] = sum;
    for (int half = 4; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) shared[threadIdx.y][threadIdx.x] += shared[threadIdx.y + half][threadIdx.x];
    }
    if (threadIdx.y == 0 && column < width) grad[row * width + column] += shared[0][threadIdx.x];
}
