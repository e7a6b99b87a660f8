/* Channels of float32 pixels, normalised as the network was trained, back to bytes in fours. */
static void gns_to_pixels(const float *in, int channels, int area, const float *table,
                          gns_byte *out)
{
    for (int c = 0; c < (channels + 3) / 4 * 4; c++)
        for (int p = 0; p < area; p++) {
            float value = 0;
            if (c < channels) {
                value = in[c * area + p] * table[2 * c];
                value = value + table[2 * c + 1];
            }
            out[4 * (c / 4 * area + p) + c % 4] = (gns_byte)gns_byte_of(value, 0);
        }
}
