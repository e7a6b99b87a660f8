/* Channels of pixels in fours. */
static void gns_in_fours(const unsigned char *in, int channels, int area, gns_byte *out)
{
    for (int c = 0; c < (channels + 3) / 4 * 4; c++)
        for (int p = 0; p < area; p++)
            out[4 * (c / 4 * area + p) + c % 4] = c < channels ? in[c * area + p] : 0;
}
