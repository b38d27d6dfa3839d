#include <catch2/catch.hpp>
#include <map>

#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;

namespace {

std::vector<Case> all_cases() {
  std::vector<Case> all = cases();
  for (const Case& c : learned_cases()) all.push_back(c);
  for (const Case& c : zero_point_cases()) all.push_back(c);
  return all;
}

}  // namespace

TEST_CASE("a chain gives the codes of a plain scalar oracle, in training and evaluation") {
  for (const Case& c : all_cases()) {
    DYNAMIC_SECTION(c.name) {
      Net net(c);
      REQUIRE(net.quantizer->integer_obstacle("layer").empty());
      for (int step = 0; step < 3; ++step) {
        net.x = spread(net.context, net.x.shape(), -1.0f, 2.0f + 0.1f * static_cast<float>(step),
                       7 + step);
        LayerOracle o = oracle_of(c, net);
        const Variable y = (*net.model)(Variable(net.x));
        REQUIRE(y.codes() != nullptr);
        take_grids(net, o, *y.codes());
        take_statistics(c, net, o);
        o.run();
        REQUIRE(differing(y.codes()->values.to_vector<uint8_t>(), o.codes) == 0);
        // The network is alive: most codes differ from each other.
        std::vector<int> seen(256);
        for (const int64_t code : o.codes) seen[code] = 1;
        int distinct = 0;
        for (const int s : seen) distinct += s;
        // LSQ's first scale of 8 bits, 2 mean |v| / sqrt(255), spans 32 times the mean.
        const int64_t part = o.learned ? 16 : 4;
        REQUIRE(distinct >= std::min<int64_t>((1 << c.output_bits) / part, o.codes.size() / part));
        net.quantizer->advance_step();
      }
      net.model->eval();
      LayerOracle o = oracle_of(c, net);
      const Variable y = (*net.model)(Variable(net.x));
      take_grids(net, o, *y.codes());
      o.run();
      REQUIRE(differing(y.codes()->values.to_vector<uint8_t>(), o.codes) == 0);
    }
  }
}

TEST_CASE("the cases with zero points have the ends and the middle of the codes, in both signs") {
  std::map<int64_t, int> seen;          // of 8 bits, uint: channels by zero point
  bool as_is = false, negated = false;  // channels with one at an end, by the sign of gamma
  for (const Case& c : zero_point_cases()) {
    if (c.grid != Case::Grid::kAffine || c.weight_bits != 8) continue;
    Net net(c);
    LayerOracle o = oracle_of(c, net);
    o.quantize_weights();
    for (int64_t k = 0; k < o.channels(); ++k) {
      ++seen[o.w_zero[k]];
      if (o.w_zero[k] != 0 && o.w_zero[k] != 255) continue;
      (c.norm && o.gamma[k] < 0 ? negated : as_is) = true;
    }
  }
  CHECK((seen[0] > 3 && seen[255] > 3 && seen.size() > 8));
  CHECK((as_is && negated));
}

TEST_CASE("running statistics are those of the real convolution, bias included") {
  Case c;
  Net net(c);
  LayerOracle o = oracle_of(c, net);
  const Variable y = (*net.model)(Variable(net.x));
  take_grids(net, o, *y.codes());
  o.run();
  const double count = static_cast<double>(o.acc.size() / o.channels());
  for (int64_t k = 0; k < o.channels(); ++k) {
    // Stored as float: one rounding of each product and of the sum.
    const double mean = 0.1 * (o.mean[k] + o.bias[k]);
    const double variance = 0.9 + 0.1 * o.variance[k] * count / (count - 1);
    REQUIRE(net.norm->running_mean->data<float>()[k] == Approx(mean).epsilon(1e-6).margin(1e-7));
    REQUIRE(net.norm->running_var->data<float>()[k] == Approx(variance).epsilon(1e-6));
  }
  REQUIRE(net.norm->num_batches_tracked->item<int64_t>() == 1);
}

TEST_CASE("codes, statistics and ranges do not depend on the thread count") {
  for (const bool train : {true, false}) {
    std::vector<std::vector<float>> first;
    for (const int threads : {1, 2, 4}) {
      const Case c;
      Net net(c, threads);
      // Enough for several chunks of every pass: 64 x 16 x 16 pixels.
      const Tensor x = spread(net.context, {64, 16, 16, c.conv.in_channels}, -1.0f, 2.0f, 7);
      (*net.model)(Variable(x));
      net.model->train(train);
      const Tensor codes = (*net.model)(Variable(x)).codes()->values;
      std::vector<std::vector<float>> all{codes.to(DType::kFloat32).to_vector<float>()};
      for (const auto& [name, value] : net.model->state_dict()) {
        if (value.dtype() == DType::kFloat32) all.push_back(value.to_vector<float>());
      }
      if (first.empty()) first = all;
      REQUIRE(all == first);
    }
  }
}
