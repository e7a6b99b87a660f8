/* Functions of vectors of one TYPE, included once for each. */

/* `value` where `test` is above zero or no number at all, which must not be hidden; else zero. */
INLINE TYPE NAMED(where_positive)(TYPE test, TYPE value) {
    return (TYPE)((NAMED(mask))value & ~(NAMED(mask))(test <= (REAL)0));
}

/* The first `lanes` numbers at `from`, zeros behind them. */
INLINE TYPE NAMED(load_part)(const REAL *from, int lanes) {
    if (lanes >= (int)(sizeof(TYPE) / sizeof(REAL))) return *(const TYPE *)from;
    TYPE all = {0};
    for (int lane = 0; lane < lanes; lane++) all[lane] = from[lane];
    return all;
}

INLINE void NAMED(store_part)(REAL *to, TYPE all, int lanes) {
    if (lanes >= (int)(sizeof(TYPE) / sizeof(REAL))) {
        *(TYPE *)to = all;
        return;
    }
    for (int lane = 0; lane < lanes; lane++) to[lane] = all[lane];
}

/* Sums leave the vectors for double precision early: their rounding then does not grow with the
   number of pictures. */
INLINE void NAMED(add_to)(double *sums, TYPE part) {
#if defined __clang__ || __GNUC__ >= 9
    typedef double doubles
        __attribute__((vector_size(sizeof(TYPE) / sizeof(REAL) * sizeof(double)),
                       aligned(sizeof(double)), may_alias));
    *(doubles *)sums += __builtin_convertvector(part, doubles);
#else
    for (int lane = 0; lane < (int)(sizeof(TYPE) / sizeof(REAL)); lane++)
        sums[lane] += (double)part[lane];
#endif
}
