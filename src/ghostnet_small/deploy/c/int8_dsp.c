#if GNS_DSP
/*
 * Kernels for Cortex-M4, M7 and M33, whose SMLAD adds two products of 16 bits. Bytes of a pixel's
 * group, or of weights, become two pairs: of channels 0 and 2, and of 1 and 3.
 */
GNS_INLINE gns_word gns_even(gns_word four)
{
    gns_word pair;
    __asm__("uxtb16 %0, %1" : "=r"(pair) : "r"(four));
    return pair;
}
GNS_INLINE gns_word gns_odd(gns_word four)
{
    gns_word pair;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(four));
    return pair;
}
GNS_INLINE gns_word gns_even_weights(gns_word four)
{
    gns_word pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(four));
    return pair;
}
GNS_INLINE gns_word gns_odd_weights(gns_word four)
{
    gns_word pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(four));
    return pair;
}
/* The lower halves of two words, and the upper ones. */
GNS_INLINE gns_word gns_lower(gns_word first, gns_word second)
{
    gns_word pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(first), "r"(second));
    return pair;
}
GNS_INLINE gns_word gns_upper(gns_word first, gns_word second)
{
    gns_word pair;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(first), "r"(second));
    return pair;
}
/*
 * The products of a tap: of four bytes with pairs of weights (0 and 2, 1 and 3); of four numbers of
 * 16 bits, or of two at each of two pixels, with pairs (0 and 1, 2 and 3). `x` and `w` go on. The
 * compiler would keep weights on the stack, so it does not see their loads.
 */
#define GNS_TAP_OF_BYTES(sum, x, w) \
    do { \
        gns_word even_, odd_, first_, second_; \
        __asm__ volatile("ldr %4, [%8], #4\n\t" \
                         "ldrd %6, %7, [%9], #8\n\t" \
                         "uxtb16 %5, %4, ror #8\n\t" \
                         "uxtb16 %4, %4\n\t" \
                         "smlabb %0, %4, %6, %0\n\t" \
                         "smlabb %1, %5, %7, %1\n\t" \
                         "smlatt %2, %4, %6, %2\n\t" \
                         "smlatt %3, %5, %7, %3" \
                         : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3]), "=&r"(even_), \
                           "=&r"(odd_), "=&r"(first_), "=&r"(second_), "+r"(x), "+r"(w) \
                         : \
                         : "memory"); \
    } while (0)
#define GNS_TAP_OF_FOUR(sum, x, w, step) \
    do { \
        gns_word low_, high_, first_, second_; \
        __asm__ volatile("ldrd %4, %5, [%8]\n\t" \
                         "ldrd %6, %7, [%9], #8\n\t" \
                         "add %8, %8, %10\n\t" \
                         "smlabb %0, %4, %6, %0\n\t" \
                         "smlatt %1, %4, %6, %1\n\t" \
                         "smlabb %2, %5, %7, %2\n\t" \
                         "smlatt %3, %5, %7, %3" \
                         : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3]), "=&r"(low_), \
                           "=&r"(high_), "=&r"(first_), "=&r"(second_), "+r"(x), "+r"(w) \
                         : "r"(step) \
                         : "memory"); \
    } while (0)
#define GNS_TAP_OF_PIXELS(sum, x, w, S) \
    do { \
        gns_word one_, other_, both_; \
        __asm__ volatile("ldr %5, [%7, %9]\n\t" \
                         "ldr %4, [%7], #4\n\t" \
                         "ldr %6, [%8], #4\n\t" \
                         "smlabb %0, %4, %6, %0\n\t" \
                         "smlatt %1, %4, %6, %1\n\t" \
                         "smlabb %2, %5, %6, %2\n\t" \
                         "smlatt %3, %5, %6, %3" \
                         : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3]), "=&r"(one_), \
                           "=&r"(other_), "=&r"(both_), "+r"(x), "+r"(w) \
                         : "r"(4 * (S)) \
                         : "memory"); \
    } while (0)

