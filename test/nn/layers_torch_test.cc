// Every layer against PyTorch: output, gradients of inputs and parameters, running statistics.
#include <catch2/catch.hpp>
#include <functional>

#include "nn/layers.h"
#include "nn/zoo/resnet.h"
#include "test/nn/torch_numbers.h"

namespace halftone {
namespace {

using test::ErrorMeter;
using test::to_torch;
using test::TorchNumbers;
using Build = std::function<ModulePtr(const Context&)>;

Build conv(Conv2dArgs args) {
  return [args](const Context& c) { return make<Conv2d>(c, args); };
}

Build norm(int features, int rank, BatchNormArgs args = {}) {
  return [=](const Context& c) { return make<BatchNorm>(c, features, rank, args); };
}

template <class Pool>
Build pool(int kernel, int stride, int padding, bool ceil_mode = false, bool include_pad = true) {
  Pool2dOptions options = pool_options(kernel, stride, padding);
  options.ceil_mode = ceil_mode;
  options.count_include_pad = include_pad;
  return [=](const Context& c) { return make<Pool>(c, options); };
}

template <class M, class... Args>
Build simple(Args... args) {
  return [=](const Context& c) { return make<M>(c, args...); };
}

ModulePtr conv_norm_relu(const Context& c) {
  return make<Sequential>(c, std::vector<ModulePtr>{conv({4, 3, 3, 1, 0, 1, 1, false})(c),
                                                    norm(3, 2)(c), make_relu(c)});
}

const std::vector<std::pair<std::string, Build>>& cases() {
  static const std::vector<std::pair<std::string, Build>> all = {
      {"conv", conv({4, 3})},
      {"conv_stride_pad", conv({4, 6, 3, 2, 1})},
      {"conv_dilation", conv({4, 2, 3, 1, 2, 2})},
      {"conv_groups", conv({4, 6, 3, 1, 1, 1, 2, false})},
      {"conv_depthwise", conv({4, 4, 3, 1, 1, 1, 4})},
      {"conv_1x1", conv({4, 5, 1})},
      {"conv_3x5", conv({4, 2, 3, 1, 1, 1, 1, true, 5})},
      {"linear", simple<Linear>(6, 4, true)},
      {"linear_no_bias", simple<Linear>(6, 4, false)},
      {"batch_norm2d", norm(4, 2)},
      {"batch_norm2d_eps", norm(4, 2, {1e-2f, 0.3f, true})},
      {"batch_norm2d_plain", norm(4, 2, {1e-5f, 0.1f, false})},
      {"batch_norm2d_eval", norm(4, 2)},
      {"batch_norm1d", norm(6, 1)},
      {"relu", make_relu},
      {"relu6", make_relu6},
      {"hardtanh", [](const Context& c) { return make_hardtanh(c); }},
      {"hardtanh_range", [](const Context& c) { return make_hardtanh(c, -2.0f, 0.5f); }},
      {"leaky_relu", [](const Context& c) { return make_leaky_relu(c); }},
      {"leaky_relu_slope", [](const Context& c) { return make_leaky_relu(c, 0.2f); }},
      {"sigmoid", make_sigmoid},
      {"softmax", simple<Softmax>()},
      {"log_softmax", simple<LogSoftmax>()},
      {"max_pool", pool<MaxPool2d>(2, 2, 0)},
      {"max_pool_overlap", pool<MaxPool2d>(3, 2, 1)},
      {"max_pool_ceil", pool<MaxPool2d>(2, 2, 0, true)},
      {"avg_pool", pool<AvgPool2d>(2, 2, 0)},
      {"avg_pool_overlap", pool<AvgPool2d>(3, 2, 1)},
      {"avg_pool_no_pad", pool<AvgPool2d>(3, 2, 1, false, false)},
      {"avg_pool_ceil", pool<AvgPool2d>(3, 2, 1, true)},
      {"adaptive_avg_pool", simple<AdaptiveAvgPool2d>(1, 1)},
      {"adaptive_avg_pool_3x2", simple<AdaptiveAvgPool2d>(3, 2)},
      {"flatten", simple<Flatten>()},
      {"identity", simple<Identity>()},
      {"add", simple<Add>()},
      {"concat", simple<Concat>()},
      {"subsample_pad", simple<SubsamplePad>(SubsamplePadArgs{2, 1, 2})},
      {"sequential", conv_norm_relu},
      {"basic_block", simple<BasicBlock>(4, 8, 2)},
  };
  return all;
}

std::vector<Variable> inputs_of(const TorchNumbers& numbers, const std::string& name) {
  std::vector<Variable> inputs;
  for (int i = 0; numbers.has(name + "/x" + std::to_string(i)); ++i) {
    inputs.emplace_back(numbers.nhwc(name + "/x" + std::to_string(i)), true);
  }
  return inputs;
}

void check_case(const TorchNumbers& numbers, const std::string& name, Module& module,
                ErrorMeter& meter) {
  module.load_state_dict(numbers.under(name + "/state/"));
  if (name == "batch_norm2d_eval") module.eval();
  const std::vector<Variable> inputs = inputs_of(numbers, name);
  Variable y = module(inputs);
  meter.check(name + "/y", to_torch(y.value()), numbers.at(name + "/y"));
  y.backward(numbers.nhwc(name + "/dy"));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string key = name + "/dx" + std::to_string(i);
    meter.check(key, to_torch(inputs[i].grad()), numbers.at(key));
  }
  size_t gradients = 0;
  for (auto& [path, parameter] : module.named_parameters()) {
    const std::string key = name + "/grad/" + path;
    meter.check(key, to_torch(parameter.grad()), numbers.at(key));
    ++gradients;
  }
  CHECK(gradients == numbers.under(name + "/grad/").size());
  for (auto& [path, buffer] : module.named_buffers()) {
    meter.check(name + "/after/" + path, *buffer, numbers.at(name + "/after/" + path));
  }
  module.eval();
  meter.check(name + "/y_eval", to_torch(module(inputs).value()), numbers.at(name + "/y_eval"));
}

TEST_CASE("every layer computes PyTorch's numbers, forward and backward") {
  Context context;
  const TorchNumbers numbers(context, "layers");
  ErrorMeter meter;
  for (const auto& [name, build] : cases()) {
    INFO(name);
    const ModulePtr module = build(context);
    check_case(numbers, name, *module, meter);
  }
}

}  // namespace
}  // namespace halftone
