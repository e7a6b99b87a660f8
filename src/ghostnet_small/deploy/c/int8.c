/*
 * The operators in 8 bits. A map lies in groups of four channels: group after group, pixel after
 * pixel, four bytes each. A byte b of a channel stands for (b - zero) * scale. Products are summed
 * in 32 bits, whole numbers, in any order; what becomes of a sum is one float32 multiplication, so
 * every machine gets the same answers, with vectors or without. That holds as long as the compiler
 * does not fuse a multiplication and an addition: -ffp-contract=off, which -std=c99 implies.
 */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__) && defined(__AVX512F__) && defined(__AVX512BW__) && \
    defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define GNS_VNNI 1
#include <immintrin.h>
#else
#define GNS_VNNI 0
#endif

#if defined(__GNUC__)
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

/* 4 * B outputs at 16 * V pixels, `left` of them in the last sixteen. */
GNS_INLINE void gns_tile(const gns_byte *in, int inputs, int in_step, gns_byte *out, int out_step,
                         const gns_weight *weight, const int *bias, const float *factor,
                         const gns_byte *zero, int left, const int B, const int V)
{
    __m512i sum[8][4];
    const int block = 16 * inputs;
    const __mmask16 mask = GNS_LEFT(left);
    for (int o = 0; o < 4 * B; o++)
        for (int v = 0; v < V; v++)
            sum[o][v] = _mm512_set1_epi32(bias[o]);
    for (int i = 0; i < inputs; i++, in += in_step, weight += 16)
        for (int v = 0; v < V; v++) {
            __m512i x = v < V - 1 ? _mm512_loadu_si512(in + 64 * v)
                                  : _mm512_maskz_loadu_epi32(mask, in + 64 * v);
            for (int o = 0; o < 4 * B; o++) {
                int four;
                __builtin_memcpy(&four, weight + o / 4 * block + o % 4 * 4, 4);
                sum[o][v] = _mm512_dpbusd_epi32(sum[o][v], x, _mm512_set1_epi32(four));
            }
        }
    for (int b = 0; b < B; b++)
        for (int v = 0; v < V; v++) {
            __m512i four = _mm512_setzero_si512();
            for (int o = 0; o < 4; o++) {
                int k = 4 * b + o;
                __m512i byte = gns_bytes16(gns_times(sum[k][v], _mm512_set1_ps(factor[k])),
                                           _mm512_set1_epi32(zero[k]));
                four = _mm512_or_si512(four, _mm512_slli_epi32(byte, 8 * o));
            }
            _mm512_mask_storeu_epi32(out + b * out_step + 64 * v,
                                     v < V - 1 ? (__mmask16)0xffff : mask, four);
        }
}
#endif

/*
 * 1x1 convolution of `count` pixels. `weight`: for every group of outputs and every group of
 * inputs four times four weights, output after output. Maps of `step` bytes a group.
 */
static void gns_point(const gns_byte *in, int inputs, int in_step, gns_byte *out, int groups,
                      int out_step, int count, const gns_weight *weight, const int *bias,
                      const float *factor, const gns_byte *zero)
{
    const int block = 16 * inputs;
#if GNS_VNNI
    int p = 0;
    for (; p + 48 < count; p += 64)
        for (int b = 0; b < groups; b++)
            gns_tile(in + 4 * p, inputs, in_step, out + b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b,
                     count - p - 48, 1, 4);
    for (; p < count; p += 16) {
        int b = 0;
        for (; b + 2 <= groups; b += 2)
            gns_tile(in + 4 * p, inputs, in_step, out + b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b, count - p, 2,
                     1);
        for (; b < groups; b++)
            gns_tile(in + 4 * p, inputs, in_step, out + b * out_step + 4 * p, out_step,
                     weight + b * block, bias + 4 * b, factor + 4 * b, zero + 4 * b, count - p, 1,
                     1);
    }
#else
    for (int b = 0; b < groups; b++, out += out_step, weight += block, bias += 4, factor += 4,
             zero += 4)
        for (int p = 0; p < count; p++) {
            int sum[4] = {bias[0], bias[1], bias[2], bias[3]};
            const gns_byte *x = in + 4 * p;
            const gns_weight *w = weight;
            for (int i = 0; i < inputs; i++, x += in_step, w += 16)
                for (int o = 0; o < 4; o++)
                    for (int k = 0; k < 4; k++)
                        sum[o] += w[4 * o + k] * x[k];
            for (int o = 0; o < 4; o++)
                out[4 * p + o] = gns_to_byte(gns_round((float)sum[o] * factor[o]) + zero[o]);
        }
#endif
}

