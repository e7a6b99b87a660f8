/*
 * The operators in 8 bits. The maps of many channels, inside the blocks, hold bytes, four channels
 * side by side: group after group, pixel after pixel, four bytes. A byte b of a channel stands for
 * (b - zero) * scale. The maps between the blocks, of few channels, hold numbers of 14 bits, two
 * channels side by side, again in four bytes a pixel; w stands for w * scale. All weights have 8 bits.
 * Products are summed in 32 bits, whole numbers, in any order; what becomes of a sum is computed in
 * float32 in one order, so every machine gets the same answers, with vectors or without. That holds
 * as long as the compiler does not fuse a multiplication and an addition: -ffp-contract=off, which
 * -std=c99 implies.
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
#include <immintrin.h>
#else
#define GNS_VNNI 0
#endif

#if GNS_GNU
#define GNS_INLINE static inline __attribute__((always_inline))
#define GNS_TABLE static const
#define GNS_LARGE static const __attribute__((aligned(64)))
#else
#define GNS_INLINE static inline
#define GNS_TABLE static const
#define GNS_LARGE static const
#endif

typedef unsigned char gns_byte;
typedef signed char gns_weight;
#if GNS_GNU
typedef double gns_double __attribute__((may_alias, aligned(4)));
#endif

/* To the nearest whole number, of two the even one; within +-32767. */
GNS_INLINE int gns_round(float x)
{
    union { float f; int i; } bits;
    x = x < -32767.0f ? -32767.0f : x > 32767.0f ? 32767.0f : x;
    /* Added to 1.5 * 2^23, a number is rounded to a whole one, and its bits hold that one. */
    bits.f = x + 12582912.0f;
    return bits.i - 0x4b400000;
}
GNS_INLINE gns_byte gns_to_byte(int v)
{
    return (gns_byte)(v < 0 ? 0 : v > 255 ? 255 : v);
}
/* Of 14 bits, so that sums of many products fit into 32; `least` of 0 makes it a ReLU. */
GNS_INLINE short gns_to_wide(float x, const float least)
{
    return (short)gns_round(x < least ? least : x > 8191.0f ? 8191.0f : x);
}
GNS_INLINE void gns_copy4(const gns_byte *in, gns_byte *out)
{
    for (int k = 0; k < 4; k++)
        out[k] = in[k];
}

#if GNS_VNNI
GNS_INLINE __m512i gns_round16(__m512 x)
{
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-32767)), _mm512_set1_ps(32767));
    return _mm512_cvtps_epi32(x);
}
/* Sixteen numbers become bytes in 32 bits each. */
GNS_INLINE __m512i gns_bytes16(__m512 x, __m512i zero)
{
    __m512i v = _mm512_add_epi32(gns_round16(x), zero);
    v = _mm512_max_epi32(v, _mm512_setzero_si512());
    return _mm512_min_epi32(v, _mm512_set1_epi32(255));
}
GNS_INLINE __m512 gns_times(__m512i sum, __m512 factor)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), factor);
}
GNS_INLINE __m512i gns_wide16(__m512 x, const float least)
{
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(least)), _mm512_set1_ps(8191));
    return _mm512_cvtps_epi32(x);
}
/* Sixteen bytes as float32, and back. */
GNS_INLINE __m512 gns_load16(const gns_byte *in)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)in)));
}
GNS_INLINE __m128i gns_pack16(__m512 x, __m512i zero)
{
    __m512i v = _mm512_add_epi32(gns_round16(x), zero);
    return _mm512_cvtusepi32_epi8(_mm512_max_epi32(v, _mm512_setzero_si512()));
}
/* Four numbers, one a channel, for four pixels. */
GNS_INLINE __m512 gns_four_floats(const float *at)
{
    return _mm512_broadcast_f32x4(_mm_loadu_ps(at));
}
GNS_INLINE __m512i gns_four_ints(const int *at)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)at));
}
GNS_INLINE __m512i gns_four_bytes(const gns_byte *at)
{
    int four;
    __builtin_memcpy(&four, at, 4);
    return _mm512_cvtepu8_epi32(_mm_set1_epi32(four));
}
#define GNS_LEFT(count) \
    ((count) >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (count)) - 1))

