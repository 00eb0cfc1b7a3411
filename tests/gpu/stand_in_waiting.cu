// Kernels for the tests of the stand-in for CuPy, with barriers.
using T = double;

extern "C" __global__ void __launch_bounds__(256) total(T *y, const T *x, int n) {
    __shared__ T part[256];
    T sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    part[threadIdx.x] = sum;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = part[0];
}

extern "C" __global__ void reverse(T *y, const T *x, int beyond) {
    extern __shared__ T copy[];
    copy[threadIdx.x + beyond] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = copy[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void race(T *y) {
    __shared__ T left;
    if (threadIdx.x == 5) left = 1;
    y[threadIdx.x] = left;  // a barrier is missing
}

extern "C" __global__ void some_wait(int first) { if (threadIdx.x >= first) __syncthreads(); }

extern "C" __global__ void warps(int *sums, unsigned *odd, int *shifted) {
    int i = threadIdx.x, sum = i;
    for (int step = 16; step; step /= 2) sum += __shfl_down_sync(0xffffffff, sum, step);
    if (i % warpSize == 0) sums[i / warpSize] = sum;
    odd[i] = __ballot_sync(0xffffffff, i % 2);
    shifted[i] = __shfl_up_sync(0xffffffff, i, 1) + 1000 * __shfl_xor_sync(0xffffffff, i, 3);
}

extern "C" __global__ void intrinsics(T *y, unsigned long long *bits) {
    y[0] = max(1.5f, 2.0) + min(3, 2) + fmaxf(1, 2) + rsqrt(4.0) + __int_as_float(0x40400000);
    bits[0] = __umul64hi(0xfedcba9876543210ull, 0x123456789abcdef0ull);
    bits[1] = __popc(0xff) + 100 * __clz(1) + 10000 * __ffs(8);
}
