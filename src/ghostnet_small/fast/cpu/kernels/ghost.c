/* A ghost module picture by picture: what follows on a picture's numbers is done while they are in
   the processor's cache. A module's channels are (2 * half): those of its 1x1 convolution, then
   those of its depth-wise convolution of them. Inputs and outputs have no gaps. */

static const Kernel CHEAP = {3, 3, 1};

/* Rows that a product is best given at once, and so pictures of few pixels several together. */
#define ROWS_AT_ONCE 64
INLINE int64_t pictures_at_once(int64_t pixels) {
    return pixels < ROWS_AT_ONCE ? ROWS_AT_ONCE / pixels : 1;
}

/* The first half of `both` = x weight + shift, then perhaps the ReLU: weight (in, half). And the
   moments of its windows: means (half, 9), covariances (half, 9, 9). */
EXPORT int ghost_primary(const REAL *x, int64_t count, int height, int width, int in, int half,
                         const REAL *weight, const REAL *shift, int relu, REAL *both,
                         REAL *means, REAL *covariances) {
    const int64_t pixels = (int64_t)height * width, some = pictures_at_once(pixels);
    const Cut cut = cut_of(count, some, (double)pixels * half * (in + 18));
    Product product;
    Moments moments;
    int failed = start_product(&product, half, in, in, weight, 0, 0, NULL, shift, 2 * half, relu);
    failed |= start_moments(&moments, (Pictures){height, width, half, 2 * half}, CHEAP);
    if (!failed) {
        IN_PIECES(start, cut) {
            const int64_t end = up_to(start + some, count);
            product_of_rows(&product, (end - start) * pixels, x + start * pixels * in, NULL,
                            both + start * pixels * 2 * half);
            add_moments(&moments, both + start * pixels * 2 * half, end - start);
        }
    }
    end_product(&product);
    end_moments(&moments, count, failed ? NULL : means, covariances);
    return failed;
}

/* The second half of `both`: the depth-wise convolution of the first, with weights (half, 9) and
   shift (half), then perhaps the ReLU. And out = both [* gate] [+ add], unless both are NULL. */
EXPORT int ghost_cheap(REAL *both, int64_t count, int height, int width, int half,
                       const REAL *weight, const REAL *shift, int relu, const REAL *gate,
                       int gate_height, int gate_width, const int32_t *rows,
                       const int32_t *columns, const REAL *add, REAL *out) {
    const Cut cut = cut_of(count, 1, (double)height * width * half * 12);
    const Gate gated = {height, width, 2 * half, gate_height, gate_width, rows, columns};
    Convolution cheap;
    const int failed = start_convolution(&cheap, (Pictures){height, width, half, 2 * half}, CHEAP,
                                         weight, shift, NULL, 2 * half, relu);
    if (!failed) {
        IN_PIECES(n, cut) {
            const int64_t start = n * gated_size(&gated);
            convolve_blocks(&cheap, both + start, both + start + half);
            if (gate || add)
                apply_gate(&gated, both + start, gate ? gate + n * gate_size(&gated) : NULL,
                           add ? add + start : NULL, out + start);
        }
    }
    end_convolution(&cheap);
    return failed;
}

/* From the output's gradient g those of the gate, unless that is NULL, and of the depth-wise
   convolution's weights (half, 9) and shift (half). */
EXPORT int ghost_cheap_gradient(const REAL *g, const REAL *both, int64_t count, int height,
                                int width, int half, int relu, const REAL *gate, int gate_height,
                                int gate_width, const int32_t *rows, const int32_t *columns,
                                REAL *to_gate, REAL *weight, REAL *shift) {
    const Cut cut = cut_of(count, 1, (double)height * width * half * 12);
    const Gate gated = {height, width, 2 * half, gate_height, gate_width, rows, columns};
    const int64_t size = gated_size(&gated);
    KernelGradient gradient = {0};
    REAL *scratch = gate ? zeroed(slots() * size / 2 * sizeof(REAL)) : NULL;
    int failed = gate && !scratch;
    if (!failed)
        failed = start_kernel_gradient(&gradient, (Pictures){height, width, half, 2 * half},
                                       CHEAP, NULL, gate ? half : 2 * half);
    if (!failed) {
        IN_PIECES(n, cut) {
            const int64_t at = n * gate_size(&gated);
            const REAL *own = both + n * size, *above = g + n * size;
            REAL *gated_above = scratch + slot() * size / 2;
            if (gate) gate_slopes(&gated, above, own, gate + at, relu, gated_above, to_gate + at);
            add_relu_kernel_gradient(&gradient, own, gate ? gated_above : above + half,
                                     relu && !gate ? own + half : NULL);
        }
    }
    end_kernel_gradient(&gradient, failed ? NULL : weight, shift);
    free(scratch);
    return failed;
}