/* 4 * B outputs at 16 * V pixels, `left` of them in the last sixteen; see gns_points. */
GNS_INLINE void gns_tile(const gns_byte *in, int inputs, int in_step, gns_byte *out, int out_step,
                         const gns_weight *weight, const int *bias, const float *factor,
                         const gns_byte *zero, int left, const int IN, const int OUT,
                         const float least, const int B, const int V)
{
    __m512i sum[8][4];
    const int four = 16 / IN, block = four * inputs;
    const __mmask16 mask = GNS_LEFT(left);
    for (int o = 0; o < 4 * B; o++)
        for (int v = 0; v < V; v++)
            sum[o][v] = _mm512_set1_epi32(bias[o]);
    for (int i = 0; i < inputs; i++, in += in_step, weight += four) {
        __m512i w[8];
        for (int b = 0; b < B; b++) {
            const gns_weight *at = weight + b * block;
            /* Every output's two or four weights in 32 bits. */
            __m128i few = IN == 1 ? _mm_loadu_si128((const __m128i *)at)
                                  : _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)at));
            for (int o = 0; o < 4; o++)
                w[4 * b + o] = _mm512_permutexvar_epi32(_mm512_set1_epi32(o),
                                                        _mm512_castsi128_si512(few));
        }
        for (int v = 0; v < V; v++) {
            __m512i x = v < V - 1 ? _mm512_loadu_si512(in + 64 * v)
                                  : _mm512_maskz_loadu_epi32(mask, in + 64 * v);
            for (int o = 0; o < 4 * B; o++)
                sum[o][v] = IN == 1 ? _mm512_dpbusd_epi32(sum[o][v], x, w[o])
                                    : _mm512_dpwssd_epi32(sum[o][v], x, w[o]);
        }
    }
    for (int b = 0; b < B; b++)
        for (int v = 0; v < V; v++) {
            gns_byte *to = out + OUT * b * out_step + 64 * v;
            const __mmask16 which = v < V - 1 ? (__mmask16)0xffff : mask;
            __m512i r[4];
            for (int o = 0; o < 4; o++) {
                const int k = 4 * b + o;
                const __m512 x = gns_times(sum[k][v], _mm512_set1_ps(factor[k]));
                r[o] = OUT == 1 ? gns_bytes16(x, _mm512_set1_epi32(zero[k])) : gns_wide16(x, least);
            }
            if (OUT == 1) {
                r[0] = _mm512_or_si512(r[0], _mm512_slli_epi32(r[1], 8));
                r[2] = _mm512_or_si512(r[2], _mm512_slli_epi32(r[3], 8));
                _mm512_mask_storeu_epi32(
                    to, which, _mm512_or_si512(r[0], _mm512_slli_epi32(r[2], 16)));
            } else {
                const __m512i low = _mm512_set1_epi32(0xffff);
                r[0] = _mm512_or_si512(_mm512_and_si512(r[0], low), _mm512_slli_epi32(r[1], 16));
                r[2] = _mm512_or_si512(_mm512_and_si512(r[2], low), _mm512_slli_epi32(r[3], 16));
                _mm512_mask_storeu_epi32(to, which, r[0]);
                _mm512_mask_storeu_epi32(to + out_step, which, r[2]);
            }
        }
}
#endif

/*
 * 1x1 convolution of `count` pixels from groups of bytes (IN 1) or pairs (IN 2) to `fours` times four
 * channels of bytes (OUT 1) or pairs (OUT 2). `weight`: for every four outputs and every group of
 * inputs the weights, output after output. A group has `step` bytes.
 */
GNS_INLINE void gns_points(const gns_byte *in, int inputs, int in_step, gns_byte *out, int fours,
                           int out_step, int count, const gns_weight *weight, const int *bias,
                           const float *factor, const gns_byte *zero, const int IN, const int OUT,
                           const float least)
{
    const int block = 16 / IN * inputs;
#if GNS_VNNI
    int p = 0;
    for (; p + 48 < count; p += 64)
        for (int b = 0; b < fours; b++)
            gns_tile(in + 4 * p, inputs, in_step, out + OUT * b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b,
                     count - p - 48, IN, OUT, least, 1, 4);
    for (; p < count; p += 16) {
        int b = 0;
        for (; b + 2 <= fours; b += 2)
            gns_tile(in + 4 * p, inputs, in_step, out + OUT * b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b, count - p,
                     IN, OUT, least, 2, 1);
        for (; b < fours; b++)
            gns_tile(in + 4 * p, inputs, in_step, out + OUT * b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b, count - p,
                     IN, OUT, least, 1, 1);
    }
#else
    for (int b = 0; b < fours; b++, out += OUT * out_step, weight += block, bias += 4,
             factor += 4, zero += 4)
        for (int p = 0; p < count; p++) {
            int sum[4] = {bias[0], bias[1], bias[2], bias[3]};
            const gns_byte *at = in + 4 * p;
            const gns_weight *w = weight;
            for (int i = 0; i < inputs; i++, at += in_step, w += 16 / IN)
                for (int k = 0; k < 4 / IN; k++) {
                    const int x = IN == 1 ? at[k] : ((const short *)(const void *)at)[k];
                    for (int o = 0; o < 4; o++)
                        sum[o] += w[4 / IN * o + k] * x;
                }
            for (int o = 0; o < 4; o++) {
                const float x = (float)sum[o] * factor[o];
                if (OUT == 1)
                    out[4 * p + o] = gns_to_byte(gns_round(x) + zero[o]);
                else
                    ((short *)(void *)(out + o / 2 * out_step + 4 * p))[o % 2] = gns_to_wide(x, least);
            }
        }
#endif
}
#define GNS_POINTS(IN, OUT) \
    static void gns_point_##IN##_##OUT(const gns_byte *in, int inputs, int in_step, \
                                       gns_byte *out, int fours, int out_step, int count, \
                                       const gns_weight *weight, const int *bias, \
                                       const float *factor, const gns_byte *zero) \
    { \
        gns_points(in, inputs, in_step, out, fours, out_step, count, weight, bias, factor, zero, \
                   IN, OUT, -8191); \
    }

