/* Classifies the image in image.h, and says how long that takes. */
#include <stdio.h>
#include <time.h>

#include "classify.h"

int main(void)
{
    clock_t start = clock();
    int best = classify();
    double spent = 1000.0 * (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("class %s in %.3f ms\n", ghostnet_classes[best], spent);
    return 0;
}
