/* The gradient of a depth-wise convolution's input: through the convolution, and through the moments
   of its taps, of which a window with taps t adds first + second t to the gradients of those taps.

   Where windows are a pixel apart, every pixel inside the picture is in as many: its gradient is a
   convolution of the output's gradient, and one of the picture itself. Near a border some windows
   are not there, and the second convolution is another. Where windows are further apart, that is so
   of nearly every pixel, and windows add to their pixels instead. */

#include "frames.h"

/* Along one side, runs of pixels over which the same windows are: the bits of their taps. */
typedef struct {
    int count, bits[2 * LONGEST], start[2 * LONGEST + 1];
} Runs;

static Runs runs_of(int size, int taps) {
    Runs runs = {0};
    for (int q = 0; q < size; q++) {
        const int bits = taps_over(q, taps, size, 1);
        if (runs.count && runs.bits[runs.count - 1] == bits) continue;
        runs.start[runs.count] = q;
        runs.bits[runs.count++] = bits;
    }
    runs.start[runs.count] = size;
    return runs;
}

/* The slope of one case as a convolution of x: its weights, which reach from the first tap to the
   last and back, and a constant behind them. */
static void case_kernel(Kernel k, const Vector *first, const Vector *second, int rows, int columns,
                        Vector *out) {
    const int taps = k.high * k.wide, high = 2 * k.high - 1, wide = 2 * k.wide - 1;
    for (int i = 0; i <= high * wide; i++) out[i] = (Vector){0};
    for (int a = 0; a < taps; a++) {
        if (!(rows >> a / k.wide & 1) || !(columns >> a % k.wide & 1)) continue;
        out[high * wide] += first[a];
        for (int b = 0; b < taps; b++) {
            const int down = b / k.wide - a / k.wide + k.high - 1;
            out[down * wide + b % k.wide - a % k.wide + k.wide - 1] += second[a * taps + b];
        }
    }
}

/* to = the gradient of x, from the output's gradient g and that of the taps' moments: first
   (channels, taps) and second (channels, taps, taps), symmetric. With `relu` only where x is above
   zero. */
typedef struct {
    Pictures of, g; /* g: the output's */
    Kernel kernel;
    int relu;
    int64_t to_pixel;
    size_t x_frame, frames_each, kinds, numbers;
    Runs rows, columns;
    Vector *weights, *turned; /* of the convolution; the same, last one first */
    Vector *first, *second;
    Vector *slopes; /* the kernels for all runs of rows and of columns */
    Vector *frames;
} Slope;

/* What is behind a ghost module's x and the convolution of it, one picture of `both`: perhaps a
   ReLU, and perhaps a gate (else NULL), whose product has the gradient g. */
typedef struct {
    const Gate *of;
    const REAL *g, *both, *gate;
} Behind;

INLINE void fill_behind(Frame frame, const Behind *behind, int start, Lanes lanes, int relu) {
    const Gate gated = *behind->of;
    const int height = gated.height, width = gated.width, pixel = gated.channels;
    const int half = pixel / 2;
    const REAL *g = behind->g + half + start, *y_of = behind->both + half + start;
    const REAL *gate = behind->gate ? behind->gate + half + start : NULL;
    Vector *to = inside(frame);
    for (int y = 0; y < height; y++, to += frame.row)
        for (int x = 0; x < width; x++, g += pixel, y_of += pixel) {
            Vector value = load_lanes(g, lanes);
            if (gate) value *= load_lanes(gate + gate_pixel(&gated, y, x), lanes);
            if (relu) value = where_positive_wide(load_lanes(y_of, lanes), value);
            to[x] = value;
        }
}

/* The gradient of the convolution's output, some channels from `start` on, into a frame. */
APART void behind_into_frame(Frame frame, const Behind *behind, int start, Lanes lanes, int relu) {
    const Lanes all = {WIDE_LANES, 0};
    if (lanes.count == WIDE_LANES)
        fill_behind(frame, behind, start, all, relu);
    else
        fill_behind(frame, behind, start, lanes, relu);
}