/* 3x3 convolution of a picture, with ReLU, to pairs; `pad` stands around it. */
static void gns_stem(const gns_byte *in, int inputs, int height, int width, gns_byte *out,
                     int fours, const gns_weight *weight, const int *bias, const float *factor,
                     const gns_byte *zero, const gns_byte *pad, gns_byte *scratch)
{
    const int stride = 4 * (width + 2), plane = (height + 2) * stride, step = 4 * height * width;
    gns_byte *taps = scratch + inputs * plane;
    for (int i = 0; i < inputs; i++)
        for (int y = 0; y < height + 2; y++)
            for (int x = 0; x < width + 2; x++) {
                const int inside = y > 0 && x > 0 && y <= height && x <= width;
                gns_copy4(inside ? in + i * step + 4 * ((y - 1) * width + x - 1) : pad + 4 * i,
                          scratch + i * plane + y * stride + 4 * x);
            }
    /* A row of every tap, and what follows is a 1x1 convolution of nine times the inputs. */
    for (int y = 0; y < height; y++) {
        gns_byte *to = taps;
        for (int i = 0; i < inputs; i++)
            for (int t = 0; t < 9; t++, to += 4 * width) {
                const gns_byte *from = scratch + i * plane + (y + t / 3) * stride + 4 * (t % 3);
                for (int k = 0; k < 4 * width; k++)
                    to[k] = from[k];
            }
        gns_points(taps, 9 * inputs, 4 * width, out + 4 * y * width, fours, step, width, weight,
                   bias, factor, zero, 1, 2, 0);
    }
}

/* A group's plane with `edge` pixels of `pad` around it, rows of `stride` pixels. */
GNS_INLINE void gns_surround(const gns_byte *in, int height, int width, int edge, int stride,
                             const gns_byte *pad, gns_byte *out)
{
    for (int x = 0; x < stride; x++)
        for (int y = 0; y < edge; y++) {
            gns_copy4(pad, out + 4 * (y * stride + x));
            gns_copy4(pad, out + 4 * ((y + edge + height) * stride + x));
        }
    for (int y = 0; y < height; y++, in += 4 * width) {
        gns_byte *row = out + 4 * (y + edge) * stride;
        int x = 0;
        for (; x < edge; x++)
            gns_copy4(pad, row + 4 * x);
        row += 4 * edge;
        x = 0;
#if GNS_VNNI
        for (; x + 8 <= width; x += 8)
            _mm256_storeu_si256((__m256i *)(row + 4 * x),
                                _mm256_loadu_si256((const __m256i *)(in + 4 * x)));
#endif
        for (; x < width; x++)
            gns_copy4(in + 4 * x, row + 4 * x);
        for (; x < stride - edge; x++)
            gns_copy4(pad, row + 4 * x);
    }
}

#if GNS_VNNI
/*
 * Sums of a depth-wise convolution at eight pixels of four channels (IN 1) or sixteen of two (IN 2):
 * within every 128 bits the first half of them is in `first`, the second in `second`. `weight`: for
 * every two taps, of which the last may be a zero, and every channel both weights.
 */
