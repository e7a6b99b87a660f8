#if GNS_HELIUM
/* Kernels for Cortex-M55 and M85: Helium. */
#include <arm_mve.h>

/* GCC 12 makes wrong code of these predicated loops at -O1, as tests show, and right code at -O2. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O2")
#endif

/* Numbers rounded to bytes, and to 14 bits, in 32 bits each. */
GNS_INLINE int32x4_t gns_bytes4(float32x4_t x, int32x4_t zero)
{
    const int32x4_t v = vqaddq_s32(vcvtnq_s32_f32(x), zero);
    return vminq_s32(vmaxq_s32(v, vdupq_n_s32(0)), vdupq_n_s32(255));
}
GNS_INLINE int32x4_t gns_wide4(float32x4_t x, const float least)
{
    const int32x4_t v = vcvtnq_s32_f32(x);
    return vminq_s32(vmaxq_s32(v, vdupq_n_s32((int)least)), vdupq_n_s32(8191));
}
GNS_INLINE int32x4_t gns_four_of(const gns_byte *at)
{
    return vreinterpretq_s32_u32(vldrbq_u32(at));
}
/* Places of four numbers that are `step` bytes apart. */
GNS_INLINE uint32x4_t gns_apart_by(int step)
{
    return vmulq_n_u32(vidupq_n_u32(0, 1), (unsigned)step);
}
/* Words that are apart: all four, or `which`. */
GNS_INLINE uint32x4_t gns_words(const void *at, uint32x4_t apart, mve_pred16_t which, const int all)
{
    const uint32_t *from = (const uint32_t *)at;
    return all ? vldrwq_gather_offset_u32(from, apart)
               : vldrwq_gather_offset_z_u32(from, apart, which);
}
/*
 * Adds the products of two outputs at three pixels: `x` has the places of four of a pixel's groups
 * behind `from`, `w` the weights of the first output, and of the second a row behind them.
 */
#define GNS_SIX_SUMS(bits, load, flip) \
    __asm__ volatile("ldr lr, %[n]\n\t" \
                     "dlstp." bits " lr, lr\n" \
                     "1:\n\t" \
                     load " %q[v], [%[w]], #16\n\t" \
                     load " %q[u], [%[more]], #16\n\t" \
                     "vldrw.u32 %q[x], [%[from], %q[first]]\n\t" flip \
                     "vmladava.s" bits " %[a], %q[x], %q[v]\n\t" \
                     "vmladava.s" bits " %[d], %q[x], %q[u]\n\t" \
                     "vldrw.u32 %q[x], [%[from], %q[second]]\n\t" flip \
                     "vmladava.s" bits " %[b], %q[x], %q[v]\n\t" \
                     "vmladava.s" bits " %[e], %q[x], %q[u]\n\t" \
                     "vldrw.u32 %q[x], [%[from], %q[third]]\n\t" flip \
                     "vmladava.s" bits " %[c], %q[x], %q[v]\n\t" \
                     "vmladava.s" bits " %[f], %q[x], %q[u]\n\t" \
                     "add %[from], %[step]\n\t" \
                     "letp lr, 1b" \
                     : [a] "+Te"(a[0]), [b] "+Te"(a[1]), [c] "+Te"(a[2]), [d] "+Te"(d[0]), \
                       [e] "+Te"(d[1]), [f] "+Te"(d[2]), [from] "+r"(from), [w] "+r"(w), \
                       [more] "+r"(more), [x] "=&w"(x), [v] "=&w"(v), [u] "=&w"(u) \
                     : [n] "m"(values), [step] "r"(4 * in_step), [first] "w"(places[0]), \
                       [second] "w"(places[1]), [third] "w"(places[2]), [half] "w"(half) \
                     : "lr", "memory")

GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    const uint16x8_t lane = vidupq_n_u16(0, 1);
    const uint16x8_t pairs =
        vorrq_u16(vshlq_n_u16(vshrq_n_u16(lane, 1), 3), vandq_u16(lane, vdupq_n_u16(1)));
    const uint32x4_t sixteen = gns_apart_by(16), groups = gns_apart_by(in_step);
    const uint32x4_t places[3] = {groups, vaddq_n_u32(groups, 4), vaddq_n_u32(groups, 8)};
    const uint32x4_t half = vdupq_n_u32(0x80808080u), two = vidupq_n_u32(0, 1);
    const uint32x4_t apart =
        vaddq_u32(vshlq_n_u32(vandq_u32(two, vdupq_n_u32(1)), 1),
                  vmulq_n_u32(vshrq_n_u32(two, 1), (unsigned)out_step));
    const int row = 4 * inputs, values = row / IN;
    int *const base = (int *)(void *)(scratch + 4 * fours * row);
    if (count < 3)
        return 0;
    /* Every output's weights in a row. Bytes are multiplied as signed ones: 128 is taken off the
     * inputs, and its products are added before. */
    for (int k = 0; k < 4 * fours; k++) {
        const gns_weight *w = weight + k / 4 * (16 / IN) * inputs + k % 4 * (4 / IN);
        gns_byte *to = scratch + k * row;
        int all = 0;
        for (int i = 0; i < inputs; i += 4, w += 64 / IN, to += 16)
            if (IN == 1) {
                const mve_pred16_t which = vctp32q((unsigned)(inputs - i));
                const uint32x4_t v = gns_words(w, sixteen, which, 0);
                vstrwq_p_u32((uint32_t *)(void *)to, v, which);
                all = vaddvaq_s8(all, vreinterpretq_s8_u32(v));
            } else {
                const mve_pred16_t which = vctp16q((unsigned)(2 * (inputs - i)));
                vstrhq_p_s16((int16_t *)(void *)to, vldrbq_gather_offset_z_s16(w, pairs, which),
                             which);
            }
        if (IN == 1)
            base[k] = bias[k] + 128 * all;
    }
    for (int p = 0; p < count; p += 3) {
        /* The last pixels are done with some before them, which come out the same. */
        const int from_pixel = p + 3 < count ? p : count - 3;
        const gns_byte *w = scratch;
        gns_byte *to = out + 4 * from_pixel;
        for (int b = 0; b < fours; b++, to += OUT * out_step) {
            const float32x4_t f = vld1q_f32(factor + 4 * b);
            int32x4_t sum[3];
            GNS_UNROLL
            for (int o = 0; o < 4; o += 2) {
                const int *start = (IN == 1 ? base : bias) + 4 * b + o;
                const gns_byte *from = in + 4 * from_pixel, *more = w + row;
                const gns_byte *const next = more + row;
                int a[3] = {start[0], start[0], start[0]}, d[3] = {start[1], start[1], start[1]};
                int32x4_t x, v, u;
                if (IN == 1)
                    GNS_SIX_SUMS("8", "vldrb.u8", "veor %q[x], %q[x], %q[half]\n\t");
                else
                    GNS_SIX_SUMS("16", "vldrh.u16", "");
                w = next;
                GNS_UNROLL
                for (int k = 0; k < 3; k++)
                    if (o == 0)
                        __asm__("vmov %e0, %1, %2" : "=w"(sum[k]) : "r"(a[k]), "r"(d[k]));
                    else
                        __asm__("vmov %f0, %1, %2" : "+w"(sum[k]) : "r"(a[k]), "r"(d[k]));
            }
            GNS_UNROLL
            for (int k = 0; k < 3; k++) {
                const float32x4_t value = vmulq_f32(vcvtq_f32_s32(sum[k]), f);
                if (OUT == 1)
                    vstrbq_s32((int8_t *)to + 4 * k, gns_bytes4(value, gns_four_of(zero + 4 * b)));
                else
                    vstrhq_scatter_offset_s32((int16_t *)(void *)(to + 4 * k), apart,
                                              gns_wide4(value, least));
            }
        }
    }
    return count;
}

GNS_INLINE int gns_fast_copy(const gns_byte *in, int pixels, gns_byte *out)
{
    for (int x = 0; x < pixels / 4; x++)
        vst1q_u8(out + 16 * x, vld1q_u8(in + 16 * x));
    return pixels / 4 * 4;
}

