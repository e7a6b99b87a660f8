/* A convolution and the batch norm behind it, one after another: 1x1 and depth-wise ones, and as
   the first a convolution of all channels of a window.

   A stage gives y, its convolution's output, and what batch norm makes of it; the next stage takes
   y and scales it while it reads it. So each stage goes over its numbers once, and once on its way
   back. The normalised z = scale y + shift is never stored but at the end, where an activation
   follows. Inputs and outputs have no gaps. */

enum { NONE, RELU, SIGMOID };

/* y = z weight, where z is x, or by `before`, the state of a batch norm, scale x + shift: weight
   (outs, in). Into `state` what the batch norm of y makes of it. */
EXPORT int conv_bn_pointwise(const REAL *x, int64_t rows, int in, int outs, const REAL *weight,
                             const REAL *before, const REAL *norm_weight, const REAL *norm_bias,
                             REAL *running_mean, REAL *running_variance, int64_t *batches,
                             double momentum, double eps, REAL *y, REAL *state) {
    const Cut cut = cut_of(rows, TILE, (double)in * outs);
    const Norm norm = {norm_weight, norm_bias, running_mean, running_variance, batches, momentum,
                       eps};
    Statistics statistics;
    Product product = {0};
    REAL *scaled = zeroed((size_t)in * outs * sizeof(REAL)), *shift = zeroed(outs * sizeof(REAL));
    int failed = start_statistics(&statistics, outs);
    failed |= !scaled || !shift;
    if (!failed) {
        for (int c = 0; c < in; c++)
            for (int o = 0; o < outs; o++) {
                const REAL number = weight[o * in + c];
                scaled[c * outs + o] = before ? before[SCALE * in + c] * number : number;
                if (before) shift[o] += before[SHIFT * in + c] * number;
            }
        failed = start_product(&product, outs, in, in, scaled, 0, 0, NULL, shift, outs, 0);
    }
    if (!failed) {
        product_of_rows(&product, up_to(TILE, rows), x, NULL, y);
        take_pivot(&statistics, up_to(TILE, rows), y);
        IN_PIECES(row, cut) {
            const int64_t some = up_to(TILE, rows - row);
            product_of_rows(&product, some, x + row * in, NULL, y + row * outs);
            add_statistics(&statistics, some, NULL, y + row * outs, statistics.pivot);
        }
    }
    end_product(&product);
    end_squares(&statistics, rows, &norm, failed ? NULL : state);
    free(scaled);
    free(shift);
    return failed ? NO_MEMORY : 0;
}

/* The windows of `rows` pixels from `first` on, zeros around the picture: (rows, taps, channels). */
APART void take_patches(const REAL *x, int height, int width, int channels, int high, int wide,
                        int64_t first, int64_t rows, REAL *to) {
    const int up = high / 2, beside = wide / 2, numbers = wide * channels;
    for (int64_t pixel = first; pixel < first + rows; pixel++) {
        const int y = (int)(pixel / width), q = (int)(pixel % width);
        const int whole = q >= beside && q < width - beside;
        for (int i = -up; i <= up; i++, to += numbers) {
            const REAL *from = x + (pixel + (int64_t)i * width - beside) * channels;
            if (y + i < 0 || y + i >= height)
                for (int k = 0; k < numbers; k++) to[k] = 0;
            else if (whole) {
                int k = 0;
                for (; k + LANES <= numbers; k += LANES) *(vec *)(to + k) = *(const vec *)(from + k);
                for (; k < numbers; k++) to[k] = from[k];
            } else
                for (int k = 0; k < numbers; k++) {
                    const int column = q - beside + k / channels;
                    to[k] = column < 0 || column >= width ? 0 : from[k];
                }
        }
    }
}

/* The same for a convolution of all channels of windows a pixel apart: weight
   (outs, taps, channels). */
