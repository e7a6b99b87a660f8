/* Mean and covariance of the channels of a 1x1 convolution's input. */

/* A tile in panels of so many columns, whole wide blocks, TILE rows each: what is multiplied then
   lies side by side. */
#define PANEL (4 * ROWS)
INLINE size_t panel_at(int column) {
    return (size_t)(column / PANEL) * TILE * PANEL + column % PANEL;
}

/* Rows of x, of `lanes` columns, less `centre`, zeros behind them; their sums are added to
   `sums`. */
INLINE void take_panel(REAL *to, const REAL *x, int64_t stride, int rows, int lanes,
                       const REAL *centre, double *sums) {
    const vec middle = load_part(centre, lanes);
    vec sum[CHAIN] = {{0}};
    mask there;
    for (int lane = 0; lane < LANES; lane++) there[lane] = lane < lanes ? -1 : 0;
    int r = 0;
    /* A vector of any row but the last may reach into the next row. */
    for (; stride >= LANES && r + CHAIN < rows; r += CHAIN)
#pragma GCC unroll 4
        for (int k = 0; k < CHAIN; k++) {
            const vec all = *(const vec *)(x + (r + k) * stride) - middle;
            const vec value = lanes < LANES ? (vec)((mask)all & there) : all;
            *(vec *)(to + (r + k) * PANEL) = value;
            sum[k] += value;
        }
    for (; r < rows; r++) {
        const vec value = load_part(x + r * stride, lanes) - middle;
        *(vec *)(to + r * PANEL) = value;
        sum[0] += value;
    }
    add_to(sums, sum[0] + sum[1] + (sum[2] + sum[3]));
}

/* The same of all columns, into panels; sums in blocks. */
APART void take_panels(REAL *tile, const REAL *x, int64_t stride, int rows, int channels,
                       const REAL *centre, double *sums) {
    for (int c = 0; c < channels; c += LANES)
        if (channels - c < LANES)
            take_panel(tile + panel_at(c), x + c, stride, rows, channels - c, centre + c, sums + c);
        else
            take_panel(tile + panel_at(c), x + c, stride, rows, LANES, centre + c, sums + c);
}

/* sums (rows of `width`) += the upper triangle of tile^T tile, in whole blocks. */
APART void add_squared_panels(const REAL *tile, int rows, int channels, double *sums, int width) {
    for (int row = 0; row < channels; row += ROWS)
        for (int column = row / WIDE_LANES * WIDE_LANES; column < channels;) {
            /* Two blocks of one panel, or one. */
            const int left = least(channels - column, PANEL - column % PANEL);
            const Columns c = {left > WIDE_LANES ? 2 : 1, WIDE_BLOCKS == 2, {0, WIDE_LANES}};
            add_block_of(&c, tile + panel_at(row), PANEL, tile + panel_at(column), PANEL, rows,
                         sums + (size_t)row * width + column, width);
            column += c.vectors * WIDE_LANES;
        }
}

/* Mean (channels) and biased covariance (channels, channels) of the columns of x.

   Products are of differences from an estimate of the mean, so a mean far from zero costs no
   digits. */
EXPORT int channel_moments(const REAL *x, int64_t rows, int channels, int64_t stride, REAL *mean,
                           REAL *covariance) {
    const Cut cut = cut_of(rows, TILE, .5 * channels * channels);
    const int width = padded(channels, PANEL), pieces = cut.pieces;
    const size_t square = (size_t)width * width, each = square + blocks_of(channels, LANES) * LANES;
    double *sums = zeroed(pieces * each * sizeof(double));
    REAL *tiles = zeroed(((size_t)pieces * TILE + 1) * width * sizeof(REAL));
    const int failed = !sums || !tiles;
    if (!failed) {
        REAL *centre = tiles + (size_t)pieces * TILE * width;
        const int samples = (int)up_to(256, rows);
        add_columns(x, rows / samples * stride, samples, channels, sums);
        for (int c = 0; c < channels; c++)
            centre[c] = (REAL)(column_sum(sums, c, channels) / samples);
        memset(sums, 0, blocks_of(channels, LANES) * LANES * sizeof(double));
        IN_PIECES(start, cut) {
            double *own = sums + slot() * each;
            REAL *tile = tiles + (size_t)slot() * TILE * width;
            const int some = (int)up_to(TILE, rows - start);
            take_panels(tile, x + start * stride, stride, some, channels, centre, own + square);
            add_squared_panels(tile, some, channels, own, width);
        }
        gather(sums, pieces, each);
        const double each_row = 1. / rows;
        double *away = sums + square;
        for (int c = 0; c < channels; c++) {
            away[c] *= each_row;
            mean[c] = (REAL)((double)centre[c] + away[c]);
        }
        for (int i = 0; i < channels; i++) {
            REAL *to = covariance + (size_t)i * channels;
            for (int j = 0; j < i; j++) to[j] = covariance[(size_t)j * channels + i];
            for (int j = i; j < channels; j++)
                to[j] = (REAL)(sums[(size_t)i * width + j] * each_row - away[i] * away[j]);
        }
    }
    free(sums);
    free(tiles);
    return failed ? NO_MEMORY : 0;
}
