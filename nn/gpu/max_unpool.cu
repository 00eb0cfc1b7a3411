// Max unpooling: y[indices] = x, (planes, oh ow) from (planes, size). First, kept[position] = the last of the elements
// of x that go there, where kept began as -1; then each position takes its element. An index outside its plane, for
// which waiting to report it would cost more than all the rest, is kept as OUTSIDE at position 0, which becomes NaN.
//
// planes = images * channels; count: the threads, one for each element of x (keep_last, backward) or y (forward). The
// one atomic, atomicMax of whole numbers, has a result that no order changes. Indices are ints; offsets are long long.
constexpr int OUTSIDE = 0x7fffffff;

extern "C" __global__ void __launch_bounds__(256) keep_last(
    int *kept, const long long *indices, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const bool inside = indices[i] >= 0 && indices[i] < out_size;
    int *plane = kept + (long long)(i / size) * out_size;
    atomicMax(&plane[inside ? indices[i] : 0], inside ? i % size : OUTSIDE);
}

extern "C" __global__ void __launch_bounds__(256) unpool_forward(
    T *y, const int *kept, const T *x, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    if (kept[i] == OUTSIDE) y[i] = __int_as_float(0x7fffffff);  // NaN
    else y[i] = kept[i] < 0 ? 0 : x[(long long)(i / out_size) * size + kept[i]];
}

// dx = dy at its index, if this element of x is the one that was kept there, else 0.
extern "C" __global__ void __launch_bounds__(256) unpool_backward(
    T *dx, const int *kept, const long long *indices, const T *dy, int count, int size, int out_size) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= count) return;
    const int i = thread;
    const bool inside = indices[i] >= 0 && indices[i] < out_size;
    const long long position = (long long)(i / size) * out_size + (inside ? indices[i] : 0);
    dx[i] = inside && kept[position] == i % size ? dy[position] : 0;
}
