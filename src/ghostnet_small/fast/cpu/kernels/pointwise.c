/* 1x1 convolutions and the gradients of their weights, over rows of channels.

   A matrix is rows of numbers, the next row `stride` numbers on. */

#include "pieces.h"

#ifdef __AVX512VL__
#define ROWS 8
#else
#define ROWS 6
#endif
/* Rows that are added up before the sums leave the vectors for double precision. */
#define TILE 128

typedef struct {
    int64_t stride;
    int in;
    const REAL *weight; /* (in, outs) */
} Source;

/* y = x weight [+ x2 weight2] + shift, then perhaps the ReLU, for any rows of x, x2 and y. */
typedef struct {
    int outs, count, relu;
    Source sources[2];
    const REAL *shift;
    int64_t y_stride;
    REAL *own[3]; /* weights and shift, padded where they are shorter than a vector */
} Product;

#define TYPE vec
#define NAMED(name) name
#include "product_blocks.h"
#undef TYPE
#undef NAMED
#define TYPE wide
#define NAMED(name) name##_wide
#include "product_blocks.h"
#undef TYPE
#undef NAMED

/* Columns go in blocks of a wide vector, or of a vector where they are fewer. */
INLINE int column_block(int channels) { return channels < WIDE_LANES ? LANES : WIDE_LANES; }
INLINE int column_blocks(int channels) { return blocks_of(channels, column_block(channels)); }

/* One or two blocks of columns, and which columns their vectors begin with. */
typedef struct {
    int vectors, wide, first[2];
} Columns;

INLINE Columns columns_from(int block, int channels) {
    const int size = column_block(channels), left = column_blocks(channels) - block;
    return (Columns){least(left, 2), size > LANES,
                     {block_start(block, channels, size), block_start(block + 1, channels, size)}};
}

INLINE void product_row_block(int rows, const Product *p, const Columns *c,
                              const REAL *const *xs, REAL *y) {
    const int width = p->outs < LANES ? LANES : p->outs;
    if (c->wide && c->vectors == 2)
        product_block_wide(rows, 2, p, xs, width, c->first, WIDE_LANES, y);
    else if (c->wide)
        product_block_wide(rows, 1, p, xs, width, c->first, WIDE_LANES, y);
    else if (c->vectors == 2)
        product_block(rows, 2, p, xs, width, c->first, LANES, y);
    else
        product_block(rows, 1, p, xs, width, c->first, least(p->outs, LANES), y);
}

/* Some rows at a time, and the weights of some columns, so that the nearest cache holds both. */
#define ROWS_AT_HAND (4 * ROWS)

APART void product_of_rows(const Product *p, int64_t rows, const REAL *x, const REAL *x2,
                           REAL *y) {
    const int many = rows >= ROWS;
    for (int64_t start = 0; start < rows; start += ROWS_AT_HAND)
        for (int column = 0; column < column_blocks(p->outs); column += 2) {
            const Columns c = columns_from(column, p->outs);
            const int64_t end = up_to(start + ROWS_AT_HAND, rows);
            for (int64_t at = start; at < end; at += many ? ROWS : 1) {
                /* The last block reaches back over rows of the one before. */
                const int64_t row = many ? up_to(at, rows - ROWS) : at;
                const REAL *xs[] = {x + row * p->sources[0].stride,
                                    x2 ? x2 + row * p->sources[1].stride : NULL};
                if (many)
                    product_row_block(ROWS, p, &c, xs, y + row * p->y_stride);
                else
                    product_row_block(1, p, &c, xs, y + row * p->y_stride);
            }
        }
}

/* `numbers` (rows, columns) padded to a vector, or themselves where they are as long. */
static const REAL *as_wide(const REAL *numbers, int rows, int columns, REAL **own) {
    *own = NULL;
    if (columns >= LANES) return numbers;
    *own = zeroed((size_t)rows * LANES * sizeof(REAL));
    for (int r = 0; *own && r < rows; r++)
        memcpy(*own + r * LANES, numbers + r * columns, columns * sizeof(REAL));
    return *own;
}

