// What the kernels of all losses share: the weight of an element, and 1 over the divisor.
//
// Labels, targets and weights that no loss accepts cannot be reported from a kernel: they make the loss NaN.

__device__ T not_a_number() { return T(0) / T(0); }

__device__ T unit_of(const T* divisor, T fixed) { return !divisor ? fixed : *divisor == 0 ? T(0) : 1 / *divisor; }

// A weight, 1 where there are none; finite and at least 0, or NaN.
__device__ T weight_at(const T* weights, long long i)
{
    if (!weights) return 1;
    return weights[i] >= 0 && weights[i] - weights[i] == 0 ? weights[i] : not_a_number();
}

// The factor of the loss of element i.
__device__ T scale_at(const T* weights, const T* divisor, T fixed, long long i)
{
    return unit_of(divisor, fixed) * weight_at(weights, i);
}