/* One channel after the other is taken apart into a plane, and four of its pixels are summed at once. */
GNS_INLINE int gns_fast_depth(const gns_byte *in, int in_height, int in_width, const gns_byte *pad,
                              gns_byte *out, int height, int width, const gns_weight *weight,
                              const int *bias, const float *factor, const gns_byte *zero,
                              const gns_byte *shortcut, const float *other, gns_byte *scratch,
                              const int K, const int S, const int IN)
{
    const uint32x4_t beside = gns_apart_by(4), skip = gns_apart_by(2 * IN);
    /* Where a channel's bytes are, four apart: the same for all rows. */
    const uint8x16_t bytes = vshlq_n_u8(vidupq_n_u8(0, 1), 2);
    const uint16x8_t shorts = vshlq_n_u16(vidupq_n_u16(0, 1), 2);
    const int side = 4 / IN, edge = K / 2, stride = IN * (in_width + 2 * edge);
    for (int k = 0; k < side; k++) {
        int w[25];
        const uint8x16_t around = vdupq_n_u8(IN == 1 ? pad[k] : 0);
        for (int p = 0; p < stride * (in_height + 2 * edge); p += 16)
            vst1q_u8(scratch + p, around);
        for (int y = 0; y < in_height; y++) {
            const gns_byte *from = in + 4 * y * in_width + IN * k;
            gns_byte *to = scratch + (y + edge) * stride + IN * edge;
            for (int x = 0; x < in_width; x += 16 / IN, from += 64 / IN, to += 16)
                if (IN == 1) {
                    const mve_pred16_t which = vctp8q((unsigned)(in_width - x));
                    vstrbq_p_u8(to, vldrbq_gather_offset_z_u8(from, bytes, which), which);
                } else {
                    const mve_pred16_t which = vctp16q((unsigned)(in_width - x));
                    vstrhq_p_s16((int16_t *)(void *)to,
                                 vldrhq_gather_offset_z_s16((const int16_t *)(const void *)from,
                                                            shorts, which),
                                 which);
                }
        }
        GNS_UNROLL
        for (int t = 0; t < K * K; t++)
            w[t] = weight[2 * side * (t / 2) + 2 * k + t % 2];
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x += 4) {
                const gns_byte *at = scratch + S * (y * stride + IN * x);
                const int to = 4 * (y * width + x) + IN * k;
                const mve_pred16_t which = vctp32q((unsigned)(width - x));
                int32x4_t sum = vdupq_n_s32(bias[k]);
                GNS_UNROLL
                for (int i = 0; i < K; i++, at += stride) {
                    GNS_UNROLL
                    for (int j = 0; j < K; j++) {
                        const gns_byte *tap = at + IN * j;
                        const int16_t *two = (const int16_t *)(const void *)tap;
                        const int32x4_t v =
                            IN == 1 ? vreinterpretq_s32_u32(
                                          S == 1 ? vldrbq_u32(tap)
                                                 : vldrbq_gather_offset_u32(tap, skip))
                                    : (S == 1 ? vldrhq_s32(two)
                                              : vldrhq_gather_offset_s32(two, skip));
                        sum = vmlaq_n_s32(sum, v, w[K * i + j]);
                    }
                }
                float32x4_t value = vmulq_n_f32(vcvtq_f32_s32(sum), factor[k]);
                if (IN == 1) {
                    vstrbq_scatter_offset_p_s32((int8_t *)out + to, beside,
                                                gns_bytes4(value, vdupq_n_s32(zero[k])), which);
                    continue;
                }
                if (shortcut) {
                    const int32x4_t more = vldrhq_gather_offset_z_s32(
                        (const int16_t *)(const void *)(shortcut + to), beside, which);
                    value = vaddq_f32(value, vmulq_n_f32(vcvtq_f32_s32(more), other[k]));
                }
                vstrhq_scatter_offset_p_s32((int16_t *)(void *)(out + to), beside,
                                            gns_wide4(value, -8191), which);
            }
    }
    return 1;
}

GNS_INLINE int gns_fast_join(short *map, const short *more, const float *own, const float *other,
                             int count)
{
    const uint32x4_t pair = vmulq_n_u32(vandq_u32(vidupq_n_u32(0, 1), vdupq_n_u32(1)), 4);
    const float32x4_t f = vldrwq_gather_offset_f32(own, pair);
    const float32x4_t g = vldrwq_gather_offset_f32(other, pair);
    const int done = count / 4 * 4;
    for (int p = 0; p < done; p += 4) {
        const float32x4_t a = vmulq_f32(vcvtq_f32_s32(vldrhq_s32(map + p)), f);
        const float32x4_t b = vmulq_f32(vcvtq_f32_s32(vldrhq_s32(more + p)), g);
        vstrhq_s32(map + p, gns_wide4(vaddq_f32(a, b), -8191));
    }
    return done;
}

