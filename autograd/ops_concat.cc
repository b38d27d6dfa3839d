#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/elementwise.h"

namespace halftone {
namespace {

bool same_but_channels(Shape a, Shape b) {
  if (a.rank() != b.rank() || a.rank() == 0) return false;
  a.set(a.rank() - 1, 0);
  b.set(b.rank() - 1, 0);
  return a == b;
}

Shape concat_shape(const std::vector<Variable>& xs) {
  if (xs.empty()) throw HALFTONE_ERROR("concat").expected("at least one input").found("none");
  Shape shape = xs[0].shape();
  int64_t channels = 0;
  for (const Variable& x : xs) {
    if (!same_but_channels(x.shape(), xs[0].shape())) {
      throw HALFTONE_ERROR("concat")
          .expected("inputs that differ in the channels only")
          .found(xs[0].shape().str() + " and " + x.shape().str() + " (NHWC)");
    }
    channels += x.shape().dim(-1);
  }
  shape.set(shape.rank() - 1, channels);
  return shape;
}

// Codes stay codes when one scale serves all of them.
bool share_params(const std::vector<Variable>& xs) {
  for (const Variable& x : xs) {
    if (x.codes() == nullptr || !same_grid(*x.codes(), *xs[0].codes())) return false;
  }
  return true;
}

void concat_backward(const Tensor& dy, const std::vector<Shape>& shapes, GradSink& sink) {
  std::vector<Tensor> dxs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    dxs.push_back(sink.needs(i) ? sink.out(i) : Tensor::empty(dy.context(), shapes[i]));
  }
  kernels::split_channels(dy, dxs);
}

}  // namespace

Variable concat(const std::vector<Variable>& xs) {
  const Shape shape = concat_shape(xs);
  const bool as_codes = share_params(xs);
  std::vector<Tensor> values;
  std::vector<Shape> shapes;
  for (const Variable& x : xs) {
    values.push_back(as_codes ? x.codes()->values : x.value());
    shapes.push_back(x.shape());
  }
  Tensor y = Tensor::empty(xs[0].context(), shape, values[0].dtype());
  kernels::concat_channels(values, y);
  OpRecord record{"concat", xs, [shapes](const Tensor& dy, GradSink& sink) {
                    concat_backward(dy, shapes, sink);
                  }};
  if (!as_codes) return make_result(std::move(record), std::move(y));
  return make_result(std::move(record), xs[0].codes()->with(std::move(y)));
}

}  // namespace halftone
