/* Depth-wise convolutions of 3x3, 5x5, 1x5 and 5x1 and any stride, padded by half of their kernel. */

#include "frames.h"

/* Neighbours that are computed at a time, so that their sums fill the time of one another. */
#define TOGETHER 6
/* Where they are fewer, each has this many sums. */
#define CHAINS 3

/* out += windows `step` apart times a kernel; `at` is the first window's first pixel. */
INLINE void convolve(int high, int wide, int pixels, const Vector *at, int row, int step,
                     const Vector *kernel, Vector *out) {
    const int chains = pixels == TOGETHER ? 1 : CHAINS;
    Vector sums[CHAINS][TOGETHER];
#pragma GCC unroll 3
    for (int chain = 0; chain < chains; chain++)
#pragma GCC unroll 6
        for (int p = 0; p < pixels; p++) sums[chain][p] = chain ? (Vector){0} : out[p];
#pragma GCC unroll 3
    for (int i = 0; i < high; i++)
#pragma GCC unroll 9
        for (int j = 0; j < wide; j++) {
            const Vector weight = kernel[i * wide + j];
#pragma GCC unroll 6
            for (int p = 0; p < pixels; p++)
                sums[j % chains][p] += weight * at[(size_t)i * row + j + p * step];
        }
#pragma GCC unroll 6
    for (int p = 0; p < pixels; p++) {
        out[p] = sums[0][p];
#pragma GCC unroll 3
        for (int chain = 1; chain < chains; chain++) out[p] += sums[chain][p];
    }
}

/* The same where the kernel is its own mirror image, (i, j) the same as (-i, -j), for TOGETHER
   windows a pixel apart: pixels that share a number are added first. */
INLINE void convolve_symmetric(int high, int wide, const Vector *at, int row, const Vector *kernel,
                               Vector *out) {
#pragma GCC unroll 2
    for (int i = 0; i <= high / 2; i++) {
        const Vector *top = at + (size_t)i * row, *bottom = at + (size_t)(high - 1 - i) * row;
        const int pairs = i < high / 2 ? wide : wide / 2;
#pragma GCC unroll 9
        for (int j = 0; j < pairs; j++) {
            const Vector weight = kernel[i * wide + j];
#pragma GCC unroll 6
            for (int p = 0; p < TOGETHER; p++)
                out[p] += weight * (top[j + p] + bottom[wide - 1 - j + p]);
        }
    }
    const Vector *middle = at + (size_t)(high / 2) * row + wide / 2;
#pragma GCC unroll 6
    for (int p = 0; p < TOGETHER; p++) out[p] += kernel[high * wide / 2] * middle[p];
}

/* Call `function` with the number of pixels, a constant, for groups of those from `q` to `end`. */
#define IN_GROUPS(q, end, function, ...)                                                          \
    while ((q) < (end)) {                                                                         \
        if ((end) - (q) >= TOGETHER) {                                                            \
            function(TOGETHER, q, __VA_ARGS__);                                                   \
            (q) += TOGETHER;                                                                      \
        } else if ((end) - (q) >= 2) {                                                            \
            function(2, q, __VA_ARGS__);                                                          \
            (q) += 2;                                                                             \
        } else {                                                                                  \
            function(1, q, __VA_ARGS__);                                                          \
            (q) += 1;                                                                             \
        }                                                                                         \
    }

typedef struct {
    REAL *at;
    int64_t pixel;
    Lanes lanes;
} Target;

INLINE void convolve_pixels(int pixels, int column, int high, int wide, const Vector *from, int row,
                            int stride, const Vector *kernel, Vector shift, int relu, Target to) {
    Vector out[TOGETHER] = {shift, shift, shift, shift, shift, shift};
    convolve(high, wide, pixels, from + column * stride, row, stride, kernel, out);
    if (relu)
#pragma GCC unroll 6
        for (int p = 0; p < pixels; p++) out[p] = where_positive_wide(out[p], out[p]);
#pragma GCC unroll 6
    for (int p = 0; p < pixels; p++)
        store_lanes(to.at + (column + p) * to.pixel, out[p], to.lanes);
}

