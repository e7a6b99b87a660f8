/* 1x1 convolutions and the moments of their input, over rows of channels.

   A matrix is rows of numbers, the next row `stride` numbers on. */

#include "vectors.h"

#ifdef __AVX512VL__
#define ROWS 8
#else
#define ROWS 6
#endif
#define TILE 128

typedef struct {
    const REAL *x;
    int64_t stride;
    int in;
    const REAL *weight; /* (in, width), zeros in the padding */
} Source;

/* out[row, column ..] for `rows` rows and `vectors` vectors of columns, which registers hold. */
INLINE void product_block(int rows, int vectors, const Source *sources, int count, int64_t row,
                          int column, int width, const REAL *shift, vec out[ROWS][2]) {
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) out[r][v] = *(const vec *)(shift + column + v * LANES);
    for (int s = 0; s < count; s++) {
        const REAL *x = sources[s].x + row * sources[s].stride;
        const int64_t stride = sources[s].stride;
        const REAL *weight = sources[s].weight + column;
        for (int c = 0; c < sources[s].in; c++, weight += width)
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++)
                    out[r][v] += x[r * stride + c] * *(const vec *)(weight + v * LANES);
    }
}

INLINE void product_rows(int rows, const Source *sources, int count, int64_t row, int outs,
                         int width, const REAL *shift, REAL *y, int64_t y_stride, int add,
                         int relu) {
    for (int column = 0; column < width; column += 2 * LANES) {
        const int vectors = width - column > LANES ? 2 : 1;
        vec out[ROWS][2];
        if (vectors == 2)
            product_block(rows, 2, sources, count, row, column, width, shift, out);
        else
            product_block(rows, 1, sources, count, row, column, width, shift, out);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) {
                const int lanes = least(outs - column - v * LANES, LANES);
                REAL *to = y + (row + r) * y_stride + column + v * LANES;
                vec value = out[r][v];
                if (add) value += load_part(to, lanes);
                if (relu) value = where_positive(value, value);
                store_part(to, value, lanes);
            }
    }
}

static REAL *packed(const REAL *weight, int in, int outs, int width) {
    REAL *copy = zeroed((size_t)in * width * sizeof(REAL));
    if (copy)
        for (int c = 0; c < in; c++)
            memcpy(copy + (size_t)c * width, weight + (size_t)c * outs, outs * sizeof(REAL));
    return copy;
}

/* y (+)= x weight [+ x2 weight2] + shift, then the ReLU: weights (in, outs), shift (outs).
   `x2` may be NULL. */
EXPORT int pointwise(int64_t rows, int outs, const REAL *x, int64_t stride, int in,
                     const REAL *weight, const REAL *x2, int64_t stride2, int in2,
                     const REAL *weight2, const REAL *shift, REAL *y, int64_t y_stride, int add,
                     int relu) {
    const int width = padded(outs, LANES), count = x2 ? 2 : 1;
    REAL *first = packed(weight, in, outs, width);
    REAL *second = x2 ? packed(weight2, in2, outs, width) : NULL;
    REAL *constant = packed(shift, 1, outs, width);
    int failed = !first || !constant || (x2 && !second);
    if (!failed) {
        const Source sources[2] = {{x, stride, in, first}, {x2, stride2, in2, second}};
        const int64_t whole = rows / ROWS;
#pragma omp parallel for schedule(static)
        for (int64_t block = 0; block < whole; block++)
            product_rows(ROWS, sources, count, block * ROWS, outs, width, constant, y, y_stride,
                         add, relu);
        for (int64_t row = whole * ROWS; row < rows; row++)
            product_rows(1, sources, count, row, outs, width, constant, y, y_stride, add, relu);
    }
    free(first);
    free(second);
    free(constant);
    return failed ? NO_MEMORY : 0;
}

/* Rows of x less `centre`, in a tile with padding; their sums are added to `sums`. */
INLINE void take_tile(REAL *tile, int width, const REAL *x, int64_t stride, int rows, int count,
                      const REAL *centre, double *sums) {
    for (int c = 0; c < count; c += LANES) {
        const int lanes = least(count - c, LANES);
        const vec middle = *(const vec *)(centre + c);
        vec sum = {0};
        for (int r = 0; r < rows; r++) {
            vec value = load_part(x + r * stride + c, lanes) - middle;
            *(vec *)(tile + r * width + c) = value;
            sum += value;
        }
        add_to(sums + c, sum);
    }
}