/* The bytes of channels 0 and 2, and of 1 and 3, as pairs. */
typedef struct { gns_word even, odd; } gns_pairs;
GNS_INLINE gns_pairs gns_pairs_of(const gns_byte *at)
{
    const gns_word four = gns_read(at);
    const gns_pairs pairs = {gns_even(four), gns_odd(four)};
    return pairs;
}
/* Four numbers rounded to bytes; see gns_byte_of. */
GNS_INLINE gns_word gns_four_bytes(float a, float b, float c, float d, gns_pairs zero)
{
    gns_word even, odd, second, third;
    __asm__("ssat %0, #16, %4\n\t"
            "ssat %2, #16, %6\n\t"
            "ssat %1, #16, %5\n\t"
            "ssat %3, #16, %7\n\t"
            "pkhbt %0, %0, %2, lsl #16\n\t"
            "pkhbt %1, %1, %3, lsl #16\n\t"
            "qadd16 %0, %0, %8\n\t"
            "qadd16 %1, %1, %9\n\t"
            "usat16 %0, #8, %0\n\t"
            "usat16 %1, #8, %1\n\t"
            "orr %0, %0, %1, lsl #8"
            : "=&r"(even), "=&r"(odd), "=&r"(third), "=&r"(second)
            : "r"(gns_nearest(a)), "r"(gns_nearest(b)), "r"(gns_nearest(c)), "r"(gns_nearest(d)),
              "r"(zero.even), "r"(zero.odd));
    return even;
}
/* Two numbers of 14 bits; see gns_to_wide. What saturates 16 bits is moved to their lower end. */
GNS_INLINE gns_word gns_two_wide(float a, float b, const float least)
{
    gns_word two, second;
    if (least == 0) {
        __asm__("usat %0, #13, %2\n\t"
                "usat %1, #13, %3\n\t"
                "pkhbt %0, %0, %1, lsl #16"
                : "=&r"(two), "=&r"(second)
                : "r"(gns_nearest(a)), "r"(gns_nearest(b)));
        return two;
    }
    __asm__("ssat %0, #14, %2\n\t"
            "ssat %1, #14, %3\n\t"
            "pkhbt %0, %0, %1, lsl #16\n\t"
            "qsub16 %0, %0, %4\n\t"
            "sadd16 %0, %0, %4"
            : "=&r"(two), "=&r"(second)
            : "r"(gns_nearest(a)), "r"(gns_nearest(b)), "r"(24577u * 65537u));
    return two;
}

/* Two numbers of 16 bits, within +-32767. */
GNS_INLINE gns_word gns_two_shorts(float a, float b)
{
    gns_word two, second;
    __asm__("ssat %0, #16, %2\n\t"
            "ssat %1, #16, %3\n\t"
            "pkhbt %0, %0, %1, lsl #16\n\t"
            "qsub16 %0, %0, %4\n\t"
            "sadd16 %0, %0, %4"
            : "=&r"(two), "=&r"(second)
            : "r"(gns_nearest(a)), "r"(gns_nearest(b)), "r"(65537u));
    return two;
}

#if !GNS_HELIUM
/*
 * Sums for four outputs at two pixels, one pixel beside the other: `bias` and the products of pairs
 * from `x`, two pixels side by side, up to `end`, and of those from `w`, four outputs side by side.
 * The number of pairs is even. All sums stay in registers, and are written behind `end`.
 */
__attribute__((naked, noinline)) static void
gns_dot(const gns_word *x __attribute__((unused)), const gns_word *w __attribute__((unused)),
        gns_word *end __attribute__((unused)), const int *bias __attribute__((unused)))
{
#define GNS_STEP \
    "ldrd r12, lr, [r0], #8\n\t" \
    "ldrd r2, r3, [r1], #16\n\t" \
    "smlad r4, r12, r2, r4\n\t" \
    "smlad r5, lr, r2, r5\n\t" \
    "smlad r6, r12, r3, r6\n\t" \
    "smlad r7, lr, r3, r7\n\t" \
    "ldrd r2, r3, [r1, #-8]\n\t" \
    "smlad r8, r12, r2, r8\n\t" \
    "smlad r9, lr, r2, r9\n\t" \
    "smlad r10, r12, r3, r10\n\t" \
    "smlad r11, lr, r3, r11\n\t"
    __asm__("push {r2, r4-r11, lr}\n\t"
            "ldmia r3, {r4, r6, r8, r10}\n\t"
            "mov r5, r4\n\t"
            "mov r7, r6\n\t"
            "mov r9, r8\n\t"
            "mov r11, r10\n"
            "1:\n\t" GNS_STEP GNS_STEP
            "ldr r2, [sp]\n\t"
            "cmp r0, r2\n\t"
            "bne 1b\n\t"
            "stmia r2, {r4-r11}\n\t"
            "pop {r2, r4-r11, pc}");
#undef GNS_STEP
}

GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    /* All weights as pairs once, then of every two pixels all inputs as pairs. */
    const int pairs = IN == 1 ? 2 * inputs : inputs + inputs % 2;
    gns_word *wide = (gns_word *)(void *)scratch, *x = wide + 4 * pairs * fours, *to = wide;
    for (int b = 0; b < fours; b++) {
        for (int i = 0; i < inputs; i++, weight += 16 / IN)
            GNS_UNROLL
            for (int o = 0; o < 4; o += IN, to++) {
                const gns_word four = gns_read((const gns_byte *)weight + 4 * (o / IN));
                const gns_word even = gns_even_weights(four), odd = gns_odd_weights(four);
                if (IN == 1) {
                    to[0] = even;
                    to[4] = odd;
                } else {
                    to[0] = gns_lower(even, odd);
                    to[1] = gns_upper(even, odd);
                    to++;
                }
                if (IN == 1 && o == 3)
                    to += 4;
            }
        for (; to < wide + 4 * pairs * (b + 1); to++)
            *to = 0;
    }
    x[2 * pairs - 2] = x[2 * pairs - 1] = 0;
    for (int p = 0; p < count; p += 2) {
        const int two = p + 1 < count;
        const gns_byte *from = in + 4 * p;
        gns_word *pair = x;
        for (int i = 0; i < inputs; i++, from += in_step, pair += 4 / IN) {
            const gns_word a = gns_read(from), b = gns_read(from + 4 * two);
            pair[0] = IN == 1 ? gns_even(a) : a;
            pair[1] = IN == 1 ? gns_even(b) : b;
            if (IN == 1) {
                pair[2] = gns_odd(a);
                pair[3] = gns_odd(b);
            }
        }
        for (int b = 0; b < fours; b++) {
            const gns_word *sum = x + 2 * pairs;
            const float *f = factor + 4 * b;
            const gns_pairs z = gns_pairs_of(zero + 4 * b);
            gns_byte *made = out + OUT * b * out_step + 4 * p;
            gns_dot(x, wide + 4 * pairs * b, x + 2 * pairs, bias + 4 * b);
            for (int q = 0; q <= two; q++, made += 4) {
                const float v = (float)(int)sum[q] * f[0], u = (float)(int)sum[2 + q] * f[1];
                const float s = (float)(int)sum[4 + q] * f[2], t = (float)(int)sum[6 + q] * f[3];
                if (OUT == 1) {
                    *(gns_word *)(void *)made = gns_four_bytes(v, u, s, t, z);
                } else {
                    *(gns_word *)(void *)made = gns_two_wide(v, u, least);
                    *(gns_word *)(void *)(made + out_step) = gns_two_wide(s, t, least);
                }
            }
        }
    }
    return count;
}
#endif

GNS_INLINE int gns_fast_copy(const gns_byte *in, int pixels, gns_byte *out)
{
    for (int x = 0; x < pixels / 4; x++, in += 16, out += 16) {
        const gns_word a = gns_read(in), b = gns_read(in + 4), c = gns_read(in + 8),
                       d = gns_read(in + 12);
        ((gns_word *)(void *)out)[0] = a;
        ((gns_word *)(void *)out)[1] = b;
        ((gns_word *)(void *)out)[2] = c;
        ((gns_word *)(void *)out)[3] = d;
    }
    return pixels / 4 * 4;
}