static int start_product(Product *p, int outs, int in, int64_t stride, const REAL *weight,
                         int in2, int64_t stride2, const REAL *weight2, const REAL *shift,
                         int64_t y_stride, int relu) {
    *p = (Product){outs, in2 ? 2 : 1, relu, {{stride, in, NULL}, {stride2, in2, NULL}},
                   NULL, y_stride, {NULL, NULL, NULL}};
    p->sources[0].weight = as_wide(weight, in, outs, &p->own[0]);
    if (in2) p->sources[1].weight = as_wide(weight2, in2, outs, &p->own[1]);
    p->shift = as_wide(shift, 1, outs, &p->own[2]);
    return !p->sources[0].weight || !p->shift || (in2 && !p->sources[1].weight) ? NO_MEMORY : 0;
}

static void end_product(Product *p) {
    for (int i = 0; i < 3; i++) free(p->own[i]);
}

/* y = x weight [+ x2 weight2] + shift, then the ReLU: weights (in, outs), shift (outs).
   `x2` may be NULL. */
EXPORT int pointwise(int64_t rows, int outs, const REAL *x, int64_t stride, int in,
                     const REAL *weight, const REAL *x2, int64_t stride2, int in2,
                     const REAL *weight2, const REAL *shift, REAL *y, int64_t y_stride,
                     int relu) {
    const Cut cut = cut_of(rows, TILE, (double)(in + in2) * outs);
    Product p;
    const int failed = start_product(&p, outs, in, stride, weight, in2, stride2, weight2, shift,
                                     y_stride, relu);
    if (!failed) {
        IN_PIECES(row, cut)
            product_of_rows(&p, up_to(TILE, rows - row), x + row * stride,
                            x2 ? x2 + row * stride2 : NULL, y + row * y_stride);
    }
    end_product(&p);
    return failed;
}

/* `add_block` for these columns. */
APART void add_block_of(const Columns *c, const REAL *left, int64_t left_stride,
                        const REAL *right, int64_t right_stride, int rows, double *sums,
                        int width) {
    if (c->wide && c->vectors == 2)
        add_block_wide(2, left, left_stride, right, right_stride, c->first, rows, sums, width);
    else if (c->wide)
        add_block_wide(1, left, left_stride, right, right_stride, c->first, rows, sums, width);
    else if (c->vectors == 2)
        add_block(2, left, left_stride, right, right_stride, c->first, rows, sums, width);
    else
        add_block(1, left, left_stride, right, right_stride, c->first, rows, sums, width);
}

/* sums += left^T right over `rows` rows, for all columns of both: sums (outs in blocks of ROWS, in
   in blocks of columns). */
APART void add_products(const REAL *left, int64_t left_stride, int outs, const REAL *right,
                        int64_t right_stride, int in, int rows, double *sums) {
    const int size = column_block(in), width = column_blocks(in) * size;
    for (int block = 0; block < column_blocks(in); block += 2) {
        const Columns c = columns_from(block, in);
        for (int i = 0; i < blocks_of(outs, ROWS); i++)
            add_block_of(&c, left + block_start(i, outs, ROWS), left_stride, right, right_stride,
                         rows, sums + (size_t)i * ROWS * width + block * size, width);
    }
}

INLINE size_t sums_size(int outs, int in) {
    return (size_t)blocks_of(outs, ROWS) * ROWS * column_blocks(in) * column_block(in);
}

/* Rows of x less `centre`, in a tile of `width` columns, zeros behind `count`. */
INLINE void take_tile(REAL *tile, int width, const REAL *x, int64_t stride, int rows, int count,
                      const REAL *centre) {
    for (int r = 0; r < rows; r++, x += stride, tile += width) {
        int c = 0;
        for (; c + LANES <= count; c += LANES)
            *(vec *)(tile + c) = *(const vec *)(x + c) - *(const vec *)(centre + c);
        for (; c < count; c++) tile[c] = x[c] - centre[c];
    }
}

/* Rows that are summed up side by side: one chain of sums would wait for itself. */
#define CHAIN 4

/* sums (LANES) += the columns of `rows` rows. */
INLINE void add_vectors(const REAL *x, int64_t stride, int rows, int lanes, double *sums) {
    vec sum[CHAIN] = {{0}};
    int r = 0;
    for (; r + CHAIN <= rows; r += CHAIN)
#pragma GCC unroll 4
        for (int k = 0; k < CHAIN; k++) sum[k] += load_part(x + (r + k) * stride, lanes);
    for (; r < rows; r++) sum[0] += load_part(x + r * stride, lanes);
    add_to(sums, sum[0] + sum[1] + (sum[2] + sum[3]));
}

