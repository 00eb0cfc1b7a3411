// Sum and maximum over the threads of a block, a value from each: for kernels to include. The block has a power of two
// of threads, at most 256, and all of them call. They add up as a tree, always in the same order: always the same bits.

__device__ T block_sum(T x)
{
    __shared__ T shared[256];
    __syncthreads();  // an earlier call may still read it
    shared[threadIdx.x] = x;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}

__device__ T block_max(T x)
{
    __shared__ T shared[256];
    __syncthreads();
    shared[threadIdx.x] = x;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half && shared[threadIdx.x + half] > shared[threadIdx.x])
            shared[threadIdx.x] = shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}
