/* Pixels of 0 .. 255, normalised: scale and shift of every channel. */
static void gns_normalize(const unsigned char *in, int channels, int area, const float *table,
                          float *out)
{
    for (int c = 0; c < channels; c++)
        for (int p = 0; p < area; p++)
            out[c * area + p] = (float)in[c * area + p] * table[2 * c] + table[2 * c + 1];
}
