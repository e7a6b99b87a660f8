#if GNS_AVX2
/* Kernels for AVX2: bytes become 16 bits, of which it adds two products without an overflow. */
#include <immintrin.h>
typedef double gns_double __attribute__((may_alias, aligned(4)));

GNS_INLINE __m256i gns_round8(__m256 x)
{
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-32767)), _mm256_set1_ps(32767));
    return _mm256_cvtps_epi32(x);
}
/* Eight numbers become bytes in 32 bits each. */
GNS_INLINE __m256i gns_bytes8(__m256 x, __m256i zero)
{
    __m256i v = _mm256_add_epi32(gns_round8(x), zero);
    v = _mm256_max_epi32(v, _mm256_setzero_si256());
    return _mm256_min_epi32(v, _mm256_set1_epi32(255));
}
GNS_INLINE __m256 gns_times(__m256i sum, __m256 factor)
{
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), factor);
}
GNS_INLINE __m256i gns_wide8(__m256 x, const float least)
{
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(least)), _mm256_set1_ps(8191));
    return _mm256_cvtps_epi32(x);
}
/* Eight numbers of 16 bits from 32. */
GNS_INLINE __m128i gns_half(__m256i v)
{
    return _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}
/* Eight bytes in 32 bits each, and back. */
GNS_INLINE __m256i gns_load8(const gns_byte *in)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)in));
}
GNS_INLINE void gns_store8(gns_byte *out, __m256i v)
{
    const __m128i half = gns_half(v);
    _mm_storel_epi64((__m128i *)out, _mm_packus_epi16(half, half));
}
/* Four numbers, one a channel, for two pixels. */
GNS_INLINE __m256 gns_four_floats(const float *at)
{
    return _mm256_broadcast_ps((const __m128 *)at);
}
GNS_INLINE __m256i gns_four_ints(const int *at)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)at));
}
GNS_INLINE __m256i gns_four_bytes(const gns_byte *at)
{
    return _mm256_broadcastsi128_si256(_mm_cvtepu8_epi32(_mm_cvtsi32_si128((int)gns_read(at))));
}

