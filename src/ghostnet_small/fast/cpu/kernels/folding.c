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
                if (depthwise)
                    for (int i = 0; i < taps; i++) {
                        double sum = 0;
                        for (int j = 0; j < taps; j++)
                            sum += (double)square[i * taps + j] * (double)k[j];
                        out[i] = (REAL)sum;
                    }
                for (int i = 0; i < taps; i++) {
                    average += (double)centre[i] * (double)k[i];
                    variance += (double)out[i] * (double)k[i];
                }
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
    /* Kernels by their variances' gradients, and the products of both. */
    REAL *scaled = zeroed((size_t)rows * taps * sizeof(REAL));
    REAL *products = zeroed((square + taps) * sizeof(REAL));
    if (!scaled || !products) {
        free(scaled);
        free(products);
        return NO_MEMORY;
    }
    int failed = 0;
    memset(first, 0, groups * taps * sizeof(REAL));
    memset(second, 0, groups * square * sizeof(REAL));
    for (int b = 0; b < branches; b++) {
        for (int r = 0; r < rows; r++) {
            const size_t group = depthwise ? r : 0, row = (size_t)b * rows + r;
            const REAL *k = kinds[b] == FULL ? kernels[b] + (size_t)r * taps : NULL;
            const REAL *slope = of_kernel + (size_t)r * taps, *centre = mean + group * taps;
            const REAL *spreads = spread + row * taps;
            const int only = k ? 0 : only_tap(&all, r);
            const double value = k ? 0 : (double)only_value(&all, b, r);
            double of_scale = -(double)means[row] * (double)of_shift[r];
            if (k)
                for (int i = 0; i < taps; i++) of_scale += (double)k[i] * (double)slope[i];
            else
                of_scale += value * (double)slope[only];
            const double inverse = inverses[row], scale = (double)weights[b][r] * inverse;
            const double of_mean = -scale * (double)of_shift[r];
            /* Twice the gradient of the variance: the variance is quadratic in the kernels. */
            const double of_variance = -of_scale * inverse * scale * inverse;
            of_weights[b][r] = (REAL)(of_scale * inverse);
            of_biases[b][r] = of_shift[r];
            REAL *to_first = first + group * taps, *to_second = second + group * square;
            if (k) {
                REAL *to = of_kernels[b] + (size_t)r * taps, *wide = scaled + (size_t)r * taps;
                for (int i = 0; i < taps; i++) {
                    to[i] = (REAL)(scale * (double)slope[i] + of_variance * (double)spreads[i] +
                                   of_mean * (double)centre[i]);
                    to_first[i] += (REAL)of_mean * k[i];
                    wide[i] = (REAL)of_variance * k[i];
                }
                if (depthwise)
                    for (int i = 0; i < taps; i++)
                        for (int j = 0; j < taps; j++) to_second[i * taps + j] += wide[i] * k[j];
            } else {
                if (kinds[b] == CENTRE)
                    of_kernels[b][r] =
                        (REAL)(scale * (double)slope[only] + of_variance * (double)spreads[only] +
                               of_mean * (double)centre[only]);
                to_first[only] += (REAL)(of_mean * value);
                to_second[(size_t)only * taps + only] += (REAL)(of_variance * value * value);
            }
        }
        if (kinds[b] == FULL && !depthwise) {
            failed |= pointwise_gradient(rows, scaled, taps, taps, kernels[b], taps, taps,
                                         products, products + square);
            for (size_t i = 0; i < square; i++) second[i] += products[i];
        }
    }
    for (size_t group = 0; group < groups; group++) {
        REAL *to_first = first + group * taps, *to_second = second + group * square;
        for (int i = 0; i < taps; i++) {
            /* Through the centring of the covariance. */
            double sum = (double)to_first[i];
            for (int j = 0; j < taps; j++)
                sum -= (double)to_second[i * taps + j] * (double)mean[group * taps + j];
            to_first[i] = (REAL)(sum / count);
        }
        for (size_t i = 0; i < square; i++) to_second[i] = (REAL)((double)to_second[i] / count);
    }
    free(scaled);
    free(products);
    return failed;
}