typedef struct { __m512i first, second; } gns_sums;
GNS_INLINE __m512i gns_tap(const gns_byte *at, const int IN)
{
    return IN == 1 ? _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)at))
                   : _mm512_loadu_si512(at);
}
GNS_INLINE __m512 gns_channels(const float *at, const int IN)
{
    return IN == 1 ? gns_four_floats(at)
                   : _mm512_castpd_ps(_mm512_set1_pd(*(const gns_double *)(const void *)at));
}
GNS_INLINE gns_sums gns_depth_sums(const gns_byte *const *tap, int taps, const gns_weight *weight,
                                   const int *bias, const int IN)
{
    gns_sums sum;
    sum.first = _mm512_castps_si512(gns_channels((const float *)(const void *)bias, IN));
    sum.second = sum.first;
    for (int t = 0; t < taps; t += 2, weight += 8 / IN) {
        const __m512i a = gns_tap(tap[t], IN), b = gns_tap(tap[t + 1 < taps ? t + 1 : t], IN);
        __m512i w;
        if (IN == 1) {
            w = _mm512_broadcast_i32x4(
                _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)weight)));
        } else {
            int few;
            __builtin_memcpy(&few, weight, 4);
            w = _mm512_broadcastq_epi64(_mm_cvtepi8_epi16(_mm_cvtsi32_si128(few)));
        }
        sum.first = _mm512_dpwssd_epi32(sum.first, _mm512_unpacklo_epi16(a, b), w);
        sum.second = _mm512_dpwssd_epi32(sum.second, _mm512_unpackhi_epi16(a, b), w);
    }
    return sum;
}
#endif

/* A row's even pixels, and behind them, `half` further, the odd ones. */
GNS_INLINE void gns_apart(const gns_byte *row, int stride, gns_byte *out, int half)
{
#if GNS_VNNI
    /* The last vector runs over, of the even ones into where the odd ones will come. */
    const __m512i pairs = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    for (int odd = 0; odd < 2; odd++)
        for (int x = 0; x < stride; x += 32)
            _mm512_storeu_si512(
                out + 4 * (odd * half + x / 2),
                _mm512_permutex2var_epi32(
                    _mm512_loadu_si512(row + 4 * x),
                    _mm512_add_epi32(pairs, _mm512_set1_epi32(odd)),
                    _mm512_loadu_si512(row + 4 * x + 64)));
#else
    for (int x = 0; x < stride; x++)
        gns_copy4(row + 4 * x, out + 4 * (x % 2 * half + x / 2));
#endif
}

/* What joins a block's result: the shortcut, and scales of both to that of the sum. */
typedef struct {
    const gns_byte *shortcut;
    const float *own, *other;
} gns_add;

/*
 * Depth-wise convolution, KxK, stride S, of `groups` groups of bytes (IN 1) or pairs (IN 2). With
 * `add`, `in` and `out` are the two halves of one map of pairs: the shortcut joins the result before
 * it is rounded, and the input afterwards.
 */
