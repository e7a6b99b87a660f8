/* Depth-wise convolutions of any stride, padded by half of their kernel; the moments of their taps;
   and both gradients. Kernels are 3x3 and 5x5.

   Pictures are (count, height, width, channels), the next pixel `pixel` numbers on. Each vector of
   channels of a picture is first copied into a frame of zeros, so that nothing after that needs to
   know of borders, strides in memory or channels that do not fill a vector. */

#include "vectors.h"

#define LONGEST 5
#define MOST_TAPS (LONGEST * LONGEST)
/* Neighbours that one convolution computes at a time. */
#define TOGETHER 4

typedef struct {
    int high, wide, stride;
} Kernel;

/* A vector of channels of a picture, with `high` and `wide` zeros on each side. */
typedef struct {
    vec *at;
    int high, wide, row; /* the length of a row */
} Frame;

/* Compile `function` for each size of kernel, and call the one for `k`. */
#define BY_SIZE(k, function, ...)                                                                 \
    do {                                                                                          \
        if ((k).high == 3)                                                                        \
            function(3, 3, __VA_ARGS__);                                                          \
        else                                                                                      \
            function(5, 5, __VA_ARGS__);                                                          \
    } while (0)

INLINE int after(int size, int stride) { return (size - 1) / stride + 1; }

INLINE size_t frame_size(int height, int width, int high, int wide) {
    return (size_t)(height + 2 * high) * (width + 2 * wide);
}

INLINE Frame frame_at(vec *at, int width, int high, int wide) {
    return (Frame){at, high, wide, width + 2 * wide};
}

/* A picture's vector of channels into the middle of a frame; `step` spreads its pixels. */
static void into_frame(Frame frame, int step, const REAL *from, int64_t pixel, int height,
                       int width, int lanes) {
    for (int y = 0; y < height; y++) {
        vec *to = frame.at + (size_t)(y * step + frame.high) * frame.row + frame.wide;
        for (int x = 0; x < width; x++, from += pixel) to[x * step] = load_part(from, lanes);
    }
}

/* (channels, numbers) to (blocks, numbers, LANES), or NULL. */
static vec *in_blocks(const REAL *from, int channels, int numbers) {
    const int blocks = padded(channels, LANES) / LANES;
    REAL *to = zeroed((size_t)blocks * numbers * sizeof(vec));
    if (to)
        for (int c = 0; c < channels; c++)
            for (int i = 0; i < numbers; i++)
                to[((size_t)(c / LANES) * numbers + i) * LANES + c % LANES] =
                    from[(size_t)c * numbers + i];
    return (vec *)to;
}

/* Which of the `taps` of a window's side are over pixel q, as bits: those windows are there. */
INLINE int taps_over(int q, int taps, int windows, int stride) {
    int bits = 0;
    for (int i = 0; i < taps; i++) {
        const int at = q - (i - taps / 2);
        if (at >= 0 && at % stride == 0 && at / stride < windows) bits |= 1 << i;
    }
    return bits;
}

/* Products of two rows' taps, (wide, wide) of them; of one row with itself the upper ones. */
INLINE void row_products(int wide, int same, const vec *a, const vec *b, int windows, int stride,
                         vec *out) {
    for (int k = 0; k < wide * wide; k++) out[k] = (vec){0};
    for (int x = 0; x < windows; x++, a += stride, b += stride)
#pragma GCC unroll 5
        for (int i = 0; i < wide; i++)
#pragma GCC unroll 5
            for (int j = same ? i : 0; j < wide; j++) out[i * wide + j] += a[i] * b[j];
}

/* Add the sums over all windows: of taps (taps, LANES), and of the products of two, (taps, taps,
   LANES), of which the upper ones. Two rows make the same products for every pair of taps as far
   apart, so each pair of rows is multiplied once. */
