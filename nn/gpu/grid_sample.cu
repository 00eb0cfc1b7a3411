// The kernel of nn/gpu/grid_sample.py: where the points of a grid lie in pixels; of type T.

#include "rounding.cu"

enum { ZEROS, BORDER, REFLECTION };

// For grid (N, P, 2) of pairs (x, y): rows and columns (N, P) in an image (h, w), as positions (2, N, P), and their
// derivatives by y and x, as slopes (2, N, P). The formulas are those of
// pixels and reflect in nn/layers/grid_sample.py. One thread per coordinate.
extern "C" __global__ void grid_sample_points(
    T* positions, T* slopes, const T* grid, int count, int h, int w, int padding_mode, int align_corners, int nearest)
{
    long long t = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (t >= count) return;
    int points = count / 2, axis = t / points, size = axis ? w : h;  // axis 0: rows, of which the grid has y
    T coordinate = grid[2 * (t % points) + 1 - axis];

    T position = align_corners ? (coordinate + 1) / 2 * (size - 1) : (product(coordinate + 1, size) - 1) / 2;
    T slope = align_corners ? (size - 1) / T(2) : size / T(2);
    if (padding_mode == REFLECTION) {
        T low = align_corners ? T(0) : T(-0.5), span = align_corners ? size - 1 : size;
        if (span == 0) {
            position = slope = 0;
        } else {
            int sign = position < low ? -1 : 1;
            T distance = sign * (position - low), rest = fmod(distance, span);
            bool odd = fmod(rint((distance - rest) / span), T(2)) == 1;
            position = (odd ? span - rest : rest) + low;
            slope *= odd ? -sign : sign;
        }
    }
    if (padding_mode != ZEROS && !(position > 0 && position < size - 1)) {  // reflection goes half a pixel beyond
        if (position == position) position = fmin(fmax(position, T(0)), T(size - 1));
        slope = 0;
    }
    positions[t] = nearest ? rint(position) : position;
    slopes[t] = slope;
}
