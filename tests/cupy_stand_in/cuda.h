// CUDA C++ for a CPU: what a kernel's source needs beyond C++; threads run one after the other. The machine that runs the
// threads of a block, and switches between them at a barrier, is machine.cpp; it sets the variables below.
//
// It has exactly what NVRTC has without an include: the further names of <math.h> are poisoned.
#pragma once
#include <utility>
#undef _GLIBCXX_USE_STD_SPEC_FUNCS  // Bessel functions and their like would be half of what is compiled
#include <math.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
// All blocks use the same static variable, one after the other; the machine fills the section with NaN before each block.
#define __shared__ static __attribute__((section("shared")))
extern char __start_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_shared[] __attribute__((weak, visibility("hidden")));

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

// Set by the machine, and functions that it offers. wait(0): all threads of the block; wait(1): all of the warp.
struct Machine {
    uint3 *thread, *block;
    dim3 *block_size, *grid_size;
    char *shared_begin, *shared_end, *dynamic_shared;
    void (*wait)(int warp_only);
    unsigned long long (*lanes)[32];  // of the current thread's warp: the value of each lane
};
extern "C" {
__attribute__((visibility("default"))) Machine machine = {
    &threadIdx, &blockIdx, &blockDim, &gridDim, __start_shared, __stop_shared, nullptr, nullptr, nullptr};
}

static inline void __syncthreads() { machine.wait(0); }
static inline void __syncwarp(unsigned = 0xffffffffu) { machine.wait(1); }
static inline void __threadfence() {}

static inline int lane_number() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize;
}

// The value that lane `from` of the warp gives. All lanes must take part.
template <class V> static V exchange(V value, int from) {
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    (*machine.lanes)[lane_number()] = bits;
    machine.wait(1);
    bits = (*machine.lanes)[from];
    machine.wait(1);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class V> static V __shfl_sync(unsigned, V v, int from) { return exchange(v, from % 32); }
template <class V> static V __shfl_xor_sync(unsigned, V v, int mask) { return exchange(v, lane_number() ^ mask); }
template <class V> static V __shfl_down_sync(unsigned, V v, unsigned delta) {
    int lane = lane_number();
    return exchange(v, lane + delta < 32 ? lane + delta : lane);
}
template <class V> static V __shfl_up_sync(unsigned, V v, unsigned delta) {
    int lane = lane_number();
    return exchange(v, lane >= (int)delta ? lane - (int)delta : lane);
}
static inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned ballot = 0;
    for (int lane = 0; lane < 32; lane++) ballot |= (exchange(predicate, lane) != 0) << lane;
    return ballot;
}

// Threads run one after the other, so plain operations are atomic.
#define ATOMIC(name, expression)                          \
    template <class V> static V name(V *at, V value) {    \
        V old = *at;                                      \
        *at = expression;                                 \
        return old;                                       \
    }
ATOMIC(atomicAdd, old + value)
ATOMIC(atomicSub, old - value)
ATOMIC(atomicMax, old > value ? old : value)
ATOMIC(atomicMin, old < value ? old : value)
ATOMIC(atomicOr, old | value)
ATOMIC(atomicAnd, old & value)
ATOMIC(atomicExch, value)
template <class V> static V atomicCAS(V *at, V compare, V value) {
    V old = *at;
    if (old == compare) *at = value;
    return old;
}

template <class V> static V __ldg(const V *at) { return *at; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __ffsll(long long a) { return __builtin_ffsll(a); }
static inline int __clz(int a) { return a ? __builtin_clz(a) : 32; }

template <class To, class From> static To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline float __int_as_float(int a) { return same_bits<float>(a); }
static inline int __float_as_int(float a) { return same_bits<int>(a); }
static inline float __uint_as_float(unsigned a) { return same_bits<float>(a); }
static inline unsigned __float_as_uint(float a) { return same_bits<unsigned>(a); }
static inline double __longlong_as_double(long long a) { return same_bits<double>(a); }
static inline long long __double_as_longlong(double a) { return same_bits<long long>(a); }

#define MIN_MAX(V)                                              \
    static inline V min(V a, V b) { return b < a ? b : a; }     \
    static inline V max(V a, V b) { return a < b ? b : a; }
MIN_MAX(int)
MIN_MAX(unsigned)
MIN_MAX(long long)
MIN_MAX(unsigned long long)
#define FLOAT_MIN_MAX(A, B, V)                                           \
    static inline V min(A a, B b) { return fmin((V)a, (V)b); }           \
    static inline V max(A a, B b) { return fmax((V)a, (V)b); }
FLOAT_MIN_MAX(float, float, float)
FLOAT_MIN_MAX(float, double, double)
FLOAT_MIN_MAX(double, float, double)
FLOAT_MIN_MAX(double, double, double)
using std::abs, std::ceil, std::copysign, std::cos, std::erf, std::exp, std::expm1, std::fabs, std::floor, std::fma;
using std::fmax, std::fmin, std::fmod, std::log, std::log1p, std::log2, std::pow, std::rint, std::round, std::sin;
using std::isfinite, std::isinf, std::isnan, std::sqrt, std::tanh, std::trunc;
// Rounded separately, never fused with a sum. The CPU's compiler must not fuse, either: see compiler.py.
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline float rsqrtf(float a) { return 1 / sqrtf(a); }
static inline double rsqrt(double a) { return 1 / std::sqrt(a); }
static inline float rsqrt(float a) { return rsqrtf(a); }

// A kernel's parameter types by name, and its call with arguments behind pointers, for the Python side.
template <class P> struct TypeName { static constexpr const char *name = "unknown"; };
#define TYPE_NAME(type, text)                                                                            \
    template <> struct TypeName<type> { static constexpr const char *name = text; };                     \
    template <> struct TypeName<type *> { static constexpr const char *name = text " *"; };              \
    template <> struct TypeName<const type *> { static constexpr const char *name = "const " text " *"; };
TYPE_NAME(float, "float32")
TYPE_NAME(double, "float64")
TYPE_NAME(bool, "bool")
TYPE_NAME(signed char, "int8")
TYPE_NAME(unsigned char, "uint8")
TYPE_NAME(short, "int16")
TYPE_NAME(unsigned short, "uint16")
TYPE_NAME(int, "int32")
TYPE_NAME(unsigned, "uint32")
TYPE_NAME(long, "int64")
TYPE_NAME(long long, "int64")
TYPE_NAME(unsigned long, "uint64")
TYPE_NAME(unsigned long long, "uint64")
template <class... P> static void name_types(void (*)(P...), const char **names) {
    const char *all[] = {TypeName<P>::name..., nullptr};
    for (unsigned i = 0; i <= sizeof...(P); i++) names[i] = all[i];
}
template <class... P, size_t... I>
static void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
    kernel(*(P *)arguments[I]...);
}
template <class... P> static void call(void (*kernel)(P...), void **arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>());
}
#define CALLABLE(kernel)                                                                                       \
    extern "C" __attribute__((visibility("default"))) void call_##kernel(void **a) { call(kernel, a); }        \
    extern "C" __attribute__((visibility("default"))) void types_##kernel(const char **n) { name_types(kernel, n); }

#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef HUGE_VALF
#undef M_PI
#undef M_E
#undef M_SQRT2
#pragma GCC poison int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t INFINITY NAN HUGE_VAL M_PI
#pragma GCC poison FLT_MAX DBL_MAX INT_MAX FLT_EPSILON DBL_EPSILON std malloc
