#include "test/golden/inputs.h"

#include <cmath>

#include "kernels/elementwise.h"

namespace halftone::golden {

std::vector<float> Inputs::g(int64_t n, double lo, double hi, int k) const {
  std::vector<float> v;
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i + 1) * multiplier * k;
    v.push_back(static_cast<float>(lo + (hi - lo) * (t - std::floor(t))));
  }
  return v;
}

Tensor Inputs::tensor(const Context& context, const Shape& shape, double lo, double hi,
                      int k) const {
  return Tensor::from(context, shape, g(shape.numel(), lo, hi, k));
}

Tensor Inputs::activation(const Context& context, const Shape& shape, double lo, double hi,
                          int k) const {
  return from_torch(tensor(context, shape, lo, hi, k));
}

Tensor to_torch(const Tensor& x) {
  if (x.rank() != 4) return x;
  Tensor y = Tensor::empty(x.context(), {x.dim(0), x.dim(3), x.dim(1), x.dim(2)});
  kernels::nhwc_to_nchw(x, y);
  return y;
}

Tensor from_torch(const Tensor& x) {
  if (x.rank() != 4) return x;
  Tensor y = Tensor::empty(x.context(), {x.dim(0), x.dim(2), x.dim(3), x.dim(1)});
  kernels::nchw_to_nhwc(x, y);
  return y;
}

std::vector<float> torch_values(const Tensor& x) { return to_torch(x).to_vector<float>(); }

}  // namespace halftone::golden
