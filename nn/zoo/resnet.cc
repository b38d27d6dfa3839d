#include "nn/zoo/resnet.h"

#include "nn/init.h"
#include "nn/input_check.h"
#include "nn/zoo/networks.h"
#include "nn/zoo/pieces.h"

namespace halftone {
namespace {

ModulePtr make_shortcut(const Context& c, int in, int out, int stride) {
  if (stride == 1 && in == out) return nullptr;  // an empty slot passes its input through
  return make<SubsamplePad>(c,
                            SubsamplePadArgs{stride, (out - in) / 2, (out - in) - (out - in) / 2});
}

ModulePtr make_stage(const Context& c, int in, int out, int stride, int blocks) {
  auto stage = make<Sequential>(c);
  for (int b = 0; b < blocks; ++b) {
    stage->append(make<BasicBlock>(c, b == 0 ? in : out, out, b == 0 ? stride : 1));
  }
  return stage;
}

}  // namespace

BasicBlock::BasicBlock(const Context& c, int in, int out, int stride)
    : Module(c),
      conv1_(register_child("conv1", make_conv(c, {in, out, 3, stride}))),
      bn1_(register_child("bn1", make_batch_norm2d(c, out))),
      relu1_(register_child("relu1", make_relu(c))),
      conv2_(register_child("conv2", make_conv(c, {out, out}))),
      bn2_(register_child("bn2", make_batch_norm2d(c, out))),
      shortcut_(register_child("shortcut", make_shortcut(c, in, out, stride))),
      add_(register_child("add", make<Add>(c))),
      relu2_(register_child("relu2", make_relu(c))) {}

Variable BasicBlock::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("basic_block", inputs);
  const Variable y = bn2_(conv2_(relu1_(bn1_(conv1_(x)))));
  return relu2_((*add_.get())({y, shortcut_(x)}));
}

// Names and initialisation (Kaiming normal for every weight) as in akamaster's
// pytorch_resnet_cifar10.
ModulePtr make_resnet20(const Context& c, const ModelOptions& options) {
  auto net = make<Sequential>(c);
  net->append("conv1", make_conv(c, {3, 16}))
      .append("bn1", make_batch_norm2d(c, 16))
      .append("relu1", make_relu(c))
      .append("layer1", make_stage(c, 16, 16, 1, 3))
      .append("layer2", make_stage(c, 16, 32, 2, 3))
      .append("layer3", make_stage(c, 32, 64, 2, 3))
      .append("avg_pool", make<AdaptiveAvgPool2d>(c, 1, 1))
      .append("flatten", make<Flatten>(c))
      .append("linear", make_linear(c, 64, options.num_classes));
  for (auto& [path, module] : net->named_modules()) {
    if (auto* conv = dynamic_cast<Conv2d*>(module))
      init::kaiming_normal(conv->weight.mutable_value());
    if (auto* fc = dynamic_cast<Linear*>(module)) init::kaiming_normal(fc->weight.mutable_value());
  }
  return net;
}

}  // namespace halftone
