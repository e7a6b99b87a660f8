/* The folding of conv-BN branches into one kernel, over an input of known moments, and back.

   A kernel has `taps` numbers and `rows` outputs: of one group in a pointwise convolution, each of
   a group of its own in a depth-wise one. Moments are those of what a kernel is multiplied with:
   mean (groups, taps) and covariance (groups, taps, taps). */

#include "vectors.h"

/* A branch's kernel is (rows, taps) numbers; or one number for each row, around which it is zero;
   or that number is one: in a pointwise convolution the identity, (rows, rows). */
enum { FULL, CENTRE, UNIT };

typedef struct {
    int depthwise, branches, rows, taps;
    const int *kinds;
    const REAL *const *kernels; /* of each branch, NULL for UNIT */
    const REAL *const *weights, *const *biases; /* of its batch norm, (rows) */
} Branches;

/* The only tap of row r that is not zero, and what is there. */
INLINE int only_tap(const Branches *all, int r) { return all->depthwise ? all->taps / 2 : r; }
INLINE REAL only_value(const Branches *all, int b, int r) {
    return all->kinds[b] == CENTRE ? all->kernels[b][r] : (REAL)1;
}

/* out = square k, where square (taps, taps) is symmetric. */
INLINE void times_symmetric(const REAL *square, const REAL *k, int taps, REAL *out) {
    int i = 0;
    for (; i + LANES <= taps; i += LANES) {
        double sums[LANES] = {0};
        for (int j = 0; j < taps; j++)
            for (int lane = 0; lane < LANES; lane++)
                sums[lane] += (double)square[j * taps + i + lane] * (double)k[j];
        for (int lane = 0; lane < LANES; lane++) out[i + lane] = (REAL)sums[lane];
    }
    for (; i < taps; i++) out[i] = (REAL)dot(square + i * taps, k, taps);
}

/* Into kernel (rows, taps) and shift (rows); for `unfold` also each branch's mean and inverse
   deviation, (branches, rows), and covariance of its output with the taps, (branches, rows, taps).
   What the batch norms track moves on by `momentum`. */
EXPORT int fold(int depthwise, int branches, int rows, int taps, const int *kinds,
                const REAL *const *kernels, const REAL *const *weights,
                const REAL *const *biases, REAL *const *running_means,
                REAL *const *running_variances, int64_t *const *batches, double count,
                double momentum, double eps, const REAL *mean, const REAL *covariance,
                REAL *kernel, REAL *shift, REAL *means, REAL *inverses, REAL *spread) {
    const Branches all = {depthwise, branches, rows, taps, kinds, kernels, weights, biases};
    REAL *zero = zeroed(taps * sizeof(REAL));
    if (!zero) return NO_MEMORY;
    int failed = 0;
    memset(kernel, 0, (size_t)rows * taps * sizeof(REAL));
    memset(shift, 0, rows * sizeof(REAL));
    for (int b = 0; b < branches; b++) {
        REAL *spreads = spread + (size_t)b * rows * taps;
        if (kinds[b] == FULL && !depthwise)
            failed |= pointwise(rows, taps, kernels[b], taps, taps, covariance, NULL, 0, 0, NULL,
                                zero, spreads, taps, 0);
        for (int r = 0; r < rows; r++) {
            const REAL *centre = mean + (depthwise ? (size_t)r * taps : 0);
            const REAL *square = covariance + (depthwise ? (size_t)r * taps * taps : 0);
            REAL *out = spreads + (size_t)r * taps, *into = kernel + (size_t)r * taps;
            const REAL *k = kinds[b] == FULL ? kernels[b] + (size_t)r * taps : NULL;
            double average = 0, variance = 0;
            if (k) {
                if (depthwise) times_symmetric(square, k, taps, out);
                average = dot(centre, k, taps);
                variance = dot(out, k, taps);
            } else {
                const int only = only_tap(&all, r);
                const REAL value = only_value(&all, b, r);
                for (int i = 0; i < taps; i++) out[i] = value * square[(size_t)only * taps + i];
                average = (double)value * (double)centre[only];
                variance = (double)value * (double)out[only];
            }
            if (variance < 0) variance = 0;
            const double inverse = 1 / sqrt(variance + eps), scale = weights[b][r] * inverse;
            if (k)
                for (int i = 0; i < taps; i++) into[i] += (REAL)scale * k[i];
            else
                into[only_tap(&all, r)] += (REAL)(scale * (double)only_value(&all, b, r));
            shift[r] += (REAL)((double)biases[b][r] - average * scale);
            means[(size_t)b * rows + r] = (REAL)average;
            inverses[(size_t)b * rows + r] = (REAL)inverse;
            REAL *tracked = running_means[b] + r;
            *tracked += (REAL)(momentum * (average - (double)*tracked));
            tracked = running_variances[b] + r;
            *tracked += (REAL)(momentum * (variance * count / (count - 1) - (double)*tracked));
        }
        *batches[b] += 1;
    }
    free(zero);
    return failed;
}

