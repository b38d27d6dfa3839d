#include "nn/layers_pool.h"

#include "autograd/ops.h"
#include "nn/input_check.h"

namespace halftone {
namespace {

std::string pair(int h, int w) {
  if (h == w) return std::to_string(h);
  return "(" + std::to_string(h) + ", " + std::to_string(w) + ")";
}

std::string window(const Pool2dOptions& o) {
  return "kernel_size=" + pair(o.kernel_h, o.kernel_w) +
         ", stride=" + pair(o.stride_h, o.stride_w) + ", padding=" + pair(o.pad_h, o.pad_w);
}

const Variable& image(const char* op, const std::vector<Variable>& inputs) {
  const Variable& x = only_input(op, inputs);
  if (x.shape().rank() != 4) {
    throw HALFTONE_ERROR(op)
        .expected("an image of shape (N, C, H, W)")
        .found(torch_shape(x.shape()));
  }
  return x;
}

}  // namespace

std::string MaxPool2d::describe() const {
  return window(options_) + ", dilation=1, ceil_mode=" + (options_.ceil_mode ? "True" : "False");
}

Variable MaxPool2d::forward(const std::vector<Variable>& inputs) {
  Pool2dOptions options = options_;
  options.act = fused_activation;
  return max_pool2d(image("max_pool2d", inputs), options);
}

std::string AvgPool2d::describe() const { return window(options_); }

Variable AvgPool2d::forward(const std::vector<Variable>& inputs) {
  return avg_pool2d(image("avg_pool2d", inputs), options_);
}

std::string AdaptiveAvgPool2d::describe() const { return "output_size=" + pair(out_h_, out_w_); }

Variable AdaptiveAvgPool2d::forward(const std::vector<Variable>& inputs) {
  return adaptive_avg_pool2d(image("adaptive_avg_pool2d", inputs), out_h_, out_w_);
}

Pool2dOptions pool_options(int kernel_size, int stride, int padding) {
  Pool2dOptions options;
  options.kernel_h = options.kernel_w = kernel_size;
  options.stride_h = options.stride_w = stride > 0 ? stride : kernel_size;
  options.pad_h = options.pad_w = padding;
  return options;
}

}  // namespace halftone
