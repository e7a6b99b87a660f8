/*
 * 1x1 convolution of `count` pixels from groups of bytes (IN 1) or pairs (IN 2) to `fours` times four
 * channels of bytes (OUT 1) or pairs (OUT 2). `weight`: for every four outputs and every group of
 * inputs the weights, output after output. A group has `step` bytes.
 */
GNS_INLINE void gns_points(const gns_byte *in, int inputs, int in_step, gns_byte *out, int fours,
                           int out_step, int count, const gns_weight *weight, const int *bias,
                           const float *factor, const gns_byte *zero, gns_byte *scratch,
                           const int IN, const int OUT, const float least)
{
    const int done = gns_fast_points(in, inputs, in_step, out, fours, out_step, count, weight, bias,
                                     factor, zero, scratch, IN, OUT, least);
    (void)scratch;
    for (int b = 0; b < fours; b++, out += OUT * out_step, bias += 4, factor += 4, zero += 4,
             weight += 16 / IN * inputs)
        for (int p = done; p < count; p++) {
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
                    out[4 * p + o] = (gns_byte)gns_byte_of(x, zero[o]);
                else
                    ((short *)(void *)(out + o / 2 * out_step + 4 * p))[o % 2] =
                        (short)gns_to_wide(x, least);
            }
        }
}
#define GNS_POINTS(IN, OUT) \
    static void gns_point_##IN##_##OUT(const gns_byte *in, int inputs, int in_step, \
                                       gns_byte *out, int fours, int out_step, int count, \
                                       const gns_weight *weight, const int *bias, \
                                       const float *factor, const gns_byte *zero, \
                                       gns_byte *scratch) \
    { \
        gns_points(in, inputs, in_step, out, fours, out_step, count, weight, bias, factor, zero, \
                   scratch, IN, OUT, -8191); \
    }

/* 3x3 convolution of a picture, with ReLU, to pairs; `pad` stands around it. */
static void gns_stem(const gns_byte *in, int inputs, int height, int width, gns_byte *out,
                     int fours, const gns_weight *weight, const int *bias, const float *factor,
                     const gns_byte *zero, const gns_byte *pad, gns_byte *scratch)
{
    const int stride = 4 * (width + 2), plane = (height + 2) * stride, step = 4 * height * width;
    gns_byte *taps = scratch + inputs * plane, *rest = taps + 36 * inputs * width;
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
                for (int x = gns_fast_copy(from, width, to); x < width; x++)
                    gns_copy4(from + 4 * x, to + 4 * x);
            }
        gns_points(taps, 9 * inputs, 4 * width, out + 4 * y * width, fours, step, width, weight,
                   bias, factor, zero, rest, 1, 2, 0);
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
        for (x = gns_fast_copy(in, width, row); x < width; x++)
            gns_copy4(in + 4 * x, row + 4 * x);
        for (; x < stride - edge; x++)
            gns_copy4(pad, row + 4 * x);
    }
}

/* Depth-wise convolution of a group, whose rows of `stride` pixels have the padding around them;
 * `shortcut` times `other` joins. */
GNS_INLINE void gns_plane(const gns_byte *rows, int stride, gns_byte *out, int height, int width,
                          const gns_weight *weight, const int *bias, const float *factor,
                          const gns_byte *zero, const gns_byte *shortcut, const float *other,
                          const int K, const int S, const int IN)
{
    const int side = 4 / IN;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const gns_byte *at = rows + 4 * S * (y * stride + x);
            const int to = 4 * (y * width + x);
            for (int k = 0; k < side; k++) {
                int sum = bias[k];
                float value;
                for (int t = 0; t < K * K; t++) {
                    const gns_byte *tap = at + 4 * (t / K * stride + t % K);
                    sum += weight[2 * side * (t / 2) + 2 * k + t % 2] *
                           (IN == 1 ? tap[k] : ((const short *)(const void *)tap)[k]);
                }
                value = (float)sum * factor[k];
                if (IN == 1) {
                    out[to + k] = (gns_byte)gns_byte_of(value, zero[k]);
                    continue;
                }
                if (shortcut) {
                    const float joins =
                        (float)((const short *)(const void *)(shortcut + to))[k] * other[k];
                    value = value + joins;
                }
                ((short *)(void *)(out + to))[k] = (short)gns_to_wide(value, -8191);
            }
        }
}

/* What joins a block's result: the shortcut, and scales of both to that of the sum. */
typedef struct {
    const gns_byte *shortcut;
    const float *own, *other;
} gns_add;

