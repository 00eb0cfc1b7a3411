// The sum and the maximum of one number from each thread of a block: for kernels to include. The block has a power of two
// of threads, 256 at most, and all of them call. A tree: always added in the same order, so always the same bits.

__device__ T block_sum(T x)
{
    __shared__ T room[256];
    __syncthreads();  // the room may have been used before
    room[threadIdx.x] = x;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
    }
    __syncthreads();
    return room[0];
}

__device__ T block_max(T x)
{
    __shared__ T room[256];
    __syncthreads();
    room[threadIdx.x] = x;
    for (int half = blockDim.x / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half && room[threadIdx.x + half] > room[threadIdx.x])
            room[threadIdx.x] = room[threadIdx.x + half];
    }
    __syncthreads();
    return room[0];
}
