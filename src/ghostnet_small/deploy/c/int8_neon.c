#if GNS_NEON
/* Kernels for AArch64: NEON, with products of four bytes at once where the core has SDOT. */
#include <arm_neon.h>

/* Eight numbers as 16 bits, rounded; then bytes, of which zero is `zero`, or 14 bits. */
GNS_INLINE uint8x8_t gns_bytes8(float32x4_t a, float32x4_t b, int32x4_t zero, int32x4_t more)
{
    return vqmovun_s16(vcombine_s16(vqmovn_s32(vqaddq_s32(vcvtnq_s32_f32(a), zero)),
                                    vqmovn_s32(vqaddq_s32(vcvtnq_s32_f32(b), more))));
}
GNS_INLINE int16x8_t gns_wide8(float32x4_t a, float32x4_t b, const float least)
{
    const int16x8_t v = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a)), vqmovn_s32(vcvtnq_s32_f32(b)));
    return vminq_s16(vmaxq_s16(v, vdupq_n_s16((short)least)), vdupq_n_s16(8191));
}
GNS_INLINE float32x4_t gns_times(int32x4_t sum, float32x4_t factor)
{
    return vmulq_f32(vcvtq_f32_s32(sum), factor);
}
/* A channel's number in each of four lanes. */
GNS_INLINE int32x4_t gns_four_of(const gns_byte *at)
{
    const int four[4] = {at[0], at[1], at[2], at[3]};
    return vld1q_s32(four);
}
GNS_INLINE float32x4_t gns_twice_two(const float *at)
{
    const float32x2_t two = vld1_f32(at);
    return vcombine_f32(two, two);
}

/* Of output `o` at eight pixels the products of the input `x` and a weight. */
#define GNS_LANE(o, x, w, lane) \
    sum[o][0] = vmlal_laneq_s16(sum[o][0], vget_low_s16(x), w, lane); \
    sum[o][1] = vmlal_high_laneq_s16(sum[o][1], x, w, lane)

/* Four outputs at eight pixels. */
GNS_INLINE void gns_tile(const gns_byte *in, int inputs, int in_step, gns_byte *out, int out_step,
                         const gns_weight *weight, const int *bias, const float *factor,
                         const gns_byte *zero, const int IN, const int OUT, const float least)
{
    int32x4_t sum[4][2];
    float32x4_t v[4][2];
    for (int o = 0; o < 4; o++)
        sum[o][0] = sum[o][1] = vdupq_n_s32(bias[o]);
#if defined(__ARM_FEATURE_DOTPROD)
    if (IN == 1) {
        /* SDOT takes signed bytes, so 128 is taken off, and its products are added at the end. */
        int32x4_t all = vdupq_n_s32(0);
        int taken[4];
        for (int i = 0; i < inputs; i++, in += in_step, weight += 16) {
            const int8x16_t w = vld1q_s8(weight), ones = vdupq_n_s8(1);
            const uint8x16_t half = vdupq_n_u8(128);
            const int8x16_t a = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in), half));
            const int8x16_t b = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in + 16), half));
            all = vdotq_s32(all, w, ones);
            sum[0][0] = vdotq_laneq_s32(sum[0][0], a, w, 0);
            sum[1][0] = vdotq_laneq_s32(sum[1][0], a, w, 1);
            sum[2][0] = vdotq_laneq_s32(sum[2][0], a, w, 2);
            sum[3][0] = vdotq_laneq_s32(sum[3][0], a, w, 3);
            sum[0][1] = vdotq_laneq_s32(sum[0][1], b, w, 0);
            sum[1][1] = vdotq_laneq_s32(sum[1][1], b, w, 1);
            sum[2][1] = vdotq_laneq_s32(sum[2][1], b, w, 2);
            sum[3][1] = vdotq_laneq_s32(sum[3][1], b, w, 3);
        }
        vst1q_s32(taken, vshlq_n_s32(all, 7));
        for (int o = 0; o < 4; o++) {
            sum[o][0] = vaddq_s32(sum[o][0], vdupq_n_s32(taken[o]));
            sum[o][1] = vaddq_s32(sum[o][1], vdupq_n_s32(taken[o]));
        }
    }
