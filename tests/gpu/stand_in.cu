// Kernels for the tests of the stand-in for CuPy, without barriers.
using T = float;

// A comment with a kernel: extern "C" __global__ void none(int a) {}
extern "C" __global__ void scale_forward(T *y, const T *x, T a, int n) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i];
}

extern "C" __global__ void shift(T *y, const T *x, int n, int from, int to) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i + to] = x[i + from];
}

extern "C" __global__ void index_space(int *seen) {
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    seen[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1 + 100 * threadIdx.z + 1000 * blockIdx.y;
}

extern "C" __global__ void divide_one_of_four(int *y, int divisor, int index) {
    int fixed[4] = {1, 2, 3, 4};
    y[0] = fixed[index] / divisor;
}

extern "C" __global__ void first_come(int *next, int *order) { order[threadIdx.x] = atomicAdd(next, 1); }

extern "C" __global__ void is_null(int *y, const T *x) { y[0] = x == nullptr; }
