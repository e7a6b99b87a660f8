/* Classifies the image in image.h, and says how long that takes. */
#include <esp_timer.h>
#include <stdio.h>

#include "classify.h"

void app_main(void)
{
    long long start = esp_timer_get_time();
    int best = classify();
    double spent = (double)(esp_timer_get_time() - start) / 1000;
    printf("class %s in %.3f ms\n", ghostnet_classes[best], spent);
}
