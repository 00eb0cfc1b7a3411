// a * b, rounded by itself. The compiler joins a product with the addition after it to one fma, which rounds once: the
// sum could then end on another side of floor, ceil or a comparison than NumPy's.
__device__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ double product(double a, double b) { return __dmul_rn(a, b); }
