/* The same for a Linux program: the answers' bits, line after line. */
#include "model.h"
#include "pictures.h"
#include <stdio.h>

static unsigned char workspace[GHOSTNET_WORKSPACE] __attribute__((aligned(64)));

int main(void)
{
    float answers[GHOSTNET_CLASSES];
    for (int n = 0; n < PICTURES; n++) {
        ghostnet_run(pictures[n], answers, workspace);
        for (int k = 0; k < GHOSTNET_CLASSES; k++) {
            union { float number; unsigned bits; } answer = {answers[k]};
            printf("answer %08x\n", answer.bits);
        }
    }
    return 0;
}
