// Steps of an LSTM, one thread per sequence and hidden unit; nn/layers/lstm.py says the same in array code.
//
// A row of a (N, 4 * H) has the gates i, f, o, g side by side; all else is (N, H), H being `hidden`, N * H `count`.
// lengths (N,), or null: a sequence that has no step t keeps its states.

__device__ T sigmoid(T a) { return T(0.5) * tanh(T(0.5) * a) + T(0.5); }  // 1 / (1 + exp(-a)), cannot overflow

// a, W x + b, and product, U h_prev, become the gates in a. The new c and h are written to the states of a scan as
// well, where there is one: then c_prev is c_state, and h_prev h_state.
extern "C" __global__ void lstm_forward(
    T* a, const T* product, const T* c_prev, T* c, T* h, T* c_state, T* h_state, const long long* lengths, int t,
    int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, at = row * 4 * hidden + k % hidden;
    if (lengths && t >= lengths[row]) {
        c[k] = c_state[k];
        h[k] = h_state[k];
        return;
    }
    T i = sigmoid(a[at] + product[at]);
    T f = sigmoid(a[at + hidden] + product[at + hidden]);
    T o = sigmoid(a[at + 2LL * hidden] + product[at + 2LL * hidden]);
    T g = tanh(a[at + 3LL * hidden] + product[at + 3LL * hidden]);
    T c_new = f * c_prev[k] + i * g;
    T h_new = o * tanh(c_new);
    a[at] = i;
    a[at + hidden] = f;
    a[at + 2LL * hidden] = o;
    a[at + 3LL * hidden] = g;
    c[k] = c_new;
    h[k] = h_new;
    if (c_state) c_state[k] = c_new;
    if (h_state) h_state[k] = h_new;
}

// a has the gates. The gradient of h is dh, of which product (null for zeros), da U of the step after, is still to be
// added, plus dy (null for zeros): h goes to the next step and to the output. Fills da; dc, that of c through later
// steps, becomes that of c_prev; dh becomes what is there of h_prev's without the next product, da U.
extern "C" __global__ void lstm_backward(
    const T* a, const T* c_prev, const T* c, const T* dy, const T* product, T* dh, T* dc, T* da,
    const long long* lengths, int t, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, at = row * 4 * hidden + k % hidden;
    T dh_all = product ? dh[k] + product[k] : dh[k];
    if (lengths && t >= lengths[row]) {
        for (int gate = 0; gate < 4; gate++) da[at + gate * (long long)hidden] = 0;
        dh[k] = dh_all;
        return;
    }
    if (dy) dh_all += dy[k];
    T i = a[at], f = a[at + hidden], o = a[at + 2LL * hidden], g = a[at + 3LL * hidden];
    T tanh_c = tanh(c[k]);
    T dc_all = dc[k] + dh_all * o * (1 - tanh_c * tanh_c);  // h = o * tanh(c)
    da[at] = dc_all * g * i * (1 - i);                      // c = f * c_prev + i * g, i = sigmoid(.)
    da[at + hidden] = dc_all * c_prev[k] * f * (1 - f);     // f = sigmoid(.)
    da[at + 2LL * hidden] = dh_all * tanh_c * o * (1 - o);  // o = sigmoid(.)
    da[at + 3LL * hidden] = dc_all * i * (1 - g * g);       // g = tanh(.)
    dc[k] = dc_all * f;
    dh[k] = 0;
}
