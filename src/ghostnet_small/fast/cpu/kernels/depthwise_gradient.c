/* The gradients of a depth-wise convolution: of its weights, and of its input. */

/* Two windows' gradients at a time: they share most of their pixels. Gradients count where y is
   above zero, unless y is NULL. */
INLINE void add_gradients(int windows, int high, int wide, const Vector *at, int row, int stride,
                          const REAL *g, const REAL *y, int64_t g_pixel, Lanes lanes,
                          Vector *out) {
    Vector slopes[2];
#pragma GCC unroll 2
    for (int k = 0; k < windows; k++) {
        slopes[k] = load_lanes(g + k * g_pixel, lanes);
        if (y) slopes[k] = where_positive_wide(load_lanes(y + k * g_pixel, lanes), slopes[k]);
        out[high * wide] += slopes[k];
    }
#pragma GCC unroll 5
    for (int i = 0; i < high; i++)
#pragma GCC unroll 5
        for (int j = 0; j < wide; j++)
#pragma GCC unroll 2
            for (int k = 0; k < windows; k++)
                out[i * wide + j] += slopes[k] * at[(size_t)i * row + j + k * stride];
}

/* Add to `parts`, (taps + 1), the gradients of weights and shift. */
INLINE void gradient_sums(int high, int wide, Frame frame, int rows, int columns, int stride,
                          const REAL *g, const REAL *y, int64_t g_pixel, Lanes lanes,
                          Vector *parts) {
    const int taps = high * wide;
    const Vector *start = inside(frame) - (size_t)(high / 2) * frame.row - wide / 2;
    Vector out[MOST_TAPS + 1] = {{0}};
    for (int row = 0; row < rows; row++) {
        const Vector *at = start + (size_t)row * stride * frame.row;
        for (int column = 0, some; column < columns; column += some) {
            some = column + 2 <= columns ? 2 : 1;
            if (some == 2)
                add_gradients(2, high, wide, at, frame.row, stride, g, y, g_pixel, lanes, out);
            else
                add_gradients(1, high, wide, at, frame.row, stride, g, y, g_pixel, lanes, out);
            at += some * stride;
            g += some * g_pixel;
            if (y) y += some * g_pixel;
        }
    }
    for (int k = 0; k <= taps; k++) parts[k] += out[k];
}

/* Gradients of weights (channels, taps) and shift (channels), from the output's gradient g, added
   up picture by picture for each piece. */
typedef struct {
    Pictures of;
    Kernel kernel;
    const Affine *affine;
    int64_t g_pixel;
    size_t frame, each;
    double *sums;
    Vector *frames, *parts; /* parts: sums of so few products that they need no double precision */
    int *products;
} KernelGradient;

static int start_kernel_gradient(KernelGradient *p, Pictures of, Kernel kernel,
                                 const Affine *affine, int64_t g_pixel) {
    const int pieces = slots(), numbers = kernel.high * kernel.wide + 1;
    *p = (KernelGradient){of, kernel, affine, g_pixel,
                          frame_size(of.height, of.width, kernel.high / 2, kernel.wide / 2),
                          (size_t)blocks_of(of.channels, WIDE_LANES) * numbers * WIDE_LANES,
                          NULL, NULL, NULL, NULL};
    p->sums = zeroed(pieces * p->each * sizeof(double));
    p->frames = zeroed(pieces * p->frame * sizeof(Vector));
    p->parts = zeroed(pieces * p->each * sizeof(REAL));
    p->products = zeroed(pieces * sizeof(int));
    return !p->sums || !p->frames || !p->parts || !p->products ? NO_MEMORY : 0;
}

static void add_parts(const KernelGradient *p, int piece) {
    Vector *parts = p->parts + piece * p->each / WIDE_LANES;
    for (size_t i = 0; i < p->each / WIDE_LANES; i++) {
        add_to_wide(p->sums + piece * p->each + i * WIDE_LANES, parts[i]);
        parts[i] = (Vector){0};
    }
    p->products[piece] = 0;
}

/* Behind a ReLU that gave y, unless y is NULL. */
APART void add_relu_kernel_gradient(const KernelGradient *p, const REAL *x, const REAL *g,
                                    const REAL *y) {
    const Kernel k = p->kernel;
    const int rows = after(p->of.height, k.stride), columns = after(p->of.width, k.stride);
    const int channels = p->of.channels;
    const Lanes lanes = lanes_of(channels);
    const int piece = slot(), numbers = k.high * k.wide + 1;
    const Frame frame =
        frame_at(p->frames + piece * p->frame, p->of.width, k.high / 2, k.wide / 2);
    for (int block = 0; block < blocks_of(channels, WIDE_LANES); block++) {
        const int start = block_start(block, channels, WIDE_LANES);
        Vector *to = p->parts + piece * p->each / WIDE_LANES + (size_t)block * numbers;
        into_frame(frame, &p->of, x + start, 1);
        if (p->affine) scale_frame(frame, &p->of, p->affine, block);
        if (k.stride == 1)
            BY_SIZE(k, gradient_sums, frame, rows, columns, 1, g + start, y ? y + start : NULL,
                    p->g_pixel, lanes, to);
        else
            BY_SIZE(k, gradient_sums, frame, rows, columns, k.stride, g + start,
                    y ? y + start : NULL, p->g_pixel, lanes, to);
    }
    p->products[piece] += rows * columns;
    if (p->products[piece] >= RUN) add_parts(p, piece);
}