/* 3x3 convolution of a picture, which is one group, or of several; `pad` stands around it. */
static void gns_stem(const gns_byte *in, int inputs, int height, int width, gns_byte *out,
                     int groups, const gns_weight *weight, const int *bias, const float *factor,
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
        gns_point(taps, 9 * inputs, 4 * width, out + 4 * y * width, groups, step, width, weight,
                  bias, factor, zero);
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

/*
 * Sums of a depth-wise convolution, K x K taps, at up to eight pixels of a group: sum[p][k]. A tap's
 * pixels lie `across` bytes apart in a row, taps of a column `down`. `weight`: for every two taps
 * (of an odd number the last is a zero) and every channel both weights.
 */
#if GNS_VNNI
typedef struct { __m512i even, odd; } gns_sums;
GNS_INLINE __m512i gns_tap(const gns_byte *at)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)at));
}
GNS_INLINE gns_sums gns_depth_sums(const gns_byte *const *tap, int taps, const gns_weight *weight,
                                   const int *bias)
{
    gns_sums sum;
    sum.even = sum.odd = gns_four_ints(bias);
    for (int t = 0; t < taps; t += 2, weight += 8) {
        __m512i w = _mm512_broadcast_i32x4(
            _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)weight)));
        __m512i a = gns_tap(tap[t]), b = gns_tap(tap[t + 1 < taps ? t + 1 : t]);
        sum.even = _mm512_dpwssd_epi32(sum.even, _mm512_unpacklo_epi16(a, b), w);
        sum.odd = _mm512_dpwssd_epi32(sum.odd, _mm512_unpackhi_epi16(a, b), w);
    }
    return sum;
}
/* Bytes in 32 bits each, pixels 0 2 4 6 and 1 3 5 7, become those of eight pixels. */
GNS_INLINE __m256i gns_in_order(__m512i even, __m512i odd)
{
    return _mm512_cvtusepi16_epi8(_mm512_packus_epi32(even, odd));
}
GNS_INLINE void gns_store_pixels(gns_byte *out, __m256i v, int left)
{
    if (left >= 8)
        _mm256_storeu_si256((__m256i *)out, v);
    else
        _mm256_mask_storeu_epi32(out, (__mmask8)((1u << left) - 1), v);
}
#endif

/* What is added behind a block: the map itself, the shortcut, and the sum's zero. */
typedef struct {
    gns_byte *map;
    const gns_byte *shortcut;
    const float *own, *other, *rest;
} gns_add;

/*
 * Depth-wise convolution, KxK, stride S, of `groups` groups. With `add` its result joins the
 * shortcut before it is rounded (`other` and `rest` of the second half of the channels), and the
 * input, the map's first half, does after.
 */
