// Losses of scores and labels with their gradients; nn/losses/classification.py says the same in array code.
//
// A kernel writes the gradient, and to `partial` the sum of the losses of each block. unit, 1 over the divisor of the
// sum of the losses, is 1 / *divisor, a sum of weights (0 where that is 0), or where divisor is null `fixed`.

#include "block_sums.cu"
#include "loss_weights.cu"

__device__ T label_weight(long long label, const T* class_weights, int classes, int ignore_index)
{
    if (label == ignore_index) return 0;
    return label < 0 || label >= classes ? not_a_number() : weight_at(class_weights, label);
}

// The sum of the weights of each block's labels. One thread per label.
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
extern "C" __global__ void cross_entropy(
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
        bool counted = labels[position] != ignore_index;  // else nothing counts, though the logits be NaN
        if (!counted) loss = 0;
        if (weights != weights) loss = weights;  // a bad class weight
        for (int c = first; c < classes; c += step) {
            T p = exp(z[c * (long long)plane] - largest) / total;
            T d = scale * (p - T(c == label));
            if (s != 0) d += share * (weights * p - weight_at(class_weights, c));
            dz[c * (long long)plane] = counted ? d : T(0);
        }
    }
    T sum = together ? loss : block_sum(loss);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Scores (N, C, M), all else as for cross_entropy.
extern "C" __global__ void sum_of_hinges(
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
            if (labels[position] == ignore_index) slack = 0;  // does not count, though the scores be infinite
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
