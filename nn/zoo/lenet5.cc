#include "nn/zoo/networks.h"
#include "nn/zoo/pieces.h"

namespace halftone {

// Without batch norm ("plain"): conv 6 - ReLU - pool - conv 16 - ReLU - pool - 120 - ReLU - 84 -
// ReLU - 10. "hardtanh": with batch norm, and Hardtanh instead of ReLU, for signs of its outputs.
ModulePtr make_lenet5(const Context& c, const ModelOptions& options) {
  const bool norm = options.variant != "plain", signs = options.variant == "hardtanh";
  auto net = make<Sequential>(c);
  const auto activation = [&](const std::string& n) {
    signs ? net->append("hardtanh" + n, make_hardtanh(c)) : net->append("relu" + n, make_relu(c));
  };
  const auto convolution = [&](const std::string& n, int in, int out, int padding) {
    net->append("conv" + n, make_conv(c, {in, out, 5, 1, padding, 1, true}));
    if (norm) net->append("bn" + n, make_batch_norm2d(c, out));
    activation(n);
    net->append("pool" + n, make_max_pool(c));
  };
  const auto linear = [&](const std::string& n, const std::string& k, int in, int out) {
    net->append("fc" + n, make_linear(c, in, out));
    if (norm) net->append("bn" + k, make_batch_norm1d(c, out));
    activation(k);
  };
  convolution("1", 1, 6, 2);
  convolution("2", 6, 16, 0);
  net->append("flatten", make<Flatten>(c));
  linear("1", "3", 400, 120);
  linear("2", "4", 120, 84);
  net->append("fc3", make_linear(c, 84, options.num_classes));
  return net;
}

}  // namespace halftone
