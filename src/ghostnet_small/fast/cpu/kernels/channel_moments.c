/* Mean and covariance of the channels of a 1x1 convolution's input. */

/* A tile in panels of so many columns, TILE rows each: what is multiplied then lies side by side. */
#define PANEL (4 * ROWS)
INLINE size_t panel_at(int column) {
    return (size_t)(column / PANEL) * TILE * PANEL + column % PANEL;
}

/* Rows of x less `centre` into panels, zeros behind the last column; their sums are added to `sums`,
   in blocks. */
APART void take_panels(REAL *tile, const REAL *x, int64_t stride, int rows, int channels,
                       const REAL *centre, double *sums) {
    for (int c = 0; c < channels; c += LANES) {
        const int lanes = least(channels - c, LANES);
        const vec middle = load_part(centre + c, lanes);
        const REAL *from = x + c;
        REAL *to = tile + panel_at(c);
        vec sum = {0};
        for (int r = 0; r < rows; r++, from += stride, to += PANEL) {
            const vec value = load_part(from, lanes) - middle;
            *(vec *)to = value;
            sum += value;
        }
        add_to(sums + c, sum);
    }
}

/* sums (rows of `width`) += the upper triangle of tile^T tile, in whole blocks. */
APART void add_squared_panels(const REAL *tile, int rows, int channels, double *sums, int width) {
    for (int row = 0; row < channels; row += ROWS)
        for (int column = row / WIDE_LANES * WIDE_LANES; column < channels;) {
            /* Two blocks of one panel, or one. */
            const int vectors = column % PANEL + WIDE_LANES < PANEL && column + WIDE_LANES < channels;
            const Columns c = {1 + vectors, WIDE_BLOCKS == 2, {0, WIDE_LANES}};
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
    const int width = padded(channels, PANEL), threads = omp_get_max_threads();
    const size_t square = (size_t)width * width, each = square + blocks_of(channels, LANES) * LANES;
    double *sums = zeroed(threads * each * sizeof(double));
    REAL *tiles = zeroed(((size_t)threads * TILE + 1) * width * sizeof(REAL));
    const int failed = !sums || !tiles;
    if (!failed) {
        REAL *centre = tiles + (size_t)threads * TILE * width;
        const int64_t samples = rows < 256 ? rows : 256;
        for (int c = 0; c < channels; c++) {
            double sum = 0;
            for (int64_t i = 0; i < samples; i++)
                sum += (double)x[i * (rows / samples) * stride + c];
            centre[c] = (REAL)(sum / samples);
        }
#pragma omp parallel
        {
            double *own = sums + omp_get_thread_num() * each;
            REAL *tile = tiles + (size_t)omp_get_thread_num() * TILE * width;
#pragma omp for schedule(static)
            for (int64_t start = 0; start < rows; start += TILE) {
                const int some = (int)up_to(TILE, rows - start);
                take_panels(tile, x + start * stride, stride, some, channels, centre,
                            own + square);
                add_squared_panels(tile, some, channels, own, width);
            }
        }
        gather(sums, threads, each);
        double *away = sums + square;
        for (int c = 0; c < channels; c++) {
            away[c] /= rows;
            mean[c] = (REAL)((double)centre[c] + away[c]);
        }
        for (int i = 0; i < channels; i++)
            for (int j = i; j < channels; j++) {
                const double product = sums[(size_t)i * width + j] / rows;
                covariance[(size_t)i * channels + j] = covariance[(size_t)j * channels + i] =
                    (REAL)(product - away[i] * away[j]);
            }
    }
    free(sums);
    free(tiles);
    return failed ? NO_MEMORY : 0;
}
