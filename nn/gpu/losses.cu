// Losses of one element with their gradients; nn/losses/classification.py and nn/losses/regression.py say the same in
// array code. The kernel writes the gradient, and to `partial` the sum of the losses of each block.

#include "block_sums.cu"
#include "loss_weights.cu"

struct LossAndSlope {
    T loss, slope;  // slope: the derivative with respect to x
};

enum { BINARY_CROSS_ENTROPY, SMOOTH_L1, L1, L2, HINGE, SQUARED_HINGE };  // ELEMENTWISE in nn/gpu/losses.py

__device__ LossAndSlope loss_of(int kind, T x, T t, T option)
{
    T d = x - t, sign = d > 0 ? T(1) : d < 0 ? T(-1) : d;  // NaN stays
    if (kind == BINARY_CROSS_ENTROPY) {
        if (!(t >= 0 && t <= 1)) return {not_a_number(), not_a_number()};
        T e = exp(x > 0 ? -x : x);  // exp(-|x|): cannot overflow
        T p = (x > 0 ? 1 : e) / (1 + e);
        return {(x > 0 ? x : T(0)) - x * t + log1p(e), p - t};
    }
    if (kind == SMOOTH_L1) {
        T beta = option, ratio = d / beta, slope = ratio > 1 || ratio < -1 ? sign : ratio;
        return {slope * (d - T(0.5) * beta * slope), slope};
    }
    if (kind == L1) return {sign * d, sign};
    if (kind == L2) return {T(0.5) * d * d, d};
    if (!(t * t == 1)) return {not_a_number(), not_a_number()};  // of the hinges: t is -1 or 1
    T margin = option, slack = margin - t * x;
    if (!(slack > 0)) return {0, 0};
    return kind == HINGE ? LossAndSlope{slack, -t} : LossAndSlope{slack * slack, -2 * slack * t};
}

// x, t, weights (null: ones), dx of one shape, one thread per element.
extern "C" __global__ void elementwise(
    const T* x, const T* t, const T* weights, const T* divisor, T fixed, T option, T* dx, T* partial, int count,
    int kind)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    T loss = 0;
    if (i < count) {
        LossAndSlope here = loss_of(kind, x[i], t[i], option);
        T scale = scale_at(weights, divisor, fixed, i);
        loss = scale * here.loss;
        dx[i] = scale * here.slope;
    }
    T sum = block_sum(loss);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
