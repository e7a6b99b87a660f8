/* The input of ghostnet_run, from the bytes of an image. */
#ifndef GHOSTNET_INPUT_H
#define GHOSTNET_INPUT_H

#include "@INCLUDE@"

/* Return normalised pixels, plane after plane as the bytes are; the next call overwrites them. */
static const float *ghostnet_input(const unsigned char *bytes)
{
    static const float scale[GHOSTNET_CHANNELS] = {@SCALE@};
    static const float shift[GHOSTNET_CHANNELS] = {@SHIFT@};
    static float pixels[GHOSTNET_CHANNELS][GHOSTNET_HEIGHT * GHOSTNET_WIDTH];
    for (int c = 0; c < GHOSTNET_CHANNELS; c++)
        for (int k = 0; k < GHOSTNET_HEIGHT * GHOSTNET_WIDTH; k++)
            pixels[c][k] = (float)*bytes++ * scale[c] + shift[c];
    return &pixels[0][0];
}

#endif
