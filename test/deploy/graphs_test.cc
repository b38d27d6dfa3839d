// Networks that are no chain: residual sums, concatenation, averages, depthwise convolutions.
#include <catch2/catch.hpp>

#include "nn/zoo/mobilenet_v2.h"
#include "nn/zoo/resnet.h"
#include "test/deploy/deployed_net.h"
#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::string config(int bits, const std::string& more) {
  const std::string layers = R"([{"quant_types": ["weight", "input"],
    "quant_bits": {"weight": BITS, "input": BITS}, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": {"weight": "int", "input": "uint"},
    "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}, MORE])";
  return replace(replace(layers, "BITS", std::to_string(bits)), "MORE", more);
}

const char* const kSums = R"({"quant_types": ["output"], "quant_bits": 8, "op_types": ["Add"]})";

// Gammas of both signs.
void spread_norms(Module& net) {
  int k = 2;
  for (auto& [path, module] : net.named_modules()) {
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (norm == nullptr) continue;
    Tensor& gamma = norm->weight.mutable_value();
    gamma.copy_from(spread(net.context(), gamma.shape(), -0.8f, 1.5f, k));
    Tensor& beta = norm->bias.mutable_value();
    beta.copy_from(spread(net.context(), beta.shape(), -0.5f, 0.8f, ++k));
  }
}

VerifyReport train_and_verify(const std::shared_ptr<Sequential>& net, const std::string& list,
                              const Dataset& data, std::vector<runtime::OpKind>* kinds = nullptr,
                              const std::string& name = "QAT_Quantizer") {
  const Context& c = net->context();
  net->train(name != "ObserverQuantizer");
  auto q = make_quantizer(name, *net, list, nullptr,
                          Tensor::zeros(c, {1, data.height(), data.width(), data.channels()}));
  q->prepare();
  spread_norms(*net);
  if (q->needs_calibration()) {
    const NoGrad no_grad;
    (*net)(Variable(normalised(c, data)));
  }
  q->compress();
  if (q->needs_training()) warm(*net, *q, data);
  const Deployed d = deploy(*q, data);
  for (const runtime::Op& op : d.program->ops) {
    if (kinds != nullptr) kinds->push_back(op.kind);
  }
  return verify_all(*net, d);
}

int64_t count(const std::vector<runtime::OpKind>& kinds, runtime::OpKind kind) {
  return std::count(kinds.begin(), kinds.end(), kind);
}

std::shared_ptr<Sequential> stem(const Context& c) {
  auto net = make<Sequential>(c);
  net->append("conv1", make<Conv2d>(c, Conv2dArgs{3, 4, 3, 1, 1}))
      .append("bn1", make<BatchNorm>(c, 4, 2))
      .append("relu1", make_relu(c));
  return net;
}

void add_head(const Context& c, int features, Sequential& net) {
  net.append("avg_pool", make<AdaptiveAvgPool2d>(c, 1, 1))
      .append("flatten", make<Flatten>(c))
      .append("dropout", make<Dropout>(c, 0.2f))
      .append("fc", make<Linear>(c, features, 5));
}

}  // namespace

TEST_CASE("residual blocks, with and without subsampling, and a global average") {
  const Context c(Net::options(2));
  for (const int bits : {8, 4}) {
    INFO(bits);
    auto net = stem(c);
    net->append("block1", make<BasicBlock>(c, 4, 4, 1))
        .append("block2", make<BasicBlock>(c, 4, 6, 2))
        .append("block3", make<BasicBlock>(c, 6, 6, 1));
    add_head(c, 6, *net);
    std::vector<runtime::OpKind> kinds;
    const VerifyReport r =
        train_and_verify(net, config(bits, kSums), random_images(c, {3, 9, 10}, 17, 5), &kinds);
    INFO(to_table(r));
    REQUIRE(r.passes());
    REQUIRE(count(kinds, runtime::OpKind::kAdd) == 3);
    REQUIRE(count(kinds, runtime::OpKind::kSubsamplePad) == 1);
    REQUIRE(count(kinds, runtime::OpKind::kAveragePool) == 1);
    // Trunk edges of 8 bits are narrowed for layers that read 4.
    REQUIRE((count(kinds, runtime::OpKind::kTable) > 1) == (bits == 4));
  }
}

TEST_CASE("sums and concatenations under learned and calibrated scales") {
  const Context c(Net::options(2));
  struct Row {
    std::string name;
    int bits;
  };
  for (const Row& row : {Row{"LsqQuantizer", 4}, Row{"LsqPlusQuantizer", 4}, Row{"LsqQuantizer", 8},
                         Row{"ObserverQuantizer", 8}}) {
    CAPTURE(row.name, row.bits);
    const std::string list = R"([{"quant_types": ["weight", "input"], "quant_bits": )" +
                             std::to_string(row.bits) + R"(, "op_types": ["Conv2d", "Linear"]}, )" +
                             kSums +
                             R"(, {"quant_types": ["output"], "quant_bits": 8,
                                   "op_types": ["Concat"]}])";
    auto net = stem(c);
    net->append("block1", make<BasicBlock>(c, 4, 4, 1))
        .append("block2", make<BasicBlock>(c, 4, 6, 2))
        .append("block3", make<BasicBlock>(c, 6, 6, 1))
        .append("fork", make<Fork>(c, 6))
        .append("relu", make_relu(c))
        .append("conv2", make<Conv2d>(c, Conv2dArgs{8, 6, 1}));
    std::vector<runtime::OpKind> kinds;
    const VerifyReport r =
        train_and_verify(net, list, random_images(c, {3, 9, 10}, 17, 5), &kinds, row.name);
    INFO(to_table(r));
    REQUIRE(r.passes());
    REQUIRE(count(kinds, runtime::OpKind::kAdd) == 3);
    REQUIRE(count(kinds, runtime::OpKind::kConcat) == 1);
  }
}

