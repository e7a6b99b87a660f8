#if GNS_VNNI
/* Kernels for AVX-512 with VNNI. */
#include <immintrin.h>
typedef double gns_double __attribute__((may_alias, aligned(4)));

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
GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    const int block = 16 / IN * inputs;
    (void)scratch;
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
    return count;
}

/* Pixels from place to place. */
GNS_INLINE int gns_fast_copy(const gns_byte *in, int pixels, gns_byte *out)
{
    int x = 0;
    for (; x + 8 <= pixels; x += 8)
        _mm256_storeu_si256((__m256i *)(out + 4 * x),
                            _mm256_loadu_si256((const __m256i *)(in + 4 * x)));
    for (; x + 4 <= pixels; x += 4)
        _mm_storeu_si128((__m128i *)(out + 4 * x), _mm_loadu_si128((const __m128i *)(in + 4 * x)));
    return x;
}

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

/* A row's even pixels, and behind them, `half` further, the odd ones. */
GNS_INLINE void gns_apart(const gns_byte *row, int stride, gns_byte *out, int half)
{
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
}

/*
 * Depth-wise convolution of a group, whose rows of `stride` pixels have the padding around them. Of
 * stride 2 the even and the odd columns are put apart, behind all rows, so that a tap's pixels are
 * neighbours.
 */
GNS_INLINE int gns_fast_plane(gns_byte *rows, int stride, gns_byte *out, int height, int width,
                              const gns_weight *weight, const int *bias, const float *factor,
                              const gns_byte *zero, const gns_byte *shortcut, const float *other,
                              const int K, const int S, const int IN)
{
    const int taps = K * K, room = 8 * IN, half = (stride + 1) / 2, tall = S * (height - 1) + K;
    const __m512 f = gns_channels(factor, IN);
    if (S == 2) {
        gns_byte *apart = rows + 4 * stride * tall;
        for (int y = 0; y < tall; y++)
            gns_apart(rows + 4 * y * stride, stride, apart + 8 * y * half, half);
        rows = apart;
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x += room) {
            const int at = 4 * (y * width + x);
            const gns_byte *tap[25];
            for (int t = 0; t < taps; t++)
                tap[t] = S == 1 ? rows + 4 * ((y + t / K) * stride + x + t % K)
                                : rows + 4 * ((2 * (2 * y + t / K) + t % K % 2) * half + x +
                                              t % K / 2);
            const gns_sums sum = gns_depth_sums(tap, taps, weight, bias, IN);
            const __mmask16 mask = GNS_LEFT(width - x);
            __m512 a = gns_times(sum.first, f), b = gns_times(sum.second, f);
            if (IN == 1) {
                const __m512i z = gns_four_bytes(zero);
                const __m512i v = _mm512_packus_epi32(gns_bytes16(a, z), gns_bytes16(b, z));
                _mm256_mask_storeu_epi32(out + at, (__mmask8)mask, _mm512_cvtepi16_epi8(v));
                continue;
            }
            if (shortcut) {
                const __m512 scale = gns_channels(other, IN);
                const __m512i more = _mm512_maskz_loadu_epi32(mask, shortcut + at);
                const __m512i low = _mm512_unpacklo_epi16(more, more);
                const __m512i high = _mm512_unpackhi_epi16(more, more);
                a = _mm512_add_ps(a, gns_times(_mm512_srai_epi32(low, 16), scale));
                b = _mm512_add_ps(b, gns_times(_mm512_srai_epi32(high, 16), scale));
            }
            _mm512_mask_storeu_epi32(
                out + at, mask, _mm512_packs_epi32(gns_wide16(a, -8191), gns_wide16(b, -8191)));
        }
    return 1;
}

/* `count` numbers of a map of pairs and of another one, scaled and added. */
GNS_INLINE int gns_fast_join(short *map, const short *more, const float *own, const float *other,
                             int count)
{
    const __m512 first = gns_channels(own, 2), second = gns_channels(other, 2);
    int p = 0;
    for (; p + 16 <= count; p += 16) {
        const __m512i a = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(map + p)));
        const __m512i b = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(more + p)));
        const __m512 sum = _mm512_add_ps(gns_times(a, first), gns_times(b, second));
        _mm256_storeu_si256((__m256i *)(map + p), _mm512_cvtepi32_epi16(gns_wide16(sum, -8191)));
    }
    return p;
}

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

