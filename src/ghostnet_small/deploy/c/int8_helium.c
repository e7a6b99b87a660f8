#if GNS_HELIUM
/* Kernels for Cortex-M55 and M85: Helium. */
#include <arm_mve.h>

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
/* Adds the products of four groups, or of `which`, for four outputs. */
GNS_INLINE void gns_four_groups(int32_t *sum, const gns_byte *from, uint32x4_t groups,
                                const gns_weight *w, uint16x8_t pairs, mve_pred16_t which,
                                const int all, const int IN)
{
    const uint32x4_t x = gns_words(from, groups, which, all);
    GNS_UNROLL
    for (int o = 0; o < 4; o++) {
        if (IN == 1) {
            /* Of signed bytes: 128 is taken off the inputs, and its products are added before. */
            const int8x16_t v =
                vreinterpretq_s8_u32(gns_words(w + 4 * o, gns_apart_by(16), which, all));
            const uint32x4_t half = vdupq_n_u32(0x80808080u);
            sum[o] = vmladavaq_s8(sum[o], vreinterpretq_s8_u32(veorq_u32(x, half)), v);
        } else {
            const int16x8_t v = all ? vldrbq_gather_offset_s16(w + 2 * o, pairs)
                                    : vldrbq_gather_offset_z_s16(w + 2 * o, pairs, which);
            sum[o] = vmladavaq_s16(sum[o], vreinterpretq_s16_u32(x), v);
        }
    }
}

GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    int *const base = (int *)(void *)scratch;
    const uint32x4_t groups = gns_apart_by(in_step);
    const uint16x8_t pairs = vorrq_u16(vmulq_n_u16(vshrq_n_u16(vidupq_n_u16(0, 1), 1), 8),
                                       vandq_u16(vidupq_n_u16(0, 1), vdupq_n_u16(1)));
    const uint32x4_t two = vandq_u32(vidupq_n_u32(0, 1), vdupq_n_u32(1));
    const uint32x4_t places =
        vaddq_u32(vmulq_n_u32(two, 2),
                  vmulq_n_u32(vshrq_n_u32(vidupq_n_u32(0, 1), 1), (unsigned)out_step));
    const int block = 16 / IN * inputs;
    for (int k = 0; k < 4 * fours; k++) {
        int all = 0;
        if (IN == 1)
            for (int i = 0; i < inputs; i += 4)
                all = vaddvaq_s8(all, vreinterpretq_s8_u32(gns_words(
                                          weight + k / 4 * block + 16 * i + k % 4 * 4,
                                          gns_apart_by(16), vctp32q((unsigned)(inputs - i)), 0)));
        base[k] = bias[k] + 128 * all;
    }
    for (int p = 0; p < count; p++)
        for (int b = 0; b < fours; b++) {
            const gns_weight *w = weight + b * block;
            const gns_byte *from = in + 4 * p;
            gns_byte *to = out + OUT * b * out_step + 4 * p;
            int32_t sum[4] = {base[4 * b], base[4 * b + 1], base[4 * b + 2], base[4 * b + 3]};
            int i = 0;
            for (; i < inputs - 3; i += 4, from += 4 * in_step, w += 64 / IN)
                gns_four_groups(sum, from, groups, w, pairs, 0, 1, IN);
            if (i < inputs)
                gns_four_groups(sum, from, groups, w, pairs, vctp32q((unsigned)(inputs - i)), 0, IN);
            const float32x4_t v =
                vmulq_f32(vcvtq_f32_s32(vld1q_s32(sum)), vld1q_f32(factor + 4 * b));
            if (OUT == 1)
                vstrbq_s32((int8_t *)to, gns_bytes4(v, gns_four_of(zero + 4 * b)));
            else
                vstrhq_scatter_offset_s32((int16_t *)(void *)to, places, gns_wide4(v, least));
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
    /* Out here: GCC 12 takes what VIDUP leaves in a register for a loop's own counter. */
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