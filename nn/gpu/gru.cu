// Steps of a GRU, one thread per sequence and hidden unit; nn/layers/gru.py says the same in array code.
//
// A row of a (N, 3 * H) has r, z, n side by side, with W x + b before the step; all else is (N, H) unless it says
// otherwise, H being `hidden`, N * H `count`. h_state: the state of a scan, h_prev, or null.
// lengths (N,), or null: a sequence that has no step t keeps its state, by z = 1; backward then needs no lengths.

__device__ T sigmoid(T a) { return T(0.5) * tanh(T(0.5) * a) + T(0.5); }  // 1 / (1 + exp(-a)), cannot overflow

// product (N, 2 * H) = U h_prev for r and z. Fills reset = r * h_prev, for the product with U_n.
extern "C" __global__ void gru_gates(
    T* a, const T* product, const T* h_prev, T* reset, const long long* lengths, int t, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, unit = k % hidden, at = row * 3 * hidden + unit, u = row * 2 * hidden + unit;
    bool ended = lengths && t >= lengths[row];
    T r = sigmoid(a[at] + product[u]);
    a[at] = r;
    a[at + hidden] = ended ? T(1) : sigmoid(a[at + hidden] + product[u + hidden]);
    reset[k] = r * h_prev[k];
}

// product (N, H) = U_n (r * h_prev).
extern "C" __global__ void gru_new_state(
    T* a, const T* product, const T* h_prev, T* h, T* h_state, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long at = k / hidden * 3 * hidden + k % hidden;
    T z = a[at + hidden], n = tanh(a[at + 2LL * hidden] + product[k]);
    T h_new = z == 1 ? h_prev[k] : n + z * (h_prev[k] - n);  // z * h_prev + (1 - z) * n
    a[at + 2LL * hidden] = n;
    h[k] = h_new;
    if (h_state) h_state[k] = h_new;
}

// The gradient of h is dh + product (null for zeros), what the step after still has to add, + dy (null for zeros): h
// goes to the next step and to the output. dh becomes the part that z lets through to h_prev. Fills z's half of dgates
// (N, 2 * H), and dn, that of a_n.
extern "C" __global__ void gru_new_state_backward(
    const T* a, const T* h_prev, const T* dy, const T* product, T* dh, T* dgates, T* dn, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, unit = k % hidden, at = row * 3 * hidden + unit;
    T z = a[at + hidden], n = a[at + 2LL * hidden];
    T dh_all = dh[k] + (product ? product[k] : T(0)) + (dy ? dy[k] : T(0));
    dn[k] = dh_all * (1 - z) * (1 - n * n);  // h = z * h_prev + (1 - z) * n, n = tanh(.)
    dgates[row * 2 * hidden + hidden + unit] = dh_all * (h_prev[k] - n) * z * (1 - z);  // z = sigmoid(.)
    dh[k] = dh_all * z;
}

// dreset, that of r * h_prev: fills r's half of dgates (N, 2 * H), and adds to dh.
extern "C" __global__ void gru_reset_backward(
    const T* a, const T* h_prev, const T* dreset, T* dh, T* dgates, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, unit = k % hidden;
    T r = a[row * 3 * hidden + unit];
    dgates[row * 2 * hidden + unit] = dreset[k] * h_prev[k] * r * (1 - r);  // r = sigmoid(.)
    dh[k] += dreset[k] * r;
}

// reset_after: product (N, 3 * H) = U h_prev, bias (3 * H,) = b_hh or null; fills u = U_n h_prev + b_hn too.
extern "C" __global__ void gru_reset_after_forward(
    T* a, const T* product, const T* bias, const T* h_prev, T* u, T* h, T* h_state, const long long* lengths, int t,
    int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long row = k / hidden, unit = k % hidden, at = row * 3 * hidden + unit;
    bool ended = lengths && t >= lengths[row];
    T sum[3];
    for (int gate = 0; gate < 3; gate++)
        sum[gate] = product[at + gate * (long long)hidden] + (bias ? bias[unit + gate * (long long)hidden] : T(0));
    T r = sigmoid(a[at] + sum[0]), z = ended ? T(1) : sigmoid(a[at + hidden] + sum[1]);
    T n = tanh(a[at + 2LL * hidden] + r * sum[2]);
    T h_new = z == 1 ? h_prev[k] : n + z * (h_prev[k] - n);  // z * h_prev + (1 - z) * n
    a[at] = r;
    a[at + hidden] = z;
    a[at + 2LL * hidden] = n;
    u[k] = sum[2];
    h[k] = h_new;
    if (h_state) h_state[k] = h_new;
}

// As gru_new_state_backward; fills da (N, 3 * H), that of U h_prev + b_hh, and dn, for n that of W x + b_ih.
extern "C" __global__ void gru_reset_after_backward(
    const T* a, const T* h_prev, const T* u, const T* dy, const T* product, T* dh, T* da, T* dn, int count, int hidden)
{
    long long k = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (k >= count) return;
    long long at = k / hidden * 3 * hidden + k % hidden;
    T r = a[at], z = a[at + hidden], n = a[at + 2LL * hidden];
    T dh_all = dh[k] + (product ? product[k] : T(0)) + (dy ? dy[k] : T(0));
    T da_n = dh_all * (1 - z) * (1 - n * n);                   // h = z * h_prev + (1 - z) * n, n = tanh(a_n + r * u)
    da[at] = da_n * u[k] * r * (1 - r);                        // r = sigmoid(.)
    da[at + hidden] = dh_all * (h_prev[k] - n) * z * (1 - z);  // z = sigmoid(.)
    da[at + 2LL * hidden] = da_n * r;
    dn[k] = da_n;
    dh[k] = dh_all * z;
}
