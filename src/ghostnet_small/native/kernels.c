/* All kernels as one library; the compiler's command line says which REAL they are for. */

#include "pointwise.c"
/* Uses pointwise.c's. */
#include "folding.c"
#include "gates.c"
#include "windows.c"