GNS_INLINE void gns_depths(gns_byte *in, int in_height, int in_width, gns_byte *out, int groups,
                           int height, int width, const gns_weight *weight, const int *bias,
                           const float *factor, const gns_byte *zero, const gns_byte *pad,
                           const gns_add *add, gns_byte *scratch, const int K, const int S,
                           const int IN)
{
    const int edge = K / 2, taps = K * K, side = 4 / IN, room = 8 * IN;
    /* Of stride 2 the even and the odd columns lie apart, so that a tap's pixels are neighbours. */
    const int stride = in_width + 2 * edge + 1, half = (stride + 1) / 2;
    const int in_step = 4 * in_height * in_width, step = 4 * height * width;
    static const gns_byte none[4] = {0};
    for (int g = 0; g < groups; g++, in += in_step, out += step, bias += side, factor += side,
             weight += 2 * side * ((taps + 1) / 2)) {
        gns_byte *rows = scratch;
        gns_surround(in, in_height, in_width, edge, stride, IN == 1 ? pad + 4 * g : none, scratch);
        if (S == 2) {
            rows = scratch + 4 * stride * (in_height + 2 * edge);
            for (int y = 0; y < in_height + 2 * edge; y++)
                gns_apart(scratch + 4 * y * stride, stride, rows + 8 * y * half, half);
        }
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x += room) {
                const int left = width - x < room ? width - x : room;
                const int at = 4 * (y * width + x), second = (groups + g) * step + at;
                const gns_byte *tap[25];
                for (int t = 0; t < taps; t++)
                    tap[t] = S == 1 ? rows + 4 * ((y + t / K) * stride + x + t % K)
                                    : rows + 4 * ((2 * (2 * y + t / K) + t % K % 2) * half +
                                                  x + t % K / 2);
#if GNS_VNNI
                const gns_sums sum = gns_depth_sums(tap, taps, weight, bias, IN);
                const __m512 f = gns_channels(factor, IN);
                const __mmask16 mask = GNS_LEFT(left);
                __m512 a = gns_times(sum.first, f), b = gns_times(sum.second, f);
                if (IN == 1) {
                    const __m512i z = gns_four_bytes(zero + 4 * g);
                    const __m512i v = _mm512_packus_epi32(gns_bytes16(a, z), gns_bytes16(b, z));
                    _mm256_mask_storeu_epi32(out + at, (__mmask8)mask, _mm512_cvtepi16_epi8(v));
                    continue;
                }
                if (add) {
                    const __m512 other = gns_channels(add->other + 2 * (groups + g), IN);
                    const __m512i more = _mm512_maskz_loadu_epi32(mask, add->shortcut + second);
                    const __m512i low = _mm512_unpacklo_epi16(more, more);
                    const __m512i high = _mm512_unpackhi_epi16(more, more);
                    a = _mm512_add_ps(a, gns_times(_mm512_srai_epi32(low, 16), other));
                    b = _mm512_add_ps(b, gns_times(_mm512_srai_epi32(high, 16), other));
                }
                _mm512_mask_storeu_epi32(out + at, mask,
                                         _mm512_packs_epi32(gns_wide16(a, -8191), gns_wide16(b, -8191)));
#else
                for (int p = 0; p < left; p++)
                    for (int k = 0; k < side; k++) {
                        int sum = bias[k];
                        float value;
                        for (int t = 0; t < taps; t++)
                            sum += weight[2 * side * (t / 2) + 2 * k + t % 2] *
                                   (IN == 1 ? tap[t][4 * p + k]
                                            : ((const short *)(const void *)tap[t])[2 * p + k]);
                        value = (float)sum * factor[k];
                        if (IN == 1) {
                            out[at + 4 * p + k] =
                                gns_to_byte(gns_round(value) + zero[4 * g + k]);
                            continue;
                        }
                        if (add) {
                            const short *more =
                                (const short *)(const void *)(add->shortcut + second);
                            const float joins =
                                (float)more[2 * p + k] * add->other[2 * (groups + g) + k];
                            value = value + joins;
                        }
                        ((short *)(void *)(out + at))[2 * p + k] = gns_to_wide(value, -8191);
                    }
#endif
            }
        if (add) {
            short *map = (short *)(void *)in;
            const short *more = (const short *)(const void *)(add->shortcut + g * step);
            int p = 0;
#if GNS_VNNI
            const __m512 own = gns_channels(add->own + 2 * g, 2);
            const __m512 other = gns_channels(add->other + 2 * g, 2);
            for (; p + 16 <= step / 2; p += 16) {
                const __m512i a =
                    _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(map + p)));
                const __m512i b =
                    _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(more + p)));
                const __m512 sum = _mm512_add_ps(gns_times(a, own), gns_times(b, other));
                _mm256_storeu_si256((__m256i *)(map + p), _mm512_cvtepi32_epi16(gns_wide16(sum, -8191)));
            }
#endif
            for (; p < step / 2; p++) {
                const float a = (float)map[p] * add->own[2 * g + p % 2];
                const float b = (float)more[p] * add->other[2 * g + p % 2];
                map[p] = gns_to_wide(a + b, -8191);
            }
        }
    }
}

#define GNS_DEPTHS(K, S, IN) \
    static void gns_depth##K##_##S##_##IN(gns_byte *in, int in_height, int in_width, \
                                          gns_byte *out, int groups, int height, int width, \
                                          const gns_weight *weight, const int *bias, \
                                          const float *factor, const gns_byte *zero, \
                                          const gns_byte *pad, const gns_add *add, \
                                          gns_byte *scratch) \
    { \
        gns_depths(in, in_height, in_width, out, groups, height, width, weight, bias, factor, \
                   zero, pad, add, scratch, K, S, IN); \
    }

/* Mean of 2x2 pixels of pairs, half up; an odd last row or column is left out. */
static void gns_pool(const gns_byte *map, int groups, int in_height, int in_width, gns_byte *made,
                     int height, int width)
{
    const short *in = (const short *)(const void *)map;
    short *out = (short *)(void *)made;
    const int row = 2 * in_width;
    for (int g = 0; g < groups; g++, in += in_height * row)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, out += 2) {
                const short *at = in + 2 * y * row + 4 * x;
                for (int k = 0; k < 2; k++) {
                    /* Of numbers above zero, which a shift halves alike everywhere. */
                    const int sum = at[k] + at[k + 2] + at[k + row] + at[k + row + 2] + 2;
                    out[k] = (short)(((sum + 32768) >> 2) - 8192);
                }
            }
}

