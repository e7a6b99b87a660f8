/*
 * The operators, float32. A map is stored channel after channel, each a plane of `step` floats of
 * which the first height * width are the pixels, row by row, and the rest is room for a vector that
 * runs over. Vectors run along the pixels; GNS_LANES of 1 (define GNS_PLAIN) makes plain C99 of them.
 */
#if defined(__GNUC__) && !defined(GNS_PLAIN)
#define GNS_GNU 1
#else
#define GNS_GNU 0
#endif
#if GNS_GNU && defined(__AVX512F__)
#define GNS_LANES 16
#elif GNS_GNU && defined(__AVX__)
#define GNS_LANES 8
#elif GNS_GNU && (defined(__SSE2__) || defined(__ARM_NEON))
#define GNS_LANES 4
#else
#define GNS_LANES 1
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

/* The type gns_fL of L floats, how it is loaded and stored at any address, and L times one. */
#if GNS_GNU
#define GNS_VECTOR(L) \
    typedef float gns_f##L __attribute__((vector_size(4 * L))); \
    typedef float gns_u##L __attribute__((vector_size(4 * L), aligned(4), may_alias)); \
    GNS_INLINE gns_f##L gns_load##L(const float *at) { return *(const gns_u##L *)at; } \
    GNS_INLINE void gns_store##L(float *at, gns_f##L v) { *(gns_u##L *)at = v; } \
    GNS_INLINE gns_f##L gns_all##L(float x) { gns_f##L zero = {0}; return x - zero; } \
    GNS_INLINE gns_f##L gns_relu##L(gns_f##L v) \
    { \
        typedef int gns_mask __attribute__((vector_size(4 * L))); \
        gns_f##L zero = {0}; \
        return (gns_f##L)((gns_mask)v & (v > zero)); \
    }
#if GNS_LANES >= 4
GNS_VECTOR(4)
#endif
#if GNS_LANES >= 8
GNS_VECTOR(8)
#endif
#if GNS_LANES >= 16
GNS_VECTOR(16)
#endif
#endif
typedef float gns_f1;
GNS_INLINE float gns_load1(const float *at) { return *at; }
GNS_INLINE void gns_store1(float *at, float v) { *at = v; }
GNS_INLINE float gns_all1(float x) { return x; }
GNS_INLINE float gns_relu1(float v) { return v > 0 ? v : 0; }

#define GNS_JOIN_(a, b) a##b
#define GNS_JOIN(a, b) GNS_JOIN_(a, b)
#define gns_f GNS_JOIN(gns_f, GNS_LANES)
#define gns_load GNS_JOIN(gns_load, GNS_LANES)
#define gns_store GNS_JOIN(gns_store, GNS_LANES)
#define gns_all GNS_JOIN(gns_all, GNS_LANES)
#define gns_relu GNS_JOIN(gns_relu, GNS_LANES)

/* DO(L) for the columns x, ..., x + L - 1 of a row of `width`, with the widest L that fit. */
#if GNS_LANES >= 16
#define GNS_TRY16(DO) for (; x + 16 <= width; x += 16) DO(16)
#else
#define GNS_TRY16(DO)
#endif
#if GNS_LANES >= 8
#define GNS_TRY8(DO) for (; x + 8 <= width; x += 8) DO(8)
#else
#define GNS_TRY8(DO)
#endif
#if GNS_LANES >= 4
#define GNS_TRY4(DO) for (; x + 4 <= width; x += 4) DO(4)
#else
#define GNS_TRY4(DO)
#endif
#define GNS_ROW(DO) \
    do { \
        int x = 0; \
        GNS_TRY16(DO) GNS_TRY8(DO) GNS_TRY4(DO) \
        for (; x < width; x++) DO(1) \
    } while (0)

GNS_INLINE void gns_copy_row(const float *in, float *out, int width)
{
#define GNS_COPY(L) { gns_store##L(out + x, gns_load##L(in + x)); }
    GNS_ROW(GNS_COPY);
#undef GNS_COPY
}

GNS_INLINE void gns_fill(float *out, int count, float value)
{
    for (int k = 0; k < count; k++)
        out[k] = value;
}

/* 4 * B outputs at V vectors of pixels: sums that stay in registers. */
GNS_INLINE void gns_point_tile(const float *in, int inputs, float *out, int step,
                               const float *weight, int relu, int B, int V)
{
    gns_f sum[8][4];
    int block = 4 * (inputs + 1);
    for (int o = 0; o < 4 * B; o++)
        for (int v = 0; v < V; v++)
            sum[o][v] = gns_all(weight[o / 4 * block + o % 4]);
    weight += 4;
    for (int i = 0; i < inputs; i++, in += step, weight += 4)
        for (int v = 0; v < V; v++) {
            gns_f x = gns_load(in + v * GNS_LANES);
            for (int o = 0; o < 4 * B; o++)
                sum[o][v] += weight[o / 4 * block + o % 4] * x;
        }
    for (int o = 0; o < 4 * B; o++)
        for (int v = 0; v < V; v++)
            gns_store(out + o * step + v * GNS_LANES, relu ? gns_relu(sum[o][v]) : sum[o][v]);
}

/*
 * 1x1 convolution. `weight`: for every four outputs their biases, then for every input the four
 * weights. `blocks` are of four outputs.
 */
static void gns_point(const float *in, int inputs, float *out, int blocks, int step,
                      const float *weight, int relu)
{
    int block = 4 * (inputs + 1), p = 0;
    for (; p + 4 * GNS_LANES <= step; p += 4 * GNS_LANES)
        for (int b = 0; b < blocks; b++)
            gns_point_tile(in + p, inputs, out + 4 * b * step + p, step, weight + b * block, relu,
                           1, 4);
    for (; p < step; p += GNS_LANES) {
        int b = 0;
        for (; b + 2 <= blocks; b += 2)
            gns_point_tile(in + p, inputs, out + 4 * b * step + p, step, weight + b * block, relu,
                           2, 1);
        for (; b < blocks; b++)
            gns_point_tile(in + p, inputs, out + 4 * b * step + p, step, weight + b * block, relu,
                           1, 1);
    }
}

/* Each of L / 2 numbers twice. */
#if GNS_LANES > 1 && (defined(__clang__) || __GNUC__ >= 12)
#define GNS_TWICE 1
#if GNS_LANES >= 16
GNS_INLINE gns_f16 gns_twice16(const float *at)
{
    gns_f8 v = gns_load8(at);
    return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
}
#endif
#if GNS_LANES >= 8
GNS_INLINE gns_f8 gns_twice8(const float *at)
{
    gns_f4 v = gns_load4(at);
    return __builtin_shufflevector(v, v, 0, 0, 1, 1, 2, 2, 3, 3);
}
#endif
GNS_INLINE gns_f4 gns_twice4(const float *at)
{
    gns_f4 v = {at[0], at[0], at[1], at[1]};
    return v;
}
GNS_INLINE float gns_twice1(const float *at) { return *at; }
#else
#define GNS_TWICE 0
#endif

/* A plane between zeros: `edge` of them around it, rows of width + 2 * edge. */
GNS_INLINE void gns_pad(const float *in, int height, int width, int edge, float *padded)
{
    int stride = width + 2 * edge;
    for (int y = 0; y < height; y++)
        gns_copy_row(in + y * width, padded + (y + edge) * stride + edge, width);
}

/*
 * KxK depth-wise convolution of stride 1. `weight`: for every channel its bias and K * K weights.
 * `add`, unless null: what is added to the input and to the output afterwards, two maps in one.
 */
GNS_INLINE void gns_depth(float *in, float *out, int channels, int height, int width, int step,
                          int K, const float *weight, int relu, const float *add, float *scratch)
{
    int stride = width + K - 1;
    gns_fill(scratch, (height + K - 1) * stride, 0);
    for (int c = 0; c < channels; c++, in += step, out += step, weight += K * K + 1) {
        gns_pad(in, height, width, K / 2, scratch);
        for (int y = 0; y < height; y += 2) {
            const float *from = scratch + y * stride;
            /* Two rows see much the same pixels; of an odd number the last has no other. */
            const int down = y + 1 < height;
            float *to = out + y * width, *below = to + down * width;
            const float *more = add ? add + (channels + c) * step + y * width : 0;
#define GNS_DEPTH(L) \
    { \
        gns_f##L sum[2]; \
        sum[0] = sum[1] = gns_all##L(weight[0]); \
        for (int dy = 0; dy <= K; dy++) \
            for (int dx = 0; dx < K; dx++) { \
                gns_f##L v = gns_load##L(from + (dy < K ? dy : K - 1 + down) * stride + x + dx); \
                if (dy < K) \
                    sum[0] += weight[1 + dy * K + dx] * v; \
                if (dy > 0) \
                    sum[1] += weight[1 + (dy - 1) * K + dx] * v; \
            } \
        for (int k = 0; k < 2; k++) { \
            if (relu) \
                sum[k] = gns_relu##L(sum[k]); \
            if (add) \
                sum[k] += gns_load##L(more + (k ? down : 0) * width + x); \
        } \
        if (down) \
            gns_store##L(below + x, sum[1]); \
        gns_store##L(to + x, sum[0]); \
    }
            GNS_ROW(GNS_DEPTH);
#undef GNS_DEPTH
        }
        if (add)
            for (int p = 0; p < step; p += GNS_LANES)
                gns_store(in + p, gns_load(in + p) + gns_load(add + c * step + p));
    }
}

/* KxK depth-wise convolution of stride 2: even and odd columns lie apart in `scratch`. */
GNS_INLINE void gns_depth_half(const float *in, int in_height, int in_width, int in_step,
                               float *out, int channels, int height, int width, int step, int K,
                               const float *weight, float *scratch)
{
    int edge = K / 2, stride = width + edge + 1, rows = in_height + 2 * edge + 1;
    float *apart[2] = {scratch, scratch + rows * stride};
    gns_fill(scratch, 2 * rows * stride, 0);
    for (int c = 0; c < channels; c++, in += in_step, out += step, weight += K * K + 1) {
        for (int y = 0; y < in_height; y++) {
            const float *from = in + y * in_width;
            float *even = apart[edge % 2] + (y + edge) * stride + edge / 2;
            float *odd = apart[1 - edge % 2] + (y + edge) * stride + (edge + 1) / 2;
            for (int x = 0; x < in_width / 2; x++) {
                even[x] = from[2 * x];
                odd[x] = from[2 * x + 1];
            }
            if (in_width % 2)
                even[in_width / 2] = from[in_width - 1];
        }
        for (int y = 0; y < height; y++) {
            float *to = out + y * width;
#define GNS_DEPTH(L) \
    { \
        gns_f##L sum = gns_all##L(weight[0]); \
        for (int dy = 0; dy < K; dy++) \
            for (int dx = 0; dx < K; dx++) \
                sum += weight[1 + dy * K + dx] * \
                       gns_load##L(apart[dx % 2] + (2 * y + dy) * stride + dx / 2 + x); \
        gns_store##L(to + x, sum); \
    }
            GNS_ROW(GNS_DEPTH);
#undef GNS_DEPTH
        }
    }
}

#define GNS_DEPTHS(K) \
    static void gns_depth##K(float *in, float *out, int channels, int height, int width, \
                             int step, const float *weight, int relu, const float *add, \
                             float *scratch) \
    { \
        if (add) \
            gns_depth(in, out, channels, height, width, step, K, weight, 0, add, scratch); \
        else if (relu) \
            gns_depth(in, out, channels, height, width, step, K, weight, 1, 0, scratch); \
        else \
            gns_depth(in, out, channels, height, width, step, K, weight, 0, 0, scratch); \
    }
