/* The innermost loops of products, which registers hold, for vectors of one TYPE: included once for
   each, since C has no other name for the same function of another type. */

/* out[row, column ..] for `rows` rows and `vectors` vectors of columns. */
INLINE void NAMED(product_block)(int rows, int vectors, const Product *p, const REAL *const *xs,
                                 int width, const int *columns, int lanes, REAL *y) {
    TYPE out[ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) out[r][v] = *(const TYPE *)(p->shift + columns[v]);
    for (int s = 0; s < p->count; s++) {
        const REAL *x = xs[s], *weight = p->sources[s].weight;
        const int64_t stride = p->sources[s].stride;
        for (int c = 0; c < p->sources[s].in; c++, weight += width)
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
                for (int v = 0; v < vectors; v++)
                    out[r][v] += x[r * stride + c] * *(const TYPE *)(weight + columns[v]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            TYPE value = out[r][v];
            if (p->relu) value = NAMED(where_positive)(value, value);
            NAMED(store_part)(y + r * p->y_stride + columns[v], value, lanes);
        }
}

/* sums (ROWS, width) += left^T right over `rows` rows, of ROWS and of `vectors` vectors of columns
   of right; in sums these lie side by side. */
INLINE void NAMED(add_block)(int vectors, const REAL *left, int64_t left_stride,
                             const REAL *right, int64_t right_stride, const int *columns,
                             int rows, double *sums, int width) {
    TYPE out[ROWS][2] = {{{0}}};
    for (int r = 0; r < rows; r++, left += left_stride, right += right_stride)
#pragma GCC unroll 8
        for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                out[k][v] += left[k] * *(const TYPE *)(right + columns[v]);
#pragma GCC unroll 8
    for (int k = 0; k < ROWS; k++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            NAMED(add_to)(sums + (size_t)k * width + v * (sizeof(TYPE) / sizeof(REAL)),
                          out[k][v]);
}
