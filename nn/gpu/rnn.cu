// Steps of a simple recurrent network, one thread per sequence and hidden unit; nn/layers/rnn.py says the same in array code.
//
// All arrays (N, H), H being `hidden`, N * H `count`. lengths (N,), or null: a sequence that has no step t keeps its
// state.

// h = tanh(a + product) or max(a + product, 0); a = W x + b, product = U h_prev; h_state: the state of a scan, or null.
extern "C" __global__ void rnn_forward(
    const T* a, const T* product, T* h, T* h_state, const long long* lengths, int t, int count, int hidden, int relu)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    if (lengths && t >= lengths[k / hidden]) {
        h[k] = h_state[k];
        return;
    }
    T sum = a[k] + product[k];
    T h_new = relu ? (sum < 0 ? T(0) : sum) : tanh(sum);
    h[k] = h_new;
    if (h_state) h_state[k] = h_new;
}

// The gradient of h is dh + product (null for zeros), what the step after still has to add, + dy (null for zeros): h
// goes to the next step and to the output. Fills da; dh (it may be da: of a cell) becomes what is
// there of h_prev's without the next product.
extern "C" __global__ void rnn_backward(
    const T* h, const T* dy, const T* product, T* dh, T* da, const long long* lengths, int t, int count, int hidden,
    int relu)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    T dh_all = product ? dh[k] + product[k] : dh[k];
    if (lengths && t >= lengths[k / hidden]) {
        da[k] = 0;
        dh[k] = dh_all;
        return;
    }
    if (dy) dh_all += dy[k];
    dh[k] = 0;
    da[k] = dh_all * (relu ? T(h[k] > 0) : 1 - h[k] * h[k]);  // h = max(a, 0) or tanh(a)
}
