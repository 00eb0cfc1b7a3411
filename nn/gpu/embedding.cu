// Rows of a table by their numbers, and the sums of what flows back to each; nn/layers/embedding.py says the same in array code.

// y (P, D) = weight[x], weight (V, D); NaN for a number outside 0 .. V - 1. One thread per element.
extern "C" __global__ void embedding_forward(
    const T* weight, const long long* x, T* y, int count, int width, int numbers)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long number = x[k / width];
    y[k] = number >= 0 && number < numbers ? weight[number * width + k % width] : T(0) / T(0);
}

// grad[number] += sum of dy[place] over the places p of that number. sorted (P,) has the numbers in order, order (P,)
// where each was: equal ones make a run. Block (p, j) does columns 32 j .. 32 j + 31 of the run that begins at p, if one
// does: its 8 rows of threads share the run, then their sums are added up. Always the same order, no atomics.
extern "C" __global__ void embedding_backward(
    const T* dy, const long long* sorted, const long long* order, T* grad, int places, int width, int numbers,
    int padding)
{
    __shared__ T room[8][32];
    long long p = blockIdx.x, number = sorted[p], column = blockIdx.y * 32LL + threadIdx.x;
    if (number < 0 || number >= numbers || number == padding) return;  // all threads of the block or none
    if (p > 0 && sorted[p - 1] == number) return;
    T sum = 0;
    if (column < width)
        for (long long q = p + threadIdx.y; q < places && sorted[q] == number; q += 8)
            sum += dy[order[q] * width + column];
    room[threadIdx.y][threadIdx.x] = sum;
    for (int half = 4; half; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) room[threadIdx.y][threadIdx.x] += room[threadIdx.y + half][threadIdx.x];
    }
    if (threadIdx.y == 0 && column < width) grad[number * width + column] += room[0][threadIdx.x];
}