#define GNS_DEPTHS_HALF(K) \
    static void gns_depth##K##_half(const float *in, int in_height, int in_width, int in_step, \
                                    float *out, int channels, int height, int width, int step, \
                                    const float *weight, float *scratch) \
    { \
        gns_depth_half(in, in_height, in_width, in_step, out, channels, height, width, step, K, \
                       weight, scratch); \
    }

/* 3x3 convolution of all channels with ReLU; weights as in gns_point, an input for every tap. */
static void gns_stem(const float *in, int inputs, int height, int width, float *out, int blocks,
                     int step, const float *weight, float *scratch)
{
    int stride = width + 2, plane = (height + 2) * stride;
    gns_fill(scratch, inputs * plane, 0);
    for (int i = 0; i < inputs; i++)
        gns_pad(in + i * height * width, height, width, 1, scratch + i * plane);
    for (int y = 0; y < height; y++)
        for (int b = 0; b < blocks; b++) {
            const float *first = weight + 4 * b * (9 * inputs + 1);
            float *to = out + 4 * b * step + y * width;
#define GNS_STEM(L) \
    { \
        const float *w = first + 4; \
        gns_f##L sum[4]; \
        for (int o = 0; o < 4; o++) \
            sum[o] = gns_all##L(first[o]); \
        for (int i = 0; i < inputs; i++) \
            for (int dy = 0; dy < 3; dy++) \
                for (int dx = 0; dx < 3; dx++, w += 4) { \
                    gns_f##L v = gns_load##L(scratch + i * plane + (y + dy) * stride + x + dx); \
                    for (int o = 0; o < 4; o++) \
                        sum[o] += w[o] * v; \
                } \
        for (int o = 0; o < 4; o++) \
            gns_store##L(to + o * step + x, gns_relu##L(sum[o])); \
    }
            GNS_ROW(GNS_STEM);
#undef GNS_STEM
        }
}

