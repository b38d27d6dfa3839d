#include "quant/bias_quantize.h"

#include <cmath>

namespace halftone {

BiasQuantize::BiasQuantize(const Context& context, const FakeQuantizeArgs& args)
    : FakeQuantize(context, args) {}

void BiasQuantize::bind(std::shared_ptr<FakeQuantize> input, std::shared_ptr<FakeQuantize> weight) {
  input_ = std::move(input);
  weight_ = std::move(weight);
}

bool BiasQuantize::initialised() const {
  return input_ != nullptr && input_->initialised() && weight_ != nullptr && weight_->initialised();
}

bool BiasQuantize::will_quantize() const {
  const auto known = [](const std::shared_ptr<FakeQuantize>& q) {
    return q != nullptr && q->will_quantize() && q->initialised();
  };
  return fake_quant_enabled() && !warm_up() && known(input_) && known(weight_);
}

Variable BiasQuantize::forward(const std::vector<Variable>& inputs) {
  if (!will_quantize()) return inputs.at(0);
  if (watched()) show(inputs.at(0).value());
  return quantize(inputs.at(0));
}

quant_math::Grid BiasQuantize::empty_grid() const { return {1.0f, 0, -(1 << 30), 1 << 30}; }

kernels::Grids BiasQuantize::grids(int) const {
  kernels::Grids out;
  out.axis = 0;
  const kernels::Grids weight = weight_->grids(4);
  const float input = input_->grids(4).list.at(0).scale;
  for (const quant_math::Grid& w : weight.list) {
    quant_math::Grid g = empty_grid();
    g.scale = input * w.scale;
    out.list.push_back(g);
  }
  if (out.list.size() == 1) out.axis = -1;
  return out;
}

Tensor BiasQuantize::codes(const Tensor& raw) const {
  const Tensor x = raw.to(raw.context().host());
  const kernels::Grids g = grids(1);
  Tensor out = Tensor::empty(x.context(), x.shape(), DType::kInt32);
  for (int64_t c = 0; c < x.numel(); ++c) {
    const double scale = g.list[g.list.size() > 1 ? c : 0].scale;
    out.data<int32_t>()[c] = quant_math::to_bias(std::rint(x.data<float>()[c] / scale));
  }
  return out;
}

void BiasQuantize::write_values(const Tensor& x, Tensor& y) const {
  const kernels::Grids g = grids(1);
  const Tensor q = codes(x);
  Tensor values = Tensor::empty(q.context(), q.shape());
  for (int64_t c = 0; c < x.numel(); ++c)
    values.data<float>()[c] =
        quant_math::dequantize(q.data<int32_t>()[c], g.list[g.list.size() > 1 ? c : 0]);
  y.copy_from(values);
}

std::vector<kernels::Range> BiasQuantize::ranges() const {
  std::vector<kernels::Range> out;
  for (const quant_math::Grid& g : grids(1).list)
    out.push_back({g.scale * static_cast<float>(g.qmin), g.scale * static_cast<float>(g.qmax)});
  return out;
}

}  // namespace halftone
