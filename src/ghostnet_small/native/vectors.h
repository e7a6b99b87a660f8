/* What all kernels share: the number type, vectors of it, and memory of one's own.

   REAL is float or double, from the compiler's command line. Vectors are the extension that GCC
   and Clang share, so one source serves AVX, AVX-512, NEON and what comes. A vector holds
   channels, which lie side by side in channels_last memory. */

#ifndef GHOSTNET_VECTORS_H
#define GHOSTNET_VECTORS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_max_threads(void) { return 1; }
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_get_num_threads(void) { return 1; }
#endif

#ifdef __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))

/* Aligned as one number is: tensors start anywhere. */
typedef REAL vec __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#if REAL_BYTES == 4
typedef int32_t mask __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int64_t mask __attribute__((vector_size(VECTOR_BYTES)));
#endif

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#define NO_MEMORY 1

INLINE int padded(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }
INLINE int least(int a, int b) { return a < b ? a : b; }

/* `value` where `test` is above zero or no number at all, which must not be hidden; else zero. */
INLINE vec where_positive(vec test, vec value) {
    return (vec)((mask)value & ~(mask)(test <= (REAL)0));
}

/* The first `lanes` numbers at `from`, zeros behind them. */
INLINE vec load_part(const REAL *from, int lanes) {
    if (lanes >= LANES) return *(const vec *)from;
    vec all = {0};
    for (int lane = 0; lane < lanes; lane++) all[lane] = from[lane];
    return all;
}

INLINE void store_part(REAL *to, vec all, int lanes) {
    if (lanes >= LANES) {
        *(vec *)to = all;
        return;
    }
    for (int lane = 0; lane < lanes; lane++) to[lane] = all[lane];
}

/* Sums leave the vectors for double precision early: their rounding then does not grow with the
   number of pictures. */
INLINE void add_to(double *sums, vec part) {
    for (int lane = 0; lane < LANES; lane++) sums[lane] += (double)part[lane];
}

/* Zeroed memory on a vector's boundary, or NULL; freed with free(). */
static void *zeroed(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

/* Add the sums of all threads, `count` each, into the first one's. */
static void gather(double *sums, int threads, size_t count) {
    for (int thread = 1; thread < threads; thread++)
        for (size_t i = 0; i < count; i++) sums[i] += sums[thread * count + i];
}

#endif
