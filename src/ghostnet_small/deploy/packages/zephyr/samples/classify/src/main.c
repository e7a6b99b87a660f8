/* Classifies the image in image.h, and says how long that takes. */
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "classify.h"

int main(void)
{
    uint32_t start = k_cycle_get_32();
    int best = classify();
    unsigned spent = k_cyc_to_us_floor32(k_cycle_get_32() - start);
    printk("class %s in %u.%03u ms\n", ghostnet_classes[best], spent / 1000, spent % 1000);
    return 0;
}
