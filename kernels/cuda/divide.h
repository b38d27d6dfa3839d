// Division by a number that many elements share, with the bits of x / s.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/integer/host_device.h"

namespace halftone::kernels::cuda {

// A product with the rounded reciprocal, then two remainder steps in fused arithmetic: the first
// leaves a quotient next to x / s, from which the second gives the correctly rounded one (Markstein
// 1990, theorem 3). Five instructions where a division takes a dozen and a branch. Needs
// 2^-100 <= s <= 2^100 and a finite x with |x / s| < 2^27; quotients below 2^-3 may be off in their
// last bit where |x| < 2^-103, and a zero quotient is +0.
struct Divider {
  float s = 1.0f, r = 1.0f;

  HALFTONE_HD static Divider by(float s) { return {s, 1.0f / s}; }
  HALFTONE_HD float operator()(float x) const {
    const float near = x * r;
    const float next = fmaf(fmaf(-s, near, x), r, near);
    return fmaf(fmaf(-s, next, x), r, next);
  }
};

HALFTONE_HD uint32_t bits_of(float v) {
  uint32_t word;
  memcpy(&word, &v, sizeof word);
  return word;
}

HALFTONE_HD float float_of(uint32_t word) {
  float v;
  memcpy(&v, &word, sizeof v);
  return v;
}

// A sum with it is whole, ties to even, for |v| < 2^22; its low bits are that integer.
constexpr float kWhole = 0x1.8p23f;

HALFTONE_HD float round_whole(float v) { return (v + kWhole) - kWhole; }  // rint(v), or +0 for -0
HALFTONE_HD int32_t whole_code(float v) {
  return static_cast<int32_t>(bits_of(v + kWhole) - bits_of(kWhole));
}

// max, then min; NaN becomes low. Which of two zeros comes out is open.
HALFTONE_HD float clamp_fast(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

}  // namespace halftone::kernels::cuda