/* What one vector of a picture's channels needs: copies, which no store to memory can change. */
typedef struct {
    int height, width, rows, columns, stride, relu;
    const Vector *weights, *turned, *first, *second, *slopes;
    Frame x, g, out;
    const REAL *add, *gate; /* what is behind x itself, or NULL */
    const REAL *ahead[4];   /* what the next picture needs, if `add` is there */
    Gate gated;
    Target to;
} Part;

INLINE void store_slope(const Part *p, int y, int x, Vector test, Vector value) {
    const int64_t at = (int64_t)y * p->width + x;
    if (p->add) {
        Vector add = load_lanes(p->add + at * p->gated.channels, p->to.lanes);
        /* While there is work, since memory takes as long as that. */
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) __builtin_prefetch(p->ahead[i] + at * p->gated.channels, 0, 2);
        if (p->gate) add *= load_lanes(p->gate + gate_pixel(&p->gated, y, x), p->to.lanes);
        value += add;
    }
    if (p->relu) value = where_positive_wide(test, value);
    store_lanes(p->to.at + at * p->to.pixel, value, p->to.lanes);
}

/* Where a run of pixels is, from (y, x) on, down or to the right. */
typedef struct {
    int y, x, down;
} Line;

/* Pixels `q` and on of a line, whose kernel is `slope`. */
INLINE void slope_of_pixels(int pixels, int q, int high, int wide, int symmetric,
                            const Part *part, Line line, const Vector *slope) {
    const Frame of_x = part->x, of_g = part->g;
    const int y = line.y + (line.down ? q : 0), x = line.x + (line.down ? 0 : q);
    const int step = line.down ? of_x.row : 1, g_step = line.down ? of_g.row : 1;
    const Vector *pixel = inside(of_x) + (size_t)y * of_x.row + x;
    const Vector *above = inside(of_g) + (size_t)y * of_g.row + x;
    const Vector *corner = pixel - (size_t)(high - 1) * of_x.row - (wide - 1);
    Vector out[TOGETHER];
#pragma GCC unroll 6
    for (int p = 0; p < pixels; p++) out[p] = slope[(2 * high - 1) * (2 * wide - 1)];
    if (symmetric && pixels == TOGETHER)
        convolve_symmetric(2 * high - 1, 2 * wide - 1, corner, of_x.row, slope, out);
    else
        convolve(2 * high - 1, 2 * wide - 1, pixels, corner, of_x.row, step, slope, out);
    convolve(high, wide, pixels, above - (size_t)(high / 2) * of_g.row - wide / 2, of_g.row,
             g_step, part->turned, out);
#pragma GCC unroll 6
    for (int p = 0; p < pixels; p++)
        store_slope(part, line.down ? y + p : y, line.down ? x : x + p, pixel[p * step], out[p]);
}

INLINE void slope_of_picture(int high, int wide, const Part *part, const Runs *rows,
                             const Runs *columns) {
    const size_t numbers = (size_t)(2 * high - 1) * (2 * wide - 1) + 1;
    for (int i = 0; i < rows->count; i++)
        for (int j = 0; j < columns->count; j++) {
            const Vector *slope = part->slopes + (size_t)(i * columns->count + j) * numbers;
            const int top = rows->start[i], bottom = rows->start[i + 1];
            const int left = columns->start[j], right = columns->start[j + 1];
            /* All windows are there: the sum over pairs of taps has no preferred direction. */
            const int all = rows->bits[i] == (1 << high) - 1 && columns->bits[j] == (1 << wide) - 1;
            if (all)
                for (int y = top, q = 0; y < bottom; y++, q = 0) {
                    const Line line = {y, left, 0};
                    IN_GROUPS(q, right - left, slope_of_pixels, high, wide, 1, part, line, slope)
                }
            else if (right - left >= bottom - top)
                for (int y = top, q = 0; y < bottom; y++, q = 0) {
                    const Line line = {y, left, 0};
                    IN_GROUPS(q, right - left, slope_of_pixels, high, wide, 0, part, line, slope)
                }
            else
                for (int x = left, q = 0; x < right; x++, q = 0) {
                    const Line line = {top, x, 1};
                    IN_GROUPS(q, bottom - top, slope_of_pixels, high, wide, 0, part, line, slope)
                }
        }
}

