// Uniform random values, the bits of NumPy's Generator(PCG64).random(shape, T).
//
// PCG64 steps a 128-bit integer, state = MULTIPLIER * state + increment, and gives 64 bits of each:
// rotate right(high ^ low, the top six bits of state).
// k steps at once are again a linear function of the state, found in log2(k) steps: so each thread jumps to its first.
// Reference: O'Neill 2014, PCG: a family of simple fast space-efficient statistically good algorithms for random number
// generation (XSL-RR 128/64); Brown 1994, Random number generation with arbitrary strides.

typedef unsigned long long u64;

struct u128 { u64 high, low; };

__device__ u128 add(u128 a, u128 b) {
    u64 low = a.low + b.low;
    return {a.high + b.high + (low < a.low), low};
}

__device__ u128 multiply(u128 a, u128 b) {
    return {__umul64hi(a.low, b.low) + a.high * b.low + a.low * b.high, a.low * b.low};
}

__device__ u128 jump(u128 state, u128 increment, u128 multiplier, long long steps) {
    u128 factor = {0, 1}, term = {0, 0};  // state -> factor * state + term
    for (; steps; steps >>= 1) {
        if (steps & 1) {
            factor = multiply(factor, multiplier);
            term = add(multiply(term, multiplier), increment);
        }
        increment = multiply(add(multiplier, {0, 1}), increment);
        multiplier = multiply(multiplier, multiplier);
    }
    return add(multiply(factor, state), term);
}

__device__ u64 bits_of(u128 state) {
    u64 mixed = state.high ^ state.low;
    int turn = state.high >> 58;
    return mixed >> turn | mixed << (-turn & 63);
}

// y (count,). A float takes 32 bits, the low half of a draw first; where kept is 1, y[0] is the half that was left over
// from the last time, `first`. Each thread makes EACH draws after one jump.
extern "C" __global__ void uniform(
    T* y, int count, int kept, T first, u64 state_high, u64 state_low, u64 increment_high, u64 increment_low
) {
    const int EACH = 8, HALVES = 8 / sizeof(T);
    const u128 multiplier = {2549297995355413924ull, 4865540595714422341ull};
    const u128 increment = {increment_high, increment_low};
    long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    long long i = thread * EACH * HALVES + kept;
    if (thread == 0 && kept) y[0] = first;
    if (i >= count) return;
    u128 state = jump({state_high, state_low}, increment, multiplier, thread * EACH);
    for (int k = 0; k < EACH; k++) {
        state = add(multiply(state, multiplier), increment);
        u64 bits = bits_of(state);
        if (HALVES == 1) {
            if (i < count) y[i++] = (bits >> 11) * T(1.0 / 9007199254740992.0);  // 53 bits
        } else {
            if (i < count) y[i++] = ((bits & 0xffffffff) >> 8) * T(1.0f / 16777216.0f);  // 24 bits
            if (i < count) y[i++] = (bits >> 40) * T(1.0f / 16777216.0f);
        }
    }
}
