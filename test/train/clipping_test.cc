// What inspect --clipped counts: on the network that evaluation runs.
#include "train/clipping.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "nn/layers.h"
#include "quant/quantizer.h"
#include "test/quant/chain_oracle.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// conv - batch norm - ReLU - conv, with sigma / gamma = 20: raw weights are 20 times as large as
// folded ones.
struct Net {
  Net(const std::string& fold, bool integer) : model(make<Sequential>(context)) {
    Conv2dArgs conv{3, 4, 3, 1, 1};
    model->append(make<Conv2d>(context, conv));
    auto norm = make<BatchNorm>(context, 4, 2);
    norm->weight.mutable_value().fill(0.05f);
    model->append(norm);
    model->append(make_relu(context));
    conv.in_channels = 4;
    model->append(make<Conv2d>(context, conv));
    QuantizerOptions options;
    options.integer = integer;
    quantizer = make_quantizer("QAT_Quantizer", *model,
                               R"([{"quant_types": ["weight", "input"],
        "quant_bits": 8, "op_types": ["Conv2d"], "quant_dtype": {"weight": "int"},
        "quant_scheme": {"weight": "per_channel_symmetric"}, "fold": ")" +
                                   fold + R"("}])",
                               nullptr, batch(1), options);
    quantizer->compress();
    (*model)(Variable(batch(1)));
    quantizer->advance_step();
    for (const QuantPoint& p : quantizer->points()) {
      if (p.module != "3" || p.type != QuantType::kInput) continue;
      hidden = p.quantizer->path();
      p.quantizer->set_ranges({{0.0f, p.quantizer->ranges()[0].high / 2}});
    }
  }
  Tensor batch(float reach) const { return spread(context, {4, 6, 6, 3}, -reach, reach, 7); }

  Context context;
  std::shared_ptr<Sequential> model;
  std::unique_ptr<Quantizer> quantizer;
  std::string hidden;  // the quantizer of the second layer's input, with half its range
};

}  // namespace

TEST_CASE("clipped shares are those of the folded network, whatever the fold") {
  for (const std::string fold : {"scale", "batch", "ema", "nni", "none"}) {
    CAPTURE(fold);
    Net integer(fold, true), floats(fold, false);
    // Data three times as large as what the ranges were made from is clipped, weights are not.
    const std::vector<Tensor> batches{integer.batch(3)};
    const auto shares = clipped_shares(*integer.model, batches);
    REQUIRE(shares.at("0.weight_fake_quant") == 0);
    REQUIRE(shares.at("3.weight_fake_quant") == 0);
    REQUIRE(shares.at("0.input_fake_quant") == Approx(2.0 / 3).margin(0.03));
    // The hidden values: in reals before the epilogue rounds them, or as floats. Both networks
    // differ by the rounding of a bias, which moves single values across the bound.
    const double share = shares.at(integer.hidden);
    const double in_floats = clipped_shares(*floats.model, batches).at(floats.hidden);
    REQUIRE(share > 0.001);
    REQUIRE(share == Approx(in_floats).margin(0.01));
  }
}

TEST_CASE("counting changes nothing") {
  Net net("batch", true);
  const auto output = [&] {
    const EvaluationMode evaluation(*net.model);
    return (*net.model)(Variable(net.batch(3))).value().to_vector<float>();
  };
  const auto before = output();
  const auto once = clipped_shares(*net.model, {net.batch(3)});
  REQUIRE(clipped_shares(*net.model, {net.batch(3)}) == once);
  REQUIRE(output() == before);
  REQUIRE(net.model->training());
  for (const QuantPoint& p : net.quantizer->points()) REQUIRE(!p.quantizer->watched());
}
