// The network and the training steps of the loss traces that NNI recorded (its case G25).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/quantizer.h"
#include "test/golden/inputs.h"

namespace halftone::test {

using golden::inputs;

// Convolution(1, 4, 3) ReLU6 MaxPool Convolution(4, 6, 3) ReLU6 Linear(54, 5), with its optimizer.
struct GoldenNet {
  GoldenNet(const std::string& quantizer_name, const std::string& config,
            const QuantizerOptions& options = {})
      : net(make<Sequential>(context)) {
    net->append("conv1", make<Conv2d>(context, Conv2dArgs{1, 4, 3}))
        .append("relu1", make_relu6(context))
        .append("pool", make<MaxPool2d>(context, Pool2dOptions{2, 2, 2, 2}))
        .append("conv2", make<Conv2d>(context, Conv2dArgs{4, 6, 3}))
        .append("relu2", make_relu6(context))
        .append("flatten", make<Flatten>(context))
        .append("fc", make<Linear>(context, 54, 5));
    int k = 1;
    for (auto& [name, parameter] : net->named_parameters()) {
      initialise(parameter.mutable_value(), k);
      k += 2;
    }
    store = std::make_unique<ParameterStore>(*net);
    OptimizerOptions sgd;
    sgd.name = "SGD";
    sgd.lr = 0.05;
    sgd.momentum = 0.9;
    optimizer = make_optimizer(*store, sgd);
    quantizer =
        make_quantizer(quantizer_name, *net, config, optimizer.get(), images(2, 3), options);
    quantizer->compress();
  }

  static void initialise(Tensor& value, int k) {
    const Tensor flat =
        Tensor::from(value.context(), value.shape(), inputs(value.numel(), -0.3, 0.3, k));
    if (value.rank() != 4) return value.copy_from(flat);
    const Shape oihw{value.dim(0), value.dim(3), value.dim(1), value.dim(2)};
    kernels::nchw_to_nhwc(flat.reshape(oihw), value);
  }
  Tensor images(int64_t n, int k) const {
    return Tensor::from(context, Shape{n, 12, 12, 1}, inputs(n * 144, -1, 1, k));
  }
  float step(int i) {
    std::vector<int64_t> labels;
    for (int j = 0; j < 8; ++j) labels.push_back((i + j) % 5);
    optimizer->zero_grad();
    Variable loss = cross_entropy((*net)(Variable(images(8, 2 * i + 1))),
                                  Tensor::from(context, Shape{8}, labels));
    loss.backward();
    optimizer->step();
    return loss.value().item<float>();
  }
  // Logarithms of the probabilities of two images, as recorded.
  std::vector<float> evaluate() {
    net->eval();
    return log_softmax((*net)(Variable(images(2, 3)))).value().to_vector<float>();
  }

  Context context;
  std::shared_ptr<Sequential> net;
  std::unique_ptr<ParameterStore> store;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Quantizer> quantizer;
};

}  // namespace halftone::test