#if !GNS_HELIUM
/* A pixel's two numbers from sums of a depth-wise convolution. */
GNS_INLINE gns_word gns_two_rounded(int first, int second, const float *factor,
                                    const gns_byte *shortcut, const float *other)
{
    float a = (float)first * factor[0], b = (float)second * factor[1];
    if (shortcut) {
        const float c = (float)((const short *)(const void *)shortcut)[0] * other[0];
        const float d = (float)((const short *)(const void *)shortcut)[1] * other[1];
        a = a + c;
        b = b + d;
    }
    return gns_two_wide(a, b, -8191);
}
GNS_INLINE gns_word gns_four_rounded(const int *sum, const float *factor, gns_pairs zero)
{
    return gns_four_bytes((float)sum[0] * factor[0], (float)sum[1] * factor[1],
                          (float)sum[2] * factor[2], (float)sum[3] * factor[3], zero);
}
GNS_INLINE int gns_fast_plane(gns_byte *rows, int stride, gns_byte *out, int height, int width,
                              const gns_weight *weight, const int *bias, const float *factor,
                              const gns_byte *zero, const gns_byte *shortcut, const float *other,
                              const int K, const int S, const int IN)
{
    gns_word wide[50];
    gns_pairs z = {0, 0};
    if (IN == 1)
        z = gns_pairs_of(zero);
    for (int t = 0; t < K * K; t++) {
        const gns_weight *w = weight + 8 / IN * (t / 2) + t % 2;
        if (IN == 1) {
            wide[2 * t] = gns_lower((gns_word)w[0], (gns_word)w[4]);
            wide[2 * t + 1] = gns_lower((gns_word)w[2], (gns_word)w[6]);
        } else {
            wide[t] = gns_lower((gns_word)w[0], (gns_word)w[2]);
        }
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x += IN) {
            const gns_word *at = (const gns_word *)(const void *)(rows + 4 * S * (y * stride + x));
            const gns_word *w = wide;
            gns_word *to = (gns_word *)(void *)(out + 4 * (y * width + x));
            int sum[4] = {bias[0], bias[1], bias[IN == 1 ? 2 : 0], bias[IN == 1 ? 3 : 1]};
            for (int i = 0; i < K; i++, at += stride - K) {
                GNS_UNROLL
                for (int j = 0; j < K; j++) {
                    if (IN == 1)
                        GNS_TAP_OF_BYTES(sum, at, w);
                    else
                        GNS_TAP_OF_PIXELS(sum, at, w, S);
                }
            }
            if (IN == 1) {
                *to = gns_four_rounded(sum, factor, z);
            } else {
                /* Two pixels; the second may lie behind the last one. */
                const gns_byte *more = shortcut ? shortcut + 4 * (y * width + x) : 0;
                to[0] = gns_two_rounded(sum[0], sum[1], factor, more, other);
                if (x + 1 < width)
                    to[1] = gns_two_rounded(sum[2], sum[3], factor, more ? more + 4 : 0, other);
            }
        }
    return 1;
}

GNS_INLINE int gns_fast_join(short *map, const short *more, const float *own, const float *other,
                             int count)
{
    for (int p = 0; p < count; p += 2) {
        const float a = (float)map[p] * own[0], b = (float)more[p] * other[0];
        const float c = (float)map[p + 1] * own[1], d = (float)more[p + 1] * other[1];
        *(gns_word *)(void *)(map + p) = gns_two_wide(a + b, c + d, -8191);
    }
    return count;
}
#endif