EXPORT int conv_bn_windows(const REAL *x, int64_t count, int height, int width, int channels,
                           int outs, int high, int wide, const REAL *weight,
                           const REAL *norm_weight, const REAL *norm_bias, REAL *running_mean,
                           REAL *running_variance, int64_t *batches, double momentum, double eps,
                           REAL *y, REAL *state) {
    const Norm norm = {norm_weight, norm_bias, running_mean, running_variance, batches, momentum,
                       eps};
    const int in = high * wide * channels;
    const int64_t pixels = (int64_t)height * width;
    const Cut cut = cut_of(count, 1, (double)pixels * in * outs);
    Statistics statistics = {0};
    Product product = {0};
    REAL *turned = zeroed((size_t)in * outs * sizeof(REAL)), *zeros = zeroed(outs * sizeof(REAL));
    REAL *tiles = zeroed((size_t)slots() * TILE * in * sizeof(REAL));
    int failed = !turned || !zeros || !tiles;
    for (int i = 0; !failed && i < in * outs; i++) turned[i] = weight[i % outs * in + i / outs];
    if (!failed) failed = start_statistics(&statistics, outs);
    if (!failed)
        failed = start_product(&product, outs, in, in, turned, 0, 0, NULL, zeros, outs, 0);
    if (!failed) {
        take_patches(x, height, width, channels, high, wide, 0, up_to(TILE, pixels), tiles);
        product_of_rows(&product, up_to(TILE, pixels), tiles, NULL, y);
        take_pivot(&statistics, up_to(TILE, pixels), y);
        IN_PIECES(n, cut) {
            REAL *tile = tiles + (size_t)slot() * TILE * in;
            for (int64_t first = 0; first < pixels; first += TILE) {
                const int64_t some = up_to(TILE, pixels - first);
                REAL *to = y + (n * pixels + first) * outs;
                take_patches(x + n * pixels * channels, height, width, channels, high, wide,
                             first, some, tile);
                product_of_rows(&product, some, tile, NULL, to);
                add_statistics(&statistics, some, NULL, to, statistics.pivot);
            }
        }
    }
    end_product(&product);
    end_squares(&statistics, count * pixels, &norm, failed ? NULL : state);
    free(turned);
    free(zeros);
    free(tiles);
    return failed ? NO_MEMORY : 0;
}

/* Back through it to its weight: g, y and slopes as of a 1x1 convolution. */
EXPORT int conv_bn_windows_gradient(const REAL *g, const REAL *y, const REAL *x, int64_t count,
                                    int height, int width, int channels, int outs, int high,
                                    int wide, const REAL *slopes, REAL *of_weight) {
    const int in = high * wide * channels;
    const size_t each = (size_t)TILE * (in + outs);
    const int64_t pixels = (int64_t)height * width;
    const Cut cut = cut_of(count, 1, (double)pixels * in * outs);
    ProductGradient gradient = {0};
    REAL *tiles = zeroed(slots() * each * sizeof(REAL));
    REAL *sums = zeroed(outs * sizeof(REAL));
    int failed = !tiles || !sums;
    if (!failed) failed = start_product_gradient(&gradient, outs, outs, in, in);
    if (!failed) {
        IN_PIECES(n, cut) {
            REAL *tile = tiles + slot() * each, *slope = tile + TILE * in;
            for (int64_t first = 0; first < pixels; first += TILE) {
                const int64_t some = up_to(TILE, pixels - first);
                const int64_t at = (n * pixels + first) * outs;
                take_patches(x + n * pixels * channels, height, width, channels, high, wide,
                             first, some, tile);
                norm_slopes(some, outs, g + at, y + at, slopes, slope);
                add_row_gradients(&gradient, some, slope, tile);
            }
        }
    }
    end_product_gradient(&gradient, failed ? NULL : of_weight, sums);
    free(tiles);
    free(sums);
    return failed ? NO_MEMORY : 0;
}

