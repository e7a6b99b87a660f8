/* Updates of all weights at once: tensors of `sizes` numbers each. */

static double mean_size(int count, const int64_t *sizes) {
    double sum = 0;
    for (int k = 0; k < count; k++) sum += (double)sizes[k];
    return count ? sum / count : 0;
}

/* A step of SGD with momentum, as PyTorch defines it. Tensor k is of the group `groups[k]`, of which
   `rates` holds the learning rate and `decays` the weight decay. */
EXPORT int sgd(int count, const int64_t *sizes, REAL *const *weights, const REAL *const *gradients,
               REAL *const *momenta, const int32_t *groups, const double *rates,
               const double *decays, double keep, int nesterov) {
    const Cut cut = cut_of(count, 16, mean_size(count, sizes));
    IN_PIECES(start, cut) for (int64_t k = start; k < up_to(start + 16, count); k++) {
        REAL *restrict w = weights[k], *restrict m = momenta[k];
        const REAL *restrict g = gradients[k];
        const REAL rate = (REAL)rates[groups[k]], decay = (REAL)decays[groups[k]];
        const REAL kept = (REAL)keep;
        for (int64_t i = 0; i < sizes[k]; i++) {
            const REAL slope = g[i] + decay * w[i];
            const REAL moved = kept * m[i] + slope;
            m[i] = moved;
            w[i] -= rate * (nesterov ? slope + kept * moved : moved);
        }
    }
    return 0;
}

/* averages += share * (values - averages). */
EXPORT int average(int count, const int64_t *sizes, REAL *const *averages,
                   const REAL *const *values, double share) {
    const Cut cut = cut_of(count, 16, mean_size(count, sizes));
    IN_PIECES(start, cut) for (int64_t k = start; k < up_to(start + 16, count); k++) {
        REAL *restrict a = averages[k];
        const REAL *restrict v = values[k];
        const REAL part = (REAL)share;
        for (int64_t i = 0; i < sizes[k]; i++) a[i] += part * (v[i] - a[i]);
    }
    return 0;
}

/* to = from, of `bytes` each. */
EXPORT int copied(int count, const int64_t *bytes, void *const *to, const void *const *from) {
    for (int k = 0; k < count; k++) memcpy(to[k], from[k], (size_t)bytes[k]);
    return 0;
}