/* second (taps, taps) = the sum of all FULL branches' scaled^T kernel. */
static void multiply_kernels(const Branches *all, const REAL *scaled, REAL *second) {
    const int rows = all->rows, taps = all->taps;
    const size_t size = (size_t)rows * taps;
    if (taps < ROWS || taps < LANES) {
        memset(second, 0, (size_t)taps * taps * sizeof(REAL));
        for (size_t row = 0; row < (size_t)all->branches * rows; row++) {
            if (all->kinds[row / rows] != FULL) continue;
            const REAL *k = all->kernels[row / rows] + row % rows * taps;
            const REAL *wide = scaled + row * taps;
            for (int i = 0; i < taps; i++)
                for (int j = 0; j < taps; j++) second[i * taps + j] += wide[i] * k[j];
        }
        return;
    }
    for (int i = 0; i < blocks_of(taps, ROWS); i++)
        for (int block = 0; block < column_blocks(taps); block += 2) {
            const Columns c = columns_from(block, taps);
            const int row = block_start(i, taps, ROWS), lanes = column_block(taps);
            const int width = c.vectors * lanes;
            double sums[ROWS * 2 * WIDE_LANES] = {0};
            for (int b = 0; b < all->branches; b++)
                for (int start = 0; all->kinds[b] == FULL && start < rows; start += TILE)
                    add_block_of(&c, scaled + b * size + (size_t)start * taps + row, taps,
                                 all->kernels[b] + (size_t)start * taps, taps,
                                 least(TILE, rows - start), sums, width);
            for (int k = 0; k < ROWS; k++)
                for (int v = 0; v < c.vectors; v++) {
                    REAL *to = second + (size_t)(row + k) * taps + c.first[v];
                    const double *from = sums + k * width + v * lanes;
                    for (int lane = 0; lane < lanes; lane++) to[lane] = (REAL)from[lane];
                }
        }
}

/* From the gradients of kernel and shift those of each branch's kernel (none for UNIT), weight and
   bias. And of the input's moments: a window with taps t adds first + second t to their gradients,
   (groups, taps) and (groups, taps, taps). */
EXPORT int unfold(int depthwise, int branches, int rows, int taps, const int *kinds,
                  const REAL *const *kernels, const REAL *const *weights, double count,
                  const REAL *mean, const REAL *means, const REAL *inverses, const REAL *spread,
                  const REAL *of_kernel, const REAL *of_shift, REAL *const *of_kernels,
                  REAL *const *of_weights, REAL *const *of_biases, REAL *first, REAL *second) {
    const Branches all = {depthwise, branches, rows, taps, kinds, kernels, weights, NULL};
    const size_t groups = depthwise ? rows : 1, square = (size_t)taps * taps;
    /* Kernels by what their outer products weigh in `second`; of others than FULL only that. */
    REAL *scaled = scratch_memory((size_t)branches * rows * taps * sizeof(REAL));
    if (!scaled) return NO_MEMORY;
    memset(first, 0, groups * taps * sizeof(REAL));
    if (depthwise) memset(second, 0, groups * square * sizeof(REAL));
    for (int b = 0; b < branches; b++)
        for (int r = 0; r < rows; r++) {
            const size_t group = depthwise ? r : 0, row = (size_t)b * rows + r;
            const REAL *k = kinds[b] == FULL ? kernels[b] + (size_t)r * taps : NULL;
            const REAL *slope = of_kernel + (size_t)r * taps, *centre = mean + group * taps;
            const REAL *spreads = spread + row * taps;
            const int only = k ? 0 : only_tap(&all, r);
            const double value = k ? 0 : (double)only_value(&all, b, r);
            const double average = means[row], inverse = inverses[row];
            const double scale = (double)weights[b][r] * inverse;
            const double of_scale = (k ? dot(k, slope, taps) : value * (double)slope[only]) -
                                    average * (double)of_shift[r];
            const double of_mean = -scale * (double)of_shift[r];
            /* Twice the gradient of the variance: the variance is quadratic in the kernels. */
            const double of_variance = -of_scale * inverse * scale * inverse;
            of_weights[b][r] = (REAL)(of_scale * inverse);
            of_biases[b][r] = of_shift[r];
            /* The covariance is centred: with it the mean has part in the variance. */
            const double to_mean = (of_mean - of_variance * average) / count;
            const double to_square = of_variance / count;
            REAL *to_first = first + group * taps, *to_second = second + group * square;
            REAL *wide = scaled + row * taps;
            if (k) {
                REAL *to = of_kernels[b] + (size_t)r * taps;
                for (int i = 0; i < taps; i++) {
                    to[i] = (REAL)(scale * (double)slope[i] + of_variance * (double)spreads[i] +
                                   of_mean * (double)centre[i]);
                    to_first[i] += (REAL)to_mean * k[i];
                    wide[i] = (REAL)to_square * k[i];
                }
                if (depthwise)
                    for (int i = 0; i < taps; i++)
                        for (int j = 0; j < taps; j++) to_second[i * taps + j] += wide[i] * k[j];
            } else {
                if (kinds[b] == CENTRE)
                    of_kernels[b][r] =
                        (REAL)(scale * (double)slope[only] + of_variance * (double)spreads[only] +
                               of_mean * (double)centre[only]);
                to_first[only] += (REAL)(to_mean * value);
                *wide = (REAL)(to_square * value * value);
                if (depthwise) to_second[(size_t)only * taps + only] += *wide;
            }
        }
    if (!depthwise) multiply_kernels(&all, scaled, second);
    for (int b = 0; !depthwise && b < branches; b++)
        for (int r = 0; kinds[b] != FULL && r < rows; r++)
            second[r * (square / taps) + r] += scaled[((size_t)b * rows + r) * taps];
    free(scaled);
    return 0;
}