#else
    if (IN == 1)
        for (int i = 0; i < inputs; i++, in += in_step, weight += 16) {
            const uint8x8x4_t four = vld4_u8(in);
            const int16x8_t a = vreinterpretq_s16_u16(vmovl_u8(four.val[0]));
            const int16x8_t b = vreinterpretq_s16_u16(vmovl_u8(four.val[1]));
            const int16x8_t c = vreinterpretq_s16_u16(vmovl_u8(four.val[2]));
            const int16x8_t d = vreinterpretq_s16_u16(vmovl_u8(four.val[3]));
            const int8x16_t all = vld1q_s8(weight);
            const int16x8_t w = vmovl_s8(vget_low_s8(all)), u = vmovl_high_s8(all);
            GNS_LANE(0, a, w, 0);
            GNS_LANE(0, b, w, 1);
            GNS_LANE(0, c, w, 2);
            GNS_LANE(0, d, w, 3);
            GNS_LANE(1, a, w, 4);
            GNS_LANE(1, b, w, 5);
            GNS_LANE(1, c, w, 6);
            GNS_LANE(1, d, w, 7);
            GNS_LANE(2, a, u, 0);
            GNS_LANE(2, b, u, 1);
            GNS_LANE(2, c, u, 2);
            GNS_LANE(2, d, u, 3);
            GNS_LANE(3, a, u, 4);
            GNS_LANE(3, b, u, 5);
            GNS_LANE(3, c, u, 6);
            GNS_LANE(3, d, u, 7);
        }
#endif
    if (IN == 2)
        for (int i = 0; i < inputs; i++, in += in_step, weight += 8) {
            const int16x8x2_t two = vld2q_s16((const short *)(const void *)in);
            const int16x8_t a = two.val[0], b = two.val[1], w = vmovl_s8(vld1_s8(weight));
            GNS_LANE(0, a, w, 0);
            GNS_LANE(0, b, w, 1);
            GNS_LANE(1, a, w, 2);
            GNS_LANE(1, b, w, 3);
            GNS_LANE(2, a, w, 4);
            GNS_LANE(2, b, w, 5);
            GNS_LANE(3, a, w, 6);
            GNS_LANE(3, b, w, 7);
        }
    for (int o = 0; o < 4; o++)
        for (int h = 0; h < 2; h++)
            v[o][h] = gns_times(sum[o][h], vdupq_n_f32(factor[o]));
    if (OUT == 1) {
        uint8x8x4_t four;
        for (int o = 0; o < 4; o++) {
            const int32x4_t z = vdupq_n_s32(zero[o]);
            four.val[o] = gns_bytes8(v[o][0], v[o][1], z, z);
        }
        vst4_u8(out, four);
    } else {
        for (int o = 0; o < 4; o += 2, out += out_step) {
            int16x8x2_t two;
            two.val[0] = gns_wide8(v[o][0], v[o][1], least);
            two.val[1] = gns_wide8(v[o + 1][0], v[o + 1][1], least);
            vst2q_s16((short *)(void *)out, two);
        }
    }
}
GNS_INLINE int gns_fast_points(const gns_byte *in, int inputs, int in_step, gns_byte *out,
                               int fours, int out_step, int count, const gns_weight *weight,
                               const int *bias, const float *factor, const gns_byte *zero,
                               gns_byte *scratch, const int IN, const int OUT, const float least)
{
    const int done = count / 8 * 8;
    (void)scratch;
    for (int p = 0; p < done; p += 8)
        for (int b = 0; b < fours; b++)
            gns_tile(in + 4 * p, inputs, in_step, out + OUT * b * out_step + 4 * p, out_step,
                     weight + 16 / IN * inputs * b, bias + 4 * b, factor + 4 * b, zero + 4 * b, IN,
                     OUT, least);
    return done;
}

GNS_INLINE int gns_fast_copy(const gns_byte *in, int pixels, gns_byte *out)
{
    const int done = pixels / 4 * 4;
    for (int x = 0; x < done; x += 4)
        vst1q_u8(out + 4 * x, vld1q_u8(in + 4 * x));
    return done;
}