/* sums (channels in blocks) += the columns of `rows` rows. */
INLINE void add_columns(const REAL *x, int64_t stride, int rows, int channels, double *sums) {
    if (channels < LANES)
        add_vectors(x, stride, rows, channels, sums);
    else
        for (int block = 0; block < blocks_of(channels, LANES); block++)
            add_vectors(x + block_start(block, channels, LANES), stride, rows, LANES,
                        sums + block * LANES);
}

INLINE double column_sum(const double *sums, int c, int channels) {
    const int block = c / LANES;
    return sums[block * LANES + c - block_start(block, channels, LANES)];
}

/* A 1x1 convolution's weight and bias gradient, added up over any rows. */
typedef struct {
    int outs, in, wide_outs, wide_in; /* at least as wide as a block is */
    int64_t g_stride, stride;
    size_t each;
    double *sums;
    REAL *tiles, *zeros;
} ProductGradient;

static int start_product_gradient(ProductGradient *p, int outs, int64_t g_stride, int in,
                                  int64_t stride) {
    *p = (ProductGradient){outs, in, outs < ROWS ? ROWS : outs, in < LANES ? LANES : in,
                           g_stride, stride, 0, NULL, NULL, NULL};
    p->each = sums_size(p->wide_outs, p->wide_in) + blocks_of(outs, LANES) * LANES;
    p->sums = zeroed(slots() * p->each * sizeof(double));
    p->tiles = zeroed((size_t)slots() * TILE * (ROWS + LANES) * sizeof(REAL));
    p->zeros = zeroed((ROWS + LANES) * sizeof(REAL));
    return !p->sums || !p->tiles || !p->zeros ? NO_MEMORY : 0;
}

static void add_row_gradients(const ProductGradient *p, int64_t rows, const REAL *g,
                              const REAL *x) {
    double *own = p->sums + slot() * p->each, *sums = own + sums_size(p->wide_outs, p->wide_in);
    REAL *tile = p->tiles + (size_t)slot() * TILE * (ROWS + LANES), *second = tile + TILE * ROWS;
    for (int64_t start = 0; start < rows; start += TILE) {
        const int some = (int)up_to(TILE, rows - start);
        const REAL *left = g + start * p->g_stride, *right = x + start * p->stride;
        int64_t left_stride = p->g_stride, right_stride = p->stride;
        add_columns(left, left_stride, some, p->outs, sums);
        if (p->outs < ROWS) {
            take_tile(tile, ROWS, left, left_stride, some, p->outs, p->zeros);
            left = tile;
            left_stride = ROWS;
        }
        if (p->in < LANES) {
            take_tile(second, LANES, right, right_stride, some, p->in, p->zeros);
            right = second;
            right_stride = LANES;
        }
        add_products(left, left_stride, p->wide_outs, right, right_stride, p->wide_in, some, own);
    }
}

/* Into products (outs, in) and sums (outs), unless they are NULL. */
static void end_product_gradient(ProductGradient *p, REAL *products, REAL *sums) {
    if (products) {
        gather(p->sums, slots(), p->each);
        const int size = column_block(p->wide_in), blocks = column_blocks(p->wide_in);
        const double *columns = p->sums + sums_size(p->wide_outs, p->wide_in);
        for (int o = 0; o < p->outs; o++) {
            sums[o] = (REAL)column_sum(columns, o, p->outs);
            const int i = o / ROWS, row = i * ROWS + o - block_start(i, p->wide_outs, ROWS);
            for (int block = 0; block < blocks; block++) {
                const double *from = p->sums + ((size_t)row * blocks + block) * size;
                REAL *to = products + (size_t)o * p->in + block_start(block, p->in, size);
                for (int c = 0; c < least(size, p->in); c++) to[c] = (REAL)from[c];
            }
        }
    }
    free(p->sums);
    free(p->tiles);
    free(p->zeros);
}

/* products (outs, in) = g^T x and sums (outs) of g: a 1x1 convolution's weight and bias gradient. */
EXPORT int pointwise_gradient(int64_t rows, const REAL *g, int64_t g_stride, int outs,
                              const REAL *x, int64_t stride, int in, REAL *products, REAL *sums) {
    const Cut cut = cut_of(rows, TILE, (double)in * outs);
    ProductGradient p;
    const int failed = start_product_gradient(&p, outs, g_stride, in, stride);
    if (!failed) {
        IN_PIECES(row, cut)
            add_row_gradients(&p, up_to(TILE, rows - row), g + row * g_stride,
                              x + row * stride);
    }
    end_product_gradient(&p, failed ? NULL : products, sums);
    return failed;
}
