// Elementwise non-linearities and their derivatives, one thread per element; nn/layers/activation.py and prelu.py have the
// same functions in array code.

enum { RELU, LEAKY_RELU, ELU, SIGMOID, TANH, SILU, SOFTPLUS };  // KINDS in nn/gpu/activation.py

__device__ T sigmoid(T x)  // with e = exp(-|x|) <= 1: 1 / (1 + e) where x > 0, e / (1 + e) elsewhere
{
    T e = exp(x > 0 ? -x : x);
    return (x > 0 ? 1 : e) / (1 + e);
}

// a and b are the options of the layer: negative_slope, alpha, or beta and threshold.
extern "C" __global__ void activation_forward(const T* x, T* y, T a, T b, int count, int kind)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= count) return;
    T v = x[i];
    if (kind == RELU) y[i] = v < 0 ? T(0) : v;  // NaN stays NaN
    if (kind == LEAKY_RELU) y[i] = v > 0 ? v : a * v;
    if (kind == ELU) y[i] = v > 0 ? v : a * expm1(v);
    if (kind == SIGMOID) y[i] = sigmoid(v);
    if (kind == TANH) y[i] = tanh(v);
    if (kind == SILU) y[i] = v * sigmoid(v);
    if (kind == SOFTPLUS) {
        T z = a * v;
        y[i] = z > b ? v : (log1p(exp(z > 0 ? -z : z)) + (z > 0 ? z : T(0))) / a;  // log(1 + e^z) = log(1 + e^-z) + z
    }
}

// kept is what the layer keeps: y of RELU, SIGMOID and TANH, x of the others.
extern "C" __global__ void activation_backward(const T* dy, const T* kept, T* dx, T a, T b, int count, int kind)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= count) return;
    T v = kept[i], slope = 0;
    if (kind == RELU) slope = v > 0;
    if (kind == LEAKY_RELU) slope = v > 0 ? T(1) : a;
    if (kind == ELU) slope = v > 0 ? T(1) : a * exp(v);
    if (kind == SIGMOID) slope = v * (1 - v);
    if (kind == TANH) slope = 1 - v * v;
    if (kind == SILU) {
        T s = sigmoid(v);
        slope = s * (1 + v * (1 - s));  // y = x s with s = sigmoid(x), s' = s (1 - s)
    }
    if (kind == SOFTPLUS) slope = a * v > b ? T(1) : sigmoid(a * v);
    dx[i] = dy[i] * slope;
}

// x (N, C, L), weight (C,): y = x where x > 0, else weight * x. C is 1 for one slope for all of x.
extern "C" __global__ void prelu_forward(const T* x, const T* weight, T* y, int count, int channels, int length)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < count) y[i] = x[i] > 0 ? x[i] : weight[i / length % channels] * x[i];
}

// dx, and flow, whose sum over N and L is dweight.
extern "C" __global__ void prelu_backward(
    const T* dy, const T* x, const T* weight, T* dx, T* flow, int count, int channels, int length)
{
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= count) return;
    dx[i] = x[i] > 0 ? dy[i] : weight[i / length % channels] * dy[i];
    flow[i] = x[i] > 0 ? T(0) : dy[i] * x[i];
}
