#include "nn/zoo/pieces.h"

namespace halftone {

ModulePtr make_conv(const Context& context, const ConvShape& shape) {
  Conv2dArgs args;
  args.in_channels = shape.in;
  args.out_channels = shape.out;
  args.kernel_size = shape.kernel;
  args.stride = shape.stride;
  args.padding = shape.padding;
  args.groups = shape.groups;
  args.bias = shape.bias;
  return make<Conv2d>(context, args);
}

ModulePtr make_batch_norm2d(const Context& context, int channels, float eps) {
  BatchNormArgs args;
  args.eps = eps;
  return make<BatchNorm>(context, channels, 2, args);
}

ModulePtr make_batch_norm1d(const Context& context, int features, bool affine) {
  BatchNormArgs args;
  args.affine = affine;
  return make<BatchNorm>(context, features, 1, args);
}

ModulePtr make_linear(const Context& context, int in, int out, bool bias) {
  return make<Linear>(context, in, out, bias);
}

ModulePtr make_max_pool(const Context& context) {
  return make<MaxPool2d>(context, pool_options(2));
}

}  // namespace halftone
