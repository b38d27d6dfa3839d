// Whole networks with quantized sums.
#include <catch2/catch.hpp>

#include "nn/zoo/zoo.h"
#include "test/quant/block_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// Trains a zoo network on one batch; returns first and last loss.
std::pair<float, float> overfit(const std::string& name, int steps, std::unique_ptr<Quantizer>& q,
                                const Context& c, Model& model) {
  ParameterStore store(*model.module);
  OptimizerOptions options;
  options.lr = 1e-3;
  auto optimizer = make_optimizer(store, options);
  q = make_quantizer("QAT_Quantizer", *model.module, with(outputs("Add")), optimizer.get(),
                     Tensor::zeros(c, model.batch_shape(1)));
  q->compress();
  const Tensor x = spread(c, model.batch_shape(4), -1, 1, 7);
  const Tensor labels = Tensor::from(c, Shape{4}, std::vector<int64_t>{0, 1, 2, 3});
  std::pair<float, float> losses;
  for (int k = 0; k < steps; ++k) {
    optimizer->zero_grad();
    Variable loss = cross_entropy((*model.module)(Variable(x)), labels);
    loss.backward();
    optimizer->step();
    (k == 0 ? losses.first : losses.second) = loss.value().item<float>();
  }
  CAPTURE(name);
  return losses;
}

}  // namespace

TEST_CASE(
    "ResNet-20 with quantized sums: one scale along the trunk, every layer integer, it learns") {
  const Context c(two_threads());
  Model model = make_model("resnet20", c);
  std::unique_ptr<Quantizer> q;
  const auto [first, last] = overfit("resnet20", 8, q, c, model);
  REQUIRE(q->sums().size() == 9);
  REQUIRE(q->warnings().empty());
  for (const ChainPtr& chain : q->chains()) {
    CAPTURE(chain->anchor->path());
    REQUIRE(q->integer_obstacle(chain->anchor->path()).empty());
    if (chain->anchor->path() == "conv1" || chain->anchor->path() == "linear") continue;
    REQUIRE(chain->input == nullptr);  // it reads its edge's codes
    REQUIRE(chain->output != nullptr);
  }
  for (const SumPtr& sum : q->sums())
    REQUIRE(sum->output->params().scale == q->sums()[0]->output->params().scale);
  REQUIRE(last < 0.5f * first);
}

TEST_CASE("MobileNetV2 with quantized sums learns, every layer integer") {
  const Context c(two_threads());
  ModelOptions options;
  options.width = 0.25;
  Model model = make_model("mobilenet_v2", c, options);
  std::unique_ptr<Quantizer> q;
  const auto [first, last] = overfit("mobilenet_v2", 12, q, c, model);
  REQUIRE(q->sums().size() == 12);
  REQUIRE(q->warnings().empty());
  for (const ChainPtr& chain : q->chains())
    REQUIRE(q->integer_obstacle(chain->anchor->path()).empty());
  for (const SumPtr& sum : q->sums()) REQUIRE(sum->output->params().zero_point == 128);
  REQUIRE(last < 0.7f * first);
}