/* What windows of a row, from `column` on, add to their pixels. */
INLINE void spread_moments(int windows, int column, int high, int wide, const Part *part,
                           const Vector *at, const Vector *g, Vector *out) {
    const int taps = high * wide, stride = part->stride, row = part->x.row;
    Vector values[2][MOST_TAPS];
    at += column * stride;
    out += column * stride;
#pragma GCC unroll 2
    for (int k = 0; k < windows; k++)
#pragma GCC unroll 5
        for (int i = 0; i < high; i++)
#pragma GCC unroll 5
            for (int j = 0; j < wide; j++)
                values[k][i * wide + j] = at[(size_t)i * row + j + k * stride];
    for (int a = 0; a < taps; a++) {
        Vector sums[2];
#pragma GCC unroll 2
        for (int k = 0; k < windows; k++)
            sums[k] = part->first[a] + part->weights[a] * g[column + k];
#pragma GCC unroll 25
        for (int b = 0; b < taps; b++)
#pragma GCC unroll 2
            for (int k = 0; k < windows; k++) sums[k] += part->second[a * taps + b] * values[k][b];
        for (int k = 0; k < windows; k++)
            out[(size_t)(a / wide) * row + a % wide + k * stride] += sums[k];
    }
}

INLINE void spread_picture_moments(int high, int wide, const Part *part) {
    const Frame of_x = part->x, out = part->out;
    const size_t corner = (size_t)(high / 2) * of_x.row + wide / 2;
    memset(out.at, 0, frame_size(part->height, part->width, out.high, out.wide) * sizeof(Vector));
    for (int y = 0; y < part->rows; y++) {
        const size_t start = (size_t)y * part->stride * of_x.row;
        const Vector *at = inside(of_x) - corner + start;
        const Vector *g = inside(part->g) + (size_t)y * part->g.row;
        Vector *to = inside(out) - corner + start;
        int column = 0;
        for (; column + 2 <= part->columns; column += 2)
            spread_moments(2, column, high, wide, part, at, g, to);
        if (column < part->columns) spread_moments(1, column, high, wide, part, at, g, to);
    }
    for (int y = 0; y < part->height; y++)
        for (int x = 0; x < part->width; x++)
            store_slope(part, y, x, inside(of_x)[(size_t)y * of_x.row + x],
                        inside(out)[(size_t)y * out.row + x]);
}

static int start_slope(Slope *s, Pictures of, Kernel k, int64_t g_pixel, const REAL *weight,
                       const REAL *first, const REAL *second, int64_t to_pixel, int relu) {
    const int blocks = blocks_of(of.channels, WIDE_LANES), taps = k.high * k.wide;
    const Pictures g = {after(of.height, k.stride), after(of.width, k.stride), of.channels,
                        g_pixel};
    *s = (Slope){.of = of, .g = g, .kernel = k, .relu = relu, .to_pixel = to_pixel};
    s->x_frame = frame_size(of.height, of.width, k.high - 1, k.wide - 1);
    s->frames_each = s->x_frame * (k.stride > 1 ? 2 : 1) +
                     frame_size(g.height, g.width, k.high / 2, k.wide / 2);
    s->rows = runs_of(of.height, k.high);
    s->columns = runs_of(of.width, k.wide);
    s->numbers = (size_t)(2 * k.high - 1) * (2 * k.wide - 1) + 1;
    s->kinds = k.stride > 1 ? 0 : (size_t)s->rows.count * s->columns.count;
    s->weights = in_blocks(weight, of.channels, taps);
    s->first = in_blocks(first, of.channels, taps);
    s->second = in_blocks(second, of.channels, taps * taps);
    s->turned = zeroed((size_t)blocks * taps * sizeof(Vector));
    s->slopes = zeroed(blocks * s->kinds * s->numbers * sizeof(Vector));
    s->frames = zeroed(slots() * s->frames_each * sizeof(Vector));
    if (!s->weights || !s->first || !s->second || !s->turned || !s->slopes || !s->frames)
        return NO_MEMORY;
    for (int block = 0; block < blocks; block++) {
        for (int i = 0; i < taps; i++)
            s->turned[block * taps + i] = s->weights[block * taps + taps - 1 - i];
        for (size_t kind = 0; kind < s->kinds; kind++)
            case_kernel(k, s->first + block * taps, s->second + (size_t)block * taps * taps,
                        s->rows.bits[kind / s->columns.count],
                        s->columns.bits[kind % s->columns.count],
                        s->slopes + (block * s->kinds + kind) * s->numbers);
    }
    return 0;
}