/* Four outputs at 8 * V pixels; `pairs` of weights, four outputs side by side. */
GNS_INLINE void gns_tile(const gns_byte *in, int inputs, int in_step, gns_byte *out, int out_step,
                         const int *pairs, const int *bias, const float *factor,
                         const gns_byte *zero, const int IN, const int OUT, const float least,
                         const int V)
{
    __m256i sum[4][2];
    for (int o = 0; o < 4; o++)
        for (int v = 0; v < V; v++)
            sum[o][v] = _mm256_set1_epi32(bias[o]);
    for (int i = 0; i < inputs; i++, in += in_step, pairs += 8 / IN) {
        const __m256i low = _mm256_set1_epi32(0xff00ff);
        __m256i x[2], y[2];
        for (int v = 0; v < V; v++) {
            x[v] = _mm256_loadu_si256((const __m256i *)(in + 32 * v));
            if (IN == 1) {
                y[v] = _mm256_srli_epi16(x[v], 8);
                x[v] = _mm256_and_si256(x[v], low);
            }
        }
        GNS_UNROLL
        for (int o = 0; o < 4; o++) {
            const __m256i w = _mm256_set1_epi32(pairs[o]);
            for (int v = 0; v < V; v++)
                sum[o][v] = _mm256_add_epi32(sum[o][v], _mm256_madd_epi16(x[v], w));
        }
        GNS_UNROLL
        for (int o = 4; o < 8 && IN == 1; o++) {
            const __m256i w = _mm256_set1_epi32(pairs[o]);
            for (int v = 0; v < V; v++)
                sum[o - 4][v] = _mm256_add_epi32(sum[o - 4][v], _mm256_madd_epi16(y[v], w));
        }
    }
    for (int v = 0; v < V; v++, out += 32) {
        __m256i r[4];
        for (int o = 0; o < 4; o++) {
            const __m256 x = gns_times(sum[o][v], _mm256_set1_ps(factor[o]));
            r[o] = OUT == 1 ? gns_bytes8(x, _mm256_set1_epi32(zero[o])) : gns_wide8(x, least);
        }
        if (OUT == 1) {
            r[0] = _mm256_or_si256(r[0], _mm256_slli_epi32(r[1], 8));
            r[2] = _mm256_or_si256(r[2], _mm256_slli_epi32(r[3], 8));
            _mm256_storeu_si256((__m256i *)out, _mm256_or_si256(r[0], _mm256_slli_epi32(r[2], 16)));
        } else {
            _mm256_storeu_si256((__m256i *)out,
                                _mm256_blend_epi16(r[0], _mm256_slli_epi32(r[1], 16), 0xaa));
            _mm256_storeu_si256((__m256i *)(out + out_step),
                                _mm256_blend_epi16(r[2], _mm256_slli_epi32(r[3], 16), 0xaa));
        }
    }
}
GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    int *const pairs = (int *)(void *)scratch;
    const int block = 8 / IN * inputs, done = count / 8 * 8;
    for (int k = 0; k < inputs * fours; k++) {
        if (IN == 1) {
            /* Of every output the weights of channels 0 and 2, then those of 1 and 3. */
            const __m128i order = _mm_set_epi8(15, 13, 11, 9, 7, 5, 3, 1, 14, 12, 10, 8, 6, 4, 2, 0);
            const __m128i w = _mm_loadu_si128((const __m128i *)(weight + 16 * k));
            _mm256_storeu_si256((__m256i *)(pairs + 8 * k),
                                _mm256_cvtepi8_epi16(_mm_shuffle_epi8(w, order)));
        } else {
            _mm_storeu_si128((__m128i *)(pairs + 4 * k),
                             _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(weight + 8 * k))));
        }
    }
    for (int p = 0; p < done;) {
        const int two = p + 16 <= done;
        for (int b = 0; b < fours; b++) {
            gns_byte *to = out + OUT * b * out_step + 4 * p;
            if (two)
                gns_tile(in + 4 * p, inputs, in_step, to, out_step, pairs + b * block, bias + 4 * b,
                         factor + 4 * b, zero + 4 * b, IN, OUT, least, 2);
            else
                gns_tile(in + 4 * p, inputs, in_step, to, out_step, pairs + b * block, bias + 4 * b,
                         factor + 4 * b, zero + 4 * b, IN, OUT, least, 1);
        }
        p += two ? 16 : 8;
    }
    return done;
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

