// The padding of sequences of unequal length, where it stands; nn/cpu/packing.py takes it out instead.

// y = x (T, N, D), but 0 where a sequence has ended, step t >= lengths[n]. A length outside 0 .. T, which nobody could
// report without waiting for the GPU, makes its sequence NaN. One thread per element.
extern "C" __global__ void clear_padding(
    const T* x, const long long* lengths, T* y, int count, int steps, int sequences, int width)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long t = k / width / sequences, length = lengths[k / width % sequences];
    bool right = length >= 0 && length <= steps;
    y[k] = !right ? T(0) / T(0) : t < length ? x[k] : T(0);
}
