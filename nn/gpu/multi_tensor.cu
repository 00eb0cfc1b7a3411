// One launch for the arrays of all parameters of a model ("multi-tensor apply"): nn/gpu/multi_tensor.py makes the tables.
//
// table: a row of `width` integers for each parameter: the addresses of its arrays, 0 for one that is not there, and
// the count of their elements. chunks: a row and the first of its elements for each block, which does CHUNK of them.
// The formulas are those of nn/optim/sgd.py, nn/optim/adaptive.py, nn/optim/clipping.py and nn/optim/ema.py.

#include "block_sums.cu"

constexpr int CHUNK = 4096;  // as in nn/gpu/multi_tensor.py

struct Chunk {
    const long long* row;
    long long begin, end;

    __device__ Chunk(const long long* table, const long long* chunks, int width)
    {
        row = table + chunks[2 * blockIdx.x] * width;
        begin = chunks[2 * blockIdx.x + 1] + threadIdx.x;
        end = chunks[2 * blockIdx.x + 1] + CHUNK;
        if (end > row[width - 1]) end = row[width - 1];
    }
    __device__ T* array(int i) const { return (T*)row[i]; }
};

extern "C" __global__ void fill_zero(const long long* table, const long long* chunks, int width)
{
    Chunk chunk(table, chunks, width);
    T* x = chunk.array(0);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) x[i] = 0;
}

extern "C" __global__ void scale(const long long* table, const long long* chunks, int width, T factor)
{
    Chunk chunk(table, chunks, width);
    T* x = chunk.array(0);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) x[i] *= factor;
}

// The sum of each chunk's squares, always in double, which T is here: x is of floats where `single` is 1.
extern "C" __global__ void sum_of_squares(
    const long long* table, const long long* chunks, int width, T* partial, int single)
{
    Chunk chunk(table, chunks, width);
    T sum = 0;
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) {
        T x = single ? T(((const float*)chunk.row[0])[i]) : chunk.array(0)[i];
        sum += x * x;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// average += share * (weights - average)
extern "C" __global__ void move_average(const long long* table, const long long* chunks, int width, T share)
{
    Chunk chunk(table, chunks, width);
    T *average = chunk.array(0), *weights = chunk.array(1);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) average[i] += share * (weights[i] - average[i]);
}

// Arrays value, gradient, v (0 without momentum).
extern "C" __global__ void sgd(
    const long long* table, const long long* chunks, int width, T lr, T weight_decay, T momentum, int nesterov)
{
    Chunk chunk(table, chunks, width);
    T *value = chunk.array(0), *grad = chunk.array(1), *v = chunk.array(2);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) {
        T g = grad[i] + weight_decay * value[i], step = g;
        if (v) {
            v[i] = momentum * v[i] + g;
            step = nesterov ? g + momentum * v[i] : v[i];
        }
        value[i] -= lr * step;
    }
}

// Arrays value, gradient, s.
extern "C" __global__ void adagrad(
    const long long* table, const long long* chunks, int width, T lr, T weight_decay, T eps)
{
    Chunk chunk(table, chunks, width);
    T *value = chunk.array(0), *grad = chunk.array(1), *s = chunk.array(2);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) {
        T g = grad[i] + weight_decay * value[i];
        s[i] += g * g;
        value[i] -= lr * g / (sqrt(s[i]) + eps);
    }
}

// Arrays value, gradient, v, m (0 unless centered), b (0 without momentum); rest = 1 - alpha.
extern "C" __global__ void rmsprop(
    const long long* table, const long long* chunks, int width, T lr, T weight_decay, T eps, T alpha, T rest,
    T momentum)
{
    Chunk chunk(table, chunks, width);
    T *value = chunk.array(0), *grad = chunk.array(1), *v = chunk.array(2), *m = chunk.array(3), *b = chunk.array(4);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) {
        T g = grad[i] + weight_decay * value[i];
        T variance = v[i] = alpha * v[i] + rest * g * g;
        if (m) {
            m[i] = alpha * m[i] + rest * g;
            variance -= m[i] * m[i];
            if (variance < 0) variance = 0;
        }
        T u = g / (sqrt(variance) + eps);
        if (b) u = b[i] = momentum * b[i] + u;
        value[i] -= lr * u;
    }
}

// Arrays value, gradient, m, v. rest1 = 1 - beta1, rest2 = 1 - beta2; lr is lr / (1 - beta1^t), seen2 = 1 - beta2^t.
// weight_decay is added to the gradient; shrink, 1 - lr * weight_decay of AdamW and else 1, is for the value itself.
extern "C" __global__ void adam(
    const long long* table, const long long* chunks, int width, T lr, T weight_decay, T shrink, T beta1, T rest1,
    T beta2, T rest2, T seen2, T eps)
{
    Chunk chunk(table, chunks, width);
    T *value = chunk.array(0), *grad = chunk.array(1), *m = chunk.array(2), *v = chunk.array(3);
    for (long long i = chunk.begin; i < chunk.end; i += blockDim.x) {
        T w = value[i] * shrink, g = grad[i] + weight_decay * w;
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * g * g;
        value[i] = w - lr * m[i] / (sqrt(v[i] / seen2) + eps);
    }
}