INLINE void window_sums(int high, int wide, Frame frame, int height, int width, int stride,
                        double *first, double *second) {
    const int taps = high * wide, rows = after(height, stride), columns = after(width, stride);
    for (int y = 0; y < height; y++) {
        const vec *row = frame.at + (size_t)(y + high / 2) * frame.row;
        const int over = taps_over(y, high, rows, stride);
        vec sums[LONGEST] = {{0}};
        for (int x = 0; x < columns; x++)
#pragma GCC unroll 5
            for (int j = 0; j < wide; j++) sums[j] += row[x * stride + j];
        for (int i = 0; i < high; i++)
            if (over >> i & 1)
                for (int j = 0; j < wide; j++) add_to(first + (i * wide + j) * LANES, sums[j]);
        for (int down = 0; down < high && y + down < height; down++) {
            const int both = over & ((1 << (high - down)) - 1);
            if (!both) continue;
            vec products[MOST_TAPS];
            if (down)
                row_products(wide, 0, row, row + (size_t)down * frame.row, columns, stride,
                             products);
            else
                row_products(wide, 1, row, row, columns, stride, products);
            for (int i = 0; i + down < high; i++)
                if (both >> i & 1)
                    for (int k = 0; k < wide * wide; k++) {
                        const int one = i * wide + k / wide;
                        const int other = (i + down) * wide + k % wide;
                        if (one <= other)
                            add_to(second + (one * taps + other) * LANES, products[k]);
                    }
        }
    }
}

/* Means (channels, taps) and biased covariances (channels, taps, taps) of the taps. */
EXPORT int window_moments(const REAL *x, int64_t count, int height, int width, int channels,
                          int64_t pixel, int high, int wide, int stride, REAL *means,
                          REAL *covariances) {
    const Kernel kernel = {high, wide, stride};
    const int threads = omp_get_max_threads(), blocks = padded(channels, LANES) / LANES;
    const int taps = high * wide;
    const size_t of_block = (size_t)(taps + taps * taps) * LANES, each = blocks * of_block;
    const size_t size = frame_size(height, width, high / 2, wide / 2);
    double *sums = zeroed(threads * each * sizeof(double));
    vec *frames = zeroed(threads * size * sizeof(vec));
    if (!sums || !frames) {
        free(sums);
        free(frames);
        return NO_MEMORY;
    }
#pragma omp parallel
    {
        double *own = sums + omp_get_thread_num() * each;
        vec *at = frames + omp_get_thread_num() * size;
        const Frame frame = frame_at(at, width, high / 2, wide / 2);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < count; n++)
            for (int block = 0; block < blocks; block++) {
                const REAL *from = x + n * height * width * pixel + block * LANES;
                into_frame(frame, 1, from, pixel, height, width, channels - block * LANES);
                double *first = own + block * of_block, *second = first + taps * LANES;
                BY_SIZE(kernel, window_sums, frame, height, width, stride, first, second);
            }
    }
    gather(sums, threads, each);
    const double windows = (double)count * after(height, stride) * after(width, stride);
    for (int c = 0; c < channels; c++) {
        const double *first = sums + c / LANES * of_block + c % LANES;
        const double *second = first + taps * LANES;
        REAL *to = covariances + (size_t)c * taps * taps;
        for (int i = 0; i < taps; i++) {
            means[c * taps + i] = (REAL)(first[i * LANES] / windows);
            for (int j = i; j < taps; j++) {
                const double away = first[i * LANES] / windows * (first[j * LANES] / windows);
                to[i * taps + j] = to[j * taps + i] =
                    (REAL)(second[(i * taps + j) * LANES] / windows - away);
            }
        }
    }
    free(sums);
    free(frames);
    return 0;
}

/* out += windows `step` apart times a kernel; `at` is the first window's first pixel. */
INLINE void convolve(int high, int wide, int pixels, const vec *at, int row, int step,
                     const vec *kernel, vec *out) {
    for (int i = 0; i < high; i++)
#pragma GCC unroll 9
        for (int j = 0; j < wide; j++) {
            const vec weight = kernel[i * wide + j];
#pragma GCC unroll 4
            for (int p = 0; p < pixels; p++)
                out[p] += weight * at[(size_t)i * row + j + p * step];
        }
}

typedef struct {
    REAL *at;
    int64_t pixel;
    int lanes;
} Target;