/* Four pixels, each or each second one. */
GNS_INLINE uint8x16_t gns_tap(const gns_byte *at, const int S)
{
    if (S == 1)
        return vld1q_u8(at);
    return vreinterpretq_u8_u32(vuzp1q_u32(vreinterpretq_u32_u8(vld1q_u8(at)),
                                           vreinterpretq_u32_u8(vld1q_u8(at + 16))));
}
GNS_INLINE int gns_fast_plane(gns_byte *rows, int stride, gns_byte *out, int height, int width,
                              const gns_weight *weight, const int *bias, const float *factor,
                              const gns_byte *zero, const gns_byte *shortcut, const float *other,
                              const int K, const int S, const int IN)
{
    const float32x4_t f = IN == 1 ? vld1q_f32(factor) : gns_twice_two(factor);
    const float32x4_t scale = IN == 2 && shortcut ? gns_twice_two(other) : f;
    const int32x4_t base =
        IN == 1 ? vld1q_s32(bias) : vcombine_s32(vld1_s32(bias), vld1_s32(bias));
    const int32x4_t z = gns_four_of(zero);
    int16x4_t w[25];
    for (int t = 0; t < K * K; t++) {
        const gns_weight *at = weight + 8 / IN * (t / 2) + t % 2;
        const short four[4] = {at[0], at[2], at[IN == 1 ? 4 : 0], at[IN == 1 ? 6 : 2]};
        w[t] = vld1_s16(four);
    }
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x += 4) {
            const gns_byte *at = rows + 4 * S * (y * stride + x);
            const int to = 4 * (y * width + x), left = width - x < 4 ? 4 * (width - x) : 16;
            int32x4_t a = base, b = base, c = base, d = base;
            uint8x16_t made;
            for (int t = 0; t < K * K; t++) {
                const uint8x16_t v = gns_tap(at + 4 * (t / K * stride + t % K), S);
                if (IN == 1) {
                    const int16x8_t low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(v)));
                    const int16x8_t high = vreinterpretq_s16_u16(vmovl_high_u8(v));
                    a = vmlal_s16(a, vget_low_s16(low), w[t]);
                    b = vmlal_s16(b, vget_high_s16(low), w[t]);
                    c = vmlal_s16(c, vget_low_s16(high), w[t]);
                    d = vmlal_s16(d, vget_high_s16(high), w[t]);
                } else {
                    a = vmlal_s16(a, vget_low_s16(vreinterpretq_s16_u8(v)), w[t]);
                    b = vmlal_s16(b, vget_high_s16(vreinterpretq_s16_u8(v)), w[t]);
                }
            }
            if (IN == 1) {
                made = vcombine_u8(gns_bytes8(gns_times(a, f), gns_times(b, f), z, z),
                                   gns_bytes8(gns_times(c, f), gns_times(d, f), z, z));
            } else {
                float32x4_t first = gns_times(a, f), second = gns_times(b, f);
                if (shortcut) {
                    short more[8] = {0};
                    __builtin_memcpy(more, shortcut + to, (unsigned)left);
                    const int16x8_t joins = vld1q_s16(more);
                    first = vaddq_f32(first, gns_times(vmovl_s16(vget_low_s16(joins)), scale));
                    second = vaddq_f32(second, gns_times(vmovl_high_s16(joins), scale));
                }
                made = vreinterpretq_u8_s16(gns_wide8(first, second, -8191));
            }
            if (left == 16) {
                vst1q_u8(out + to, made);
            } else {
                gns_byte some[16];
                vst1q_u8(some, made);
                __builtin_memcpy(out + to, some, (unsigned)left);
            }
        }
    return 1;
}

GNS_INLINE int gns_fast_join(short *map, const short *more, const float *own, const float *other,
                             int count)
{
    const float32x4_t first = gns_twice_two(own), second = gns_twice_two(other);
    int p = 0;
    for (; p + 8 <= count; p += 8) {
        const int16x8_t a = vld1q_s16(map + p), b = vld1q_s16(more + p);
        const float32x4_t low = vaddq_f32(gns_times(vmovl_s16(vget_low_s16(a)), first),
                                          gns_times(vmovl_s16(vget_low_s16(b)), second));
        const float32x4_t high = vaddq_f32(gns_times(vmovl_high_s16(a), first),
                                           gns_times(vmovl_high_s16(b), second));
        vst1q_s16(map + p, gns_wide8(low, high, -8191));
    }
    return p;
}

