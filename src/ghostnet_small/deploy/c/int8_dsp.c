#if GNS_DSP && !GNS_HELIUM
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
GNS_INLINE gns_word gns_two_near(int a, int b, const float least)
{
    gns_word two, second;
    if (least == 0) {
        __asm__("usat %0, #13, %2\n\t"
                "usat %1, #13, %3\n\t"
                "pkhbt %0, %0, %1, lsl #16"
                : "=&r"(two), "=&r"(second)
                : "r"(a), "r"(b));
        return two;
    }
    __asm__("ssat %0, #14, %2\n\t"
            "ssat %1, #14, %3\n\t"
            "pkhbt %0, %0, %1, lsl #16\n\t"
            "qsub16 %0, %0, %4\n\t"
            "sadd16 %0, %0, %4"
            : "=&r"(two), "=&r"(second)
            : "r"(a), "r"(b), "r"(24577u * 65537u));
    return two;
}
GNS_INLINE gns_word gns_two_wide(float a, float b, const float least)
{
    return gns_two_near(gns_nearest(a), gns_nearest(b), least);
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

/* Two words of memory; `at` goes on. The compiler would load one after the other, and keep weights on
 * the stack. */
#define GNS_LOAD_TWO(first, second, at, step) \
    __asm__ volatile("ldrd %0, %1, [%2], " step \
                     : "=&r"(first), "=&r"(second), "+r"(at) \
                     : \
                     : "memory")
/*
 * Four outputs after the other of a 1x1 convolution, at two pixels, one beside the other: `bias`, up to
 * `last`, and the products of pairs from `x` to `end`, two pixels side by side, and of those from
 * `wide`, four outputs side by side. The number of pairs is even. All sums stay in registers, where
 * they become numbers to the nearest whole one in order of outputs and, within, of pixels. `rounded`
 * packs these, and stores them at `out`.
 */
typedef struct {
    const gns_word *x, *end, *wide;
    const int *bias, *last;
    const float *factor;
    const gns_byte *zero;
    gns_byte *out;
    int step;
} gns_dots;
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
#define GNS_EIGHT(what) \
    what " s0, s0\n\t" what " s1, s1\n\t" what " s2, s2\n\t" what " s3, s3\n\t" \
    what " s4, s4\n\t" what " s5, s5\n\t" what " s6, s6\n\t" what " s7, s7\n\t"
#define GNS_DOTS(name, rounded) \
    __attribute__((naked, noinline, unused)) static void name( \
        gns_dots *about __attribute__((unused))) \
    { \
        __asm__("ldr r1, [r0, #8]\n\t" \
                "ldr r2, [r0, #4]\n\t" \
                "push {r2, r4-r11, lr}\n\t" \
                "push {r0}\n" \
                "3:\n\t" \
                "ldr r2, [r0, #12]\n\t" \
                "ldmia r2!, {r4, r6, r8, r10}\n\t" \
                "str r2, [r0, #12]\n\t" \
                "mov r5, r4\n\t" \
                "mov r7, r6\n\t" \
                "mov r9, r8\n\t" \
                "mov r11, r10\n\t" \
                "ldr r0, [r0]\n" \
                "1:\n\t" GNS_STEP GNS_STEP \
                "ldr r2, [sp, #4]\n\t" \
                "cmp r0, r2\n\t" \
                "bne 1b\n\t" \
                "ldr r0, [sp]\n\t" \
                "ldr r2, [r0, #20]\n\t" \
                "vldmia r2!, {s8-s11}\n\t" \
                "str r2, [r0, #20]\n\t" \
                "vmov s0, s1, r4, r5\n\t" \
                "vmov s2, s3, r6, r7\n\t" \
                "vmov s4, s5, r8, r9\n\t" \
                "vmov s6, s7, r10, r11\n\t" GNS_EIGHT("vcvt.f32.s32") \
                "vmul.f32 s0, s0, s8\n\t" \
                "vmul.f32 s1, s1, s8\n\t" \
                "vmul.f32 s2, s2, s9\n\t" \
                "vmul.f32 s3, s3, s9\n\t" \
                "vmul.f32 s4, s4, s10\n\t" \
                "vmul.f32 s5, s5, s10\n\t" \
                "vmul.f32 s6, s6, s11\n\t" \
                "vmul.f32 s7, s7, s11\n\t" GNS_EIGHT("vcvtr.s32.f32") \
                "vmov r4, r5, s0, s1\n\t" \
                "vmov r6, r7, s2, s3\n\t" \
                "vmov r8, r9, s4, s5\n\t" \
                "vmov r10, r11, s6, s7\n\t" rounded \
                "str r12, [r0, #28]\n\t" \
                "ldrd r2, r3, [r0, #12]\n\t" \
                "cmp r2, r3\n\t" \
                "bne 3b\n\t" \
                "add sp, #8\n\t" \
                "pop {r4-r11, pc}"); \
    }
#define GNS_SATURATE(how) \
    how("r4") how("r5") how("r6") how("r7") how("r8") how("r9") how("r10") how("r11")
#define GNS_PACK(a, b) "pkhbt " a ", " a ", " b ", lsl #16\n\t"
/* To bytes: see gns_byte_of. */
#define GNS_SSAT16(r) "ssat " r ", #16, " r "\n\t"
#define GNS_TO_BYTE(r, zero) "qadd16 " r ", " r ", " zero "\n\tusat16 " r ", #8, " r "\n\t"
GNS_DOTS(gns_dots_bytes,
         "ldr r3, [r0, #24]\n\t"
         "ldr r2, [r3], #4\n\t"
         "str r3, [r0, #24]\n\t"
         "uxtb16 r3, r2, ror #8\n\t"
         "uxtb16 r2, r2\n\t"
         GNS_SATURATE(GNS_SSAT16)
         GNS_PACK("r4", "r8") GNS_PACK("r5", "r9") GNS_PACK("r6", "r10") GNS_PACK("r7", "r11")
         GNS_TO_BYTE("r4", "r2") GNS_TO_BYTE("r5", "r2")
         GNS_TO_BYTE("r6", "r3") GNS_TO_BYTE("r7", "r3")
         "orr r4, r4, r6, lsl #8\n\t"
         "orr r5, r5, r7, lsl #8\n\t"
         "ldrd r12, lr, [r0, #28]\n\t"
         "strd r4, r5, [r12]\n\t"
         "add r12, lr\n\t")
/* To pairs, with and without numbers below zero: see gns_two_near. */
#define GNS_SSAT14(r) "ssat " r ", #14, " r "\n\t"
#define GNS_USAT13(r) "usat " r ", #13, " r "\n\t"
#define GNS_LEAST(r) "qsub16 " r ", " r ", r2\n\tsadd16 " r ", " r ", r2\n\t"
#define GNS_TO_PAIRS(how, least) \
    GNS_SATURATE(how) \
    GNS_PACK("r4", "r6") GNS_PACK("r5", "r7") GNS_PACK("r8", "r10") GNS_PACK("r9", "r11") least \
    "ldrd r12, lr, [r0, #28]\n\t" \
    "strd r4, r5, [r12]\n\t" \
    "add r12, lr\n\t" \
    "strd r8, r9, [r12]\n\t" \
    "add r12, lr\n\t"
GNS_DOTS(gns_dots_pairs,
         GNS_TO_PAIRS(GNS_SSAT14, "movw r2, #24577\n\tmovt r2, #24577\n\t"
                      GNS_LEAST("r4") GNS_LEAST("r5") GNS_LEAST("r8") GNS_LEAST("r9")))
GNS_DOTS(gns_dots_relu, GNS_TO_PAIRS(GNS_USAT13, ""))

GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    if (count < 2)
        return 0;
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
        /* The last pixel of an odd number is done with the one before it, which comes out the same. */
        const int first = p + 1 < count ? p : p - 1;
        gns_dots about = {x, x + 2 * pairs, wide, bias, bias + 4 * fours, factor, zero,
                          out + 4 * first, out_step};
        const gns_byte *from = in + 4 * first;
        gns_word *pair = x;
        for (int i = 0; i < inputs; i++, from += in_step, pair += 4 / IN) {
            gns_word a, b;
            GNS_LOAD_TWO(a, b, from, "#0");
            pair[0] = IN == 1 ? gns_even(a) : a;
            pair[1] = IN == 1 ? gns_even(b) : b;
            if (IN == 1) {
                pair[2] = gns_odd(a);
                pair[3] = gns_odd(b);
            }
        }
        if (OUT == 1)
            gns_dots_bytes(&about);
        else if (least == 0)
            gns_dots_relu(&about);
        else
            gns_dots_pairs(&about);
    }
    return count;
}

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

