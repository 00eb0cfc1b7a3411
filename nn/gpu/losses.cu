// Losses with their gradients; nn/losses/classification.py and nn/losses/hinge.py say the same in array code.
//
// A kernel writes the gradient, and to `partial` the sum of the losses of each block. unit, 1 over what the sum of the
// losses is divided by, is 1 / *divisor, a sum of weights (0 where that is 0), or where divisor is null `fixed`.
// Labels, targets and weights that no loss accepts cannot be reported from here: they make the loss NaN.

#include "block_sums.cu"

__device__ T not_a_number() { return T(0) / T(0); }

__device__ T unit_of(const T* divisor, T fixed) { return !divisor ? fixed : *divisor == 0 ? T(0) : 1 / *divisor; }

// A weight, 1 where there are none; finite and at least 0, or NaN.
__device__ T weight_at(const T* weights, long long i)
{
    if (!weights) return 1;
    return weights[i] >= 0 && weights[i] - weights[i] == 0 ? weights[i] : not_a_number();
}

__device__ T label_weight(long long label, const T* class_weights, int classes, int ignore_index)
{
    if (label == ignore_index) return 0;
    return label < 0 || label >= classes ? not_a_number() : weight_at(class_weights, label);
}

// The sums of the weights of the labels, one a block. One thread per label.
extern "C" __global__ void label_weights(
    const long long* labels, const T* class_weights, T* partial, int count, int classes, int ignore_index)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    T weight = i < count ? label_weight(labels[i], class_weights, classes, ignore_index) : T(0);
    T sum = block_sum(weight);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Logits (N, C, M), labels (N, M), N * M = positions. A thread per position, or `together` (where M is 1, and the
// classes lie side by side) a block. s: label smoothing.
extern "C" __global__ void softmax_cross_entropy(
    const T* logits, const long long* labels, const T* class_weights, const T* divisor, T fixed, T s, T* dlogits,
    T* partial, int positions, int classes, int plane, int ignore_index, int together)
{
    long long position = together ? blockIdx.x : blockIdx.x * (long long)blockDim.x + threadIdx.x;
    int first = together ? threadIdx.x : 0, step = together ? blockDim.x : 1;
    T loss = 0;
    if (position < positions) {
        long long start = position / plane * classes * plane + position % plane;
        const T* z = logits + start;
        T* dz = dlogits + start;
        long long label = labels[position];
        T weight = label_weight(label, class_weights, classes, ignore_index), unit = unit_of(divisor, fixed);
        if (!(label >= 0 && label < classes)) label = 0;  // its weight is 0 or NaN

        T largest = z[0];  // a shift changes nothing in a softmax, and exp cannot overflow
        for (int c = first; c < classes; c += step)
            if (z[c * (long long)plane] > largest) largest = z[c * (long long)plane];
        if (together) largest = block_max(largest);
        T total = 0, weights = 0, weighted = 0;
        for (int c = first; c < classes; c += step) {
            T shifted = z[c * (long long)plane] - largest, w = weight_at(class_weights, c);
            total += exp(shifted);
            weights += w;
            weighted += w * shifted;
        }
        if (together) {
            total = block_sum(total);
            weights = block_sum(weights);
            weighted = block_sum(weighted);
        }

        // loss = log sum_k exp(z[k]) - z[label]: the first term's derivative is p, the second's the one-hot label;
        // smoothing: the same with every class in turn for the label
        T log_total = log(total), scale = unit * weight * (1 - s);
        T share = label_weight(labels[position], nullptr, classes, ignore_index) * unit * s / classes;
        loss = scale * (log_total - (z[label * plane] - largest));
        if (s != 0) loss += share * (weights * log_total - weighted);
        if (weights != weights) loss = weights;  // a bad class weight
        for (int c = first; c < classes; c += step) {
            T p = exp(z[c * (long long)plane] - largest) / total;
            T d = scale * (p - T(c == label));
            if (s != 0) d += share * (weights * p - weight_at(class_weights, c));
            dz[c * (long long)plane] = d;
        }
    }
    T sum = together ? loss : block_sum(loss);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Scores (N, C, M), all else as for softmax_cross_entropy.
extern "C" __global__ void multiclass_hinge(
    const T* scores, const long long* labels, const T* class_weights, const T* divisor, T fixed, T margin, T* dscores,
    T* partial, int positions, int classes, int plane, int ignore_index, int together, int squared)
{
    long long position = together ? blockIdx.x : blockIdx.x * (long long)blockDim.x + threadIdx.x;
    int first = together ? threadIdx.x : 0, step = together ? blockDim.x : 1;
    T loss = 0;
    if (position < positions) {
        long long start = position / plane * classes * plane + position % plane, label = labels[position];
        T scale = unit_of(divisor, fixed) * label_weight(label, class_weights, classes, ignore_index), flow = 0;
        if (!(label >= 0 && label < classes)) label = 0;  // its weight is 0 or NaN
        T right = scores[start + label * plane];

        // slack = max(0, margin + s[c] - s[label]): each wrong class pushes its own score down, and the right one up
        for (int c = first; c < classes; c += step) {
            loss += scale * 0 * weight_at(class_weights, c);  // NaN for a bad class weight
            if (c == label) continue;
            T slack = margin + scores[start + c * (long long)plane] - right;
            T d = slack > 0 ? scale * (squared ? 2 * slack : T(1)) : scale * 0;
            if (slack > 0) loss += scale * (squared ? slack * slack : slack);
            dscores[start + c * (long long)plane] = d;
            flow += d;
        }
        if (together) {
            flow = block_sum(flow);
            loss = block_sum(loss);
        }
        if (first == 0) dscores[start + label * plane] = -flow;
    }
    T sum = together ? loss : block_sum(loss);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

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
        T scale = unit_of(divisor, fixed) * weight_at(weights, i);
        loss = scale * here.loss;
        dx[i] = scale * here.slope;
    }
    T sum = block_sum(loss);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}
