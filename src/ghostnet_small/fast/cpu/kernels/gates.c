/* Products of pictures with something smaller: an attention gate, or a weight for each channel.

   Pictures are (count, height, width, channels) without gaps. */

#include "pieces.h"

/* A gate's picture for one of (height, width, channels): the pixel for (y, x) is
   (rows[y], columns[x]). */
typedef struct {
    int height, width, channels, gate_height, gate_width;
    const int32_t *rows, *columns;
} Gate;

INLINE int64_t gated_size(const Gate *s) { return (int64_t)s->height * s->width * s->channels; }
INLINE int64_t gate_size(const Gate *s) {
    return (int64_t)s->gate_height * s->gate_width * s->channels;
}
INLINE int64_t gate_pixel(const Gate *s, int y, int x) {
    return ((int64_t)s->rows[y] * s->gate_width + s->columns[x]) * s->channels;
}

/* out = x [* gate] [+ add], of which either may be NULL. */
APART void apply_gate(const Gate *s, const REAL *x, const REAL *gate, const REAL *add,
                      REAL *restrict out) {
    const int height = s->height, width = s->width, channels = s->channels;
    for (int y = 0; y < height; y++)
        for (int q = 0; q < width; q++, x += channels, out += channels) {
            const REAL *weight = gate ? gate + gate_pixel(s, y, q) : NULL;
            if (gate && add)
                for (int c = 0; c < channels; c++) out[c] = x[c] * weight[c] + add[c];
            else if (gate)
                for (int c = 0; c < channels; c++) out[c] = x[c] * weight[c];
            else
                for (int c = 0; c < channels; c++) out[c] = x[c] + add[c];
            if (add) add += channels;
        }
}

/* to = g [* weight] where x is above zero: by hand, since compilers leave it to single numbers. */
INLINE void positive_products(int64_t numbers, const REAL *g, const REAL *weight, const REAL *x,
                              REAL *restrict to) {
    int64_t i = 0;
    for (; i + LANES <= numbers; i += LANES) {
        vec value = *(const vec *)(g + i);
        if (weight) value *= *(const vec *)(weight + i);
        *(vec *)(to + i) = where_positive(*(const vec *)(x + i), value);
    }
    for (; i < numbers; i++) to[i] = x[i] <= 0 ? 0 : weight ? g[i] * weight[i] : g[i];
}

/* From the product's gradient g that of the gate, and those of x from channel `half` on, to_x
   (half); with `relu` of x only where x is above zero. */
APART void gate_slopes(const Gate *s, const REAL *g, const REAL *x, const REAL *gate, int relu,
                       REAL *restrict to_x, REAL *restrict to_gate) {
    const int height = s->height, width = s->width, channels = s->channels, half = channels / 2;
    memset(to_gate, 0, gate_size(s) * sizeof(REAL));
    for (int y = 0; y < height; y++)
        for (int q = 0; q < width; q++, g += channels, x += channels, to_x += half) {
            const int64_t at = gate_pixel(s, y, q);
            const REAL *weight = gate + at + half;
            for (int c = 0; c < channels; c++) to_gate[at + c] += g[c] * x[c];
            if (relu)
                positive_products(half, g + half, weight, x + half, to_x);
            else
                for (int c = 0; c < half; c++) to_x[c] = g[half + c] * weight[c];
        }
}

/* to = g where x is above zero. */
APART void relu_slopes(int64_t numbers, const REAL *g, const REAL *x, REAL *to) {
    positive_products(numbers, g, NULL, x, to);
}

/* Pictures of (height, width) at half size, each pixel the mean of four; what is left over at an
   odd edge is left out. */
EXPORT int halve_pictures(const REAL *x, int64_t count, int height, int width, int channels,
                          REAL *to) {
    const Cut cut = cut_of(count, 1, (double)height * width * channels);
    const int64_t row = (int64_t)width * channels;
    IN_PIECES(n, cut) {
        REAL *out = to + n * (height / 2) * (width / 2) * channels;
        for (int y = 0; y + 1 < height; y += 2)
            for (int q = 0; q + 1 < width; q += 2, out += channels) {
                const REAL *at = x + (n * height + y) * row + q * channels;
                for (int c = 0; c < channels; c++)
                    out[c] = (at[c] + at[c + channels] + at[c + row] + at[c + row + channels]) / 4;
            }
    }
    return 0;
}

/* x += the gradient behind `halve_pictures`, of one picture. */
APART void add_halved(const REAL *g, int height, int width, int channels, REAL *x) {
    const int64_t row = (int64_t)width * channels;
    for (int y = 0; y + 1 < height; y += 2)
        for (int q = 0; q + 1 < width; q += 2, g += channels)
            for (int side = 0; side < 4; side++) {
                REAL *at = x + (y + side / 2) * row + (q + side % 2) * channels;
                for (int c = 0; c < channels; c++) at[c] += g[c] / 4;
            }
}