/* Two numbers in float32. */
GNS_INLINE double gns_times_two(int first, int second, float a, float b)
{
    double two;
    __asm__("vmov %P0, %1, %2\n\t"
            "vcvt.f32.s32 %0, %0\n\t"
            "vcvt.f32.s32 %p0, %p0\n\t"
            "vmul.f32 %0, %0, %3\n\t"
            "vmul.f32 %p0, %p0, %4"
            : "=&w"(two)
            : "r"(first), "r"(second), "t"(a), "t"(b));
    return two;
}
GNS_INLINE double gns_add_two(double a, double b)
{
    __asm__("vadd.f32 %0, %0, %1\n\tvadd.f32 %p0, %p0, %p1" : "+w"(a) : "w"(b));
    return a;
}
/* See gns_nearest. */
GNS_INLINE void gns_nearest_two(double two, int *first, int *second)
{
    __asm__("vcvtr.s32.f32 %2, %2\n\tvcvtr.s32.f32 %p2, %p2\n\tvmov %0, %1, %P2"
            : "=&r"(*first), "=&r"(*second), "+w"(two));
}
GNS_INLINE int gns_byte_near(int x, int zero)
{
    int v;
    __asm__("qadd %0, %1, %2\n\tusat %0, #8, %0" : "=&r"(v) : "r"(x), "r"(zero));
    return v;
}
/*
 * Takes two channels apart, the lower and the upper halves of words, into planes of rows of `words`
 * words, with `edge` pixels of `pad` around them. Of bytes these are channels 0 and 2, or, with a
 * `shift` of 8, 1 and 3.
 */
