/* A convolution of all channels of windows a pixel apart, with zeros around the picture: weight
   (taps, channels, outs) + shift, then perhaps the ReLU. */
EXPORT int windows(const REAL *x, int64_t count, int height, int width, int channels, int outs,
                   int high, int wide, const REAL *weight, const REAL *shift, int relu, REAL *y) {
    const int in = high * wide * channels;
    const int64_t pixels = (int64_t)height * width;
    const Cut cut = cut_of(count, 1, (double)pixels * in * outs);
    Product product = {0};
    REAL *tiles = zeroed((size_t)slots() * TILE * in * sizeof(REAL));
    int failed = !tiles;
    if (!failed)
        failed = start_product(&product, outs, in, in, weight, 0, 0, NULL, shift, outs, relu);
    if (!failed) {
        IN_PIECES(n, cut) {
            REAL *tile = tiles + (size_t)slot() * TILE * in;
            for (int64_t first = 0; first < pixels; first += TILE) {
                const int64_t some = up_to(TILE, pixels - first);
                take_patches(x + n * pixels * channels, height, width, channels, high, wide,
                             first, some, tile);
                product_of_rows(&product, some, tile, NULL, y + (n * pixels + first) * outs);
            }
        }
    }
    end_product(&product);
    free(tiles);
    return failed ? NO_MEMORY : 0;
}
