// Classifies the image in image.h once a second, and says how long that takes.
#include <GhostNetSmall.h>

#include "classify.h"

void setup() {
  Serial.begin(115200);
}

void loop() {
  const unsigned long start = micros();
  const int best = classify();
  const unsigned long spent = micros() - start;
  Serial.print("class ");
  Serial.print(ghostnet_classes[best]);
  Serial.print(" in ");
  Serial.print(spent / 1000.0, 3);
  Serial.println(" ms");
  delay(1000);
}