/* From the output's gradient g the gradient `to` (half) of the 1x1 convolution's output, before the
   ReLU: its own, that through the depth-wise convolution and that through the windows' moments,
   first (half, 9) and second (half, 9, 9). And the gradients of the 1x1 convolution's weights
   (half, in) and shift (half). */
EXPORT int ghost_primary_gradient(const REAL *g, const REAL *both, const REAL *x, int64_t count,
                                  int height, int width, int in, int half, int relu,
                                  const REAL *gate, int gate_height, int gate_width,
                                  const int32_t *rows, const int32_t *columns,
                                  const REAL *weight, const REAL *first, const REAL *second,
                                  REAL *to, REAL *products, REAL *sums) {
    const Gate gated = {height, width, 2 * half, gate_height, gate_width, rows, columns};
    const int64_t pixels = (int64_t)height * width, some = pictures_at_once(pixels);
    const Cut cut = cut_of(count, some, (double)pixels * half * (in + 36));
    const int64_t size = gated_size(&gated);
    Slope slope = {0};
    ProductGradient gradient = {0};
    int failed = start_slope(&slope, (Pictures){height, width, half, 2 * half}, CHEAP, 2 * half,
                             weight, first, second, half, relu);
    if (!failed) failed = start_product_gradient(&gradient, half, half, in, in);
    if (!failed) {
        IN_PIECES(start, cut) {
            const int64_t end = up_to(start + some, count);
            for (int64_t n = start; n < end; n++) {
                const Behind behind = {&gated, g + n * size, both + n * size,
                                       gate ? gate + n * gate_size(&gated) : NULL};
                slope_blocks(&slope, behind.both, NULL, &behind, to + n * pixels * half);
            }
            add_row_gradients(&gradient, (end - start) * pixels, to + start * pixels * half,
                              x + start * pixels * in);
        }
    }
    end_slope(&slope);
    end_product_gradient(&gradient, failed ? NULL : products, sums);
    return failed;
}

/* The gradient of x: from that, `of_primary` (half), through the 1x1 convolution, weight (half, in);
   through the moments of x, first (in) and second (in, in); `add` (in) and that behind
   `halve_pictures`, `of_halved`, of which either may be NULL. */
EXPORT int ghost_input_gradient(const REAL *of_primary, const REAL *x, int64_t count, int height,
                                int width, int in, int half, const REAL *weight,
                                const REAL *first, const REAL *second, const REAL *add,
                                const REAL *of_halved, REAL *to) {
    const int64_t pixels = (int64_t)height * width, some = pictures_at_once(pixels);
    const Cut cut = cut_of(count, some, (double)pixels * in * (in + half));
    const int64_t halved = (int64_t)(height / 2) * (width / 2) * in;
    Product product;
    const int failed = start_product(&product, in, half, half, weight, in, in, second, first, in,
                                     0);
    if (!failed) {
        IN_PIECES(start, cut) {
            const int64_t end = up_to(start + some, count), at = start * pixels * in;
            product_of_rows(&product, (end - start) * pixels, of_primary + start * pixels * half,
                            x + at, to + at);
            if (add)
                for (int64_t i = at; i < end * pixels * in; i++) to[i] += add[i];
            for (int64_t n = start; of_halved && n < end; n++)
                add_halved(of_halved + n * halved, height, width, in, to + n * pixels * in);
        }
    }
    end_product(&product);
    return failed;
}
