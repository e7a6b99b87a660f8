/* Moments of the taps of a depth-wise convolution's windows, zeros around the picture included.

   Of 3x3 windows a pixel apart: the second moment of two taps is the picture's autocorrelation at
   their distance, less what windows centred just outside would add, and those see only the
   picture's edges. So 13 products a pixel give all 45. Of other windows: two rows make the same
   products for every pair of taps as far apart, so each pair of rows is multiplied once. */

#include "frames.h"

/* What is summed of 3x3 windows a pixel apart: products of a pixel and those after it, by how far
   down and right they are (0, 0..2), (1, -2..2), (2, -2..2); then the same of edges alone, 0..2 on,
   of the top and bottom row and the first and last column; squares of the corners; and plain sums
   of all, of the edges, and the corners. */
enum {
    LAGS,
    EDGE_LAGS = LAGS + 13,
    CORNER_SQUARES = EDGE_LAGS + 4 * 3,
    ALL = CORNER_SQUARES + 4,
    EDGES,
    CORNERS = EDGES + 4,
    LAG_SUMS = CORNERS + 4
};
enum { TOP, BOTTOM, FIRST, LAST };

INLINE int lag_of(int down, int right) { return LAGS + 5 * down + right; }

/* Into `parts` (LAG_SUMS), and where they are many products from there into `sums`. */
INLINE void picture_lags(Frame frame, int height, int width, Vector *parts, double *sums) {
    const int row = frame.row, run = width < RUN ? RUN / width : 1;
    const Vector *start = inside(frame);
    for (int y = 0; y < height;) {
        Vector all = {0}, out[13] = {{0}};
        for (const int end = least(y + run, height); y < end; y++) {
            const Vector *at = start + (size_t)y * row;
            for (int x = 0; x < width; x++, at++) {
                const Vector pixel = *at;
                all += pixel;
#pragma GCC unroll 3
                for (int right = 0; right < 3; right++) out[right] += pixel * at[right];
#pragma GCC unroll 5
                for (int right = -2; right <= 2; right++) {
                    out[5 + right] += pixel * at[row + right];
                    out[10 + right] += pixel * at[2 * row + right];
                }
            }
        }
        if (run < height) {
            add_to_wide(sums + ALL * WIDE_LANES, all);
            for (int i = 0; i < 13; i++) add_to_wide(sums + (LAGS + i) * WIDE_LANES, out[i]);
        } else {
            parts[ALL] += all;
            for (int i = 0; i < 13; i++) parts[LAGS + i] += out[i];
        }
    }
    const Vector *below = start + (size_t)(height - 1) * row;
    const Vector *edges[] = {start, below, start, start + width - 1};
    for (int edge = 0; edge < 4; edge++) {
        const int step = edge < FIRST ? 1 : row, length = edge < FIRST ? width : height;
        const Vector *at = edges[edge];
        Vector all = {0}, out[3] = {{0}};
        for (int i = 0; i < length; i++, at += step) {
            all += *at;
#pragma GCC unroll 3
            for (int on = 0; on < 3; on++) out[on] += *at * at[on * step];
        }
        parts[EDGES + edge] += all;
        for (int on = 0; on < 3; on++) parts[EDGE_LAGS + 3 * edge + on] += out[on];
    }
    for (int corner = 0; corner < 4; corner++) {
        const Vector pixel = (corner & 2 ? below : start)[corner & 1 ? width - 1 : 0];
        parts[CORNERS + corner] += pixel;
        parts[CORNER_SQUARES + corner] += pixel * pixel;
    }
}

/* A vector's numbers in double precision, or less others of them. */
INLINE void plus(double *to, const double *from) {
    for (int lane = 0; lane < WIDE_LANES; lane++) to[lane] += from[lane];
}
INLINE void minus(double *to, const double *from) {
    for (int lane = 0; lane < WIDE_LANES; lane++) to[lane] -= from[lane];
}

/* Sums of taps (9, WIDE_LANES) and of their products (9, 9, WIDE_LANES), of which the upper ones,
   from those of `picture_lags`. */