INLINE void convolve_picture(int high, int wide, Frame frame, int rows, int columns, int stride,
                             const vec *kernel, vec shift, int relu, Target to) {
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column += TOGETHER) {
            const vec *at = frame.at + (size_t)row * stride * frame.row + column * stride;
            const int pixels = least(columns - column, TOGETHER);
            vec out[TOGETHER] = {shift, shift, shift, shift};
            if (pixels == TOGETHER)
                convolve(high, wide, TOGETHER, at, frame.row, stride, kernel, out);
            else
                for (int p = 0; p < pixels; p++)
                    convolve(high, wide, 1, at + p * stride, frame.row, 0, kernel, out + p);
            for (int p = 0; p < pixels; p++, to.at += to.pixel)
                store_part(to.at, relu ? where_positive(out[p], out[p]) : out[p], to.lanes);
        }
}

/* y = convolution of x with weights (channels, taps) + shift (channels), then the ReLU. */
EXPORT int depthwise(const REAL *x, int64_t count, int height, int width, int channels,
                     int64_t pixel, int high, int wide, int stride, const REAL *weight,
                     const REAL *shift, REAL *y, int64_t y_pixel, int relu) {
    const Kernel kernel = {high, wide, stride};
    const int threads = omp_get_max_threads(), blocks = padded(channels, LANES) / LANES;
    const int rows = after(height, stride), columns = after(width, stride), taps = high * wide;
    const size_t size = frame_size(height, width, high / 2, wide / 2);
    vec *weights = in_blocks(weight, channels, taps), *shifts = in_blocks(shift, channels, 1);
    vec *frames = zeroed(threads * size * sizeof(vec));
    const int failed = !weights || !shifts || !frames;
    if (!failed) {
#pragma omp parallel
        {
            vec *at = frames + omp_get_thread_num() * size;
            const Frame frame = frame_at(at, width, high / 2, wide / 2);
#pragma omp for schedule(static)
            for (int64_t n = 0; n < count; n++)
                for (int block = 0; block < blocks; block++) {
                    const int c = block * LANES, lanes = channels - c;
                    into_frame(frame, 1, x + n * height * width * pixel + c, pixel, height, width,
                               lanes);
                    const Target to = {y + n * rows * columns * y_pixel + c, y_pixel, lanes};
                    BY_SIZE(kernel, convolve_picture, frame, rows, columns, stride,
                            weights + block * taps, shifts[block], relu, to);
                }
        }
    }
    free(weights);
    free(shifts);
    free(frames);
    return failed ? NO_MEMORY : 0;
}

/* Add to `sums`, (taps + 1, LANES), the gradients of weights and shift. */
INLINE void gradient_sums(int high, int wide, Frame frame, int rows, int columns, int stride,
                          const REAL *g, int64_t g_pixel, int lanes, double *sums) {
    const int taps = high * wide;
    vec out[MOST_TAPS + 1] = {{0}};
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < columns; column++, g += g_pixel) {
            const vec *at = frame.at + (size_t)row * stride * frame.row + column * stride;
            const vec slope = load_part(g, lanes);
#pragma GCC unroll 5
            for (int i = 0; i < high; i++)
#pragma GCC unroll 5
                for (int j = 0; j < wide; j++)
                    out[i * wide + j] += slope * at[(size_t)i * frame.row + j];
            out[taps] += slope;
        }
    for (int k = 0; k <= taps; k++) add_to(sums + k * LANES, out[k]);
}

/* Gradients of weights (channels, taps) and shift (channels), from the output's gradient g. */
EXPORT int depthwise_gradient(const REAL *x, int64_t count, int height, int width, int channels,
                              int64_t pixel, int high, int wide, int stride, const REAL *g,
                              int64_t g_pixel, REAL *weight, REAL *shift) {
    const Kernel kernel = {high, wide, stride};
    const int threads = omp_get_max_threads(), blocks = padded(channels, LANES) / LANES;
    const int rows = after(height, stride), columns = after(width, stride), taps = high * wide;
    const size_t size = frame_size(height, width, high / 2, wide / 2);
    const size_t of_block = (size_t)(taps + 1) * LANES, each = blocks * of_block;
    double *sums = zeroed(threads * each * sizeof(double));
    vec *frames = zeroed(threads * size * sizeof(vec));
    const int failed = !sums || !frames;
    if (!failed) {
#pragma omp parallel
        {
            double *own = sums + omp_get_thread_num() * each;
            vec *at = frames + omp_get_thread_num() * size;
            const Frame frame = frame_at(at, width, high / 2, wide / 2);
#pragma omp for schedule(static)
            for (int64_t n = 0; n < count; n++)
                for (int block = 0; block < blocks; block++) {
                    const int c = block * LANES, lanes = channels - c;
                    into_frame(frame, 1, x + n * height * width * pixel + c, pixel, height, width,
                               lanes);
                    const REAL *from = g + n * rows * columns * g_pixel + c;
                    BY_SIZE(kernel, gradient_sums, frame, rows, columns, stride, from, g_pixel,
                            lanes, own + block * of_block);
                }
        }
        gather(sums, threads, each);
        for (int c = 0; c < channels; c++) {
            const double *from = sums + c / LANES * of_block + c % LANES;
            for (int k = 0; k < taps; k++) weight[c * taps + k] = (REAL)from[k * LANES];
            shift[c] = (REAL)from[taps * LANES];
        }
    }
    free(sums);
    free(frames);
    return failed ? NO_MEMORY : 0;
}

