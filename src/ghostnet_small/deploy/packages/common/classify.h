/* The class of the image in image.h. */
#ifndef GHOSTNET_CLASSIFY_H
#define GHOSTNET_CLASSIFY_H

#include "@INCLUDE@"
#include "image.h"
#include "input.h"

/* Return the number of the likeliest class; its name is in ghostnet_classes. */
static int classify(void)
{
    static unsigned char memory[GHOSTNET_WORKSPACE] __attribute__((aligned(64)));
    static float answers[GHOSTNET_CLASSES];
    int best = 0;
    ghostnet_run(ghostnet_input(ghostnet_image), answers, memory);
    for (int k = 1; k < GHOSTNET_CLASSES; k++)
        if (answers[k] > answers[best])
            best = k;
    return best;
}

#endif
