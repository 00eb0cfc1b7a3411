// Losses of pairs and triplets of embeddings; nn/losses/metric.py says the same in array code. All arrays (N, D), one
// block for each pair or triplet. divisor and fixed are as in nn/gpu/classification.cu, `partial` gets each one's loss.

#include "block_sums.cu"
#include "loss_weights.cu"

// similar (N,): 1 or 0, anything else makes the loss NaN.
extern "C" __global__ void pairs(
    const T* x1, const T* x2, const T* similar, const T* weights, const T* divisor, T fixed, T margin, T* dx1, T* dx2,
    T* partial, int width)
{
    long long start = blockIdx.x * (long long)width;
    T sum = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T d = x1[start + i] - x2[start + i];
        sum += d * d;
    }
    T squared = block_sum(sum), distance = sqrt(squared);
    T slack = margin - distance > 0 ? margin - distance : T(0), scale = scale_at(weights, divisor, fixed, blockIdx.x);
    bool pulls = similar[blockIdx.x] == 1;
    if (!pulls && similar[blockIdx.x] != 0) scale = not_a_number();

    // 0.5 * D^2: the derivative is x1 - x2; 0.5 * slack^2: it is -slack * (x1 - x2) / D, for dD/dx1 = (x1 - x2) / D
    T pull = pulls ? T(1) : -slack / (distance == 0 ? T(1) : distance);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T d = scale * pull * (x1[start + i] - x2[start + i]);
        dx1[start + i] = d;
        dx2[start + i] = -d;
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = scale * T(0.5) * (pulls ? squared : slack * slack);
}

extern "C" __global__ void triplets(
    const T* anchor, const T* positive, const T* negative, const T* weights, const T* divisor, T fixed, T margin, T eps,
    T* danchor, T* dpositive, T* dnegative, T* partial, int width, int squared)
{
    long long start = blockIdx.x * (long long)width;
    T shift = squared ? T(0) : eps, sum_near = 0, sum_far = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T a = anchor[start + i], near = a - positive[start + i] + shift, far = a - negative[start + i] + shift;
        sum_near += near * near;
        sum_far += far * far;
    }
    T near = block_sum(sum_near), far = block_sum(sum_far);
    if (!squared) {
        near = sqrt(near);
        far = sqrt(far);
    }
    T violation = near - far + margin, scale = scale_at(weights, divisor, fixed, blockIdx.x);
    T active = violation > 0 ? scale : 0 * scale;

    // d(a, b): the derivative with respect to a is 2 (a - b), or (a - b + eps) / d; with respect to b the opposite
    T over_near = squared ? T(2) : near == 0 ? T(1) : 1 / near, over_far = squared ? T(2) : far == 0 ? T(1) : 1 / far;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        T a = anchor[start + i];
        T pull = active * over_near * (a - positive[start + i] + shift);
        T push = active * over_far * (a - negative[start + i] + shift);
        danchor[start + i] = pull - push;
        dpositive[start + i] = -pull;
        dnegative[start + i] = push;
    }
    if (threadIdx.x == 0) partial[blockIdx.x] = violation > 0 ? scale * violation : 0 * scale;
}