/* 1 / (1 + exp(-x)): exp is a power of two times a polynomial. */
#define GNS_SIGMOID_STEPS(MUL, ADD, ALL) \
    sum = ALL(1.9875691500e-4f); \
    sum = ADD(MUL(sum, rest), ALL(1.3981999507e-3f)); \
    sum = ADD(MUL(sum, rest), ALL(8.3334519073e-3f)); \
    sum = ADD(MUL(sum, rest), ALL(4.1665795894e-2f)); \
    sum = ADD(MUL(sum, rest), ALL(1.6666665459e-1f)); \
    sum = ADD(MUL(sum, rest), ALL(5.0000001201e-1f)); \
    sum = ADD(ADD(MUL(MUL(sum, rest), rest), rest), ALL(1.0f))

#if GNS_VNNI
GNS_INLINE __m512 gns_sigmoid16(__m512 x)
{
    __m512 magic = _mm512_set1_ps(12582912.0f), whole, rest, sum, power;
    x = _mm512_sub_ps(_mm512_setzero_ps(), x);
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.0f)), _mm512_set1_ps(87.0f));
    whole = _mm512_add_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), magic);
    power = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_add_epi32(_mm512_castps_si512(whole), _mm512_set1_epi32(127 - 0x4b400000)), 23));
    whole = _mm512_sub_ps(whole, magic);
    rest = _mm512_sub_ps(x, _mm512_mul_ps(whole, _mm512_set1_ps(0.693359375f)));
    rest = _mm512_sub_ps(rest, _mm512_mul_ps(whole, _mm512_set1_ps(-2.12194440e-4f)));
    GNS_SIGMOID_STEPS(_mm512_mul_ps, _mm512_add_ps, _mm512_set1_ps);
    sum = _mm512_add_ps(_mm512_set1_ps(1), _mm512_mul_ps(sum, power));
    return _mm512_div_ps(_mm512_set1_ps(1), sum);
}
#else
#define GNS_MUL(a, b) ((a) * (b))
#define GNS_ADD(a, b) ((a) + (b))
#define GNS_ALL(a) (a)
GNS_INLINE float gns_sigmoid(float x)
{
    float rest, sum;
    union { float f; int i; } whole, power;
    x = 0 - x;
    x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
    whole.f = x * 1.44269504f + 12582912.0f;
    power.i = (whole.i + (127 - 0x4b400000)) * (1 << 23);
    whole.f = whole.f - 12582912.0f;
    rest = x - whole.f * 0.693359375f;
    rest = rest - whole.f * -2.12194440e-4f;
    GNS_SIGMOID_STEPS(GNS_MUL, GNS_ADD, GNS_ALL);
    return 1.0f / (1.0f + sum * power.f);
}
#endif

/* `row` bytes between twice two pixels of `pad`. */
GNS_INLINE void gns_line(const gns_byte *in, int row, const gns_byte *pad, gns_byte *out)
{
    int k = 0;
    for (int x = 0; x < 2; x++) {
        gns_copy4(pad, out + 4 * x);
        gns_copy4(pad, out + 8 + row + 4 * x);
    }
#if GNS_VNNI
    for (; k + 16 <= row; k += 16)
        _mm_storeu_si128((__m128i *)(out + 8 + k), _mm_loadu_si128((const __m128i *)(in + k)));
#endif
    for (; k < row; k++)
        out[8 + k] = in[k];
}

/*
 * The attention gate behind its 1x1 convolution: 1x5 and 5x1 depth-wise, the sigmoid, and `out`
 * times that, stretched: `rows` and `columns` say whose value a row or column takes. Weights of
 * every group: five for each of four channels, tap after tap. The result of the first lies in 16
 * bits; `pad` is its zero in the input. `mark` is the zero of what is multiplied, `zero` of the
 * product.
 */
