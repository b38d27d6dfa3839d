// Quantized values: integer codes with scale and zero point.
#pragma once

#include "tensor/tensor.h"

namespace halftone {

// value = scale * (code - zero_point), code in [qmin, qmax]; one scale per tensor.
struct QuantParams {
  float scale = 1.0f;
  int32_t zero_point = 0;
  int32_t qmin = 0;
  int32_t qmax = 255;
  bool operator==(const QuantParams& o) const {
    return scale == o.scale && zero_point == o.zero_point && qmin == o.qmin && qmax == o.qmax;
  }
};

// Activations as codes: uint8, NHWC or (N, features).
struct Codes {
  Tensor values;
  QuantParams params;
  // Of a device that computes its grids: the scale (float32) and, unless the host knows it, the
  // zero point (int32), one value each, in place of those of params.
  Tensor scale{}, zero_point{};

  // Others on the same grid.
  Codes with(Tensor other) const { return {std::move(other), params, scale, zero_point}; }
};

// Whether the two are known to mean the same.
bool same_grid(const Codes& a, const Codes& b);
// The same with all of params: waits for a device that computes them.
Codes known(Codes codes);

// fl(scale * (code - zero_point)) as float32.
Tensor dequantize(const Codes& codes);

}  // namespace halftone
