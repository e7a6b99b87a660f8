/* What the depth-wise kernels share: pictures, and frames of one vector of their channels.

   Each vector of channels of a picture is first copied into a frame of zeros, so that nothing after
   that needs to know of borders, strides in memory or channels that do not fill a vector. Vectors
   are wide ones. Where a picture has too few channels for that, but enough for a narrow one, the
   two halves of a wide one are two blocks of narrow ones: the second reaches back over the first. */

#ifndef GHOSTNET_FRAMES_H
#define GHOSTNET_FRAMES_H

#include "pieces.h"

/* Products that are added up before they leave the vectors for double precision. */
#define RUN 256
#define LONGEST 5
#define MOST_TAPS (LONGEST * LONGEST)

typedef struct {
    int high, wide, stride;
} Kernel;

typedef wide Vector;

/* Pictures (height, width, channels), the next pixel `pixel` numbers on. */
typedef struct {
    int height, width, channels;
    int64_t pixel;
} Pictures;

INLINE int64_t picture_size(const Pictures *p) { return (int64_t)p->height * p->width * p->pixel; }

/* How a vector's channels lie in memory: so many in one piece, or less than a vector of them, of
   which the second half of the vector is `second` numbers after the first. */
typedef struct {
    int count, second;
} Lanes;

INLINE Lanes lanes_of(int channels) {
    return (Lanes){least(channels, WIDE_LANES), channels - LANES};
}
INLINE int in_halves(Lanes lanes) {
    return WIDE_BLOCKS == 2 && lanes.count >= LANES && lanes.count < WIDE_LANES;
}
/* The channel, less the block's first one, in a lane of a vector, and a lane for a channel. */
INLINE int channel_in(int lane, Lanes lanes) {
    return in_halves(lanes) && lane >= LANES ? lane - LANES + lanes.second : lane;
}
INLINE int lane_for(int channel, Lanes lanes) {
    return in_halves(lanes) && channel >= LANES ? channel + LANES - lanes.second : channel;
}

INLINE Vector load_lanes(const REAL *from, Lanes lanes) {
    return in_halves(lanes) ? join_halves(*(const vec *)from, *(const vec *)(from + lanes.second))
                            : load_part_wide(from, lanes.count);
}

INLINE void store_lanes(REAL *to, Vector all, Lanes lanes) {
    if (in_halves(lanes)) {
        memcpy(to, &all, sizeof(vec));
        memcpy(to + lanes.second, (char *)(&all + 1) - sizeof(vec), sizeof(vec));
    } else
        store_part_wide(to, all, lanes.count);
}

/* A vector of channels of a picture, with `high` and `wide` zeros on each side. */
typedef struct {
    Vector *at;
    int high, wide, row; /* the length of a row */
} Frame;

INLINE int after(int size, int stride) { return (size - 1) / stride + 1; }

INLINE size_t frame_size(int height, int width, int high, int wide) {
    return (size_t)(height + 2 * high) * (width + 2 * wide);
}

INLINE Frame frame_at(Vector *at, int width, int high, int wide) {
    return (Frame){at, high, wide, width + 2 * wide};
}

/* The vector of pixel (0, 0). */
INLINE Vector *inside(Frame frame) { return frame.at + (size_t)frame.high * frame.row + frame.wide; }

/* A vector of channels of the picture at `from` into the middle of a frame. With `ahead` the next
   picture's is asked for, since no processor guesses at such steps through memory. */
APART void into_frame(Frame frame, const Pictures *p, const REAL *from, int ahead) {
    const int64_t next = picture_size(p), pixel = p->pixel;
    const int height = p->height, width = p->width;
    const Lanes lanes = lanes_of(p->channels);
    Vector *to = inside(frame);
    for (int y = 0; y < height; y++, to += frame.row)
        if (lanes.count == WIDE_LANES)
            for (int x = 0; x < width; x++, from += pixel) {
                if (ahead) __builtin_prefetch(from + next, 0, 2);
                to[x] = *(const Vector *)from;
            }
        else
            for (int x = 0; x < width; x++, from += pixel) to[x] = load_lanes(from, lanes);
}

/* What batch norm makes of its input: scale and shift, in blocks. */
typedef struct {
    const Vector *scale, *shift;
} Affine;

INLINE void scale_frame(Frame frame, const Pictures *p, const Affine *affine, int block) {
    const Vector scale = affine->scale[block], shift = affine->shift[block];
    Vector *to = inside(frame);
    for (int y = 0; y < p->height; y++, to += frame.row)
        for (int x = 0; x < p->width; x++) to[x] = to[x] * scale + shift;
}

/* (channels, numbers) to (blocks, numbers, WIDE_LANES), or NULL. */
static Vector *in_blocks(const REAL *from, int channels, int numbers) {
    const int blocks = blocks_of(channels, WIDE_LANES);
    const Lanes lanes = lanes_of(channels);
    REAL *to = zeroed((size_t)blocks * numbers * sizeof(Vector));
    for (int block = 0; to && block < blocks; block++)
        for (int lane = 0; lane < (in_halves(lanes) ? WIDE_LANES : lanes.count); lane++) {
            const int c = block_start(block, channels, WIDE_LANES) + channel_in(lane, lanes);
            const REAL *own = from + (size_t)c * numbers;
            for (int i = 0; i < numbers; i++)
                to[((size_t)block * numbers + i) * WIDE_LANES + lane] = own[i];
        }
    return (Vector *)to;
}

/* Where channel c is in blocks of `numbers` vectors: add WIDE_LANES for each number. */
INLINE size_t lane_of(int c, int channels, size_t numbers) {
    const int block = c / WIDE_LANES, first = block_start(block, channels, WIDE_LANES);
    return block * numbers * WIDE_LANES + lane_for(c - first, lanes_of(channels));
}

#endif
