/* Products of pictures with something smaller: an attention gate, or a weight for each channel.

   Pictures are (count, height, width, channels) without gaps. */

#include "vectors.h"

/* out = x * gate, whose pixel for (y, x) is (rows[y], columns[x]). */
EXPORT int gate(const REAL *x, int64_t count, int height, int width, int channels,
                const REAL *gate, int gate_height, int gate_width, const int32_t *rows,
                const int32_t *columns, REAL *out) {
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < count * height; line++) {
        const int64_t n = line / height, gate_row = n * gate_height + rows[line % height];
        for (int q = 0; q < width; q++) {
            const int64_t at = (line * width + q) * channels;
            const REAL *weight = gate + (gate_row * gate_width + columns[q]) * channels;
            for (int c = 0; c < channels; c++) out[at + c] = x[at + c] * weight[c];
        }
    }
    return 0;
}

/* The gradients of both, from the product's, g; with `relu` of x only where x is above zero. */
EXPORT int gate_gradient(const REAL *g, const REAL *x, int64_t count, int height, int width,
                         int channels, const REAL *gate, int gate_height, int gate_width,
                         const int32_t *rows, const int32_t *columns, int relu, REAL *to_x,
                         REAL *to_gate) {
    const int64_t gate_size = (int64_t)gate_height * gate_width * channels;
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < count; n++) {
        memset(to_gate + n * gate_size, 0, gate_size * sizeof(REAL));
        for (int y = 0; y < height; y++)
            for (int q = 0; q < width; q++) {
                const int64_t at = ((n * height + y) * width + q) * channels;
                const int64_t there =
                    n * gate_size + ((int64_t)rows[y] * gate_width + columns[q]) * channels;
                for (int c = 0; c < channels; c++) {
                    const REAL slope = g[at + c] * gate[there + c];
                    to_x[at + c] = relu && x[at + c] <= 0 ? 0 : slope;
                    to_gate[there + c] += g[at + c] * x[at + c];
                }
            }
    }
    return 0;
}

/* means (count, channels) over a picture's pixels of x, or of x * y where y is given. */
EXPORT int picture_means(const REAL *x, const REAL *y, int64_t count, int64_t pixels, int channels,
                         REAL *means) {
    double *sums = zeroed((size_t)omp_get_max_threads() * channels * sizeof(double));
    if (!sums) return NO_MEMORY;
#pragma omp parallel
    {
        double *own = sums + (size_t)omp_get_thread_num() * channels;
#pragma omp for schedule(static)
        for (int64_t n = 0; n < count; n++) {
            const int64_t start = n * pixels * channels;
            memset(own, 0, channels * sizeof(double));
            for (int64_t at = start; at < start + pixels * channels; at += channels)
                if (y)
                    for (int c = 0; c < channels; c++) own[c] += (double)(x[at + c] * y[at + c]);
                else
                    for (int c = 0; c < channels; c++) own[c] += (double)x[at + c];
            for (int c = 0; c < channels; c++) means[n * channels + c] = (REAL)(own[c] / pixels);
        }
    }
    free(sums);
    return 0;
}

/* out = x * weight (count, channels) + more (count, channels), which may be NULL. */
EXPORT int scale_pictures(const REAL *x, int64_t count, int64_t pixels, int channels,
                          const REAL *weight, const REAL *more, REAL *out) {
#pragma omp parallel for schedule(static)
    for (int64_t pixel = 0; pixel < count * pixels; pixel++) {
        const int64_t at = pixel * channels, there = pixel / pixels * channels;
        if (more)
            for (int c = 0; c < channels; c++)
                out[at + c] = x[at + c] * weight[there + c] + more[there + c];
        else
            for (int c = 0; c < channels; c++) out[at + c] = x[at + c] * weight[there + c];
    }
    return 0;
}
