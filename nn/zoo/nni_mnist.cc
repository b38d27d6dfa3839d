#include "nn/zoo/networks.h"
#include "nn/zoo/pieces.h"

namespace halftone {

// NaiveModel of NNI's examples; ends in log-probabilities, so the loss is "nll".
ModulePtr make_nni_mnist(const Context& c, const ModelOptions& options) {
  auto net = make<Sequential>(c);
  net->append("conv1", make_conv(c, {1, 20, 5, 1, 0, 1, true}))
      .append("relu1", make_relu6(c))
      .append("max_pool1", make_max_pool(c))
      .append("conv2", make_conv(c, {20, 50, 5, 1, 0, 1, true}))
      .append("relu2", make_relu6(c))
      .append("max_pool2", make_max_pool(c))
      .append("flatten", make<Flatten>(c))
      .append("fc1", make_linear(c, 800, 500))
      .append("relu3", make_relu6(c))
      .append("fc2", make_linear(c, 500, options.num_classes))
      .append("log_softmax", make<LogSoftmax>(c));
  return net;
}

}  // namespace halftone