GNS_INLINE gns_word gns_half_of(gns_word four, int shift, const int IN)
{
    return IN == 1 ? gns_even(four >> shift) : four;
}
GNS_INLINE void gns_apart(const gns_byte *in, int height, int width, int edge, int words,
                          gns_word pad, int shift, gns_word *lower, const int IN)
{
    const int step = words * (height + 2 * edge);
    const gns_word below = gns_lower(pad, pad), above = gns_upper(pad, pad);
    for (gns_word *to = lower, *end = lower + step; to < end; to++) {
        to[0] = below;
        to[step] = above;
    }
    lower += words * edge + edge / 2;
    for (int y = 0; y < height; y++, lower += words) {
        const gns_word *at = (const gns_word *)(const void *)in + y * width, *end = at + width;
        gns_word *to = lower;
        if (edge % 2) {
            const gns_word one = gns_half_of(*at++, shift, IN);
            to[0] = gns_lower(pad, one);
            to[step] = gns_upper(pad, one);
            to++;
        }
        for (; at < end - 1; at += 2, to++) {
            const gns_word one = gns_half_of(at[0], shift, IN);
            const gns_word two = gns_half_of(at[1], shift, IN);
            to[0] = gns_lower(one, two);
            to[step] = gns_upper(one, two);
        }
        if (at < end) {
            const gns_word one = gns_half_of(*at, shift, IN);
            to[0] = gns_lower(one, pad);
            to[step] = gns_upper(one, pad);
        }
    }
}
#define GNS_MAC(how, sum, x, w) __asm__(how " %0, %1, %2, %0" : "+r"(sum) : "r"(x), "r"(w))
/*
 * Two channels are taken apart into planes of 16 bits. Two pixels of a channel, one beside the other,
 * are summed at once: every two taps that lie side by side have their weights in one word.
 */