GNS_INLINE float32x4_t gns_sigmoid4(float32x4_t x)
{
    const float32x4_t magic = vdupq_n_f32(12582912.0f), one = vdupq_n_f32(1);
    float32x4_t whole, rest, sum, power;
    x = vsubq_f32(vdupq_n_f32(0), x);
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.0f)), vdupq_n_f32(87.0f));
    whole = vaddq_f32(vmulq_f32(x, vdupq_n_f32(1.44269504f)), magic);
    power = vreinterpretq_f32_s32(vshlq_n_s32(
        vaddq_s32(vreinterpretq_s32_f32(whole), vdupq_n_s32(127 - 0x4b400000)), 23));
    whole = vsubq_f32(whole, magic);
    rest = vsubq_f32(x, vmulq_f32(whole, vdupq_n_f32(0.693359375f)));
    rest = vsubq_f32(rest, vmulq_f32(whole, vdupq_n_f32(-2.12194440e-4f)));
    GNS_SIGMOID_STEPS(vmulq_f32, vaddq_f32, vdupq_n_f32);
    return vdivq_f32(one, vaddq_f32(one, vmulq_f32(sum, power)));
}
/* A tap's four weights. */
GNS_INLINE int16x4_t gns_line_weights(const gns_weight *at)
{
    const short four[4] = {at[0], at[1], at[2], at[3]};
    return vld1_s16(four);
}
GNS_INLINE int gns_fast_across(const gns_byte *line, int row, const gns_weight *weight,
                               const int *bias, const float *factor, short *out)
{
    const int32x4_t base = vld1q_s32(bias);
    const float32x4_t f = vld1q_f32(factor);
    int p = 0;
    for (; p + 8 <= row; p += 8) {
        int32x4_t a = base, b = base;
        for (int t = 0; t < 5; t++) {
            const int16x4_t w = gns_line_weights(weight + 4 * t);
            const int16x8_t x = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(line + p + 4 * t)));
            a = vmlal_s16(a, vget_low_s16(x), w);
            b = vmlal_s16(b, vget_high_s16(x), w);
        }
        const int16x8_t v = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(gns_times(a, f))),
                                         vqmovn_s32(vcvtnq_s32_f32(gns_times(b, f))));
        vst1q_s16(out + p, vmaxq_s16(v, vdupq_n_s16(-32767)));
    }
    return p;
}
GNS_INLINE int gns_fast_down(const short *in, int row, int count, const gns_weight *weight,
                             const int *bias, const float *factor, const float *times, float *gate)
{
    for (int p = 0; p < count; p += 4) {
        int32x4_t sum = vld1q_s32(bias);
        for (int t = 0; t < 5; t++)
            sum = vmlal_s16(sum, vld1_s16(in + p + t * row), gns_line_weights(weight + 4 * t));
        vst1q_f32(gate + p, vmulq_f32(gns_sigmoid4(gns_times(sum, vld1q_f32(factor))),
                                      vld1q_f32(times)));
    }
    return count;
}
/* Eight bytes, four of each pixel, times numbers of their own. */
GNS_INLINE void gns_scale8(gns_byte *at, float32x4_t first, float32x4_t second, int32x4_t mark,
                           int32x4_t zero)
{
    const int16x8_t v = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(at)));
    const int32x4_t a = vsubq_s32(vmovl_s16(vget_low_s16(v)), mark);
    const int32x4_t b = vsubq_s32(vmovl_high_s16(v), mark);
    vst1_u8(at, gns_bytes8(gns_times(a, first), gns_times(b, second), zero, zero));
}
GNS_INLINE int gns_fast_stretched(const float *gate, int in_width, const gns_byte *columns,
                                  int width, const gns_byte *mark, const gns_byte *zero,
                                  gns_byte *to)
{
    const int32x4_t m = gns_four_of(mark), z = gns_four_of(zero);
    int x = 0;
    (void)in_width;
    for (; x + 2 <= width; x += 2)
        gns_scale8(to + 4 * x, vld1q_f32(gate + 4 * columns[x]),
                   vld1q_f32(gate + 4 * columns[x + 1]), m, z);
    return x;
}
GNS_INLINE int gns_fast_scale(gns_byte *map, int count, const float *weight, const gns_byte *mark,
                              const gns_byte *zero)
{
    const int32x4_t m = gns_four_of(mark), z = gns_four_of(zero);
    const float32x4_t f = vld1q_f32(weight);
    int p = 0;
    for (; p + 8 <= count; p += 8)
        gns_scale8(map + p, f, f, m, z);
    return p;
}
GNS_INLINE int gns_fast_sums(const short *whole, int inputs, const gns_weight *weight, int left,
                             int *sum)
{
    int o = 0;
    for (; o + 4 <= left; o += 4) {
        const gns_weight *at = weight + 2 * o;
        int32x4_t a = vdupq_n_s32(0), b = a;
        for (int i = 0; i < inputs; i += 2, at += 2 * left) {
            const int16x4_t x =
                vreinterpret_s16_s32(vdup_n_s32((int)gns_read((const gns_byte *)(whole + i))));
            const int16x8_t w = vmovl_s8(vld1_s8(at));
            a = vmlal_s16(a, vget_low_s16(w), x);
            b = vmlal_s16(b, vget_high_s16(w), x);
        }
        vst1q_s32(sum + o, vpaddq_s32(a, b));
    }
    return o;
}
#endif