static void lags_to_taps(const double *sums, double *first, double *second) {
#define SUM(number) (sums + (number) * WIDE_LANES)
    for (int a = 0; a < 9; a++, first += WIDE_LANES) {
        /* Of the windows that there are, none has tap 0 on the last row, none tap 2 on the first. */
        const int row = a / 3, column = a % 3;
        const int edge_row = row == 0 ? BOTTOM : TOP, edge_column = column == 0 ? LAST : FIRST;
        const int corner = 2 * (edge_row == BOTTOM) + (edge_column == LAST);
        memcpy(first, SUM(ALL), WIDE_LANES * sizeof(double));
        if (row != 1) minus(first, SUM(EDGES + edge_row));
        if (column != 1) minus(first, SUM(EDGES + edge_column));
        if (row != 1 && column != 1) plus(first, SUM(CORNERS + corner));
        for (int b = a; b < 9; b++) {
            const int down = b / 3 - row, right = b % 3 - column;
            double *to = second + (a * 9 + b) * WIDE_LANES;
            memcpy(to, SUM(lag_of(down, right)), WIDE_LANES * sizeof(double));
            if (row != 1 && !down) minus(to, SUM(EDGE_LAGS + 3 * edge_row + abs(right)));
            if (column != 1 && !right) minus(to, SUM(EDGE_LAGS + 3 * edge_column + down));
            if (row != 1 && column != 1 && a == b) plus(to, SUM(CORNER_SQUARES + corner));
        }
    }
#undef SUM
}

/* Which of the `taps` of a window's side are over pixel q, as bits: those windows are there. */
INLINE int taps_over(int q, int taps, int windows, int stride) {
    int bits = 0;
    for (int i = 0; i < taps; i++) {
        const int at = q - (i - taps / 2);
        if (at >= 0 && at % stride == 0 && at / stride < windows) bits |= 1 << i;
    }
    return bits;
}

/* Products of two rows' taps, (wide, wide) of them; of one row with itself the upper ones. */
INLINE void row_products(int wide, int same, const Vector *a, const Vector *b, int windows,
                         int stride, Vector *out) {
    for (int k = 0; k < wide * wide; k++) out[k] = (Vector){0};
    for (int x = 0; x < windows; x++, a += stride, b += stride)
#pragma GCC unroll 5
        for (int i = 0; i < wide; i++)
#pragma GCC unroll 5
            for (int j = same ? i : 0; j < wide; j++) out[i * wide + j] += a[i] * b[j];
}

/* Add the sums over all windows: of taps (taps, WIDE_LANES), and of the products of two, (taps, taps,
   WIDE_LANES), of which the upper ones. */
INLINE void picture_products(int high, int wide, Frame frame, int height, int width, int stride,
                             double *sums) {
    const int taps = high * wide, rows = after(height, stride), columns = after(width, stride);
    const Vector *start = inside(frame) - wide / 2;
    Vector first[MOST_TAPS] = {{0}}, second[MOST_TAPS * MOST_TAPS];
    for (int k = 0; k < taps * taps; k++) second[k] = (Vector){0};
    for (int y = 0, run = 0; y < height; y++) {
        const Vector *row = start + (size_t)y * frame.row;
        const int over = taps_over(y, high, rows, stride);
        Vector tap_sums[LONGEST] = {{0}};
        for (int x = 0; x < columns; x++)
#pragma GCC unroll 5
            for (int j = 0; j < wide; j++) tap_sums[j] += row[x * stride + j];
        for (int i = 0; i < high; i++)
            for (int j = 0; over >> i & 1 && j < wide; j++) first[i * wide + j] += tap_sums[j];
        for (int down = 0; down < high && y + down < height; down++) {
            const int both = over & ((1 << (high - down)) - 1);
            if (!both) continue;
            Vector products[MOST_TAPS];
            if (down)
                row_products(wide, 0, row, row + (size_t)down * frame.row, columns, stride,
                             products);
            else
                row_products(wide, 1, row, row, columns, stride, products);
            for (int i = 0; i + down < high; i++)
                for (int k = 0; both >> i & 1 && k < wide * wide; k++)
                    second[(i * wide + k / wide) * taps + (i + down) * wide + k % wide] +=
                        products[k];
        }
        run += width;
        if (run < RUN && y + 1 < height) continue;
        run = 0;
        for (int a = 0; a < taps; a++) {
            add_to_wide(sums + a * WIDE_LANES, first[a]);
            first[a] = (Vector){0};
            for (int b = a; b < taps; b++) {
                add_to_wide(sums + (taps + a * taps + b) * WIDE_LANES, second[a * taps + b]);
                second[a * taps + b] = (Vector){0};
            }
        }
    }
}

/* One channel's means (taps) and biased covariances (taps, taps) from its sums over `windows`, of
   taps and of the products of two, of which the upper ones; sums are WIDE_LANES apart. */
static void centre_moments(int taps, double windows, const double *first, const double *second,
                           REAL *means, REAL *covariances) {
    const double share = 1 / windows;
    for (int i = 0; i < taps; i++) {
        const double mean = first[i * WIDE_LANES] * share;
        means[i] = (REAL)mean;
        for (int j = i; j < taps; j++)
            covariances[i * taps + j] = covariances[j * taps + i] =
                (REAL)(second[(i * taps + j) * WIDE_LANES] * share -
                       mean * (first[j * WIDE_LANES] * share));
    }
}

