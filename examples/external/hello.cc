// Trains a network of two layers to compute the exclusive or of two bits.
#include <cstdio>
#include <vector>

#include "halftone.h"

namespace ht = halftone;

int main() {
  const ht::Context context;  // device, memory, threads, random state: never a global
  ht::Sequential net(context);
  net.append(ht::make<ht::Linear>(context, 2, 16));
  net.append(ht::make_relu(context));
  net.append(ht::make<ht::Linear>(context, 16, 1));

  const ht::Variable x(ht::Tensor::from<float>(context, {4, 2}, {0, 0, 0, 1, 1, 0, 1, 1}));
  const ht::Tensor wanted = ht::Tensor::from<float>(context, {4, 1}, {0, 1, 1, 0});

  ht::ParameterStore parameters(net);
  ht::OptimizerOptions options;
  options.lr = 0.05;
  const auto optimizer = ht::make_optimizer(parameters, options);
  for (int step = 0; step < 300; ++step) {
    optimizer->zero_grad();
    ht::mse_loss(net(x), wanted).backward();
    optimizer->step();
  }

  const std::vector<float> out = net(x).value().to_vector<float>();
  std::printf("xor: %.2f %.2f %.2f %.2f\n", out[0], out[1], out[2], out[3]);
}