/* Mean of 2x2 pixels; an odd last row or column is left out. */
static void gns_pool(const float *in, int channels, int in_width, int in_step, float *out,
                     int height, int width, int step)
{
    for (int c = 0; c < channels; c++, in += in_step, out += step)
        for (int y = 0; y < height; y++) {
            const float *above = in + 2 * y * in_width, *below = above + in_width;
            for (int x = 0; x < width; x++)
                out[y * width + x] = 0.25f * (above[2 * x] + above[2 * x + 1] + below[2 * x] +
                                              below[2 * x + 1]);
        }
}

GNS_INLINE float gns_clamp1(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v;
}
#if GNS_LANES > 1
typedef int gns_i __attribute__((vector_size(4 * GNS_LANES)));
GNS_INLINE gns_f gns_pick(gns_i which, gns_f yes, gns_f no)
{
    return (gns_f)(((gns_i)yes & which) | ((gns_i)no & ~which));
}
GNS_INLINE gns_f gns_clamp(gns_f v, gns_f low, gns_f high)
{
    return gns_pick(v < low, low, gns_pick(v > high, high, v));
}
#else
typedef int gns_i;
#define gns_clamp gns_clamp1
#endif

/* 1 / (1 + exp(-x)): exp is a power of two times a polynomial, 1e-7 off at most. */
GNS_INLINE gns_f gns_sigmoid(gns_f x)
{
    gns_f whole, rest, sum;
    union { gns_f f; gns_i i; } power, bits;
    x = gns_clamp(-x, gns_all(-87.0f), gns_all(87.0f));
    /* Added to 1.5 * 2^23, a number is rounded to a whole one, and its bits hold that one. */
    bits.f = x * 1.44269504f + 12582912.0f;
    whole = bits.f - 12582912.0f;
    rest = x - whole * 0.693359375f;
    rest = rest - whole * -2.12194440e-4f;
    sum = gns_all(1.9875691500e-4f);
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    power.i = (bits.i - 0x4b400000 + 127) << 23;
    return 1.0f / (1.0f + sum * power.f);
}