GNS_INLINE void gns_depth(const gns_byte *in, int in_height, int in_width, gns_byte *out, int groups,
                          int height, int width, const int K, const int S,
                          const gns_weight *weight, const int *bias, const float *factor,
                          const gns_byte *zero, const gns_byte *pad, const gns_add *add,
                          gns_byte *scratch)
{
    const int edge = K / 2, taps = K * K;
    /* Of stride 2 the even and the odd columns lie apart, so that a tap's pixels are neighbours. */
    const int stride = in_width + 2 * edge + 1, half = (stride + 1) / 2;
    const int in_step = 4 * in_height * in_width, step = 4 * height * width;
    for (int g = 0; g < groups; g++, in += in_step, out += step, bias += 4, factor += 4, zero += 4,
             pad += 4, weight += 8 * ((taps + 1) / 2)) {
        gns_byte *rows = scratch;
        gns_surround(in, in_height, in_width, edge, stride, pad, scratch);
        if (S == 2) {
            rows = scratch + 4 * stride * (in_height + 2 * edge);
            for (int y = 0; y < in_height + 2 * edge; y++)
                for (int x = 0; x < stride; x++)
                    gns_copy4(scratch + 4 * (y * stride + x),
                              rows + 4 * ((2 * y + x % 2) * half + x / 2));
        }
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x += 8) {
                const int left = width - x < 8 ? width - x : 8;
                const int at = 4 * (y * width + x);
                const gns_byte *tap[25];
                for (int t = 0; t < taps; t++)
                    tap[t] = S == 1 ? rows + 4 * ((y + t / K) * stride + x + t % K)
                                    : rows + 4 * ((2 * (2 * y + t / K) + t % K % 2) * half +
                                                  x + t % K / 2);
#if GNS_VNNI
                const gns_sums sum = gns_depth_sums(tap, taps, weight, bias);
                const __m512 f = gns_four_floats(factor);
                __m512 a = gns_times(sum.even, f), b = gns_times(sum.odd, f);
                __m512i z = gns_four_bytes(zero);
                if (add) {
                    const gns_byte *more = add->shortcut + (groups + g) * step + at;
                    const __m512 other = gns_four_floats(add->other + 4 * (groups + g));
                    const __m512 rest = gns_four_floats(add->rest + 4 * (groups + g));
                    const __m512i m = _mm512_cvtepu8_epi16(
                        _mm256_maskz_loadu_epi32((__mmask8)((1u << left) - 1), more));
                    z = _mm512_setzero_si512();
                    a = _mm512_add_ps(a, gns_times(_mm512_unpacklo_epi16(m, z), other));
                    b = _mm512_add_ps(b, gns_times(_mm512_unpackhi_epi16(m, z), other));
                    a = _mm512_add_ps(a, rest);
                    b = _mm512_add_ps(b, rest);
                }
                gns_store_pixels(out + at, gns_in_order(gns_bytes16(a, z), gns_bytes16(b, z)),
                                 left);
#else
                for (int p = 0; p < left; p++)
                    for (int k = 0; k < 4; k++) {
                        int sum = bias[k];
                        float value;
                        for (int t = 0; t < taps; t++)
                            sum += weight[8 * (t / 2) + 2 * k + t % 2] * tap[t][4 * p + k];
                        value = (float)sum * factor[k];
                        if (add) {
                            const int c = 4 * (groups + g) + k;
                            const int b = add->shortcut[(groups + g) * step + at + 4 * p + k];
                            const float more = (float)b * add->other[c];
                            value = value + more;
                            value = value + add->rest[c];
                            out[at + 4 * p + k] = gns_to_byte(gns_round(value));
                        } else {
                            out[at + 4 * p + k] = gns_to_byte(gns_round(value) + zero[k]);
                        }
                    }
#endif
            }
        if (add) {
            gns_byte *map = add->map + g * step;
            const gns_byte *more = add->shortcut + g * step;
            int p = 0;
#if GNS_VNNI
            __m512 own = gns_four_floats(add->own + 4 * g);
            __m512 other = gns_four_floats(add->other + 4 * g);
            __m512 rest = gns_four_floats(add->rest + 4 * g);
            for (; p + 16 <= step; p += 16) {
                __m512 v = _mm512_add_ps(_mm512_mul_ps(gns_load16(map + p), own),
                                         _mm512_mul_ps(gns_load16(more + p), other));
                _mm_storeu_si128((__m128i *)(map + p),
                                 gns_pack16(_mm512_add_ps(v, rest), _mm512_setzero_si512()));
            }
#endif
            for (; p < step; p++) {
                const int k = 4 * g + p % 4;
                const float a = (float)map[p] * add->own[k];
                const float b = (float)more[p] * add->other[k];
                const float sum = a + b;
                map[p] = gns_to_byte(gns_round(sum + add->rest[k]));
            }
        }
    }
}

