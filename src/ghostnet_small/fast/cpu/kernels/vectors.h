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
#endif

#ifdef __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))

/* Products have use for wider ones: each number that they broadcast then serves more columns. */
#ifdef __AVX512VL__
#define WIDE_BYTES 64
#else
#define WIDE_BYTES VECTOR_BYTES
#endif
#define WIDE_BLOCKS (WIDE_BYTES / VECTOR_BYTES)
#define WIDE_LANES ((int)(WIDE_BYTES / sizeof(REAL)))

/* Aligned as one number is: tensors start anywhere. */
#define VECTOR(bytes) __attribute__((vector_size(bytes), aligned(sizeof(REAL)), may_alias))
typedef REAL vec VECTOR(VECTOR_BYTES);
typedef REAL wide VECTOR(WIDE_BYTES);

/* What comparing two vectors gives. */
#if REAL_BYTES == 4
typedef int32_t mask __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t mask_wide __attribute__((vector_size(WIDE_BYTES)));
#else
typedef int64_t mask __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t mask_wide __attribute__((vector_size(WIDE_BYTES)));
#endif

#define INLINE static inline __attribute__((always_inline))
/* On its own, so that the compiler gives all registers to its loops. */
#define APART static __attribute__((noinline))
#define EXPORT __attribute__((visibility("default")))
#define NO_MEMORY 1

INLINE int padded(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }
INLINE int least(int a, int b) { return a < b ? a : b; }
INLINE int64_t up_to(int64_t a, int64_t b) { return a < b ? a : b; }

/* Channels are worked on in blocks of `size`. The last block reaches back over channels of the one
   before, so only pictures of fewer channels than a block has need partial vectors; what both
   compute is the same, and is stored twice. */
INLINE int blocks_of(int channels, int size) { return (channels + size - 1) / size; }
INLINE int block_start(int block, int channels, int size) {
    return channels < size ? 0 : least(block * size, channels - size);
}

#define TYPE vec
#define NAMED(name) name
#include "vector_functions.h"
#undef TYPE
#undef NAMED
#define TYPE wide
#define NAMED(name) name##_wide
#include "vector_functions.h"
#undef TYPE
#undef NAMED

/* A wide vector of two narrow ones, where it is wider. */
#if WIDE_BLOCKS == 2 && (defined(__clang__) || __GNUC__ >= 12)
#if REAL_BYTES == 4
#define ALL_LANES 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#else
#define ALL_LANES 0, 1, 2, 3, 4, 5, 6, 7
#endif
INLINE wide join_halves(vec low, vec high) {
    return __builtin_shufflevector(low, high, ALL_LANES);
}
#else
INLINE wide join_halves(vec low, vec high) {
    const vec halves[] = {low, high};
    wide all;
    memcpy(&all, halves, sizeof(all));
    return all;
}
#endif

/* Memory on a vector's boundary, or NULL; freed with free(). */
static void *scratch_memory(size_t bytes) {
    return aligned_alloc(64, bytes ? (bytes + 63) / 64 * 64 : 64);
}

/* The same, zeroed. */
static void *zeroed(size_t bytes) {
    void *memory = scratch_memory(bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

/* In double precision, by as many sums as a vector has lanes: one alone would wait for itself. */
INLINE double dot(const REAL *a, const REAL *b, int count) {
    double sums[LANES] = {0}, sum = 0;
    int i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += (double)a[i + lane] * (double)b[i + lane];
    for (; i < count; i++) sum += (double)a[i] * (double)b[i];
    for (int lane = 0; lane < LANES; lane++) sum += sums[lane];
    return sum;
}

/* Add the sums of all pieces, `count` each, into the first one's. */
static void gather(double *sums, int pieces, size_t count) {
    for (int piece = 1; piece < pieces; piece++)
        for (size_t i = 0; i < count; i++) sums[i] += sums[piece * count + i];
}

#endif