/*
 * The attention gate behind its 1x1 convolution: 1x5 and 5x1 depth-wise, sigmoid, and `out` times
 * the result, stretched by `rows` and `columns`, which say whose value a row
 * or column takes. `weight`: for every channel bias and 5 weights, twice.
 */
static void gns_gate(const float *in, int in_height, int in_width, int in_step, float *out,
                     int channels, int height, int width, int step, const unsigned char *rows,
                     const unsigned char *columns, const float *weight, float *scratch)
{
    /* Two zeros stand between the rows: the end of one and the start of the next. */
    int stride = in_width + 2, count = in_height * stride;
#if GNS_TWICE
    const int doubled = width == 2 * in_width;
#endif
    int room = count + 4 + GNS_LANES;
    float *padded = scratch, *across = scratch + room, *wide = across + room + 4 * stride;
    gns_fill(scratch, 2 * room + 4 * stride, 0);
    for (int c = 0; c < channels; c++, in += in_step, out += step, weight += 12) {
        for (int y = 0; y < in_height; y++)
            gns_copy_row(in + y * in_width, padded + 2 + y * stride, in_width);
        for (int p = 0; p < count; p += GNS_LANES) {
            gns_f sum = gns_all(weight[0]);
            for (int d = 0; d < 5; d++)
                sum += weight[1 + d] * gns_load(padded + p + d);
            gns_store(across + 2 * stride + p, sum);
        }
        gns_fill(across + 2 * stride + count, 2 * stride, 0);
        for (int p = 0; p < count; p += GNS_LANES) {
            gns_f sum = gns_all(weight[6]);
            for (int d = 0; d < 5; d++)
                sum += weight[7 + d] * gns_load(across + d * stride + p);
            /* In place: this vector is read by no later one but as a row above, which it is. */
            gns_store(wide + p, gns_sigmoid(sum));
        }
        for (int y = 0; y < height; y++) {
            const float *gate = wide + rows[y] * stride;
            float *to = out + y * width;
#if GNS_TWICE
            if (doubled) {
#define GNS_TIMES(L) { gns_store##L(to + x, gns_load##L(to + x) * gns_twice##L(gate + x / 2)); }
                GNS_ROW(GNS_TIMES);
#undef GNS_TIMES
                continue;
            }
#endif
            for (int x = 0; x < width; x++)
                to[x] *= gate[columns[x]];
        }
    }
}