/* The output's gradient is g, or what `behind` makes of its own, unless that is NULL; that of x is
   then added, too. */
APART void slope_blocks(const Slope *s, const REAL *x, const REAL *g, const Behind *behind,
                        REAL *to) {
    const Kernel k = s->kernel;
    const int channels = s->of.channels, taps = k.high * k.wide;
    Vector *at = s->frames + slot() * s->frames_each;
    const Frame of_x = frame_at(at, s->of.width, k.high - 1, k.wide - 1);
    const Frame out = frame_at(at + s->x_frame, s->of.width, k.high - 1, k.wide - 1);
    if (k.stride > 1) at += s->x_frame;
    const Frame of_g = frame_at(at + s->x_frame, s->g.width, k.high / 2, k.wide / 2);
    for (int block = 0; block < blocks_of(channels, WIDE_LANES); block++) {
        const int start = block_start(block, channels, WIDE_LANES);
        const REAL *next = behind ? behind->both + start + gated_size(behind->of) : NULL;
        const REAL *next_g = behind ? behind->g + start + gated_size(behind->of) : NULL;
        const Part part = {s->of.height,
                           s->of.width,
                           s->g.height,
                           s->g.width,
                           k.stride,
                           s->relu,
                           s->weights + block * taps,
                           s->turned + block * taps,
                           s->first + block * taps,
                           s->second + (size_t)block * taps * taps,
                           s->slopes + block * s->kinds * s->numbers,
                           of_x,
                           of_g,
                           out,
                           behind ? behind->g + start : NULL,
                           behind && behind->gate ? behind->gate + start : NULL,
                           {next, s->relu ? next + channels : next, next_g, next_g + channels},
                           behind ? *behind->of : (Gate){0},
                           {to + start, s->to_pixel, lanes_of(channels)}};
        into_frame(of_x, &s->of, x + start, !behind);
        if (behind)
            behind_into_frame(of_g, behind, start, lanes_of(channels), s->relu);
        else
            into_frame(of_g, &s->g, g + start, 1);
        if (k.stride > 1 && k.high == 3)
            spread_picture_moments(3, 3, &part);
        else if (k.stride > 1)
            spread_picture_moments(5, 5, &part);
        else if (k.high == 3)
            slope_of_picture(3, 3, &part, &s->rows, &s->columns);
        else
            slope_of_picture(5, 5, &part, &s->rows, &s->columns);
    }
}

static void end_slope(Slope *s) {
    free(s->weights);
    free(s->first);
    free(s->second);
    free(s->turned);
    free(s->slopes);
    free(s->frames);
}

EXPORT int depthwise_input_gradient(const REAL *x, int64_t count, int height, int width,
                                    int channels, int64_t pixel, int high, int wide, int stride,
                                    const REAL *g, int64_t g_pixel, const REAL *weight,
                                    const REAL *first, const REAL *second, REAL *to,
                                    int64_t to_pixel) {
    const Cut cut = cut_of(count, 1, 3. * height * width * channels * high * wide);
    const Pictures of = {height, width, channels, pixel};
    Slope s;
    const int failed = start_slope(&s, of, (Kernel){high, wide, stride}, g_pixel, weight, first,
                                   second, to_pixel, 0);
    if (!failed) {
        IN_PIECES(n, cut)
            slope_blocks(&s, x + n * picture_size(&of), g + n * picture_size(&s.g), NULL,
                         to + n * to_pixel * height * width);
    }
    end_slope(&s);
    return failed;
}
