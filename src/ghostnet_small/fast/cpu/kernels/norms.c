/* Batch norm, from sums over a convolution's output y, and over the gradient g of z, which is what it
   makes of y: z = scale y + shift.

   `state` (4, channels) holds mean, inverse deviation, scale and shift; `slopes` (5, channels) the
   gradients of its weight and bias, and a, b and c: the gradient of y is a g + b y + c. */

enum { MEAN, INVERSE, SCALE, SHIFT };
enum { OF_WEIGHT, OF_BIAS, A, B, C };

/* Sums of columns, and of their products with other columns, for each piece. */
typedef struct {
    int channels, blocks;
    size_t each;
    double *sums; /* (2, channels in blocks) */
    REAL *pivot;  /* of y, an estimate of its mean: what is summed are differences from it */
} Statistics;

static int start_statistics(Statistics *s, int channels) {
    const int blocks = blocks_of(channels, LANES);
    *s = (Statistics){channels, blocks, (size_t)2 * blocks * LANES, NULL, NULL};
    s->sums = zeroed(slots() * s->each * sizeof(double));
    s->pivot = zeroed(channels * sizeof(REAL));
    return s->sums && s->pivot ? 0 : NO_MEMORY;
}

static void end_statistics(Statistics *s) {
    free(s->sums);
    free(s->pivot);
}

INLINE double statistic(const Statistics *s, int number, int c) {
    return column_sum(s->sums + (size_t)number * s->blocks * LANES, c, s->channels);
}

/* The mean of some rows of y. */
static void take_pivot(const Statistics *s, int64_t rows, const REAL *y) {
    add_columns(y, s->channels, (int)rows, s->channels, s->sums);
    for (int c = 0; c < s->channels; c++) s->pivot[c] = (REAL)(statistic(s, 0, c) / rows);
    memset(s->sums, 0, s->each * sizeof(double));
}

/* Of rows of y less `middle` sums, and sums of squares, or of products with rows of g, whose own
   sums the first ones are then. Two rows at a time: one chain of sums would wait for itself. */
INLINE void sum_rows(int with_g, int64_t rows, int64_t stride, const REAL *g, const REAL *y,
                     vec middle, int lanes, vec *sums) {
    vec sum[2] = {{0}}, products[2] = {{0}};
    for (int64_t r = 0; r < rows; r += 2)
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            if (r + k >= rows) break;
            const vec away = load_part(y + (r + k) * stride, lanes) - middle;
            const vec other = with_g ? load_part(g + (r + k) * stride, lanes) : away;
            sum[k] += other;
            products[k] += other * away;
        }
    sums[0] = sum[0] + sum[1];
    sums[1] = products[0] + products[1];
}

/* Add sums and sums of squares of rows of y less `pivot`, of which (channels); or with g sums of
   that, and of g * (y - pivot). */
APART void add_statistics(const Statistics *s, int64_t rows, const REAL *g, const REAL *y,
                          const REAL *pivot) {
    double *own = s->sums + slot() * s->each;
    const int64_t channels = s->channels;
    for (int64_t start = 0; start < rows; start += TILE)
        for (int block = 0; block < s->blocks; block++) {
            const int c = block_start(block, s->channels, LANES);
            const int64_t some = up_to(TILE, rows - start), at = start * channels + c;
            vec sums[2];
            const int lanes = least(s->channels, LANES);
            const vec middle = load_part(pivot + c, lanes);
            if (lanes < LANES)
                sum_rows(g != NULL, some, channels, g ? g + at : NULL, y + at, middle, lanes, sums);
            else if (g)
                sum_rows(1, some, channels, g + at, y + at, middle, LANES, sums);
            else
                sum_rows(0, some, channels, NULL, y + at, middle, LANES, sums);
            add_to(own + block * LANES, sums[0]);
            add_to(own + (s->blocks + block) * LANES, sums[1]);
        }
}

/* A batch norm's own: what it learns and what it tracks. */
typedef struct {
    const REAL *weight, *bias;
    REAL *running_mean, *running_variance;
    int64_t *batches;
    double momentum, eps;
} Norm;

/* Into `state`, and what the batch norm tracks, unless `state` is NULL; from squares around the
   pivot. */
static void end_squares(Statistics *s, int64_t rows, const Norm *norm, REAL *state) {
    if (state) gather(s->sums, slots(), s->each);
    for (int c = 0; state && c < s->channels; c++) {
        const double away = statistic(s, 0, c) / rows;
        double variance = statistic(s, 1, c) / rows - away * away;
        if (variance < 0) variance = 0;
        const double mean = (double)s->pivot[c] + away;
        const double inverse = 1 / sqrt(variance + norm->eps);
        const double scale = (double)norm->weight[c] * inverse;
        state[MEAN * s->channels + c] = (REAL)mean;
        state[INVERSE * s->channels + c] = (REAL)inverse;
        state[SCALE * s->channels + c] = (REAL)scale;
        state[SHIFT * s->channels + c] = (REAL)((double)norm->bias[c] - mean * scale);
        REAL *tracked = norm->running_mean + c;
        *tracked += (REAL)(norm->momentum * (mean - (double)*tracked));
        tracked = norm->running_variance + c;
        const double unbiased = variance * rows / (double)(rows - 1);
        *tracked += (REAL)(norm->momentum * (unbiased - (double)*tracked));
    }
    if (state) *norm->batches += 1;
    end_statistics(s);
}

/* Into `slopes`, unless it is NULL. */
static void end_slopes(Statistics *s, int64_t rows, const REAL *state, REAL *slopes) {
    if (slopes) gather(s->sums, slots(), s->each);
    for (int c = 0; slopes && c < s->channels; c++) {
        const double of_bias = statistic(s, 0, c);
        const double mean = state[MEAN * s->channels + c];
        const double inverse = state[INVERSE * s->channels + c];
        const double scale = state[SCALE * s->channels + c];
        const double of_weight = statistic(s, 1, c) * inverse;
        const double b = -scale * inverse * of_weight / rows;
        slopes[OF_WEIGHT * s->channels + c] = (REAL)of_weight;
        slopes[OF_BIAS * s->channels + c] = (REAL)of_bias;
        slopes[A * s->channels + c] = (REAL)scale;
        slopes[B * s->channels + c] = (REAL)b;
        slopes[C * s->channels + c] = (REAL)(-scale * of_bias / rows - b * mean);
    }
    end_statistics(s);
}

/* to = a g + b y + c, for rows. */
APART void norm_slopes(int64_t rows, int channels, const REAL *g, const REAL *y,
                       const REAL *slopes, REAL *to) {
    const REAL *a = slopes + A * channels, *b = slopes + B * channels, *c = slopes + C * channels;
    for (int64_t r = 0; r < rows; r++, g += channels, y += channels, to += channels)
        for (int i = 0; i < channels; i++) to[i] = a[i] * g[i] + b[i] * y[i] + c[i];
}