GNS_INLINE int gns_fast_across(const gns_byte *line, int row, const gns_weight *weight,
                               const int *bias, const float *factor, short *out)
{
    gns_word wide[10];
    for (int t = 0; t < 5; t++) {
        const gns_word four = gns_read((const gns_byte *)weight + 4 * t);
        wide[2 * t] = gns_even_weights(four);
        wide[2 * t + 1] = gns_odd_weights(four);
    }
    for (int p = 0; p < row; p += 4) {
        int sum[4] = {bias[0], bias[1], bias[2], bias[3]};
        const gns_word *x = (const gns_word *)(const void *)(line + p), *w = wide;
        gns_word *to = (gns_word *)(void *)(out + p);
        GNS_UNROLL
        for (int t = 0; t < 5; t++)
            GNS_TAP_OF_BYTES(sum, x, w);
        to[0] = gns_two_shorts((float)sum[0] * factor[0], (float)sum[1] * factor[1]);
        to[1] = gns_two_shorts((float)sum[2] * factor[2], (float)sum[3] * factor[3]);
    }
    return row;
}
GNS_INLINE float gns_sigmoid(float x);
GNS_INLINE int gns_fast_down(const short *in, int row, int count, const gns_weight *weight,
                             const int *bias, const float *factor, const float *times, float *gate)
{
    gns_word wide[10];
    for (int t = 0; t < 5; t++) {
        const gns_word four = gns_read((const gns_byte *)weight + 4 * t);
        const gns_word even = gns_even_weights(four), odd = gns_odd_weights(four);
        wide[2 * t] = gns_lower(even, odd);
        wide[2 * t + 1] = gns_upper(even, odd);
    }
    for (int p = 0; p < count; p += 4) {
        int sum[4] = {bias[0], bias[1], bias[2], bias[3]};
        const gns_word *x = (const gns_word *)(const void *)(in + p), *w = wide;
        GNS_UNROLL
        for (int t = 0; t < 5; t++)
            GNS_TAP_OF_FOUR(sum, x, w, 2 * row);
        GNS_UNROLL
        for (int k = 0; k < 4; k++)
            gate[p + k] = gns_sigmoid((float)sum[k] * factor[k]) * times[k];
    }
    return count;
}
#if !GNS_HELIUM
/* The signed lower half of a word as a number. */
GNS_INLINE float gns_lower_float(gns_word pair)
{
    union { float f; gns_word i; } bits;
    bits.i = pair;
    __asm__("vcvt.f32.s16 %0, %0, #0" : "+t"(bits.f));
    return bits.f;
}
GNS_INLINE gns_word gns_four_scaled(gns_word four, const float *weight, gns_pairs mark,
                                    gns_pairs zero)
{
    gns_word even, odd;
    __asm__("ssub16 %0, %1, %2" : "=r"(even) : "r"(gns_even(four)), "r"(mark.even));
    __asm__("ssub16 %0, %1, %2" : "=r"(odd) : "r"(gns_odd(four)), "r"(mark.odd));
    return gns_four_bytes(gns_lower_float(even) * weight[0], gns_lower_float(odd) * weight[1],
                          gns_lower_float(even >> 16) * weight[2],
                          gns_lower_float(odd >> 16) * weight[3], zero);
}
GNS_INLINE int gns_fast_stretched(const float *gate, int in_width, const gns_byte *columns,
                                  int width, const gns_byte *mark, const gns_byte *zero,
                                  gns_byte *to)
{
    const gns_pairs m = gns_pairs_of(mark), z = gns_pairs_of(zero);
    gns_word *four = (gns_word *)(void *)to;
    (void)in_width;
    for (int x = 0; x < width; x++)
        four[x] = gns_four_scaled(four[x], gate + 4 * columns[x], m, z);
    return width;
}
GNS_INLINE int gns_fast_scale(gns_byte *map, int count, const float *weight, const gns_byte *mark,
                              const gns_byte *zero)
{
    const gns_pairs m = gns_pairs_of(mark), z = gns_pairs_of(zero);
    gns_word *four = (gns_word *)(void *)map;
    for (int p = 0; p < count / 4; p++)
        four[p] = gns_four_scaled(four[p], weight, m, z);
    return count;
}
#endif

GNS_INLINE int gns_fast_sums(const short *whole, int inputs, const gns_weight *weight, int left,
                             int *sum)
{
    int o = 0;
    for (; o + 4 <= left; o += 4) {
        const gns_weight *w = weight + 2 * o;
        int a = 0, b = 0, c = 0, d = 0;
        for (int i = 0; i < inputs; i += 2, w += 2 * left) {
            const gns_word x = *(const gns_word *)(const void *)(whole + i);
            const gns_word two = gns_read((const gns_byte *)w), more = gns_read((const gns_byte *)w + 4);
            gns_word even = gns_even_weights(two), odd = gns_odd_weights(two);
            __asm__("smlad %0, %1, %2, %0" : "+r"(a) : "r"(x), "r"(gns_lower(even, odd)));
            __asm__("smlad %0, %1, %2, %0" : "+r"(b) : "r"(x), "r"(gns_upper(even, odd)));
            even = gns_even_weights(more);
            odd = gns_odd_weights(more);
            __asm__("smlad %0, %1, %2, %0" : "+r"(c) : "r"(x), "r"(gns_lower(even, odd)));
            __asm__("smlad %0, %1, %2, %0" : "+r"(d) : "r"(x), "r"(gns_upper(even, odd)));
        }
        sum[o] = a;
        sum[o + 1] = b;
        sum[o + 2] = c;
        sum[o + 3] = d;
    }
    return o;
}
#endif