/* What a pixel gains from the windows over it depends on which of their taps it is, by row and by
   column: a border, and a stride, leave some out. The cases of one side: their bits of taps, and
   the case of each pixel. */
typedef struct {
    int count, bits[1 << LONGEST];
    uint8_t *of;
} Cases;

static Cases cases_of(int size, int taps, int stride) {
    Cases cases = {0, {0}, malloc(size)};
    for (int q = 0; cases.of && q < size; q++) {
        const int bits = taps_over(q, taps, after(size, stride), stride);
        int found = 0;
        while (found < cases.count && cases.bits[found] != bits) found++;
        if (found == cases.count) cases.bits[cases.count++] = bits;
        cases.of[q] = (uint8_t)found;
    }
    return cases;
}

/* The slope of one case as a convolution of x: its weights, which reach from the first tap to the
   last and back, and a constant behind them. */
static void case_kernel(Kernel k, const vec *first, const vec *second, int rows, int columns,
                        vec *out) {
    const int taps = k.high * k.wide, high = 2 * k.high - 1, wide = 2 * k.wide - 1;
    for (int i = 0; i <= high * wide; i++) out[i] = (vec){0};
    for (int a = 0; a < taps; a++) {
        if (!(rows >> a / k.wide & 1) || !(columns >> a % k.wide & 1)) continue;
        out[high * wide] += first[a];
        for (int b = 0; b < taps; b++) {
            const int down = b / k.wide - a / k.wide + k.high - 1;
            out[down * wide + b % k.wide - a % k.wide + k.wide - 1] += second[a * taps + b];
        }
    }
}

typedef struct {
    Frame x, g;         /* x with twice the border of g */
    const vec *turned;  /* the weights, last one first */
    const vec *slopes;  /* the kernels of all cases */
    const Cases *rows, *columns;
    int height, width, stride, relu;
    const REAL *add;
    int64_t add_pixel;
} Slope;

/* The gradient of `pixels` pixels from (y, x), a stride apart and all of one case. */
INLINE void slope_of_pixels(int high, int wide, int pixels, const Slope *s, int y, int x,
                            vec *out) {
    const int reach = (2 * high - 1) * (2 * wide - 1);
    const int number = s->rows->of[y] * s->columns->count + s->columns->of[x];
    const vec *slope = s->slopes + (size_t)number * (reach + 1);
    for (int p = 0; p < pixels; p++) out[p] = slope[reach];
    convolve(2 * high - 1, 2 * wide - 1, pixels, s->x.at + (size_t)y * s->x.row + x, s->x.row,
             s->stride, slope, out);
    convolve(high, wide, pixels, s->g.at + (size_t)y * s->g.row + x, s->g.row, s->stride,
             s->turned, out);
}

INLINE void slope_of_picture(int high, int wide, const Slope *s, Target to) {
    const uint8_t *cases = s->columns->of;
    for (int y = 0; y < s->height; y++)
        for (int phase = 0; phase < s->stride; phase++)
            for (int q = phase; q < s->width;) {
                int pixels = 1;
                while (pixels < TOGETHER && q + pixels * s->stride < s->width &&
                       cases[q + pixels * s->stride] == cases[q])
                    pixels++;
                vec out[TOGETHER];
                if (pixels == TOGETHER)
                    slope_of_pixels(high, wide, TOGETHER, s, y, q, out);
                else
                    slope_of_pixels(high, wide, pixels = 1, s, y, q, out);
                for (int p = 0; p < pixels; p++, q += s->stride) {
                    const int64_t at = (int64_t)y * s->width + q;
                    vec value = out[p];
                    if (s->add) value += load_part(s->add + at * s->add_pixel, to.lanes);
                    if (s->relu)
                        value = where_positive(
                            s->x.at[(size_t)(y + s->x.high) * s->x.row + q + s->x.wide], value);
                    store_part(to.at + at * to.pixel, value, to.lanes);
                }
            }
}