static void add_kernel_gradient(const KernelGradient *p, const REAL *x, const REAL *g) {
    add_relu_kernel_gradient(p, x, g, NULL);
}

/* Into weight and shift, unless they are NULL. */
static void end_kernel_gradient(KernelGradient *p, REAL *weight, REAL *shift) {
    const int taps = p->kernel.high * p->kernel.wide;
    for (int piece = 0; weight && piece < slots(); piece++) add_parts(p, piece);
    if (weight) gather(p->sums, slots(), p->each);
    for (int c = 0; weight && c < p->of.channels; c++) {
        const double *from = p->sums + lane_of(c, p->of.channels, taps + 1);
        for (int k = 0; k < taps; k++) weight[c * taps + k] = (REAL)from[k * WIDE_LANES];
        shift[c] = (REAL)from[taps * WIDE_LANES];
    }
    free(p->sums);
    free(p->frames);
    free(p->parts);
    free(p->products);
}

EXPORT int depthwise_gradient(const REAL *x, int64_t count, int height, int width, int channels,
                              int64_t pixel, int high, int wide, int stride, const REAL *g,
                              int64_t g_pixel, REAL *weight, REAL *shift) {
    const double work = (double)height * width * channels * high * wide / (stride * stride);
    const Cut cut = cut_of(count, 1, work);
    const Pictures of = {height, width, channels, pixel};
    const int64_t size = g_pixel * after(height, stride) * after(width, stride);
    KernelGradient p;
    const int failed = start_kernel_gradient(&p, of, (Kernel){high, wide, stride}, NULL, g_pixel);
    if (!failed) {
        IN_PIECES(n, cut)
            add_kernel_gradient(&p, x + n * picture_size(&of), g + n * size);
    }
    end_kernel_gradient(&p, failed ? NULL : weight, shift);
    return failed;
}

/* Windows add their slopes, g, to their pixels, in a frame of zeros. */
INLINE void spread_windows(int high, int wide, Frame out, int rows, int columns, int stride,
                           const REAL *g, int64_t g_pixel, Lanes lanes, const Vector *weights) {
    Vector *start = inside(out) - (size_t)(high / 2) * out.row - wide / 2;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++, g += g_pixel) {
            const Vector slope = load_lanes(g, lanes);
            Vector *to = start + (size_t)y * stride * out.row + x * stride;
#pragma GCC unroll 5
            for (int i = 0; i < high; i++)
#pragma GCC unroll 5
                for (int j = 0; j < wide; j++)
                    to[(size_t)i * out.row + j] += slope * weights[i * wide + j];
        }
}

/* The gradient of a convolution's input (height, width, channels) from its output's, both without
   gaps: where windows are a pixel apart, a convolution by the weights, last one first. */
typedef struct {
    Pictures of;
    Kernel kernel;
    Convolution turned;
    size_t frame;
    Vector *weights, *frames;
} Spread;

static int start_spread(Spread *s, Pictures of, Kernel kernel, const REAL *weight) {
    const int taps = kernel.high * kernel.wide;
    const size_t frame = frame_size(of.height, of.width, kernel.high / 2, kernel.wide / 2);
    *s = (Spread){.of = of, .kernel = kernel, .frame = frame};
    if (kernel.stride > 1) {
        s->weights = in_blocks(weight, of.channels, taps);
        s->frames = zeroed(slots() * frame * sizeof(Vector));
        return !s->weights || !s->frames ? NO_MEMORY : 0;
    }
    REAL *turned = zeroed((size_t)of.channels * (taps + 1) * sizeof(REAL));
    if (!turned) return NO_MEMORY;
    for (int i = 0; i < of.channels * taps; i++)
        turned[i] = weight[i / taps * taps + taps - 1 - i % taps];
    const int failed = start_convolution(&s->turned, of, kernel, turned,
                                         turned + of.channels * taps, NULL, of.channels, 0);
    free(turned);
    return failed;
}

static void spread_blocks(const Spread *s, const REAL *g, REAL *to) {
    if (s->kernel.stride == 1) {
        convolve_blocks(&s->turned, g, to);
        return;
    }
    const Kernel k = s->kernel;
    const int rows = after(s->of.height, k.stride), columns = after(s->of.width, k.stride);
    const int channels = s->of.channels;
    const Lanes lanes = lanes_of(channels);
    const Frame out = frame_at(s->frames + slot() * s->frame, s->of.width,
                               k.high / 2, k.wide / 2);
    for (int block = 0; block < blocks_of(channels, WIDE_LANES); block++) {
        const int start = block_start(block, channels, WIDE_LANES);
        memset(out.at, 0, s->frame * sizeof(Vector));
        BY_SIZE(k, spread_windows, out, rows, columns, k.stride, g + start, channels, lanes,
                s->weights + block * k.high * k.wide);
        REAL *own = to + start;
        for (int y = 0; y < s->of.height; y++)
            for (int x = 0; x < s->of.width; x++, own += channels)
                store_lanes(own, inside(out)[(size_t)y * out.row + x], lanes);
    }
}

static void end_spread(Spread *s) {
    end_convolution(&s->turned);
    free(s->weights);
    free(s->frames);
}
