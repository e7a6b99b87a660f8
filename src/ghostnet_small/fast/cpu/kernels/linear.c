/* Linear layers: y = x weight^T + bias for some hundred rows at most, weight (outs, in). */

/* The product is turned: rows of the weight, which is large, times x, which is small. */
EXPORT int linear(int64_t rows, int in, int outs, const REAL *x, const REAL *weight,
                  const REAL *bias, int relu, REAL *y) {
    const Cut cut = cut_of(outs, TILE, (double)rows * in);
    Product p = {0};
    REAL *columns = scratch_memory((size_t)in * rows * sizeof(REAL));
    REAL *products = scratch_memory((size_t)outs * rows * sizeof(REAL));
    REAL *zeros = zeroed((size_t)rows * sizeof(REAL));
    int failed = !columns || !products || !zeros;
    if (!failed) {
        turned((int)rows, in, x, columns);
        failed = start_product(&p, (int)rows, in, in, columns, 0, 0, NULL, zeros, rows, 0);
    }
    if (!failed) {
        IN_PIECES(out, cut)
            product_of_rows(&p, up_to(TILE, outs - out), weight + out * in, NULL,
                            products + out * rows);
        turned(outs, (int)rows, products, y);
        for (int64_t r = 0; r < rows; r++)
            for (int o = 0; o < outs; o++) {
                const REAL sum = y[r * outs + o] + bias[o];
                y[r * outs + o] = relu && sum <= 0 ? 0 : sum;
            }
    }
    end_product(&p);
    free(columns);
    free(products);
    free(zeros);
    return failed ? NO_MEMORY : 0;
}

/* sums (columns) of the rows of g. */
APART void sum_columns(int64_t rows, int columns, const REAL *g, REAL *sums) {
    enum { SOME = 64 };
    for (int c = 0; c < columns; c += SOME) {
        const int some = least(SOME, columns - c);
        double own[SOME] = {0};
        for (int64_t r = 0; r < rows; r++)
            for (int i = 0; i < some; i++) own[i] += (double)g[r * columns + c + i];
        for (int i = 0; i < some; i++) sums[c + i] = (REAL)own[i];
    }
}

/* Back: the gradients of x, unless `to` is NULL, of the weight and of the bias. The weight's is a
   product too: rows of g turned, times x. */
EXPORT int linear_gradient(int64_t rows, int in, int outs, const REAL *g, const REAL *x,
                           const REAL *weight, REAL *to, REAL *of_weight, REAL *of_bias) {
    Product through = {0}, slopes = {0};
    REAL *columns = scratch_memory((size_t)rows * outs * sizeof(REAL));
    REAL *zeros = zeroed((size_t)in * sizeof(REAL));
    int failed = !columns || !zeros;
    if (!failed) {
        turned((int)rows, outs, g, columns);
        failed = start_product(&slopes, in, (int)rows, rows, x, 0, 0, NULL, zeros, in, 0);
    }
    if (!failed && to)
        failed = start_product(&through, in, outs, outs, weight, 0, 0, NULL, zeros, in, 0);
    if (!failed) {
        const Cut of_outs = cut_of(outs, TILE, (double)rows * in);
        IN_PIECES(row, of_outs)
            product_of_rows(&slopes, up_to(TILE, outs - row), columns + row * rows, NULL,
                            of_weight + row * in);
        if (to) {
            const Cut of_rows = cut_of(rows, TILE, (double)in * outs);
            IN_PIECES(row, of_rows)
                product_of_rows(&through, up_to(TILE, rows - row), g + row * outs, NULL,
                                to + row * in);
        }
        sum_columns(rows, outs, g, of_bias);
    }
    end_product(&through);
    end_product(&slopes);
    free(columns);
    free(zeros);
    return failed ? NO_MEMORY : 0;
}
