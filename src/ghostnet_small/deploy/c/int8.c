/*
 * The operators in 8 bits. The maps of many channels, inside the blocks, hold bytes, four channels
 * side by side: group after group, pixel after pixel, four bytes. A byte b of a channel stands for
 * (b - zero) * scale. The maps between the blocks, of few channels, hold numbers of 14 bits, two
 * channels side by side, again in four bytes a pixel; w stands for w * scale. All weights have 8 bits.
 * Products are summed in 32 bits, whole numbers, in any order; what becomes of a sum is computed in
 * float32 in one order, so every machine gets the same answers, with vectors or without. That holds
 * as long as the compiler does not fuse a multiplication and an addition: -ffp-contract=off, which
 * -std=c99 implies.
 *
 * First come the kernels of the cores that have any, of which the compiler takes one's; then the
 * operators. A kernel gns_fast_NAME does the first so many of what is to be done, and returns how
 * many; plain C does the others. Without a kernel that is all, as with GNS_PLAIN.
 */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__) && !defined(GNS_PLAIN)
#define GNS_GNU 1
#else
#define GNS_GNU 0
#endif
#if GNS_GNU && defined(__AVX512F__) && defined(__AVX512BW__) && \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define GNS_VNNI 1
#else
#define GNS_VNNI 0
#endif
#if GNS_GNU && defined(__AVX2__) && !GNS_VNNI
#define GNS_AVX2 1
#else
#define GNS_AVX2 0
#endif
#if GNS_GNU && defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)
#define GNS_NEON 1
#else
#define GNS_NEON 0
#endif
/* Cortex-M4, M7, M33: two products of 16 bits at once, and a unit for float32. */
#if GNS_GNU && defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__ARM_FP) && \
    !defined(__ARM_BIG_ENDIAN)
#define GNS_DSP 1
#else
#define GNS_DSP 0
#endif
/* Cortex-M55, M85. Bit 1: its vectors hold float32 too. */
#if GNS_DSP && defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define GNS_HELIUM 1
#else
#define GNS_HELIUM 0
#endif

#if GNS_GNU
#define GNS_INLINE static inline __attribute__((always_inline))
#define GNS_TABLE static const __attribute__((aligned(4)))
#define GNS_LARGE static const __attribute__((aligned(64)))
#else
#define GNS_INLINE static inline
#define GNS_TABLE static const
#define GNS_LARGE static const
#endif

/* Before a short loop of which no round should be one. */
#if GNS_GNU && defined(__clang__)
#define GNS_UNROLL _Pragma("clang loop unroll(full)")
#elif GNS_GNU
#define GNS_UNROLL _Pragma("GCC unroll 8")
#else
#define GNS_UNROLL
#endif

typedef unsigned char gns_byte;
typedef signed char gns_weight;
#if GNS_GNU
typedef unsigned gns_word __attribute__((may_alias));
#else
typedef unsigned gns_word;
#endif

GNS_INLINE void gns_copy4(const gns_byte *in, gns_byte *out)
{
#if GNS_GNU
    __builtin_memcpy(out, in, 4);
#else
    for (int k = 0; k < 4; k++)
        out[k] = in[k];
#endif
}
#if GNS_DSP
/* To the nearest whole number, of two the even one; within 32 bits. */
GNS_INLINE int gns_nearest(float x)
{
    union { float f; int i; } bits;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(bits.f) : "t"(x));
    return bits.i;
}
GNS_INLINE int gns_round(float x)
{
    int v;
    __asm__("ssat %0, #16, %1" : "=r"(v) : "r"(gns_nearest(x)));
    return v < -32767 ? -32767 : v;
}
GNS_INLINE int gns_byte_of(float x, int zero)
{
    int v;
    __asm__("qadd %0, %1, %2\n\tusat %0, #8, %0" : "=&r"(v) : "r"(gns_nearest(x)), "r"(zero));
    return v;
}
GNS_INLINE int gns_to_wide(float x, const float least)
{
    int v;
    if (least == 0) {
        __asm__("usat %0, #13, %1" : "=r"(v) : "r"(gns_nearest(x)));
        return v;
    }
    __asm__("ssat %0, #14, %1" : "=r"(v) : "r"(gns_nearest(x)));
    return v < -8191 ? -8191 : v;
}
#else
/* To the nearest whole number, of two the even one; within +-32767. */
GNS_INLINE int gns_round(float x)
{
    union { float f; int i; } bits;
    x = x < -32767.0f ? -32767.0f : x > 32767.0f ? 32767.0f : x;
    /* Added to 1.5 * 2^23, a number is rounded to a whole one, and its bits hold that one. */
    bits.f = x + 12582912.0f;
    return bits.i - 0x4b400000;
}
/* A number rounded to a byte, whose zero is `zero`. */
GNS_INLINE int gns_byte_of(float x, int zero)
{
    const int v = gns_round(x) + zero;
    return v < 0 ? 0 : v > 255 ? 255 : v;
}
/* Of 14 bits, so that sums of many products fit into 32; `least` of 0 makes it a ReLU. */
GNS_INLINE int gns_to_wide(float x, const float least)
{
    return gns_round(x < least ? least : x > 8191.0f ? 8191.0f : x);
}
#endif
GNS_INLINE gns_word gns_read(const gns_byte *at)
{
    gns_word four;
    gns_copy4(at, (gns_byte *)&four);
    return four;
}

/* The end of 1 / (1 + exp(-x)): exp is a power of two times a polynomial. */
#define GNS_SIGMOID_STEPS(MUL, ADD, ALL) \
    sum = ALL(1.9875691500e-4f); \
    sum = ADD(MUL(sum, rest), ALL(1.3981999507e-3f)); \
    sum = ADD(MUL(sum, rest), ALL(8.3334519073e-3f)); \
    sum = ADD(MUL(sum, rest), ALL(4.1665795894e-2f)); \
    sum = ADD(MUL(sum, rest), ALL(1.6666665459e-1f)); \
    sum = ADD(MUL(sum, rest), ALL(5.0000001201e-1f)); \
    sum = ADD(ADD(MUL(MUL(sum, rest), rest), rest), ALL(1.0f))
