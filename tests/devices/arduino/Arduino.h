/* What the sketch uses of Arduino's core, on this machine. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stdio.h>
#include <time.h>

struct Port {
    void begin(long) {}
    void print(const char *text) { fputs(text, stdout); }
    void print(double value, int digits) { printf("%.*f", digits, value); }
    void println(const char *text) { puts(text); }
};

extern Port Serial;
inline unsigned long micros() { return static_cast<unsigned long>(clock()); }
inline void delay(unsigned long) {}
void setup();
void loop();

#endif