/* A pixel's four bytes times numbers of their own. */
GNS_INLINE void gns_scale4(gns_byte *at, float32x4_t weight, int32x4_t mark, int32x4_t zero)
{
    const float32x4_t v = vcvtq_f32_s32(vsubq_s32(gns_four_of(at), mark));
    vstrbq_s32((int8_t *)at, gns_bytes4(vmulq_f32(v, weight), zero));
}
GNS_INLINE int gns_fast_stretched(const float *gate, int in_width, const gns_byte *columns,
                                  int width, const gns_byte *mark, const gns_byte *zero,
                                  gns_byte *to)
{
    const int32x4_t m = gns_four_of(mark), z = gns_four_of(zero);
    (void)in_width;
    for (int x = 0; x < width; x++)
        gns_scale4(to + 4 * x, vld1q_f32(gate + 4 * columns[x]), m, z);
    return width;
}
GNS_INLINE int gns_fast_scale(gns_byte *map, int count, const float *weight, const gns_byte *mark,
                              const gns_byte *zero)
{
    const int32x4_t m = gns_four_of(mark), z = gns_four_of(zero);
    const float32x4_t f = vld1q_f32(weight);
    for (int p = 0; p < count; p += 4)
        gns_scale4(map + p, f, m, z);
    return count;
}

GNS_INLINE float32x4_t gns_sigmoid4(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(12582912.0f);
    float32x4_t whole, rest, sum, power;
    x = vsubq_f32(vdupq_n_f32(0), x);
    x = vminnmq_f32(vmaxnmq_f32(x, vdupq_n_f32(-87.0f)), vdupq_n_f32(87.0f));
    whole = vaddq_f32(vmulq_n_f32(x, 1.44269504f), magic);
    power = vreinterpretq_f32_s32(
        vshlq_n_s32(vaddq_n_s32(vreinterpretq_s32_f32(whole), 127 - 0x4b400000), 23));
    whole = vsubq_f32(whole, magic);
    rest = vsubq_f32(x, vmulq_n_f32(whole, 0.693359375f));
    rest = vsubq_f32(rest, vmulq_n_f32(whole, -2.12194440e-4f));
    GNS_SIGMOID_STEPS(vmulq_f32, vaddq_f32, vdupq_n_f32);
    sum = vaddq_n_f32(vmulq_f32(sum, power), 1.0f);
    for (int k = 0; k < 4; k++)
        sum[k] = 1.0f / sum[k];
    return sum;
}
GNS_INLINE int gns_fast_across(const gns_byte *line, int row, const gns_weight *weight,
                               const int *bias, const float *factor, short *out)
{
    const float32x4_t f = vld1q_f32(factor);
    for (int p = 0; p < row; p += 4) {
        int32x4_t sum = vld1q_s32((const int32_t *)bias), v;
        GNS_UNROLL
        for (int t = 0; t < 5; t++)
            sum = vaddq_s32(sum, vmulq_s32(gns_four_of(line + p + 4 * t),
                                           vldrbq_s32((const int8_t *)weight + 4 * t)));
        v = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), f));
        vstrhq_s32(out + p,
                   vminq_s32(vmaxq_s32(v, vdupq_n_s32(-32767)), vdupq_n_s32(32767)));
    }
    return row;
}
GNS_INLINE int gns_fast_down(const short *in, int row, int count, const gns_weight *weight,
                             const int *bias, const float *factor, const float *times, float *gate)
{
    for (int p = 0; p < count; p += 4) {
        int32x4_t sum = vld1q_s32((const int32_t *)bias);
        GNS_UNROLL
        for (int t = 0; t < 5; t++)
            sum = vaddq_s32(sum, vmulq_s32(vldrhq_s32(in + p + t * row),
                                           vldrbq_s32((const int8_t *)weight + 4 * t)));
        vst1q_f32(gate + p, vmulq_f32(gns_sigmoid4(vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(factor))),
                                      vld1q_f32(times)));
    }
    return count;
}

/* Four outputs at once, eight inputs of each. */
GNS_INLINE int gns_fast_sums(const short *whole, int inputs, const gns_weight *weight, int left,
                             int *sum)
{
    const uint16x8_t lane = vidupq_n_u16(0, 1);
    const uint16x8_t pairs = vaddq_u16(vmulq_n_u16(vshrq_n_u16(lane, 1), (uint16_t)(2 * left)),
                                       vandq_u16(lane, vdupq_n_u16(1)));
    int o = 0;
    for (; o + 4 <= left; o += 4) {
        int32_t four[4] = {0, 0, 0, 0};
        const gns_weight *w = weight + 2 * o;
        for (int i = 0; i < inputs; i += 8, w += 8 * left) {
            const mve_pred16_t which = vctp16q((unsigned)(inputs - i));
            const int16x8_t x = vldrhq_z_s16(whole + i, which);
            GNS_UNROLL
            for (int k = 0; k < 4; k++)
                four[k] = vmladavaq_s16(four[k], x,
                                        vldrbq_gather_offset_z_s16(w + 2 * k, pairs, which));
        }
        for (int k = 0; k < 4; k++)
            sum[o + k] = four[k];
    }
    return o;
}
#endif