TEST_CASE("inverted residuals: depthwise convolutions, ReLU6, sums of signed values") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("a", make<InvertedResidual>(c, InvertedResidualArgs{4, 4, 1, 3}))
      .append("b", make<InvertedResidual>(c, InvertedResidualArgs{4, 6, 2, 2}))
      .append("c", make<InvertedResidual>(c, InvertedResidualArgs{6, 6, 1, 2}))
      .append("last", make<Conv2d>(c, Conv2dArgs{6, 8, 1}))
      .append("relu6", make_relu6(c));
  add_head(c, 8, *net);
  const std::string list =
      config(8, std::string(kSums) + R"(, {"quant_types": ["output"], "quant_bits": 8,
      "op_names": ["relu6"], "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})");
  std::vector<runtime::OpKind> kinds;
  const VerifyReport r = train_and_verify(net, list, random_images(c, {3, 8, 8}, 17, 5), &kinds);
  INFO(to_table(r));
  REQUIRE(r.passes());
  REQUIRE(count(kinds, runtime::OpKind::kAdd) == 2);
}

TEST_CASE("a concatenation of two branches") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("fork", make<Fork>(c)).append("conv2", make<Conv2d>(c, Conv2dArgs{8, 3, 3}));
  std::vector<runtime::OpKind> kinds;
  const VerifyReport r = train_and_verify(
      net, config(8, R"({"quant_types": ["output"], "quant_bits": 8, "op_types": ["Concat"]})"),
      random_images(c, {3, 7, 8}, 9, 5), &kinds);
  INFO(to_table(r));
  REQUIRE(r.passes());
  REQUIRE(count(kinds, runtime::OpKind::kConcat) == 1);
}

TEST_CASE("averages over windows: convolutions of ones") {
  const Context c(Net::options(2));
  const auto pooled = [](const std::string& names) {
    return R"({"quant_types": ["output"], "quant_bits": 8, "op_names": [)" + names +
           R"(], "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})";
  };
  for (const std::string& more :
       {pooled(R"("relu1", "relu2")"), pooled(R"("relu1", "relu2", "half", "third")")}) {
    auto net = stem(c);
    net->append("half", make<AvgPool2d>(c, pool_options(3, 2, 1)))
        .append("conv2", make<Conv2d>(c, Conv2dArgs{4, 5, 3, 1, 1}))
        .append("relu2", make_relu(c))
        .append("third", make<AdaptiveAvgPool2d>(c, 2, 3))
        .append("flatten", make<Flatten>(c))
        .append("fc", make<Linear>(c, 30, 5));
    std::vector<runtime::OpKind> kinds;
    const VerifyReport r =
        train_and_verify(net, config(8, more), random_images(c, {3, 8, 12}, 17, 5), &kinds);
    INFO(to_table(r));
    REQUIRE(r.passes());
    REQUIRE(count(kinds, runtime::OpKind::kConvolution) == 5);
  }
}

TEST_CASE("a table behind Flatten: training's codes lie in another order there") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("flatten", make<Flatten>(c)).append("fc", make<Linear>(c, 4 * 5 * 3, 5));
  const std::string narrow =
      R"({"quant_types": ["output"], "quant_bits": 4, "op_types": ["ReLU"]})";
  std::vector<runtime::OpKind> kinds;
  const VerifyReport r =
      train_and_verify(net, config(8, narrow), random_images(c, {3, 5, 3}, 17, 5), &kinds);
  INFO(to_table(r));
  REQUIRE(r.passes());
  REQUIRE(count(kinds, runtime::OpKind::kTable) >= 1);
}

TEST_CASE("outputs named on the convolutions of a residual block, with its sums") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("block1", make<BasicBlock>(c, 4, 4, 1))
      .append("block2", make<BasicBlock>(c, 4, 6, 2));
  add_head(c, 6, *net);
  std::string list = replace(config(8, kSums), R"("input"],)", R"("input", "output"],)");
  list = replace(list, R"("input": 8})", R"("input": 8, "output": 8})");
  const VerifyReport r = train_and_verify(net, list, random_images(c, {3, 9, 10}, 17, 5));
  INFO(to_table(r));
  REQUIRE(r.passes());
}

TEST_CASE("a max pooling with fewer bits than the layer behind it reads") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("pool1", make<MaxPool2d>(c, pool_options(2)))
      .append("conv2", make<Conv2d>(c, Conv2dArgs{4, 5, 3}));
  const std::string pool =
      R"({"quant_types": ["output"], "quant_bits": 4, "op_types": ["MaxPool2d"]})";
  const VerifyReport r = train_and_verify(net, config(8, pool), random_images(c, {3, 8, 8}, 17, 5));
  INFO(to_table(r));
  REQUIRE(r.passes());
}

TEST_CASE("a sum that is not quantized, and an average of reals, are refused by name") {
  const Context c(Net::options(2));
  auto net = stem(c);
  net->append("block1", make<BasicBlock>(c, 4, 4, 1));
  add_head(c, 4, *net);
  const Dataset data = random_images(c, {3, 8, 8}, 5, 5);
  const std::string list = config(8, R"({"quant_types": ["output"], "quant_bits": 8,
      "op_names": ["relu1"], "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})");
  REQUIRE_THROWS_WITH(train_and_verify(net, list, data),
                      Catch::Contains("block1.add: its result is not quantized"));
  auto open = stem(c);
  add_head(c, 4, *open);
  REQUIRE_THROWS_WITH(
      train_and_verify(open, config(8, kSums), data),
      Catch::Contains("avg_pool: no codes reach it: quantize the output of the layer before"));
}