/* The same as `conv_bn_pointwise` for a depth-wise convolution: weight (channels, taps). */
EXPORT int conv_bn_depthwise(const REAL *x, int64_t count, int height, int width, int channels,
                             int high, int wide, int stride, const REAL *weight,
                             const REAL *before, const REAL *norm_weight, const REAL *norm_bias,
                             REAL *running_mean, REAL *running_variance, int64_t *batches,
                             double momentum, double eps, REAL *y, REAL *state) {
    const Norm norm = {norm_weight, norm_bias, running_mean, running_variance, batches, momentum,
                       eps};
    const Pictures of = {height, width, channels, channels};
    const int64_t pixels = (int64_t)after(height, stride) * after(width, stride);
    const Cut cut = cut_of(count, 1, (double)pixels * channels * high * wide);
    Statistics statistics;
    Convolution convolution = {0};
    Vector *scale = before ? in_blocks(before + SCALE * channels, channels, 1) : NULL;
    Vector *shift = before ? in_blocks(before + SHIFT * channels, channels, 1) : NULL;
    const Affine affine = {scale, shift};
    REAL *zeros = zeroed(channels * sizeof(REAL));
    int failed = start_statistics(&statistics, channels);
    failed |= !zeros || (before && (!scale || !shift));
    if (!failed)
        failed = start_convolution(&convolution, of, (Kernel){high, wide, stride}, weight, zeros,
                                   before ? &affine : NULL, channels, 0);
    if (!failed) {
        convolve_blocks(&convolution, x, y);
        take_pivot(&statistics, up_to(TILE, pixels), y);
        IN_PIECES(n, cut) {
            REAL *to = y + n * pixels * channels;
            convolve_blocks(&convolution, x + n * picture_size(&of), to);
            add_statistics(&statistics, pixels, NULL, to, statistics.pivot);
        }
    }
    end_convolution(&convolution);
    end_squares(&statistics, count * pixels, &norm, failed ? NULL : state);
    free(scale);
    free(shift);
    free(zeros);
    return failed ? NO_MEMORY : 0;
}

/* out = scale y + shift, then perhaps the ReLU. A sigmoid is left to who has a fast one. */
EXPORT int conv_bn_end(const REAL *y, int64_t rows, int channels, const REAL *state, int relu,
                       REAL *out) {
    const Cut cut = cut_of(rows, 1, 2. * channels);
    const REAL *scale = state + SCALE * channels, *shift = state + SHIFT * channels;
    IN_PIECES(r, cut) {
        const REAL *from = y + r * channels;
        REAL *to = out + r * channels;
        for (int c = 0; c < channels; c++) to[c] = scale[c] * from[c] + shift[c];
        if (relu)
            for (int c = 0; c < channels; c++) to[c] = to[c] <= 0 ? 0 : to[c];
    }
    return 0;
}

/* From the gradient of `out` that of z, `to`, and the slopes of the batch norm. Without an
   activation the first is g itself: `to` is NULL. */
EXPORT int conv_bn_end_gradient(const REAL *g, const REAL *y, const REAL *out, int64_t rows,
                                int channels, const REAL *state, int activation, REAL *to,
                                REAL *slopes) {
    const Cut cut = cut_of(rows, TILE, 4. * channels);
    Statistics statistics;
    const int failed = start_statistics(&statistics, channels);
    if (!failed) {
        IN_PIECES(row, cut) {
            const int64_t some = up_to(TILE, rows - row), start = row * channels;
            const int64_t numbers = some * channels;
            if (activation == RELU)
                relu_slopes(numbers, g + start, out + start, to + start);
            if (activation == SIGMOID)
                for (int64_t i = start; i < start + numbers; i++)
                    to[i] = g[i] * out[i] * (1 - out[i]);
            add_statistics(&statistics, some, (to ? to : g) + start, y + start, state);
        }
    }
    end_slopes(&statistics, rows, state, failed ? NULL : slopes);
    return failed;
}

/* Back through a 1x1 convolution: from the gradient g of what batch norm makes of y, with the
   slopes of that, the gradient of the weight (outs, in), and that of z, `to`. Where x is scaled by
   `before`, also the slopes of that batch norm, `slopes_before`. */
