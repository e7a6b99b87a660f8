/* Squeeze-and-excitation, picture by picture: out = x * weight, where the weight of each channel is
   hard_sigmoid(more + expand relu(less + reduce mean)) of the means over the picture's pixels.

   Pictures are (count, pixels, channels) without gaps; `hidden` numbers are between the two. Of
   each picture `means` (channels), `between` (hidden) behind the ReLU and `shifted` (channels), the
   hard sigmoid's input and 3, are kept. */

/* Means over the pixels of x, or of x * y where y is given. */
APART void pixel_means(const REAL *x, const REAL *y, int64_t pixels, int channels, REAL *means) {
    const int lanes = least(channels, LANES);
    for (int block = 0; block < blocks_of(channels, LANES); block++) {
        const int c = block_start(block, channels, LANES);
        double sums[LANES] = {0};
        for (int64_t start = 0; start < pixels; start += TILE) {
            vec sum = {0};
            for (int64_t p = start; p < up_to(start + TILE, pixels); p++) {
                vec value = load_part(x + p * channels + c, lanes);
                if (y) value *= load_part(y + p * channels + c, lanes);
                sum += value;
            }
            add_to(sums, sum);
        }
        for (int lane = 0; lane < lanes; lane++) means[c + lane] = (REAL)(sums[lane] / pixels);
    }
}

INLINE REAL hard_sigmoid(REAL shifted) {
    return (shifted <= 0 ? 0 : shifted >= 6 ? 6 : shifted) / 6;
}

/* reduce (channels, hidden) and expand (hidden, channels). */
EXPORT int squeeze_excite(const REAL *x, int64_t count, int64_t pixels, int channels, int hidden,
                          const REAL *reduce, const REAL *less, const REAL *expand,
                          const REAL *more, REAL *means, REAL *between, REAL *shifted,
                          REAL *out) {
    const Cut cut = cut_of(count, 1, 2. * pixels * channels);
    Product first = {0}, second = {0};
    REAL *weights = zeroed((size_t)slots() * channels * sizeof(REAL));
    int failed = !weights;
    if (!failed)
        failed = start_product(&first, hidden, channels, channels, reduce, 0, 0, NULL, less,
                               hidden, 1);
    if (!failed)
        failed = start_product(&second, channels, hidden, hidden, expand, 0, 0, NULL, more,
                               channels, 0);
    if (!failed) {
        IN_PIECES(n, cut) {
            const REAL *from = x + n * pixels * channels;
            REAL *to = out + n * pixels * channels, *own = shifted + n * channels;
            REAL *weight = weights + (size_t)slot() * channels;
            pixel_means(from, NULL, pixels, channels, means + n * channels);
            product_of_rows(&first, 1, means + n * channels, NULL, between + n * hidden);
            product_of_rows(&second, 1, between + n * hidden, NULL, own);
            for (int c = 0; c < channels; c++) weight[c] = hard_sigmoid(own[c] += 3);
            for (int64_t p = 0; p < pixels; p++, from += channels, to += channels)
                for (int c = 0; c < channels; c++) to[c] = from[c] * weight[c];
        }
    }
    end_product(&first);
    end_product(&second);
    free(weights);
    return failed ? NO_MEMORY : 0;
}

/* The gradients of x, and for each picture those of the inputs of hard sigmoid and ReLU; reduce
   (hidden, channels) and expand (channels, hidden). */
EXPORT int squeeze_excite_gradient(const REAL *g, const REAL *x, int64_t count, int64_t pixels,
                                   int channels, int hidden, const REAL *reduce,
                                   const REAL *expand, const REAL *between, const REAL *shifted,
                                   REAL *to, REAL *of_shifted, REAL *of_between) {
    const Cut cut = cut_of(count, 1, 4. * pixels * channels);
    const size_t each = (size_t)3 * channels;
    Product first = {0}, second = {0};
    REAL *scratch = zeroed(slots() * each * sizeof(REAL));
    REAL *zeros = zeroed((size_t)(channels + hidden) * sizeof(REAL));
    int failed = !scratch || !zeros;
    if (!failed)
        failed = start_product(&first, hidden, channels, channels, expand, 0, 0, NULL, zeros,
                               hidden, 0);
    if (!failed)
        failed = start_product(&second, channels, hidden, hidden, reduce, 0, 0, NULL, zeros,
                               channels, 0);
    if (!failed) {
        IN_PIECES(n, cut) {
            const int64_t start = n * pixels * channels;
            const REAL *from = g + start, *sigmoid = shifted + n * channels;
            REAL *own = of_shifted + n * channels, *middle = of_between + n * hidden;
            REAL *weight = scratch + slot() * each, *of_mean = weight + channels;
            REAL *out = to + start;
            pixel_means(from, x + start, pixels, channels, own);
            for (int c = 0; c < channels; c++) {
                weight[c] = hard_sigmoid(sigmoid[c]);
                /* Of a mean: the sum's is that times the number of pixels. */
                own[c] = sigmoid[c] > 0 && sigmoid[c] < 6 ? own[c] * pixels / 6 : 0;
            }
            product_of_rows(&first, 1, own, NULL, middle);
            for (int i = 0; i < hidden; i++)
                if (between[n * hidden + i] <= 0) middle[i] = 0;
            product_of_rows(&second, 1, middle, NULL, of_mean);
            for (int c = 0; c < channels; c++) of_mean[c] /= pixels;
            for (int64_t p = 0; p < pixels; p++, from += channels, out += channels)
                for (int c = 0; c < channels; c++) out[c] = from[c] * weight[c] + of_mean[c];
        }
    }
    end_product(&first);
    end_product(&second);
    free(scratch);
    free(zeros);
    return failed ? NO_MEMORY : 0;
}