/* Four pixels of bytes (IN 1), or eight of pairs (IN 2), every one or every second (S 2). */
GNS_INLINE __m256i gns_tap(const gns_byte *at, const int S, const int IN)
{
    const __m256i first = _mm256_loadu_si256((const __m256i *)at);
    if (IN == 1) {
        const __m256i even = _mm256_set_epi32(0, 0, 0, 0, 6, 4, 2, 0);
        return _mm256_cvtepu8_epi16(_mm256_castsi256_si128(
            S == 1 ? first : _mm256_permutevar8x32_epi32(first, even)));
    }
    if (S == 1)
        return first;
    const __m256 second = _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i *)(at + 32)));
    return _mm256_permute4x64_epi64(
        _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(first), second, 0x88)), 0xd8);
}
GNS_INLINE __m256 gns_channels(const float *at, const int IN)
{
    return IN == 1 ? gns_four_floats(at)
                   : _mm256_castpd_ps(_mm256_set1_pd(*(const gns_double *)(const void *)at));
}
GNS_INLINE int gns_fast_plane(gns_byte *rows, int stride, gns_byte *out, int height, int width,
                              const gns_weight *weight, const int *bias, const float *factor,
                              const gns_byte *zero, const gns_byte *shortcut, const float *other,
                              const int K, const int S, const int IN)
{
    const int taps = K * K, room = 4 * IN;
    const __m256 f = gns_channels(factor, IN);
    const __m256i base =
        _mm256_castps_si256(gns_channels((const float *)(const void *)bias, IN));
    __m256i weights[13];
    for (int t = 0; t < taps; t += 2, weight += 8 / IN)
        weights[t / 2] =
            IN == 1 ? _mm256_broadcastsi128_si256(
                          _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)weight)))
                    : _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(
                          _mm_cvtsi32_si128((int)gns_read((const gns_byte *)weight))));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x += room) {
            const gns_byte *at = rows + 4 * S * (y * stride + x);
            const int to = 4 * (y * width + x);
            const int bytes = width - x < room ? 4 * (width - x) : 4 * room;
            gns_byte made[32], more[32];
            /* Within every 128 bits, sums of the first half, and of the second. */
            __m256i first = base, second = base;
            for (int t = 0; t < taps; t += 2) {
                const int u = t + 1 < taps ? t + 1 : t;
                const __m256i a = gns_tap(at + 4 * (t / K * stride + t % K), S, IN);
                const __m256i b = gns_tap(at + 4 * (u / K * stride + u % K), S, IN);
                const __m256i low = _mm256_unpacklo_epi16(a, b), high = _mm256_unpackhi_epi16(a, b);
                first = _mm256_add_epi32(first, _mm256_madd_epi16(low, weights[t / 2]));
                second = _mm256_add_epi32(second, _mm256_madd_epi16(high, weights[t / 2]));
            }
            __m256 a = gns_times(first, f), b = gns_times(second, f);
            if (IN == 1) {
                const __m256i z = gns_four_bytes(zero);
                const __m256i v = _mm256_packus_epi32(gns_bytes8(a, z), gns_bytes8(b, z));
                const __m128i four = _mm_packus_epi16(_mm256_castsi256_si128(v),
                                                      _mm256_extracti128_si256(v, 1));
                if (bytes == 16) {
                    _mm_storeu_si128((__m128i *)(out + to), four);
                    continue;
                }
                _mm_storeu_si128((__m128i *)made, four);
            } else {
                if (shortcut) {
                    const __m256 scale = gns_channels(other, IN);
                    const gns_byte *from = shortcut + to;
                    if (bytes < 32) {
                        __builtin_memcpy(more, from, (unsigned)bytes);
                        from = more;
                    }
                    const __m256i v = _mm256_loadu_si256((const __m256i *)from);
                    const __m256i low = _mm256_unpacklo_epi16(v, v);
                    const __m256i high = _mm256_unpackhi_epi16(v, v);
                    a = _mm256_add_ps(a, gns_times(_mm256_srai_epi32(low, 16), scale));
                    b = _mm256_add_ps(b, gns_times(_mm256_srai_epi32(high, 16), scale));
                }
                const __m256i v = _mm256_packs_epi32(gns_wide8(a, -8191), gns_wide8(b, -8191));
                if (bytes == 32) {
                    _mm256_storeu_si256((__m256i *)(out + to), v);
                    continue;
                }
                _mm256_storeu_si256((__m256i *)made, v);
            }
            __builtin_memcpy(out + to, made, (unsigned)bytes);
        }
    return 1;
}

GNS_INLINE int gns_fast_join(short *map, const short *more, const float *own, const float *other,
                             int count)
{
    const __m256 first = gns_channels(own, 2), second = gns_channels(other, 2);
    int p = 0;
    for (; p + 8 <= count; p += 8) {
        const __m256i a = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(map + p)));
        const __m256i b = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(more + p)));
        const __m256 sum = _mm256_add_ps(gns_times(a, first), gns_times(b, second));
        _mm_storeu_si128((__m128i *)(map + p), gns_half(gns_wide8(sum, -8191)));
    }
    return p;
}

GNS_INLINE __m256 gns_sigmoid8(__m256 x)
{
    __m256 magic = _mm256_set1_ps(12582912.0f), whole, rest, sum, power;
    x = _mm256_sub_ps(_mm256_setzero_ps(), x);
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(87.0f));
    whole = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), magic);
    power = _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_add_epi32(_mm256_castps_si256(whole), _mm256_set1_epi32(127 - 0x4b400000)), 23));
    whole = _mm256_sub_ps(whole, magic);
    rest = _mm256_sub_ps(x, _mm256_mul_ps(whole, _mm256_set1_ps(0.693359375f)));
    rest = _mm256_sub_ps(rest, _mm256_mul_ps(whole, _mm256_set1_ps(-2.12194440e-4f)));
    GNS_SIGMOID_STEPS(_mm256_mul_ps, _mm256_add_ps, _mm256_set1_ps);
    sum = _mm256_add_ps(_mm256_set1_ps(1), _mm256_mul_ps(sum, power));
    return _mm256_div_ps(_mm256_set1_ps(1), sum);
}

