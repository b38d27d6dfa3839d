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
};

// fl(scale * (code - zero_point)) as float32.
Tensor dequantize(const Codes& codes);

}  // namespace halftone
