#include "nn/zoo/mobilenet_v2.h"

#include <algorithm>

#include "nn/init.h"
#include "nn/input_check.h"
#include "nn/zoo/networks.h"
#include "nn/zoo/pieces.h"

namespace halftone {
namespace {

ModulePtr conv_norm_act(const Context& c, const ConvShape& shape) {
  return make<Sequential>(
      c,
      std::vector<ModulePtr>{make_conv(c, shape), make_batch_norm2d(c, shape.out), make_relu6(c)});
}

ModulePtr residual_branch(const Context& c, const InvertedResidualArgs& a) {
  const int hidden = a.in * a.expand;
  auto branch = make<Sequential>(c);
  if (a.expand != 1) branch->append(conv_norm_act(c, {a.in, hidden, 1, 1, 0}));
  branch->append(conv_norm_act(c, {hidden, hidden, 3, a.stride, 1, hidden}))
      .append(make_conv(c, {hidden, a.out, 1, 1, 0}))
      .append(make_batch_norm2d(c, a.out));
  return branch;
}

// torchvision's _make_divisible by 8: the nearest multiple that loses at most a tenth.
int scaled(int channels, double width) {
  const double wanted = channels * width;
  int result = std::max(8, static_cast<int>(wanted + 4.0) / 8 * 8);
  if (result < 0.9 * wanted) result += 8;
  return result;
}

struct Stage {
  int expand, channels, blocks, stride;
};
// Table 2 of the paper; for 32x32 images the stem and the second stage keep their size (strides 2
// there).
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 1},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

// torchvision's: convolutions Kaiming normal by fan-out, Linear normal(0, 0.01) and zero bias.
void initialise(Module& net) {
  for (auto& [path, module] : net.named_modules()) {
    if (auto* conv = dynamic_cast<Conv2d*>(module)) {
      init::kaiming_normal(conv->weight.mutable_value(), 0.0, init::FanMode::kFanOut);
    }
    if (auto* fc = dynamic_cast<Linear*>(module)) {
      init::normal(fc->weight.mutable_value(), 0.0f, 0.01f);
      fc->bias.mutable_value().fill(0.0f);
    }
  }
}

}  // namespace

InvertedResidual::InvertedResidual(const Context& c, const InvertedResidualArgs& args)
    : Module(c), conv_(register_child("conv", residual_branch(c, args))) {
  if (args.stride == 1 && args.in == args.out) add_ = &register_child("add", make<Add>(c));
}

Variable InvertedResidual::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("inverted_residual", inputs);
  const Variable y = conv_(x);
  return add_ == nullptr ? y : (*add_->get())({x, y});
}

// Names as in torchvision: features.0 to features.18, classifier.1.
ModulePtr make_mobilenet_v2(const Context& c, const ModelOptions& options) {
  const double width = options.width.value_or(1.0);
  auto features = make<Sequential>(c);
  int in = scaled(32, width);
  features->append(conv_norm_act(c, {3, in}));
  for (const Stage& s : kStages) {
    const int out = scaled(s.channels, width);
    for (int b = 0; b < s.blocks; ++b) {
      features->append(make<InvertedResidual>(
          c, InvertedResidualArgs{in, out, b == 0 ? s.stride : 1, s.expand}));
      in = out;
    }
  }
  const int last = scaled(1280, std::max(1.0, width));
  features->append(conv_norm_act(c, {in, last, 1, 1, 0}));
  auto classifier = make<Sequential>(
      c, std::vector<ModulePtr>{make<Dropout>(c, 0.2f), make_linear(c, last, options.num_classes)});
  auto net = make<Sequential>(c);
  net->append("features", features)
      .append("avg_pool", make<AdaptiveAvgPool2d>(c, 1, 1))
      .append("flatten", make<Flatten>(c))
      .append("classifier", classifier);
  initialise(*net);
  return net;
}

}  // namespace halftone
