// Networks of bits from image bytes to logits: an 8-bit image, 8-bit weights of the last layer.
#include <catch2/catch.hpp>

#include "deploy/runtime/binary.h"
#include "nn/zoo/zoo.h"
#include "test/deploy/deployed_net.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

const char* const kBinary = R"([{"quant_types": ["weight", "input"], "quant_bits": 1,
  "first_layer_bits": {"input": 8}, "last_layer_bits": {"weight": 8},
  "op_types": ["Conv2d", "Linear"]}])";

std::vector<std::string> layers_of_bits(const runtime::Program& program) {
  const std::vector<bool> bits = runtime::binary_convolutions(program);
  std::vector<std::string> names;
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) names.push_back(program.ops[i].name);
  }
  return names;
}

void check(Module& model, Quantizer& quantizer, const Shape& chw,
           const std::vector<std::string>& bits) {
  const Dataset data = random_images(model.context(), chw, 12, 3);
  warm(model, quantizer, data);
  REQUIRE(quantizer.float_layers().empty());
  const Deployed deployed = deploy(quantizer, data);
  REQUIRE(layers_of_bits(*deployed.program) == bits);
  const VerifyReport r = verify_all(model, deployed);
  INFO(to_table(r));
  REQUIRE(r.passes());
  for (const PartyReport& p : r.parties) REQUIRE(p.not_shown.empty());
}

}  // namespace

TEST_CASE("LeNet-5 on bits") {
  const Context c(two_threads(3));
  Model model = make_model("lenet5", c, ModelOptions{10, "hardtanh", {}});
  const auto quantizer = make_quantizer("BNNQuantizer", *model.module, kBinary, nullptr,
                                        Tensor::zeros(c, model.batch_shape(1)));
  quantizer->compress();
  check(*model.module, *quantizer, model.input_shape, {"conv2", "fc1", "fc2"});
}