static void gns_gate(const gns_byte *in, int height, int width, gns_byte *out, int groups,
                     int out_height, int out_width, const gns_byte *rows, const gns_byte *columns,
                     const gns_weight *across, const int *across_bias, const float *across_factor,
                     const gns_weight *down, const int *down_bias, const float *down_factor,
                     const gns_byte *pad, const gns_byte *mark, const float *times, const gns_byte *zero,
                     short *scratch, float *gate, gns_byte *lines)
{
    const int row = 4 * width, count = height * row, step = 4 * out_height * out_width;
#if GNS_VNNI
    const int doubled = out_width == 2 * width;
#endif
    for (int k = 0; k < 2 * row; k++)
        scratch[k] = scratch[2 * row + count + k] = 0;
    for (int g = 0; g < groups; g++, in += count, out += step, across += 20, down += 20,
             across_bias += 4, across_factor += 4, down_bias += 4, down_factor += 4, pad += 4,
             mark += 4, times += 4, zero += 4) {
        short *middle = scratch + 2 * row;
        int p = 0;
#if GNS_VNNI
        /* Products of two pairs of 16 bits are summed; of each second one the weight is 0. */
        __m512i w[10];
        for (int t = 0; t < 10; t++) {
            int four;
            __builtin_memcpy(&four, t < 5 ? across + 4 * t : down + 4 * (t - 5), 4);
            w[t] = _mm512_and_si512(_mm512_cvtepi8_epi32(_mm_set1_epi32(four)),
                                    _mm512_set1_epi32(0xffff));
        }
#endif
        /* All rows with two pixels of padding beside them, before any is read again. */
        for (int y = 0; y < height; y++)
            gns_line(in + y * row, row, pad, lines + y * (row + 16));
        for (int y = 0; y < height; y++) {
            const gns_byte *line = lines + y * (row + 16);
            p = 0;
#if GNS_VNNI
            for (; p + 16 <= row; p += 16) {
                __m512i sum = gns_four_ints(across_bias);
                for (int t = 0; t < 5; t++)
                    sum = _mm512_dpwssd_epi32(
                        sum,
                        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(line + p + 4 * t))),
                        w[t]);
                sum = gns_round16(gns_times(sum, gns_four_floats(across_factor)));
                _mm256_storeu_si256((__m256i *)(middle + y * row + p),
                                    _mm512_cvtepi32_epi16(sum));
            }
#endif
            for (; p < row; p++) {
                int sum = across_bias[p % 4];
                for (int t = 0; t < 5; t++)
                    sum += across[4 * t + p % 4] * line[p + 4 * t];
                middle[y * row + p] = (short)gns_round((float)sum * across_factor[p % 4]);
            }
        }
        p = 0;
#if GNS_VNNI
        for (; p < count; p += 16) {
            __m512i sum = gns_four_ints(down_bias);
            for (int t = 0; t < 5; t++)
                sum = _mm512_dpwssd_epi32(sum,
                                          _mm512_cvtepi16_epi32(_mm256_loadu_si256(
                                              (const __m256i *)(scratch + p + t * row))),
                                          w[5 + t]);
            _mm512_storeu_ps(gate + p,
                             gns_sigmoid16(gns_times(sum, gns_four_floats(down_factor))));
        }
#else
        for (; p < count; p++) {
            int sum = down_bias[p % 4];
            for (int t = 0; t < 5; t++)
                sum += down[4 * t + p % 4] * scratch[p + t * row];
            gate[p] = gns_sigmoid((float)sum * down_factor[p % 4]);
        }
#endif
        for (int y = 0; y < out_height; y++) {
            const float *from = gate + rows[y] * row;
            gns_byte *to = out + 4 * y * out_width;
            int x = 0;
#if GNS_VNNI
            const __m512 f = gns_four_floats(times);
            const __m512i m = gns_four_bytes(mark), z = gns_four_bytes(zero);
            for (; x + 4 <= out_width; x += 4, to += 16) {
                __m512 v;
                if (doubled) {
                    v = _mm512_permutexvar_ps(
                        _mm512_set_epi32(7, 6, 5, 4, 7, 6, 5, 4, 3, 2, 1, 0, 3, 2, 1, 0),
                        _mm512_castps256_ps512(_mm256_loadu_ps(from + 2 * x)));
                } else {
                    v = _mm512_castps128_ps512(_mm_loadu_ps(from + 4 * columns[x]));
                    v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 1]), 1);
                    v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 2]), 2);
                    v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 3]), 3);
                }
                const __m512i b = _mm512_sub_epi32(
                    _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)to)), m);
                v = gns_times(b, _mm512_mul_ps(v, f));
                _mm_storeu_si128((__m128i *)to, gns_pack16(v, z));
            }
#endif
            for (; x < out_width; x++, to += 4)
                for (int k = 0; k < 4; k++) {
                    const float weight = from[4 * columns[x] + k] * times[k];
                    to[k] = gns_to_byte(gns_round((float)(to[k] - mark[k]) * weight) + zero[k]);
                }
        }
    }
}

/* Mean of every channel of `count` pixels, as a number. */
static void gns_means(const gns_byte *in, int groups, int count, const float *scale,
                      const gns_byte *mark, float *out)
{
    const float share = 1.0f / (float)count;
    for (int g = 0; g < groups; g++, in += 4 * count, out += 4, scale += 4, mark += 4) {
        int sum[4] = {0, 0, 0, 0};
        for (int p = 0; p < count; p++)
            for (int k = 0; k < 4; k++)
                sum[k] += in[4 * p + k];
        for (int k = 0; k < 4; k++) {
            const float mean = (float)sum[k] * share;
            out[k] = (mean - (float)mark[k]) * scale[k];
        }
    }
}

/*
 * A linear layer; its inputs, an even number, are rounded to 12 bits of the largest. `weight`: for
 * every 16 outputs, of which the last may be fewer, and every two inputs both weights of each.
 */
