/* All kernels as one library; the compiler's command line says which REAL they are for. */

#include "pointwise.c"
#include "channel_moments.c"
#include "folding.c"
#include "gates.c"
#include "window_moments.c"
#include "depthwise.c"
#include "depthwise_gradient.c"
#include "depthwise_slope.c"
#include "squeeze_excite.c"
#include "ghost.c"
#include "norms.c"
#include "conv_bn.c"