GNS_INLINE float gns_sum(const float *in, int count)
{
    gns_f sums = gns_all(0);
    float total = 0, part[GNS_LANES];
    int p = 0;
    for (; p + GNS_LANES <= count; p += GNS_LANES)
        sums += gns_load(in + p);
    gns_store(part, sums);
    for (int k = 0; k < GNS_LANES; k++)
        total += part[k];
    for (; p < count; p++)
        total += in[p];
    return total;
}

/* Mean of every plane of `count` pixels. */
static void gns_means(const float *in, int channels, int count, int step, float *out)
{
    for (int c = 0; c < channels; c++)
        out[c] = gns_sum(in + c * step, count) * (1.0f / (float)count);
}

/*
 * A linear layer. `weight`: for every 16 outputs their biases, then for every input the 16
 * weights; `out` has room for whole sixteens. `inputs` is a multiple of 4.
 */
static void gns_linear(const float *in, int inputs, float *out, int outputs, const float *weight,
                       int relu)
{
    for (int o = 0; o < outputs; o += 16, weight += 16 * (inputs + 1))
        for (int k = 0; k < 16; k += GNS_LANES) {
            const float *w = weight + 16 + k;
            gns_f sum[4];
            sum[0] = gns_load(weight + k);
            for (int j = 1; j < 4; j++)
                sum[j] = gns_all(0);
            for (int i = 0; i < inputs; i += 4)
                for (int j = 0; j < 4; j++, w += 16)
                    sum[j] += in[i + j] * gns_load(w);
            sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
            gns_store(out + o + k, relu ? gns_relu(sum[0]) : sum[0]);
        }
}

/* Squeeze and excitation: every plane times the hard sigmoid of a function of all means. */
static void gns_squeeze(float *map, int channels, int count, int step, int reduced,
                        const float *reduce, const float *expand, float *scratch)
{
    float *mean = scratch, *inner = mean + (channels + 15) / 16 * 16;
    gns_means(map, channels, count, step, mean);
    gns_linear(mean, channels, inner, reduced, reduce, 1);
    gns_linear(inner, reduced, mean, channels, expand, 0);
    for (int c = 0; c < channels; c++, map += step) {
        float weight = gns_clamp1(mean[c] + 3, 0, 6) * (1.0f / 6);
        for (int p = 0; p < step; p += GNS_LANES)
            gns_store(map + p, gns_load(map + p) * weight);
    }
}

/* Means of the planes, a linear layer with ReLU, and the one that makes the answers. */
static void gns_head(const float *in, int channels, int count, int step, int features, int classes,
                     const float *head, const float *classifier, float *answers, float *scratch)
{
    float *hidden = scratch + (channels + 15) / 16 * 16;
    float *last = hidden + (features + 15) / 16 * 16;
    gns_means(in, channels, count, step, scratch);
    gns_linear(scratch, channels, hidden, features, head, 1);
    gns_linear(hidden, features, last, classes, classifier, 0);
    for (int k = 0; k < classes; k++)
        answers[k] = last[k];
}
