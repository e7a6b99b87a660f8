/* What lies between products: the mean of each picture's pixels, activations, a matrix turned. */

#if REAL_BYTES == 4
typedef int32_t bits;
#define EXPONENT_SHIFT 23
#define EXPONENT_BIAS 127
#define TERMS 7
#define LOWEST ((REAL)-87)
#define HIGHEST ((REAL)88)
/* The first part of ln 2 has so few digits that its product with an exponent is exact. */
#define LN2 ((REAL)0.693359375)
#define LN2_REST ((REAL)-2.12194440054690583e-4)
#else
typedef int64_t bits;
#define EXPONENT_SHIFT 52
#define EXPONENT_BIAS 1023
#define TERMS 13
#define LOWEST ((REAL)-708)
#define HIGHEST ((REAL)709)
#define LN2 ((REAL)6.93147180369123816490e-01)
#define LN2_REST ((REAL)1.90821492927058770002e-10)
#endif

/* e^x, right to some units in the last place, without a branch, so that loops of it become vectors:
   2^n e^r with |r| <= ln 2 / 2, and e^r by its series. A number that is none stays none. */
INLINE REAL exponential(REAL x) {
    const REAL within = x < LOWEST ? LOWEST : x > HIGHEST ? HIGHEST : x;
    /* Adding and subtracting 1.5 * 2^(digits - 1) rounds to an integer. */
    const REAL magic = (REAL)((bits)3 << (EXPONENT_SHIFT - 1));
    const REAL n = (within * (REAL)1.44269504088896340736 + magic) - magic;
    const REAL r = within - n * LN2 - n * LN2_REST;
    REAL sum = 1;
#pragma GCC unroll 16
    for (int k = TERMS; k > 0; k--) sum = sum * r * ((REAL)1 / k) + 1;
    union { bits i; REAL x; } power = {((bits)n + EXPONENT_BIAS) << EXPONENT_SHIFT};
    return sum * power.x;
}

/* x becomes 1 / (1 + e^-x). */
EXPORT int sigmoid(int64_t numbers, REAL *x) {
    const Cut cut = cut_of(numbers, 4096, 16);
    IN_PIECES(start, cut) {
        const int64_t end = up_to(start + 4096, numbers);
        for (int64_t i = start; i < end; i++) x[i] = 1 / (1 + exponential(-x[i]));
    }
    return 0;
}

/* to (columns, rows) = from (rows, columns), in squares that a cache holds. */
EXPORT int turned(int rows, int columns, const REAL *from, REAL *to) {
    enum { SIDE = 16 };
    for (int r = 0; r < rows; r += SIDE)
        for (int c = 0; c < columns; c += SIDE)
            for (int i = c; i < least(c + SIDE, columns); i++)
                for (int k = r; k < least(r + SIDE, rows); k++)
                    to[(size_t)i * rows + k] = from[(size_t)k * columns + i];
    return 0;
}

/* The mean of the pixels of each picture: (count, pixels, channels) to (count, channels). */
EXPORT int means_of_pixels(const REAL *x, int64_t count, int64_t pixels, int channels,
                           REAL *means) {
    const Cut cut = cut_of(count, 1, (double)pixels * channels);
    IN_PIECES(n, cut)
        pixel_means(x + n * pixels * channels, NULL, pixels, channels, means + n * channels);
    return 0;
}

/* Back: each pixel of `to` (count, pixels, channels) has the same share of g (count, channels). */
EXPORT int means_of_pixels_gradient(const REAL *g, int64_t count, int64_t pixels, int channels,
                                    REAL *to) {
    const Cut cut = cut_of(count, 1, (double)pixels * channels);
    IN_PIECES(n, cut) {
        const REAL *from = g + n * channels;
        REAL *out = to + n * pixels * channels;
        for (int c = 0; c < channels; c++) out[c] = from[c] / (REAL)pixels;
        for (int64_t p = 1; p < pixels; p++)
            memcpy(out + p * channels, out, channels * sizeof(REAL));
    }
    return 0;
}

/* to = g where the ReLU's output is above zero. */
EXPORT int relu_gradient(int64_t numbers, const REAL *g, const REAL *out, REAL *to) {
    relu_slopes(numbers, g, out, to);
    return 0;
}