GNS_INLINE int gns_fast_depth(const gns_byte *in, int in_height, int in_width, const gns_byte *pad,
                              gns_byte *out, int height, int width, const gns_weight *weight,
                              const int *bias, const float *factor, const gns_byte *zero,
                              const gns_byte *shortcut, const float *other, gns_byte *scratch,
                              const int K, const int S, const int IN)
{
    const int side = 4 / IN, words = (in_width + K) / 2;
    gns_word *const planes = (gns_word *)(void *)scratch;
    for (int c = 0; c < side; c++) {
        /* Channels 0, 2, 1, 3 of bytes. */
        const int k = IN == 1 ? c % 2 * 2 + c / 2 : c, b = bias[k], z = IN == 1 ? zero[k] : 0;
        const float f = factor[k], g = IN == 2 && shortcut ? other[k] : 0;
        const gns_word *row = planes + c % 2 * words * (in_height + K - 1);
        gns_byte *to = out + IN * k;
        const gns_byte *more = shortcut ? shortcut + IN * k : 0;
        gns_word wide[20];
        if (c % 2 == 0)
            gns_apart(in, in_height, in_width, K / 2, words,
                      IN == 1 ? gns_half_of(gns_read(pad), 4 * c, IN) : 0, 4 * c, planes, IN);
        GNS_UNROLL
        for (int i = 0; i < K; i++)
            GNS_UNROLL
            for (int j = 0; j < K - 1; j++) {
                const int t = K * i + j, u = t + 1;
                wide[(K - 1) * i + j] =
                    gns_lower((gns_word)weight[2 * side * (t / 2) + 2 * k + t % 2],
                              (gns_word)weight[2 * side * (u / 2) + 2 * k + u % 2]);
            }
        for (int y = 0; y < height; y++, row += S * words) {
            const gns_word *at[5];
            GNS_UNROLL
            for (int i = 0; i < K; i++)
                at[i] = row + i * words;
            for (int left = width; left > 0; left -= 2) {
                const gns_word *w = wide;
                int first = b, second = b;
                GNS_UNROLL
                for (int i = 0; i < K; i++) {
                    gns_word v[4], px[4];
                    GNS_UNROLL
                    for (int j = 0; j < K - 1; j += 2)
                        GNS_LOAD_TWO(v[j], v[j + 1], w, "#8");
                    if (S == 1)
                        GNS_LOAD_TWO(px[0], px[1], at[i], "#4");
                    else
                        GNS_LOAD_TWO(px[0], px[1], at[i], "#8");
                    GNS_UNROLL
                    for (int j = 2; j < K / 2 + S; j++)
                        px[j] = at[i][j - S];
                    GNS_UNROLL
                    for (int j = 0; j < K - 1; j += 2)
                        GNS_MAC("smlad", first, px[j / 2], v[j]);
                    GNS_MAC("smlabt", first, px[K / 2], v[K - 2]);
                    if (S == 1) {
                        GNS_MAC("smlatb", second, px[0], v[0]);
                        GNS_UNROLL
                        for (int j = 1; j < K - 1; j += 2)
                            GNS_MAC("smlad", second, px[(j + 1) / 2], v[j]);
                    } else {
                        GNS_UNROLL
                        for (int j = 0; j < K - 1; j += 2)
                            GNS_MAC("smlad", second, px[j / 2 + 1], v[j]);
                        GNS_MAC("smlabt", second, px[K / 2 + 1], v[K - 2]);
                    }
                }
                double two = gns_times_two(first, second, f, f);
                if (IN == 2 && shortcut) {
                    const short *add = (const short *)(const void *)more;
                    two = gns_add_two(two, gns_times_two(add[0], left > 1 ? add[2] : 0, g, g));
                    more += 8;
                }
                gns_nearest_two(two, &first, &second);
                if (IN == 1) {
                    to[0] = (gns_byte)gns_byte_near(first, z);
                    second = gns_byte_near(second, z);
                } else {
                    first = (int)gns_two_near(first, second, -8191);
                    *(short *)(void *)to = (short)first;
                    second = first >> 16;
                }
                to += 4;
                if (left == 1)
                    break;
                if (IN == 1)
                    to[0] = (gns_byte)second;
                else
                    *(short *)(void *)to = (short)second;
                to += 4;
            }
            if (shortcut && width % 2)
                more -= 4;
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
