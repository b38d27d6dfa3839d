// `verify` finds what is wrong: negative controls.
#include <catch2/catch.hpp>

#include "test/deploy/deployed_net.h"
#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// conv - ReLU - conv, padded, on an affine grid whose zero is in the middle.
struct TwoLayers {
  TwoLayers() {
    net->append("a", make<Conv2d>(c, Conv2dArgs{3, 4, 3, 1, 1}))
        .append("act", make_hardtanh(c, -2.0f, 2.0f))
        .append("b", make<Conv2d>(c, Conv2dArgs{4, 4, 3, 1, 1}));
    quantizer = make_quantizer("QAT_Quantizer", *net, R"([
      {"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d"],
       "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"},
       "quant_dtype": {"weight": "int", "input": "uint"}}])",
                               nullptr, Tensor::zeros(c, {1, 8, 8, 3}));
    quantizer->compress();
    warm(*net, *quantizer, data);
  }
  const Context c{Net::options(2)};
  std::shared_ptr<Sequential> net = make<Sequential>(c);
  std::unique_ptr<Quantizer> quantizer;
  const Dataset data = random_images(c, {3, 8, 8}, 11, 3);
};

// Multipliers that are powers of two make ties: then rounding rules show.
std::shared_ptr<const runtime::Program> with_ties(const runtime::Program& program) {
  runtime::Program p = program;
  for (runtime::Op& op : p.ops) {
    for (runtime::OutputChannel& c : op.channels) c.multiplier = 0x1p-6f;
  }
  return std::make_shared<const runtime::Program>(p);
}

VerifyReport against_oracle(const TwoLayers& t, std::shared_ptr<const runtime::Program> program,
                            PartyPtr other) {
  std::vector<PartyPtr> parties;
  parties.push_back(oracle_party(t.c, program));
  parties.push_back(std::move(other));
  return verify(*program, parties, t.data, 0, 4);
}

VerifyReport against(const TwoLayers& t, const OracleRules& rules) {
  const auto program = with_ties(deploy(*t.quantizer, t.data).compiled.program);
  return against_oracle(t, program, oracle_party(t.c, program, rules, "control"));
}

void require_found(const VerifyReport& r, const std::string& rule) {
  INFO(to_table(r));
  REQUIRE_FALSE(r.passes());
  REQUIRE(r.parties[0].differing > 0);
  REQUIRE(r.parties[0].first.has_value());
  REQUIRE(r.parties[0].first->rule.find(rule) != std::string::npos);
  REQUIRE(r.parties[0].first->expected != r.parties[0].first->found);
}

}  // namespace

TEST_CASE("wrong rounding is found and named") {
  using Rounding = OracleRules::Rounding;
  OracleRules rules;
  rules.rounding = Rounding::kHalfAway;
  require_found(against(TwoLayers(), rules), "ties are rounded away from zero");
  rules.rounding = Rounding::kTruncate;
  require_found(against(TwoLayers(), rules), "truncates");
}

TEST_CASE("the engine's bodies agree with the oracle on ties") {
  const TwoLayers t;
  const auto program = with_ties(deploy(*t.quantizer, t.data).compiled.program);
  for (const integer::Body& body : integer::bodies()) {
    const VerifyReport r = against_oracle(t, program, engine_party(t.c, program, body));
    INFO(to_table(r));
    REQUIRE(r.passes());
  }
}

TEST_CASE("wrong padding and a zero point left out are found and named") {
  OracleRules rules;
  rules.pads_with_code_0 = true;
  const VerifyReport padding = against(TwoLayers(), rules);
  require_found(padding, "padding is code 0");
  REQUIRE(padding.parties[0].first->layer == "a");
  rules = {};
  rules.ignores_zero_point = true;
  require_found(against(TwoLayers(), rules), "zero point is left out");
}

