/* What the sample uses of Zephyr, on this machine. */
#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H

#include <stdint.h>
#include <time.h>

static inline uint32_t k_cycle_get_32(void)
{
    return (uint32_t)clock();
}

static inline uint32_t k_cyc_to_us_floor32(uint32_t cycles)
{
    return cycles;
}

#endif
