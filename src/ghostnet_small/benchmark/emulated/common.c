/* What an emulated core without an operating system does: it runs the exported network, and says
 * what came out and how many ticks of its timer that took. The including file defines `ticks`, which
 * counts up, `host`, a semihosting call, and `known_loop`, of two instructions a round. */
#include "model.h"
#include "pictures.h"

#define ROUNDS 1000000u

static unsigned char workspace[GHOSTNET_WORKSPACE] __attribute__((aligned(64)));
static float answers[GHOSTNET_CLASSES];

static void say(const char *name, unsigned value)
{
    char line[64];
    int at = 0;
    while (*name)
        line[at++] = *name++;
    for (int shift = 28; shift >= 0; shift -= 4)
        line[at++] = "0123456789abcdef"[value >> shift & 15];
    line[at++] = '\n';
    line[at] = 0;
    host(4, line); /* SYS_WRITE0 */
}

__attribute__((noinline)) static void run(void)
{
    unsigned start = ticks();
    known_loop(ROUNDS);
    say("loop ", ticks() - start);
    for (int n = 0; n < PICTURES; n++) {
        start = ticks();
        ghostnet_run(pictures[n], answers, workspace);
        say("ticks ", ticks() - start);
        for (int k = 0; k < GHOSTNET_CLASSES; k++) {
            union { float number; unsigned bits; } answer = {answers[k]};
            say("answer ", answer.bits);
        }
    }
}

/* The stack from its end up to the first word that nothing has overwritten. */
static void run_on_a_stack(unsigned *low, unsigned *top)
{
    for (unsigned *at = low; at < (unsigned *)__builtin_frame_address(0) - 64; at++)
        *at = 0xdeadbeef;
    run();
    while (*low == 0xdeadbeef)
        low++;
    say("stack ", (unsigned)((char *)top - (char *)low));
}
