#if !GNS_VNNI && !GNS_AVX2 && !GNS_NEON && !GNS_DSP
/* No kernels. */
#define gns_fast_points(...) 0
#define gns_fast_copy(...) 0
#define gns_fast_plane(...) 0
#define gns_fast_join(...) 0
#define gns_fast_across(...) 0
#define gns_fast_down(...) 0
#define gns_fast_stretched(...) 0
#define gns_fast_sums(...) 0
#define gns_fast_scale(...) 0
#endif
/* A whole depth-wise group, or what its rows with the padding around them become. */
#if GNS_DSP
#define gns_fast_plane(...) 0
#else
#define gns_fast_depth(...) 0
#endif
