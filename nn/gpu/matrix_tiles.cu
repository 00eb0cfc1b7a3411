// A matrix product in tiles whose factors need not be matrices in memory: each entry is asked for by its indices. The
// kernels of convolution share it.
//
// A block of 256 threads computes a tile of the result. Step by step along the depth it copies 8 columns of the first
// factor and 8 rows of the second to shared memory, and each thread adds their products to the EACH x EACH elements of
// the tile that it keeps in registers. While it does, the next step's entries are already read from global memory to
// registers: two buffers take turns, with one barrier per step.
//
// Why tiles: a product read from global memory would do 2 operations for 8 bytes. A 128 x 128 tile does 2 * 128 * 128
// operations for (128 + 128) * 4 bytes, 32 for each byte, about where a GPU's arithmetic (tens of TFLOP/s in float32)
// and its memory (some TB/s) are in balance, and most of those bytes come from the L2 cache, since neighbouring blocks
// read the same. From shared memory a thread reads 8 + 8 elements, 16 bytes at once, for 64 multiply-adds, so that
// arithmetic is the limit. Neighbouring threads read neighbouring elements: coalesced for stride 1. 64 x 256 tiles are
// for up to 64 channels, 16 x 256 for up to 16; 64 x 64 for small outputs, which would not make enough large tiles to
// keep all multiprocessors busy, and for double, whose large tiles would need too many registers.
//
// One thread sums each element of the output in a fixed order, without atomics: every run gives the same bits.

// ROWS and COLUMNS of the tile are constants that nn/gpu/conv.py puts before the source, as it does T.

constexpr int THREADS = 256;
constexpr int EACH = ROWS * COLUMNS == 16 * THREADS ? 4 : 8;  // a thread computes EACH x EACH elements of the tile
constexpr int STEP = 8;  // of the depth, copied at a time
constexpr int PAD = 4;   // keeps rows of a tile aligned to 16 bytes, and their columns in different banks of memory
constexpr int NEVER = -(1 << 30);               // a row that no step can bring inside an array
// Blocks that share a multiprocessor at least: two with large tiles, 128 registers a thread.
constexpr int BLOCKS = EACH == 8 && sizeof(T) == 4 ? 2 : 1;

// An index k as digits: k = (a * size_b + b) * size_c + c. So k walks through (image, row, column), or (channel, i, j).
struct Digits {
    int a, b, c;
};

__device__ Digits digits_of(int k, int size_b, int size_c) {
    return {k / size_c / size_b, k / size_c % size_b, k % size_c};
}

__device__ Digits add(Digits k, Digits step, int size_b, int size_c) {  // with carries, which needs no division
    k = {k.a + step.a, k.b + step.b, k.c + step.c};
    if (k.c >= size_c) { k.c -= size_c; ++k.b; }
    if (k.b >= size_b) { k.b -= size_b; ++k.a; }
    return k;
}

// The entries of one factor that this thread copies, LINES (rows or columns of the result) x STEP at a time.
// ALONG: neighbouring threads read along the depth, else along the lines; whichever is contiguous in memory.
template <class Factor, int LINES, bool ALONG>
struct Copier {
    static constexpr int APART = ALONG ? THREADS / STEP : THREADS / LINES;  // of the entries of one thread
    static constexpr int COUNT = ALONG ? (LINES + APART - 1) / APART : STEP / APART;

    const Factor &factor;
    int line0, k0;
    typename Factor::Line lines[ALONG ? COUNT : 1];
    Digits k, step;
    T value[COUNT];

    __device__ Copier(const Factor &factor, int first_line, int first_k) : factor(factor) {
        line0 = ALONG ? threadIdx.x / STEP : threadIdx.x % LINES;
        k0 = ALONG ? threadIdx.x % STEP : threadIdx.x / LINES;
        for (int i = 0; i < (ALONG ? COUNT : 1); ++i) lines[i] = factor.line(first_line + line0 + i * APART);
        k = digits_of(first_k + k0, factor.size_b, factor.size_c);
        step = digits_of(ALONG ? STEP : APART, factor.size_b, factor.size_c);
    }

    __device__ void read() {  // from global memory to registers
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            value[i] = factor.at(lines[ALONG ? i : 0], k);
            if (!ALONG || i == COUNT - 1) k = add(k, step, factor.size_b, factor.size_c);
        }
    }

    __device__ void write(T (*tile)[LINES + PAD]) const {  // from registers to shared memory
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            if (ALONG && line0 + i * APART < LINES) tile[k0][line0 + i * APART] = value[i];
            if (!ALONG) tile[k0 + i * APART][line0] = value[i];
        }
    }
};

// The row (column) of a tile that is the e-th of thread `thread`, one of `threads` along that axis: runs of 4.
__device__ int index_in_tile(int thread, int threads, int e) {
    return (e / 4 * threads + thread) * 4 + e % 4;
}

// The EACH x EACH elements of a tile that this thread computes, in the tile's rows row(i) and columns column(j).
struct Tile {
    static constexpr int ACROSS = COLUMNS / EACH, DOWN = ROWS / EACH;  // threads
    static_assert(ACROSS * DOWN == THREADS, "each thread computes EACH x EACH elements of the tile");
    T sum[EACH][EACH] = {};

    __device__ static int row(int i) { return index_in_tile(threadIdx.x / ACROSS, DOWN, i); }
    __device__ static int column(int j) { return index_in_tile(threadIdx.x % ACROSS, ACROSS, j); }

    // sum[i][j] += first(row0 + row(i), k) * second(k, column0 + column(j)) over k = k0, ..., k0 + steps * STEP - 1.
    // The factors are 0 beyond their ends.
    template <bool ALONG, class First, class Second>
    __device__ void add_product(const First &first, const Second &second, int row0, int column0, int k0, int steps) {
        alignas(16) __shared__ T first_tile[2][STEP][ROWS + PAD];
        alignas(16) __shared__ T second_tile[2][STEP][COLUMNS + PAD];
        if (steps == 0) return;  // all threads of the block
        Copier<First, ROWS, true> of_first(first, row0, k0);
        Copier<Second, COLUMNS, ALONG> of_second(second, column0, k0);
        of_first.read();
        of_second.read();
        for (int s = 0; s < steps; ++s) {
            of_first.write(first_tile[s % 2]);
            of_second.write(second_tile[s % 2]);
            __syncthreads();  // both tiles are complete, and nobody reads the other buffer any more
            if (s + 1 < steps) {
                of_first.read();
                of_second.read();
            }
#pragma unroll
            for (int k = 0; k < STEP; ++k) {
                T a[EACH], b[EACH];
#pragma unroll
                for (int e = 0; e < EACH; ++e) {
                    a[e] = first_tile[s % 2][k][row(e)];
                    b[e] = second_tile[s % 2][k][column(e)];
                }
#pragma unroll
                for (int i = 0; i < EACH; ++i)
#pragma unroll
                    for (int j = 0; j < EACH; ++j) sum[i][j] += a[i] * b[j];
            }
        }
    }
};
