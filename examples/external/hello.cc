#include <cstdio>

#include "halftone.h"

int main() {
  const halftone::Context context;
  const halftone::Tensor ones = halftone::Tensor::full(context, {2, 3}, 1.0f);
  std::printf("Halftone %s: %d values\n", HALFTONE_VERSION, static_cast<int>(ones.numel()));
  return 0;
}
