/* Under this name the Arduino IDE finds the library. */
#ifndef GHOSTNET_SMALL_ARDUINO_H
#define GHOSTNET_SMALL_ARDUINO_H

#include <limits.h>

#if INT_MAX < 2147483647
#error "GhostNetSmall needs a board of 32 bits"
#endif

#include "model.h"

#endif