static void gns_linear(const float *in, int inputs, float *out, int outputs,
                       const gns_weight *weight, const float *bias, const float *step, int relu,
                       short *whole)
{
    float most = 0, fine, coarse;
    for (int i = 0; i < inputs; i++) {
        const float size = in[i] < 0 ? -in[i] : in[i];
        most = size > most ? size : most;
    }
    if (!(most > 0))
        most = 1;
    fine = 4095.0f / most;
    coarse = most / 4095.0f;
    for (int i = 0; i < inputs; i++)
        whole[i] = (short)gns_round(in[i] * fine);
    for (int o = 0; o < outputs; o += 16) {
        const int left = outputs - o < 16 ? outputs - o : 16;
        int sum[16] = {0};
#if GNS_VNNI
        const __mmask32 mask = left == 16 ? 0xffffffffu : (1u << (2 * left)) - 1;
        __m512i even = _mm512_setzero_si512(), odd = even;
        for (int i = 0; i < inputs; i += 2, weight += 2 * left) {
            int two;
            __builtin_memcpy(&two, whole + i, 4);
            const __m512i w = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, weight));
            /* Two sums, for one would wait for itself. */
            if (i % 4)
                odd = _mm512_dpwssd_epi32(odd, w, _mm512_set1_epi32(two));
            else
                even = _mm512_dpwssd_epi32(even, w, _mm512_set1_epi32(two));
        }
        _mm512_storeu_si512(sum, _mm512_add_epi32(even, odd));
#else
        for (int i = 0; i < inputs; i += 2, weight += 2 * left)
            for (int k = 0; k < left; k++)
                sum[k] += weight[2 * k] * whole[i] + weight[2 * k + 1] * whole[i + 1];
#endif
        for (int k = 0; k < left; k++) {
            const float unit = step[o + k] * coarse;
            const float product = (float)sum[k] * unit;
            const float value = product + bias[o + k];
            out[o + k] = relu && value < 0 ? 0 : value;
        }
    }
}

/* Squeeze and excitation: every channel times the hard sigmoid of a function of all means. */
static void gns_squeeze(gns_byte *map, int groups, int count, int reduced, const float *scale,
                        const gns_byte *mark, const gns_weight *reduce, const float *reduce_bias,
                        const float *reduce_step, const gns_weight *expand,
                        const float *expand_bias, const float *expand_step, const float *times,
                        const gns_byte *zero, float *scratch, short *whole)
{
    float *mean = scratch, *inner = scratch + 4 * groups;
    gns_means(map, groups, count, scale, mark, mean);
    gns_linear(mean, 4 * groups, inner, reduced, reduce, reduce_bias, reduce_step, 1, whole);
    gns_linear(inner, reduced, mean, 4 * groups, expand, expand_bias, expand_step, 0, whole);
    for (int g = 0; g < groups; g++, map += 4 * count, mean += 4, mark += 4, times += 4, zero += 4) {
        float weight[4];
        int p = 0;
        for (int k = 0; k < 4; k++) {
            const float gate = mean[k] + 3.0f;
            weight[k] = (gate < 0 ? 0 : gate > 6 ? 6 : gate) * times[k];
        }
#if GNS_VNNI
        const __m512 f = gns_four_floats(weight), m = _mm512_cvtepi32_ps(gns_four_bytes(mark));
        const __m512i z = gns_four_bytes(zero);
        for (; p + 16 <= 4 * count; p += 16) {
            __m512 v = _mm512_mul_ps(_mm512_sub_ps(gns_load16(map + p), m), f);
            _mm_storeu_si128((__m128i *)(map + p), gns_pack16(v, z));
        }
#endif
        for (; p < 4 * count; p++) {
            const float value = (float)(map[p] - mark[p % 4]);
            map[p] = gns_to_byte(gns_round(value * weight[p % 4]) + zero[p % 4]);
        }
    }
}

/* Means, a linear layer with ReLU, and the one that makes the answers. */
static void gns_head(const gns_byte *in, int groups, int count, int features, int classes,
                     const float *scale, const gns_byte *mark, const gns_weight *head,
                     const float *head_bias, const float *head_step,
                     const gns_weight *classifier, const float *classifier_bias,
                     const float *classifier_step, float *answers, float *scratch, short *whole)
{
    float *hidden = scratch + 4 * groups;
    gns_means(in, groups, count, scale, mark, scratch);
    gns_linear(scratch, 4 * groups, hidden, features, head, head_bias, head_step, 1, whole);
    gns_linear(hidden, features, answers, classes, classifier, classifier_bias, classifier_step, 0,
               whole);
}