/* A tap's four weights, each beside a zero: products of two pairs of 16 bits are summed. */
GNS_INLINE __m512i gns_line_weights(const gns_weight *at)
{
    int four;
    __builtin_memcpy(&four, at, 4);
    return _mm512_and_si512(_mm512_cvtepi8_epi32(_mm_set1_epi32(four)), _mm512_set1_epi32(0xffff));
}
GNS_INLINE int gns_fast_across(const gns_byte *line, int row, const gns_weight *weight,
                               const int *bias, const float *factor, short *out)
{
    __m512i w[5];
    int p = 0;
    for (int t = 0; t < 5; t++)
        w[t] = gns_line_weights(weight + 4 * t);
    for (; p + 16 <= row; p += 16) {
        __m512i sum = gns_four_ints(bias);
        for (int t = 0; t < 5; t++)
            sum = _mm512_dpwssd_epi32(
                sum,
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(line + p + 4 * t))), w[t]);
        sum = gns_round16(gns_times(sum, gns_four_floats(factor)));
        _mm256_storeu_si256((__m256i *)(out + p), _mm512_cvtepi32_epi16(sum));
    }
    return p;
}
GNS_INLINE int gns_fast_down(const short *in, int row, int count, const gns_weight *weight,
                             const int *bias, const float *factor, const float *times, float *gate)
{
    const __m512 scale = gns_four_floats(times);
    __m512i w[5];
    int p = 0;
    for (int t = 0; t < 5; t++)
        w[t] = gns_line_weights(weight + 4 * t);
    for (; p < count; p += 16) {
        __m512i sum = gns_four_ints(bias);
        for (int t = 0; t < 5; t++)
            sum = _mm512_dpwssd_epi32(
                sum,
                _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(in + p + t * row))),
                w[t]);
        _mm512_storeu_ps(gate + p, _mm512_mul_ps(gns_sigmoid16(gns_times(
                                                     sum, gns_four_floats(factor))), scale));
    }
    return count;
}
GNS_INLINE int gns_fast_stretched(const float *gate, int in_width, const gns_byte *columns,
                                  int width, const gns_byte *mark, const gns_byte *zero,
                                  gns_byte *to)
{
    const __m512i m = gns_four_bytes(mark), z = gns_four_bytes(zero);
    int x = 0;
    for (; x + 4 <= width; x += 4, to += 16) {
        __m512 v;
        if (width == 2 * in_width) {
            v = _mm512_permutexvar_ps(
                _mm512_set_epi32(7, 6, 5, 4, 7, 6, 5, 4, 3, 2, 1, 0, 3, 2, 1, 0),
                _mm512_castps256_ps512(_mm256_loadu_ps(gate + 2 * x)));
        } else {
            v = _mm512_castps128_ps512(_mm_loadu_ps(gate + 4 * columns[x]));
            v = _mm512_insertf32x4(v, _mm_loadu_ps(gate + 4 * columns[x + 1]), 1);
            v = _mm512_insertf32x4(v, _mm_loadu_ps(gate + 4 * columns[x + 2]), 2);
            v = _mm512_insertf32x4(v, _mm_loadu_ps(gate + 4 * columns[x + 3]), 3);
        }
        const __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)to));
        _mm_storeu_si128((__m128i *)to, gns_pack16(gns_times(_mm512_sub_epi32(b, m), v), z));
    }
    return x;
}

/* Up to sixteen sums of a linear layer. */
GNS_INLINE int gns_fast_sums(const short *whole, int inputs, const gns_weight *weight, int left,
                             int *sum)
{
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
    return left;
}

/* Bytes of a group times a number for each channel. */
GNS_INLINE int gns_fast_scale(gns_byte *map, int count, const float *weight, const gns_byte *mark,
                              const gns_byte *zero)
{
    const __m512 f = gns_four_floats(weight), m = _mm512_cvtepi32_ps(gns_four_bytes(mark));
    const __m512i z = gns_four_bytes(zero);
    int p = 0;
    for (; p + 16 <= count; p += 16) {
        __m512 v = _mm512_mul_ps(_mm512_sub_ps(gns_load16(map + p), m), f);
        _mm_storeu_si128((__m128i *)(map + p), gns_pack16(v, z));
    }
    return p;
}
#endif
