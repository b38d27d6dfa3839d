#include "halftone.h"

#include <cstdio>

int main() {
  std::printf("Halftone %s\n", HALFTONE_VERSION);
  return 0;
}
