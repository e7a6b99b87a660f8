/* What the depth-wise kernels share: pictures, and frames of one vector of their channels.

   Each vector of channels of a picture is first copied into a frame of zeros, so that nothing after
   that needs to know of borders, strides in memory or channels that do not fill a vector. */

#ifndef GHOSTNET_FRAMES_H
#define GHOSTNET_FRAMES_H

#include "vectors.h"

#define LONGEST 5
#define MOST_TAPS (LONGEST * LONGEST)

typedef struct {
    int high, wide, stride;
} Kernel;

/* Pictures (height, width, channels), the next pixel `pixel` numbers on. */
typedef struct {
    int height, width, channels;
    int64_t pixel;
} Pictures;

INLINE int64_t picture_size(const Pictures *p) { return (int64_t)p->height * p->width * p->pixel; }

/* A vector of channels of a picture, with `high` and `wide` zeros on each side. */
typedef struct {
    vec *at;
    int high, wide, row; /* the length of a row */
} Frame;

INLINE int after(int size, int stride) { return (size - 1) / stride + 1; }

INLINE size_t frame_size(int height, int width, int high, int wide) {
    return (size_t)(height + 2 * high) * (width + 2 * wide);
}

INLINE Frame frame_at(vec *at, int width, int high, int wide) {
    return (Frame){at, high, wide, width + 2 * wide};
}

/* The vector of pixel (0, 0). */
INLINE vec *inside(Frame frame) { return frame.at + (size_t)frame.high * frame.row + frame.wide; }

/* A vector of channels of the picture at `from` into the middle of a frame. The next picture's is
   asked for, since no processor guesses at such steps through memory. */
APART void into_frame(Frame frame, const Pictures *p, const REAL *from) {
    const int64_t next = picture_size(p), pixel = p->pixel;
    const int lanes = least(p->channels, LANES), height = p->height, width = p->width;
    vec *to = inside(frame);
    for (int y = 0; y < height; y++, to += frame.row)
        if (lanes == LANES)
            for (int x = 0; x < width; x++, from += pixel) {
                __builtin_prefetch(from + next, 0, 2);
                to[x] = *(const vec *)from;
            }
        else
            for (int x = 0; x < width; x++, from += pixel) to[x] = load_part(from, lanes);
}

/* What batch norm makes of its input: scale and shift, in blocks. */
typedef struct {
    const vec *scale, *shift;
} Affine;

INLINE void scale_frame(Frame frame, const Pictures *p, const Affine *affine, int block) {
    const vec scale = affine->scale[block], shift = affine->shift[block];
    vec *to = inside(frame);
    for (int y = 0; y < p->height; y++, to += frame.row)
        for (int x = 0; x < p->width; x++) to[x] = to[x] * scale + shift;
}

/* (channels, numbers) to (blocks, numbers, LANES), or NULL. */
static vec *in_blocks(const REAL *from, int channels, int numbers) {
    const int blocks = blocks_of(channels, LANES), lanes = least(channels, LANES);
    REAL *to = zeroed((size_t)blocks * numbers * sizeof(vec));
    for (int block = 0; to && block < blocks; block++)
        for (int lane = 0; lane < lanes; lane++) {
            const REAL *own = from + (size_t)(block_start(block, channels, LANES) + lane) * numbers;
            for (int i = 0; i < numbers; i++)
                to[((size_t)block * numbers + i) * LANES + lane] = own[i];
        }
    return (vec *)to;
}

/* Where channel c is in blocks of `numbers` vectors: add LANES for each number. */
INLINE size_t lane_of(int c, int channels, size_t numbers) {
    const int block = c / LANES;
    return block * numbers * LANES + (c - block_start(block, channels, LANES));
}

#endif
