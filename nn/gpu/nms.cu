// Non-maximum suppression, the kernels of vision/detection/nms_cuda.py. Boxes (N, 4) of type T stand in the order of
// falling score; of them the first candidates[0] count. Word v has a bit for each of the boxes 64 v .. 64 v + 63.

typedef unsigned long long Word;

// a * b, rounded by itself: contracted with an addition to one fma, it could end on another side of the threshold than
// NumPy's.
__device__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ double product(double a, double b) { return __dmul_rn(a, b); }

__device__ T area(const T* box) { return product(fmax(box[2] - box[0], T(0)), fmax(box[3] - box[1], T(0))); }

__device__ T iou(const T* a, const T* b)
{
    T width = fmin(a[2], b[2]) - fmax(a[0], b[0]), height = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    T intersection = product(fmax(width, T(0)), fmax(height, T(0)));
    T both = area(a) + area(b) - intersection;
    return intersection / (both > 0 ? both : T(1));
}

// suppresses (rows, words), rows first .. first + rows - 1 of all: does box i, if kept, suppress a box j after it? Not
// one of another class; classes null: all are of one. One thread per word.
extern "C" __global__ void nms_suppresses(
    Word* suppresses, const T* boxes, const long long* classes, const long long* candidates,
    int count, int first, int words, T threshold)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int i = first + t / words, word = t % words, end = min(64LL * word + 64, candidates[0]);
    const T* box = boxes + 4 * (long long)i;
    Word bits = 0;
    for (int j = max(64 * word, i + 1); j < end; j++)
        if ((!classes || classes[i] == classes[j]) && iou(box, boxes + 4 * (long long)j) > threshold)
            bits |= Word(1) << (j - 64 * word);
    suppresses[t] = bits;
}

// The greedy rule for boxes first .. first + rows - 1: box i is kept unless `removed` (words) has its bit, and then
// removes what it suppresses. The numbers i of the boxes kept go to kept (limit), how many there are to found[0]; both,
// and removed, go on from what the call for the boxes before has left there.
//
// By one block of threads, word by word: thread 0 decides about its 64 boxes, then all threads remove from the words
// after it, each from its own.
extern "C" __global__ void nms_keep(
    long long* kept, int* found, Word* removed, const Word* suppresses, const long long* candidates,
    int first, int rows, int words, int limit)
{
    __shared__ Word own[64];  // what the boxes of a word suppress among each other
    __shared__ Word keep;     // those of them that are kept
    int number = found[0];
    for (int start = 0; start < rows && first + start < candidates[0] && number < limit; start += 64) {
        int word = (first + start) / 64, size = min(min(64LL, (long long)rows - start), candidates[0] - first - start);
        const Word* lines = suppresses + (long long)start * words;
        for (int i = threadIdx.x; i < size; i += blockDim.x) own[i] = lines[(long long)i * words + word];
        __syncthreads();
        if (threadIdx.x == 0) {
            Word gone = removed[word];
            keep = 0;
            for (int i = 0; i < size && number + __popcll(keep) < limit; i++) {
                if (gone >> i & 1) continue;
                gone |= own[i];
                keep |= Word(1) << i;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < size; i += blockDim.x)
            if (keep >> i & 1) kept[number + __popcll(keep & ((Word(1) << i) - 1))] = first + start + i;
        for (int v = word + 1 + threadIdx.x; v < words; v += blockDim.x) {
            Word gone = removed[v];
            for (int i = 0; i < size; i++)
                if (keep >> i & 1) gone |= lines[(long long)i * words + v];
            removed[v] = gone;
        }
        number += __popcll(keep);
        __syncthreads();  // before `own` and `keep` are written anew
    }
    if (threadIdx.x == 0) found[0] = number;
}
