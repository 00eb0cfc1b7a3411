// Dropout with a mask of the shape of x; nn/layers/dropout.py has the same function in array code. One thread per element.

// mask holds uniform random values, and becomes 0 where they are below p, `scale` elsewhere; y = x * mask.
extern "C" __global__ void dropout_forward(const T* x, T* mask, T* y, T p, T scale, int count)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= count) return;
    mask[i] = mask[i] >= p ? scale : T(0);
    y[i] = x[i] * mask[i];
}
