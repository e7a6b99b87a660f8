/* How a kernel's work is split over threads: into pieces, of which a thread takes the next when it
   has done one, so that a thread that lost its core holds up one piece.

   Each piece adds its sums in a slot of its own, and slots are added in order. The number of pieces
   follows from the work and from the number of threads that a process is set to, so a result is the
   same whichever threads took the pieces, and also where only some of the threads are active.
   Small work is one piece. */

#ifndef GHOSTNET_PIECES_H
#define GHOSTNET_PIECES_H

#include "vectors.h"

/* Multiply-adds that are worth another piece. */
#define WORTH 1048576
#define PIECES_A_THREAD 2

typedef struct {
    int64_t total, step;
    int pieces, threads;
} Cut;

/* Threads that take pieces; 0 is all that the process is set to. */
static int active;
/* Slots of the kernel that this thread runs, and that of the piece it works on. */
static _Thread_local int slots_now = 1, slot_now;

EXPORT int use_threads(int count) {
    active = count;
    return 0;
}

INLINE int slots(void) { return slots_now; }
INLINE int slot(void) { return slot_now; }

/* `total` items in steps of `step`, each item of so many multiply-adds. */
static Cut cut_of(int64_t total, int64_t step, double work) {
    const int threads = omp_get_max_threads();
    Cut cut = {total, step, 1, 1};
    if (threads > 1) {
        const int64_t steps = (total + step - 1) / step;
        const double worth = (double)total * work / WORTH;
        const int64_t most = up_to(steps, (int64_t)PIECES_A_THREAD * threads);
        cut.pieces = worth < 2 || most < 2 ? 1 : worth < (double)most ? (int)worth : (int)most;
        cut.threads = least(cut.pieces, active ? least(active, threads) : threads);
    }
    slots_now = cut.pieces;
    slot_now = 0;
    return cut;
}

/* Where piece number `piece` begins. */
INLINE int64_t piece_start(const Cut *cut, int piece) {
    const int64_t steps = (cut->total + cut->step - 1) / cut->step;
    return up_to(steps * piece / cut->pieces * cut->step, cut->total);
}

INLINE int64_t begin_piece(const Cut *cut, int piece) {
    slot_now = piece;
    return piece_start(cut, piece);
}

#define PRAGMA(words) _Pragma(#words)
/* A loop over `i`, the first item of each step. */
#define IN_PIECES(i, cut)                                                                         \
    PRAGMA(omp parallel for schedule(dynamic) num_threads((cut).threads))                         \
    for (int piece = 0; piece < (cut).pieces; piece++)                                            \
        for (int64_t i = begin_piece(&(cut), piece), end_ = piece_start(&(cut), piece + 1);       \
             i < end_; i += (cut).step)

#endif