EXPORT int conv_bn_pointwise_gradient(const REAL *g, const REAL *y, const REAL *x, int64_t rows,
                                      int in, int outs, const REAL *weight, const REAL *slopes,
                                      const REAL *before, REAL *to, REAL *of_weight,
                                      REAL *slopes_before) {
    const Cut cut = cut_of(rows, TILE, 2. * in * outs);
    Statistics statistics = {0};
    Product product = {0};
    ProductGradient gradient = {0};
    REAL *tiles = zeroed((size_t)slots() * TILE * outs * sizeof(REAL));
    REAL *zeros = zeroed(in * sizeof(REAL)), *sums = zeroed(outs * sizeof(REAL));
    int failed = !tiles || !zeros || !sums;
    if (!failed) failed = start_product(&product, in, outs, outs, weight, 0, 0, NULL, zeros, in, 0);
    if (!failed) failed = start_product_gradient(&gradient, outs, outs, in, in);
    if (!failed && before) failed = start_statistics(&statistics, in);
    if (!failed) {
        IN_PIECES(row, cut) {
            const int64_t some = up_to(TILE, rows - row);
            REAL *tile = tiles + (size_t)slot() * TILE * outs;
            norm_slopes(some, outs, g + row * outs, y + row * outs, slopes, tile);
            product_of_rows(&product, some, tile, NULL, to + row * in);
            add_row_gradients(&gradient, some, tile, x + row * in);
            if (before) add_statistics(&statistics, some, to + row * in, x + row * in, before);
        }
    }
    end_product(&product);
    /* That of x; z is scale x + shift. */
    end_product_gradient(&gradient, failed ? NULL : of_weight, sums);
    for (int o = 0; !failed && before && o < outs; o++)
        for (int c = 0; c < in; c++) {
            REAL *number = of_weight + (size_t)o * in + c;
            *number = before[SCALE * in + c] * *number + before[SHIFT * in + c] * sums[o];
        }
    end_slopes(&statistics, rows, before, failed || !before ? NULL : slopes_before);
    free(tiles);
    free(zeros);
    free(sums);
    return failed ? NO_MEMORY : 0;
}

/* Back through a depth-wise convolution, as through a 1x1: weight and its gradient are
   (channels, taps). */
EXPORT int conv_bn_depthwise_gradient(const REAL *g, const REAL *y, const REAL *x, int64_t count,
                                      int height, int width, int channels, int high, int wide,
                                      int stride, const REAL *weight, const REAL *slopes,
                                      const REAL *before, REAL *to, REAL *of_weight,
                                      REAL *slopes_before) {
    const Cut cut = cut_of(count, 1, 2. * height * width * channels * high * wide);
    const Kernel k = {high, wide, stride};
    const Pictures of = {height, width, channels, channels};
    const int64_t pixels = (int64_t)height * width;
    const int64_t windows = (int64_t)after(height, stride) * after(width, stride);
    Statistics statistics = {0};
    KernelGradient gradient = {0};
    Spread spread = {0};
    Vector *scale = before ? in_blocks(before + SCALE * channels, channels, 1) : NULL;
    Vector *shift = before ? in_blocks(before + SHIFT * channels, channels, 1) : NULL;
    const Affine affine = {scale, shift};
    REAL *above = zeroed((size_t)slots() * windows * channels * sizeof(REAL));
    REAL *sums = zeroed(channels * sizeof(REAL));
    int failed = !above || !sums || (before && (!scale || !shift));
    if (!failed) failed = start_spread(&spread, of, k, weight);
    if (!failed)
        failed = start_kernel_gradient(&gradient, of, k, before ? &affine : NULL, channels);
    if (!failed && before) failed = start_statistics(&statistics, channels);
    if (!failed) {
        IN_PIECES(n, cut) {
            const int64_t own = n * pixels * channels, at = n * windows * channels;
            REAL *slope = above + (size_t)slot() * windows * channels;
            norm_slopes(windows, channels, g + at, y + at, slopes, slope);
            add_kernel_gradient(&gradient, x + own, slope);
            spread_blocks(&spread, slope, to + own);
            if (before) add_statistics(&statistics, pixels, to + own, x + own, before);
        }
    }
    end_kernel_gradient(&gradient, failed ? NULL : of_weight, sums);
    end_slopes(&statistics, count * pixels, before, failed || !before ? NULL : slopes_before);
    end_spread(&spread);
    free(scale);
    free(shift);
    free(above);
    free(sums);
    return failed ? NO_MEMORY : 0;
}