/* The moments of windows, added up picture by picture for each piece. */
typedef struct {
    Pictures of;
    Kernel kernel;
    int numbers;
    size_t each, frame;
    double *sums;
    Vector *frames;
} Moments;

INLINE int by_lags(Kernel kernel) { return kernel.high == 3 && kernel.stride == 1; }

static int start_moments(Moments *m, Pictures of, Kernel kernel) {
    const int pieces = slots(), taps = kernel.high * kernel.wide;
    const int numbers = by_lags(kernel) ? LAG_SUMS : taps + taps * taps;
    *m = (Moments){of, kernel, numbers,
                   (size_t)blocks_of(of.channels, WIDE_LANES) * numbers * WIDE_LANES,
                   frame_size(of.height, of.width, kernel.high - 1, kernel.wide - 1), NULL, NULL};
    m->sums = zeroed(pieces * m->each * sizeof(double));
    m->frames = zeroed(pieces * m->frame * sizeof(Vector));
    return !m->sums || !m->frames ? NO_MEMORY : 0;
}

/* Those of `count` pictures. */
APART void add_moments(const Moments *m, const REAL *x, int64_t count) {
    const int piece = slot(), height = m->of.height, width = m->of.width;
    const Kernel k = m->kernel;
    const Frame frame = frame_at(m->frames + piece * m->frame, width, k.high - 1, k.wide - 1);
    for (int block = 0; block < blocks_of(m->of.channels, WIDE_LANES); block++) {
        double *to = m->sums + piece * m->each + (size_t)block * m->numbers * WIDE_LANES;
        const REAL *from = x + block_start(block, m->of.channels, WIDE_LANES);
        Vector parts[LAG_SUMS] = {{0}};
        int products = 0;
        for (int64_t n = 0; n < count; n++, from += picture_size(&m->of)) {
            into_frame(frame, &m->of, from, 1);
            if (!by_lags(k)) {
                if (k.high == 3)
                    picture_products(3, 3, frame, height, width, k.stride, to);
                else
                    picture_products(5, 5, frame, height, width, k.stride, to);
                continue;
            }
            picture_lags(frame, height, width, parts, to);
            products += height * width;
            if (products < RUN && n + 1 < count) continue;
            products = 0;
            for (int i = 0; i < LAG_SUMS; i++) {
                add_to_wide(to + i * WIDE_LANES, parts[i]);
                parts[i] = (Vector){0};
            }
        }
    }
}

/* Of `count` pictures: means (channels, taps) and biased covariances (channels, taps, taps), unless
   they are NULL. */
static void end_moments(Moments *m, int64_t count, REAL *means, REAL *covariances) {
    const Kernel k = m->kernel;
    const int taps = k.high * k.wide, channels = m->of.channels;
    const double windows =
        (double)count * after(m->of.height, k.stride) * after(m->of.width, k.stride);
    double taps_of_lags[(9 + 9 * 9) * WIDE_LANES];
    if (means) gather(m->sums, slots(), m->each);
    for (int c = 0; means && c < channels; c++) {
        const size_t at = lane_of(c, channels, m->numbers), lane = at % WIDE_LANES;
        const double *first = m->sums + at, *second = first + taps * WIDE_LANES;
        if (by_lags(k)) {
            if (c % WIDE_LANES == 0)
                lags_to_taps(first - lane, taps_of_lags, taps_of_lags + 9 * WIDE_LANES);
            first = taps_of_lags + lane;
            second = first + 9 * WIDE_LANES;
        }
        centre_moments(taps, windows, first, second, means + c * taps,
                       covariances + (size_t)c * taps * taps);
    }
    free(m->sums);
    free(m->frames);
}

/* Means (channels, taps) and biased covariances (channels, taps, taps) of the taps. */
EXPORT int window_moments(const REAL *x, int64_t count, int height, int width, int channels,
                          int64_t pixel, int high, int wide, int stride, REAL *means,
                          REAL *covariances) {
    const Cut cut = cut_of(count, 1, (double)height * width * channels * high * wide * 4);
    const Pictures of = {height, width, channels, pixel};
    Moments m;
    const int failed = start_moments(&m, of, (Kernel){high, wide, stride});
    if (!failed) {
        IN_PIECES(n, cut) add_moments(&m, x + n * picture_size(&of), 1);
    }
    end_moments(&m, count, failed ? NULL : means, covariances);
    return failed;
}