#define GNS_DEPTHS(K, S) \
    static void gns_depth##K##_##S(const gns_byte *in, int in_height, int in_width, \
                                   gns_byte *out, int groups, int height, int width, \
                                   const gns_weight *weight, const int *bias, \
                                   const float *factor, const gns_byte *zero, const gns_byte *pad, \
                                   const gns_add *add, gns_byte *scratch) \
    { \
        gns_depth(in, in_height, in_width, out, groups, height, width, K, S, weight, bias, \
                  factor, zero, pad, add, scratch); \
    }

/* Mean of 2x2 pixels, half up; an odd last row or column is left out. */
static void gns_pool(const gns_byte *in, int groups, int in_height, int in_width, gns_byte *out,
                     int height, int width)
{
    const int row = 4 * in_width;
    for (int g = 0; g < groups; g++, in += in_height * row)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++, out += 4) {
                const gns_byte *at = in + 2 * y * row + 8 * x;
                for (int k = 0; k < 4; k++)
                    out[k] = (gns_byte)((at[k] + at[k + 4] + at[k + row] + at[k + row + 4] + 2) >> 2);
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
                     short *scratch, float *gate)
{
    const int row = 4 * width, count = height * row, step = 4 * out_height * out_width;
    for (int k = 0; k < 2 * row; k++)
        scratch[k] = scratch[2 * row + count + k] = 0;
    for (int g = 0; g < groups; g++, in += count, out += step, across += 20, down += 20,
             across_bias += 4, across_factor += 4, down_bias += 4, down_factor += 4, pad += 4,
             mark += 4, times += 4, zero += 4) {
        short *middle = scratch + 2 * row;
        int p = 0;
        for (int y = 0; y < height; y++) {
            gns_byte line[4 * (GNS_WIDEST + 4)];
            const gns_byte *from = in + y * row;
            for (int x = 0; x < 2; x++) {
                gns_copy4(pad, line + 4 * x);
                gns_copy4(pad, line + 8 + row + 4 * x);
            }
            for (int k = 0; k < row; k++)
                line[8 + k] = from[k];
            p = 0;
#if GNS_VNNI
            for (; p + 16 <= row; p += 16) {
                __m512i sum = gns_four_ints(across_bias);
                for (int t = 0; t < 5; t++) {
                    int four;
                    __builtin_memcpy(&four, across + 4 * t, 4);
                    sum = _mm512_add_epi32(
                        sum, _mm512_mullo_epi32(
                                 _mm512_cvtepu8_epi32(
                                     _mm_loadu_si128((const __m128i *)(line + p + 4 * t))),
                                 _mm512_cvtepi8_epi32(_mm_set1_epi32(four))));
                }
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
            for (int t = 0; t < 5; t++) {
                int four;
                __builtin_memcpy(&four, down + 4 * t, 4);
                sum = _mm512_add_epi32(
                    sum, _mm512_mullo_epi32(_mm512_cvtepi16_epi32(_mm256_loadu_si256(
                                                (const __m256i *)(scratch + p + t * row))),
                                            _mm512_cvtepi8_epi32(_mm_set1_epi32(four))));
            }
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
                __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(from + 4 * columns[x]));
                v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 1]), 1);
                v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 2]), 2);
                v = _mm512_insertf32x4(v, _mm_loadu_ps(from + 4 * columns[x + 3]), 3);
                __m512i b = _mm512_sub_epi32(
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