INLINE void convolve_picture(int high, int wide, Frame frame, int rows, int columns, int stride,
                             const Vector *kernel, Vector shift, int relu, Target to) {
    const Vector *start = inside(frame) - (size_t)(high / 2) * frame.row - wide / 2;
    for (int y = 0; y < rows; y++, to.at += columns * to.pixel) {
        const Vector *from = start + (size_t)y * stride * frame.row;
        int column = 0;
        IN_GROUPS(column, columns, convolve_pixels, high, wide, from, frame.row, stride, kernel,
                  shift, relu, to)
    }
}

/* Call `function` with the size of the kernel as constants. */
#define BY_SIZE(k, function, ...)                                                                 \
    do {                                                                                          \
        if ((k).high == 3)                                                                        \
            function(3, 3, __VA_ARGS__);                                                          \
        else if ((k).high == 1)                                                                   \
            function(1, 5, __VA_ARGS__);                                                          \
        else if ((k).wide == 1)                                                                   \
            function(5, 1, __VA_ARGS__);                                                          \
        else                                                                                      \
            function(5, 5, __VA_ARGS__);                                                          \
    } while (0)

/* y = convolution of x with weights (channels, taps) + shift (channels), then perhaps the ReLU,
   picture by picture. */
typedef struct {
    Pictures of;
    Kernel kernel;
    int64_t y_pixel;
    int relu;
    const Affine *affine;
    size_t frame;
    Vector *weights, *shifts, *frames;
} Convolution;

static int start_convolution(Convolution *c, Pictures of, Kernel kernel, const REAL *weight,
                             const REAL *shift, const Affine *affine, int64_t y_pixel, int relu) {
    *c = (Convolution){of, kernel, y_pixel, relu, affine,
                       frame_size(of.height, of.width, kernel.high / 2, kernel.wide / 2),
                       in_blocks(weight, of.channels, kernel.high * kernel.wide),
                       in_blocks(shift, of.channels, 1), NULL};
    c->frames = zeroed(slots() * c->frame * sizeof(Vector));
    return !c->weights || !c->shifts || !c->frames ? NO_MEMORY : 0;
}

APART void convolve_blocks(const Convolution *c, const REAL *x, REAL *y) {
    const Kernel k = c->kernel;
    const int rows = after(c->of.height, k.stride), columns = after(c->of.width, k.stride);
    const int channels = c->of.channels;
    const Frame frame = frame_at(c->frames + slot() * c->frame, c->of.width,
                                 k.high / 2, k.wide / 2);
    for (int block = 0; block < blocks_of(channels, WIDE_LANES); block++) {
        const int start = block_start(block, channels, WIDE_LANES);
        const Target to = {y + start, c->y_pixel, lanes_of(channels)};
        const Vector *weights = c->weights + block * k.high * k.wide, shift = c->shifts[block];
        into_frame(frame, &c->of, x + start, 1);
        if (c->affine) scale_frame(frame, &c->of, c->affine, block);
        /* A stride of 1 as a constant: the pixels' addresses are then constants too. */
        if (k.stride == 1)
            BY_SIZE(k, convolve_picture, frame, rows, columns, 1, weights, shift, c->relu, to);
        else
            BY_SIZE(k, convolve_picture, frame, rows, columns, k.stride, weights, shift, c->relu,
                    to);
    }
}

static void end_convolution(Convolution *c) {
    free(c->weights);
    free(c->shifts);
    free(c->frames);
}

EXPORT int depthwise(const REAL *x, int64_t count, int height, int width, int channels,
                     int64_t pixel, int high, int wide, int stride, const REAL *weight,
                     const REAL *shift, REAL *y, int64_t y_pixel, int relu) {
    const double work = (double)height * width * channels * high * wide / (stride * stride);
    const Cut cut = cut_of(count, 1, work);
    const Pictures of = {height, width, channels, pixel};
    const int64_t size = y_pixel * after(height, stride) * after(width, stride);
    Convolution c;
    const int failed = start_convolution(&c, of, (Kernel){high, wide, stride}, weight, shift,
                                         NULL, y_pixel, relu);
    if (!failed) {
        IN_PIECES(n, cut)
            convolve_blocks(&c, x + n * picture_size(&of), y + n * size);
    }
    end_convolution(&c);
    return failed;
}