/* to = [add +] the gradient of x, from the output's gradient g and that of the taps' moments:
   first (channels, taps) and second (channels, taps, taps), symmetric, such that a window with
   taps t adds first + second t to their gradients. With `relu` only where x is above zero. `add`
   may be NULL, and may be `to`. */
EXPORT int depthwise_input_gradient(const REAL *x, int64_t count, int height, int width,
                                    int channels, int64_t pixel, int high, int wide, int stride,
                                    const REAL *g, int64_t g_pixel, const REAL *weight,
                                    const REAL *first, const REAL *second, const REAL *add,
                                    int64_t add_pixel, REAL *to, int64_t to_pixel, int relu) {
    const Kernel kernel = {high, wide, stride};
    const int threads = omp_get_max_threads(), blocks = padded(channels, LANES) / LANES;
    const int rows = after(height, stride), columns = after(width, stride), taps = high * wide;
    const size_t x_size = frame_size(height, width, high - 1, wide - 1);
    const size_t size = x_size + frame_size(height, width, high / 2, wide / 2);
    Cases row_cases = cases_of(height, high, stride), column_cases = cases_of(width, wide, stride);
    const size_t numbers = (size_t)(2 * high - 1) * (2 * wide - 1) + 1;
    const size_t kinds = (size_t)row_cases.count * column_cases.count;
    vec *weights = in_blocks(weight, channels, taps), *firsts = in_blocks(first, channels, taps);
    vec *seconds = in_blocks(second, channels, taps * taps);
    vec *slopes = zeroed(blocks * kinds * numbers * sizeof(vec));
    vec *turned = zeroed((size_t)blocks * taps * sizeof(vec));
    vec *frames = zeroed(threads * size * sizeof(vec));
    const int failed = !weights || !firsts || !seconds || !slopes || !turned || !frames ||
                       !row_cases.of || !column_cases.of;
    if (!failed) {
        for (int block = 0; block < blocks; block++) {
            for (int k = 0; k < taps; k++)
                turned[block * taps + k] = weights[block * taps + taps - 1 - k];
            for (size_t kind = 0; kind < kinds; kind++)
                case_kernel(kernel, firsts + block * taps, seconds + (size_t)block * taps * taps,
                            row_cases.bits[kind / column_cases.count],
                            column_cases.bits[kind % column_cases.count],
                            slopes + (block * kinds + kind) * numbers);
        }
#pragma omp parallel
        {
            vec *at = frames + omp_get_thread_num() * size;
            const Frame x_frame = frame_at(at, width, high - 1, wide - 1);
            const Frame g_frame = frame_at(at + x_size, width, high / 2, wide / 2);
#pragma omp for schedule(static)
            for (int64_t n = 0; n < count; n++)
                for (int block = 0; block < blocks; block++) {
                    const int c = block * LANES, lanes = channels - c;
                    const int64_t start = n * height * width;
                    into_frame(x_frame, 1, x + start * pixel + c, pixel, height, width, lanes);
                    into_frame(g_frame, stride, g + n * rows * columns * g_pixel + c, g_pixel,
                               rows, columns, lanes);
                    const Slope slope = {x_frame, g_frame, turned + block * taps,
                                         slopes + block * kinds * numbers, &row_cases,
                                         &column_cases, height, width, stride, relu,
                                         add ? add + start * add_pixel + c : NULL, add_pixel};
                    const Target target = {to + start * to_pixel + c, to_pixel, lanes};
                    BY_SIZE(kernel, slope_of_picture, &slope, target);
                }
        }
    }
    free(weights);
    free(firsts);
    free(seconds);
    free(slopes);
    free(turned);
    free(frames);
    free(row_cases.of);
    free(column_cases.of);
    return failed ? NO_MEMORY : 0;
}