/* A tap's four weights, each beside a zero: products of two pairs of 16 bits are summed. */
GNS_INLINE __m256i gns_line_weights(const gns_weight *at)
{
    const __m128i four = _mm_cvtsi32_si128((int)gns_read((const gns_byte *)at));
    return _mm256_and_si256(_mm256_broadcastsi128_si256(_mm_cvtepi8_epi32(four)),
                            _mm256_set1_epi32(0xffff));
}
GNS_INLINE int gns_fast_across(const gns_byte *line, int row, const gns_weight *weight,
                               const int *bias, const float *factor, short *out)
{
    __m256i w[5];
    int p = 0;
    for (int t = 0; t < 5; t++)
        w[t] = gns_line_weights(weight + 4 * t);
    for (; p + 8 <= row; p += 8) {
        __m256i sum = gns_four_ints(bias);
        for (int t = 0; t < 5; t++)
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(gns_load8(line + p + 4 * t), w[t]));
        sum = gns_round8(gns_times(sum, gns_four_floats(factor)));
        _mm_storeu_si128((__m128i *)(out + p), gns_half(sum));
    }
    return p;
}
GNS_INLINE int gns_fast_down(const short *in, int row, int count, const gns_weight *weight,
                             const int *bias, const float *factor, const float *times, float *gate)
{
    __m256i w[5];
    int p = 0;
    for (int t = 0; t < 5; t++)
        w[t] = gns_line_weights(weight + 4 * t);
    for (; p + 8 <= count; p += 8) {
        __m256i sum = gns_four_ints(bias);
        for (int t = 0; t < 5; t++) {
            const __m128i x = _mm_loadu_si128((const __m128i *)(in + p + t * row));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi16_epi32(x), w[t]));
        }
        const __m256 x = gns_times(sum, gns_four_floats(factor));
        _mm256_storeu_ps(gate + p, _mm256_mul_ps(gns_sigmoid8(x), gns_four_floats(times)));
    }
    return p;
}
GNS_INLINE int gns_fast_stretched(const float *gate, int in_width, const gns_byte *columns,
                                  int width, const gns_byte *mark, const gns_byte *zero,
                                  gns_byte *to)
{
    const __m256i m = gns_four_bytes(mark), z = gns_four_bytes(zero);
    int x = 0;
    (void)in_width;
    for (; x + 2 <= width; x += 2, to += 8) {
        const __m256 v = _mm256_set_m128(_mm_loadu_ps(gate + 4 * columns[x + 1]),
                                         _mm_loadu_ps(gate + 4 * columns[x]));
        gns_store8(to, gns_bytes8(gns_times(_mm256_sub_epi32(gns_load8(to), m), v), z));
    }
    return x;
}
GNS_INLINE int gns_fast_scale(gns_byte *map, int count, const float *weight, const gns_byte *mark,
                              const gns_byte *zero)
{
    const __m256 f = gns_four_floats(weight);
    const __m256i m = gns_four_bytes(mark), z = gns_four_bytes(zero);
    int p = 0;
    for (; p + 8 <= count; p += 8)
        gns_store8(map + p,
                   gns_bytes8(gns_times(_mm256_sub_epi32(gns_load8(map + p), m), f), z));
    return p;
}

/* Sums of a linear layer. */
GNS_INLINE int gns_fast_sums(const short *whole, int inputs, const gns_weight *weight, int left,
                             int *sum)
{
    int o = 0;
    for (; o + 8 <= left; o += 8) {
        const gns_weight *at = weight + 2 * o;
        __m256i all = _mm256_setzero_si256();
        for (int i = 0; i < inputs; i += 2, at += 2 * left) {
            const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at));
            const __m256i x = _mm256_set1_epi32((int)gns_read((const gns_byte *)(whole + i)));
            all = _mm256_add_epi32(all, _mm256_madd_epi16(w, x));
        }
        _mm256_storeu_si256((__m256i *)(sum + o), all);
    }
    return o;
}
#endif