TEST_CASE("multipliers in bfloat16 are found, against training too") {
  const TwoLayers t;
  const Deployed d = deploy(*t.quantizer, t.data);
  OracleRules rules;
  rules.bf16_multipliers = true;
  std::vector<PartyPtr> more;
  more.push_back(oracle_party(t.c, d.program, rules, "bf16"));
  const VerifyReport r = verify_all(*t.net, d, std::move(more));
  INFO(to_table(r));
  REQUIRE_FALSE(r.passes());
  REQUIRE(r.parties.back().differing > 0);
  REQUIRE(r.parties.back().first->rule.find("bfloat16") != std::string::npos);
  for (size_t p = 0; p + 1 < r.parties.size(); ++p) REQUIRE(r.parties[p].differing == 0);
}

TEST_CASE("one scale for all output channels, a missing axis, is found") {
  const TwoLayers t;
  Deployed d = deploy(*t.quantizer, t.data);
  runtime::Program wrong = *d.program;
  for (runtime::OutputChannel& c : wrong.ops[1].channels)
    c.multiplier = wrong.ops[1].channels[0].multiplier;
  d.program = std::make_shared<const runtime::Program>(wrong);
  const VerifyReport r = verify_all(*t.net, d);
  INFO(to_table(r));
  REQUIRE_FALSE(r.passes());
  for (const PartyReport& p : r.parties) {
    REQUIRE(p.first->layer == "a");
    REQUIRE(p.first->channel > 0);  // channel 0 has the right one
    REQUIRE(p.first->rule.find("this is what the program says") == 0);
  }
}

TEST_CASE("a bias that is off by one is found") {
  const TwoLayers t;
  Deployed d = deploy(*t.quantizer, t.data);
  runtime::Program wrong = *d.program;
  wrong.ops[2].channels[3].bias += 1;
  d.program = std::make_shared<const runtime::Program>(wrong);
  const VerifyReport r = verify_all(*t.net, d);
  REQUIRE_FALSE(r.passes());
  REQUIRE(r.parties[0].differing == 0);
  REQUIRE(r.parties[0].differing_logits == 11 * 64);  // channel 3 of every pixel
  REQUIRE(r.parties[0].first->channel == 3);
}

TEST_CASE("a dead network does not pass, however equal") {
  TwoLayers t;
  dynamic_cast<Conv2d&>(*t.net->find("a")).bias.mutable_value().fill(-1e6f);
  warm(*t.net, *t.quantizer, t.data);
  const VerifyReport r = verify_all(*t.net, deploy(*t.quantizer, t.data));
  INFO(to_table(r));
  REQUIRE(r.dead() == "a");
  REQUIRE(r.parties[0].differing == 0);
  REQUIRE_FALSE(r.passes());
}

TEST_CASE("a party that does not show a tensor is said not to") {
  struct Blind : Party {
    explicit Blind(PartyPtr p) : inner(std::move(p)) {}
    std::string name() const override { return "blind"; }
    BatchTensors run(const uint8_t* images, int64_t count) override {
      BatchTensors t = inner->run(images, count);
      t.codes[2].clear();
      return t;
    }
    PartyPtr inner;
  };
  const TwoLayers t;
  const Deployed d = deploy(*t.quantizer, t.data);
  const VerifyReport r =
      against_oracle(t, d.program, std::make_unique<Blind>(oracle_party(t.c, d.program)));
  REQUIRE(r.passes());
  REQUIRE(r.parties[0].not_shown == std::vector<std::string>{"a"});
  REQUIRE(r.parties[0].codes == r.tensors[0].codes);
}

TEST_CASE("images of another size are refused") {
  const TwoLayers t;
  const Deployed d = deploy(*t.quantizer, t.data);
  const Dataset other = random_images(t.c, {3, 9, 8}, 4, 3);
  std::vector<PartyPtr> parties;
  parties.push_back(oracle_party(t.c, d.program));
  REQUIRE_THROWS_WITH(verify(*d.program, parties, other, 0), Catch::Contains("3 x 9 x 8"));
}