/* sums (in, width) += a^T b over the rows of two tiles; `upper`: only what a covariance needs. */
INLINE void add_products(double *sums, const REAL *a, int a_width, int in, const REAL *b,
                         int width, int rows, int upper) {
    for (int i = 0; i < in; i += ROWS)
        for (int j = upper ? i / (2 * LANES) * (2 * LANES) : 0; j < width; j += 2 * LANES) {
            vec out[ROWS][2] = {{{0}}};
            for (int r = 0; r < rows; r++) {
                const REAL *left = a + (size_t)r * a_width + i;
                const REAL *right = b + (size_t)r * width + j;
#pragma GCC unroll 8
                for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
                    for (int v = 0; v < 2; v++)
                        out[k][v] += left[k] * *(const vec *)(right + v * LANES);
            }
            for (int k = 0; k < ROWS; k++)
                for (int v = 0; v < 2; v++)
                    add_to(sums + (size_t)(i + k) * width + j + v * LANES, out[k][v]);
        }
}

/* Mean (channels) and biased covariance (channels, channels) of the columns of x.

   Products are of differences from an estimate of the mean, so a mean far from zero costs no
   digits. */
EXPORT int channel_moments(const REAL *x, int64_t rows, int channels, int64_t stride, REAL *mean,
                           REAL *covariance) {
    const int width = padded(padded(channels, ROWS), 2 * LANES), threads = omp_get_max_threads();
    const size_t each = (size_t)width * (width + 1);
    double *sums = zeroed(threads * each * sizeof(double));
    REAL *tiles = zeroed(((size_t)threads * TILE + 1) * width * sizeof(REAL));
    if (!sums || !tiles) {
        free(sums);
        free(tiles);
        return NO_MEMORY;
    }
    REAL *centre = tiles + (size_t)threads * TILE * width;
    const int64_t samples = rows < 256 ? rows : 256;
    for (int c = 0; c < channels; c++) {
        double sum = 0;
        for (int64_t i = 0; i < samples; i++) sum += (double)x[i * (rows / samples) * stride + c];
        centre[c] = (REAL)(sum / samples);
    }
#pragma omp parallel
    {
        double *own = sums + omp_get_thread_num() * each;
        REAL *tile = tiles + (size_t)omp_get_thread_num() * TILE * width;
#pragma omp for schedule(static)
        for (int64_t start = 0; start < rows; start += TILE) {
            const int some = rows - start < TILE ? (int)(rows - start) : TILE;
            take_tile(tile, width, x + start * stride, stride, some, channels, centre,
                      own + (size_t)width * width);
            add_products(own, tile, width, channels, tile, width, some, 1);
        }
    }
    gather(sums, threads, each);
    double *away = sums + (size_t)width * width;
    for (int c = 0; c < channels; c++) {
        away[c] /= rows;
        mean[c] = (REAL)((double)centre[c] + away[c]);
    }
    for (int i = 0; i < channels; i++)
        for (int j = i; j < channels; j++) {
            const REAL value = (REAL)(sums[(size_t)i * width + j] / rows - away[i] * away[j]);
            covariance[(size_t)i * channels + j] = covariance[(size_t)j * channels + i] = value;
        }
    free(sums);
    free(tiles);
    return 0;
}

/* products (outs, in) = g^T x and sums (outs) of g: a 1x1 convolution's weight and bias gradient. */
EXPORT int pointwise_gradient(int64_t rows, const REAL *g, int64_t g_stride, int outs,
                              const REAL *x, int64_t stride, int in, REAL *products, REAL *sums) {
    const int threads = omp_get_max_threads();
    const int high = padded(padded(outs, ROWS), LANES), width = padded(in, 2 * LANES);
    const size_t matrix = (size_t)high * width, each = matrix + high + width;
    double *totals = zeroed(threads * each * sizeof(double));
    REAL *tiles = zeroed(((size_t)threads * TILE + 1) * (high + width) * sizeof(REAL));
    if (!totals || !tiles) {
        free(totals);
        free(tiles);
        return NO_MEMORY;
    }
    const REAL *centre = tiles + (size_t)threads * TILE * (high + width);
#pragma omp parallel
    {
        double *own = totals + omp_get_thread_num() * each;
        REAL *left = tiles + (size_t)omp_get_thread_num() * TILE * (high + width);
        REAL *right = left + (size_t)TILE * high;
#pragma omp for schedule(static)
        for (int64_t start = 0; start < rows; start += TILE) {
            const int some = rows - start < TILE ? (int)(rows - start) : TILE;
            take_tile(left, high, g + start * g_stride, g_stride, some, outs, centre,
                      own + matrix);
            take_tile(right, width, x + start * stride, stride, some, in, centre,
                      own + matrix + high);
            add_products(own, left, high, outs, right, width, some, 0);
        }
    }
    gather(totals, threads, each);
    for (int o = 0; o < outs; o++) {
        sums[o] = (REAL)totals[matrix + o];
        for (int c = 0; c < in; c++)
            products[(size_t)o * in + c] = (REAL)totals[(size_t)o * width + c];
    }
    free(totals);
    free(tiles);
    return 0;
}