/*
 * Depth-wise convolution, KxK, stride S, of `groups` groups of bytes (IN 1) or pairs (IN 2). `weight`:
 * for every two taps, of which the last may be a zero, and every channel both weights. With `add`,
 * `in` and `out` are the two halves of one map of pairs: the shortcut joins the result before it is
 * rounded, and the input afterwards.
 */
GNS_INLINE void gns_depths(gns_byte *in, int in_height, int in_width, gns_byte *out, int groups,
                           int height, int width, const gns_weight *weight, const int *bias,
                           const float *factor, const gns_byte *zero, const gns_byte *pad,
                           const gns_add *add, gns_byte *scratch, const int K, const int S,
                           const int IN)
{
    const int edge = K / 2, taps = K * K, side = 4 / IN, stride = in_width + 2 * edge + 1;
    const int in_step = 4 * in_height * in_width, step = 4 * height * width;
    static const gns_byte none[4] = {0};
    for (int g = 0; g < groups; g++, in += in_step, out += step, bias += side, factor += side,
             weight += 2 * side * ((taps + 1) / 2)) {
        const gns_byte *more = add ? add->shortcut + (groups + g) * step : 0;
        const float *other = add ? add->other + 2 * (groups + g) : 0;
        if (!gns_fast_depth(in, in_height, in_width, pad + 4 * g, out, height, width, weight, bias,
                            factor, zero + 4 * g, more, other, scratch, K, S, IN)) {
            gns_surround(in, in_height, in_width, edge, stride, IN == 1 ? pad + 4 * g : none,
                         scratch);
            if (!gns_fast_plane(scratch, stride, out, height, width, weight, bias, factor,
                                zero + 4 * g, more, other, K, S, IN))
                gns_plane(scratch, stride, out, height, width, weight, bias, factor, zero + 4 * g,
                          more, other, K, S, IN);
        }
        if (add) {
            const float *own = add->own + 2 * g;
            short *map = (short *)(void *)in;
            more = add->shortcut + g * step;
            other = add->other + 2 * g;
            for (int p = gns_fast_join(map, (const short *)(const void *)more, own, other, step / 2);
                 p < step / 2; p++) {
                const float a = (float)map[p] * own[p % 2];
                const float b = (float)((const short *)(const void *)more)[p] * other[p % 2];
                map[p] = (short)gns_to_wide(a + b, -8191);
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

/* 1 / (1 + exp(-x)). */
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

/* `row` bytes between twice two pixels of `pad`. */
GNS_INLINE void gns_line(const gns_byte *in, int row, const gns_byte *pad, gns_byte *out)
{
    for (int x = 0; x < 2; x++) {
        gns_copy4(pad, out + 4 * x);
        gns_copy4(pad, out + 8 + row + 4 * x);
    }
    for (int x = gns_fast_copy(in, row / 4, out + 8); x < row / 4; x++)
        gns_copy4(in + 4 * x, out + 8 + 4 * x);
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
    for (int k = 0; k < 2 * row; k++)
        scratch[k] = scratch[2 * row + count + k] = 0;
    for (int g = 0; g < groups; g++, in += count, out += step, across += 20, down += 20,
             across_bias += 4, across_factor += 4, down_bias += 4, down_factor += 4, pad += 4,
             mark += 4, times += 4, zero += 4) {
        short *middle = scratch + 2 * row;
        /* All rows with two pixels of padding beside them, before any is read again. */
        for (int y = 0; y < height; y++)
            gns_line(in + y * row, row, pad, lines + y * (row + 16));
        for (int y = 0; y < height; y++, middle += row) {
            const gns_byte *line = lines + y * (row + 16);
            for (int p = gns_fast_across(line, row, across, across_bias, across_factor, middle);
                 p < row; p++) {
                int sum = across_bias[p % 4];
                for (int t = 0; t < 5; t++)
                    sum += across[4 * t + p % 4] * line[p + 4 * t];
                middle[p] = (short)gns_round((float)sum * across_factor[p % 4]);
            }
        }
        for (int p = gns_fast_down(scratch, row, count, down, down_bias, down_factor, times, gate);
             p < count; p++) {
            int sum = down_bias[p % 4];
            for (int t = 0; t < 5; t++)
                sum += down[4 * t + p % 4] * scratch[p + t * row];
            gate[p] = gns_sigmoid((float)sum * down_factor[p % 4]) * times[p % 4];
        }
        for (int y = 0; y < out_height; y++) {
            const float *from = gate + rows[y] * row;
            gns_byte *to = out + 4 * y * out_width;
            for (int x = gns_fast_stretched(from, width, columns, out_width, mark, zero, to);
                 x < out_width; x++)
                for (int k = 0; k < 4; k++) {
                    const float value = (float)(to[4 * x + k] - mark[k]);
                    to[4 * x + k] =
                        (gns_byte)gns_byte_of(value * from[4 * columns[x] + k], zero[k]);
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

/* Half bytes, each 8 too large: of every eight the first four are the lower halves. */
static void gns_unpack(const gns_weight *in, int count, gns_weight *out)
{
    for (int k = 0; k < count; k += 8) {
        const gns_word all = gns_read((const gns_byte *)in + k / 2);
        const gns_word low = all & 0x0f0f0f0fu, high = all >> 4 & 0x0f0f0f0fu;
        gns_copy4((const gns_byte *)&low, (gns_byte *)out + k);
        gns_copy4((const gns_byte *)&high, (gns_byte *)out + k + 4);
    }
}

/*
 * A linear layer; its inputs, an even number, are rounded to 12 bits of the largest. `weight`: for
 * every 16 outputs, of which the last may be fewer, and every two inputs both weights of each; in
 * half bytes where there is `room` for those of 16 outputs.
 */
static void gns_linear(const float *in, int inputs, float *out, int outputs,
                       const gns_weight *weight, const float *bias, const float *step, int relu,
                       short *whole, gns_weight *room)
{
    float most = 0, fine, coarse;
    int excess = 0;
    for (int i = 0; i < inputs; i++) {
        const float size = in[i] < 0 ? -in[i] : in[i];
        most = size > most ? size : most;
    }
    if (!(most > 0))
        most = 1;
    fine = 4095.0f / most;
    coarse = most / 4095.0f;
    for (int i = 0; i < inputs; i++) {
        whole[i] = (short)gns_round(in[i] * fine);
        excess += room ? 8 * whole[i] : 0;
    }
    for (int o = 0; o < outputs; o += 16) {
        const int left = outputs - o < 16 ? outputs - o : 16;
        const gns_weight *w = room ? room : weight;
        int sum[16] = {0};
        if (room)
            gns_unpack(weight, left * inputs, room);
        for (int k = gns_fast_sums(whole, inputs, w, left, sum); k < left; k++)
            for (int i = 0; i < inputs; i += 2)
                sum[k] += w[left * i + 2 * k] * whole[i] + w[left * i + 2 * k + 1] * whole[i + 1];
        weight += room ? left * inputs / 2 : left * inputs;
        for (int k = 0; k < left; k++) {
            const float unit = step[o + k] * coarse;
            const float product = (float)(sum[k] - excess) * unit;
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
    gns_linear(mean, 4 * groups, inner, reduced, reduce, reduce_bias, reduce_step, 1, whole, 0);
    gns_linear(inner, reduced, mean, 4 * groups, expand, expand_bias, expand_step, 0, whole, 0);
    for (int g = 0; g < groups; g++, map += 4 * count, mean += 4, mark += 4, times += 4, zero += 4) {
        float weight[4];
        for (int k = 0; k < 4; k++) {
            const float gate = mean[k] + 3.0f;
            weight[k] = (gate < 0 ? 0 : gate > 6 ? 6 : gate) * times[k];
        }
        for (int p = gns_fast_scale(map, 4 * count, weight, mark, zero); p < 4 * count; p++) {
            const float value = (float)(map[p] - mark[p % 4]);
            map[p] = (gns_byte)gns_byte_of(value * weight[p % 4], zero[p % 4]);
        }
    }
}

/* Means, a linear layer with ReLU, and the one that makes the answers. */
static void gns_head(const gns_byte *in, int groups, int count, int features, int classes,
                     const float *scale, const gns_byte *mark, const gns_weight *head,
                     const float *head_bias, const float *head_step,
                     const gns_weight *classifier, const float *classifier_bias,
                     const float *classifier_step, float *answers, float *scratch, short *whole,
                     gns_weight *room)
{
    float *hidden = scratch + 4 * groups;
    gns_means(in, groups, count, scale, mark, scratch);
    gns_linear(scratch, 4 * groups, hidden, features, head, head_bias, head_step, 1, whole, room);
    gns_linear(hidden, features, answers, classes, classifier, classifier_bias, classifier_step, 0,
               whole, 0);
}