#include "quant/dorefa_quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/chain_cuda.h"
#include "kernels/device_call.h"
#include "kernels/dorefa.h"

namespace halftone {
namespace {

std::string text_of(int bits) {
  return "DoReFa, " + std::to_string(bits) + (bits == 1 ? " bit" : " bits");
}

quant_math::Grid grid_of(int bits, bool two_sided) {
  const int32_t n = (1 << bits) - 1;
  return {1.0f / static_cast<float>(n), 0, two_sided ? -n : 0, n};
}

kernels::Grids one_grid(const quant_math::Grid& grid) {
  kernels::Grids out;
  out.list = {grid};
  return out;
}

}  // namespace

DorefaQuantize::DorefaQuantize(const Context& context, const FakeQuantizeArgs& args,
                               Variable weight)
    : RuleQuantize(context, args), weight_(std::move(weight)) {
  if (!context.on_cpu()) scale_ = Tensor::full(context, {1}, empty_grid().scale);
}

std::string DorefaQuantize::summary_of_spec() const { return text_of(bits()); }

std::string DorefaQuantize::integer_obstacle() const {
  if (!is_weight()) return bits() > 8 ? "activations of more than 8 bits" : "";
  if (bits() <= 7) return "";
  return "DoReFa's weights of " + std::to_string(bits()) + " bits have codes 2 i - (2^" +
         std::to_string(bits()) + " - 1), which need " + std::to_string(bits() + 1) +
         " bits: up to 7 bits fit int8";
}

// Bounds are open there, and a result of the epilogue is 0 or at least 2^-126.
quant_math::Pass DorefaQuantize::pass() const {
  quant_math::Pass pass;
  pass.act_low = -0x1p-126f;
  pass.act_high = std::nextafter(static_cast<float>(empty_grid().qmax), INFINITY);
  return pass;
}

quant_math::Grid DorefaQuantize::empty_grid() const { return grid_of(bits(), is_weight()); }

// E|w| of one bit is that of the weights of the moment; at least the floor, as scales are divided
// by.
kernels::Grids DorefaQuantize::grids(int) const {
  kernels::Grids out = one_grid(empty_grid());
  if (!one_bit_weight()) return out;
  const float magnitude = kernels::mean_magnitude(weight_.value(), false)[0];
  out.list[0].scale = std::max(magnitude, quant_math::kScaleFloor);
  return out;
}

std::optional<GridTensors> DorefaQuantize::grid_tensors() const {
  const quant_math::Grid g = empty_grid();
  return GridTensors{scale_, {}, {}, g.qmin, g.qmax, 0};
}

namespace {

// A device finds it itself.
float largest_of(const Tensor& w) { return w.on_host() ? kernels::dorefa_largest(w) : 0.0f; }

}  // namespace

void DorefaQuantize::write_values(const Tensor& x, Tensor& y) const {
  if (!is_weight()) return kernels::dorefa_activations(x, bits(), y);
  if (one_bit_weight()) return write_scaled_signs(x, y);
  kernels::dorefa_weights(x, largest_of(x), bits(), y);
}

void DorefaQuantize::write_scaled_signs(const Tensor& w, Tensor& y) const {
  namespace device = kernels::cuda;
  if (!stays_on_device()) return kernels::binarize_scaled(w, kernels::mean_magnitude(w, false), y);
  const auto* from = static_cast<const float*>(w.raw());
  auto* scale = static_cast<float*>(scale_.raw());
  kernels::launch<&device::mean_magnitude>(w, device::MeanMagnitudeArgs{1, w.numel(), from, scale});
  kernels::launch<&device::scaled_sign>(
      w, device::ScaledSignArgs{1, w.numel(), from, scale, static_cast<float*>(y.raw())});
  device::ClampLearnedArgs floor;
  floor.count = 1, floor.scale = scale;
  kernels::launch<&device::clamp_learned>(w, floor);
}

FakeQuantize::GradientFn DorefaQuantize::gradient(const Shape&) const {
  if (one_bit_weight()) {
    return [](const Tensor& dq, const Tensor&, GradSink& sink, size_t at, size_t) {
      if (sink.needs(at)) sink.put(at, dq);
    };
  }
  if (is_weight()) {
    return [](const Tensor& dq, const Tensor& w, GradSink& sink, size_t at, size_t) {
      if (sink.needs(at)) kernels::dorefa_weights_backward(dq, w, largest_of(w), sink.out(at));
    };
  }
  return [](const Tensor& dq, const Tensor& x, GradSink& sink, size_t at, size_t) {
    if (sink.needs(at)) kernels::dorefa_activations_backward(dq, x, sink.out(at));
  };
}

std::string DorefaGradient::summary_of_spec() const { return text_of(spec().bits); }

kernels::Grids DorefaGradient::grids(int) const { return one_grid(grid_of(spec().bits, true)); }

std::optional<Philox> DorefaGradient::draw() const {
  if (!training() || !will_quantize() || !grad_enabled()) return std::nullopt;
  return context().random().stream();
}

void DorefaGradient::quantize_gradient(const Tensor& g, const Philox& noise, Tensor& out) const {
  kernels::dorefa_gradients(g, spec().bits, noise, out);
}

Variable DorefaGradient::forward(const std::vector<Variable>& inputs) {
  const Variable& x = inputs.at(0);
  const std::optional<Philox> noise = draw();
  if (!noise) return x;
  auto backward = [bits = spec().bits, noise = *noise](const Tensor& dy, GradSink& sink) {
    kernels::dorefa_gradients(dy, bits, noise, sink.out(0));
  };
  return make_result({"quantize_gradient", {x}, std::move(backward)}, x.value());
}

}  // namespace halftone
