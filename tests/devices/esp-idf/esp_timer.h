/* What the example uses of ESP-IDF, on this machine. */
#ifndef ESP_TIMER_H
#define ESP_TIMER_H

#include <stdint.h>
#include <time.h>

static inline int64_t esp_timer_get_time(void)
{
    return clock();
}

#endif
