// What each observer makes of values.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "quant/observer_quantize.h"
#include "quant/observer_quantizer.h"
#include "test/quant/observer_run.h"

using namespace halftone;
using namespace halftone::test;

TEST_CASE("observers: what each makes of values with an outlier") {
  std::vector<float> values;
  for (int i = 0; i < 4000; ++i)
    values.push_back(static_cast<float>(i % 100) / 100.0f + static_cast<float>(i) * 1e-6f);
  values.push_back(50.0f);
  for (const ObserverKind kind : kKinds) {
    CAPTURE(name_of(kind));
    QuantSpec spec;
    spec.percentile = 99.9;
    Lone lone(kind, spec);
    lone.run(values);
    values.back() = 40.0f;
    lone.run(values);
    lone.q->fix();
    const float high = lone.q->ranges()[0].high;
    CHECK((lone.q->ranges()[0].low >= 0.0f && lone.q->ranges()[0].low < 0.01f));
    if (kind == ObserverKind::kMinMax) CHECK(high == 50.0f);
    if (kind == ObserverKind::kEma) CHECK(high == quant_math::ema(50.0f, 40.0f, 0.99));
    if (kind == ObserverKind::kHistogram) CHECK((high >= 40.0f && high <= 51.0f));  // dear to clip
    if (kind == ObserverKind::kPercentile) CHECK((high > 0.95f && high < 1.05f));
    // A divergence is infinite where a clipped value meets an empty bin.
    if (kind == ObserverKind::kKl) CHECK((high >= 40.0f && high <= 50.0f));
    values.back() = 50.0f;
    REQUIRE_THROWS_WITH(lone.q->observe_values(Tensor::zeros(lone.context, {3})),
                        Catch::Contains("fixed already"));
  }
}

TEST_CASE("kl: one sign has all codes for its magnitudes, two have half of them") {
  for (const float low : {0.0f, -1.0f}) {
    std::vector<float> values = {3.0f};
    for (int bin = 0; bin < 2048; ++bin) {  // half a bell of noisy counts, and the outlier above
      const double at = bin / 340.0, noise = bin * 0.618 - std::floor(bin * 0.618);
      const int count = static_cast<int>(40.0 * std::exp(-at * at / 2.0) * (0.5 + noise));
      for (int i = 0; i < count; ++i)
        values.push_back((i % 2 == 0 ? 3.0f : 3.0f * low) * (static_cast<float>(bin) + 0.5f) /
                         2048);
    }
    const Shape shape{static_cast<int64_t>(values.size())};
    Lone lone(ObserverKind::kKl);
    lone.run(values);
    kernels::SymmetricHistogram h;
    kernels::update_histogram(Tensor::from(lone.context, shape, values), 4096, h);
    const int kept = least_divergence_bins(h.magnitudes(), low < 0 ? 128 : 256);
    REQUIRE(kept < 2048);
    const kernels::Range seen = lone.q->ranges()[0];
    lone.q->fix();
    const float high = h.high * static_cast<float>(kept) / 2048.0f;
    REQUIRE(lone.q->ranges()[0].high == high);
    REQUIRE(lone.q->ranges()[0].low == std::max(seen.low, -high));
  }
}

TEST_CASE("observers: constant, zero, single, tiny and growing values") {
  for (const ObserverKind kind : kKinds) {
    for (const std::vector<float>& values : std::vector<std::vector<float>>{
             {0, 0, 0}, {3, 3, 3}, {-2.5f}, {1e-40f, -1e-40f}, {1e-30f, 1.0f}}) {
      CAPTURE(name_of(kind), values);
      Lone lone(kind);
      REQUIRE(lone.run(values).value().to_vector<float>() == values);
      lone.run({0.0f});
      lone.q->fix();
      const quant_math::Grid g = lone.q->grids(1).list[0];
      REQUIRE(g.scale >= quant_math::kScaleFloor);
      for (const float v : lone.run(values).value().to_vector<float>()) REQUIRE(std::isfinite(v));
      REQUIRE(lone.run({0.0f}).value().item<float>() == 0.0f);
    }
    Lone lone(kind);
    lone.run({0.0f, 1e-3f});
    lone.run({-1.0f, 1e6f});
    lone.q->fix();
    REQUIRE(lone.q->ranges()[0].high <= 1.0001e6f);  // PyTorch's histogram moves its end outwards
    REQUIRE(std::isfinite(lone.q->grids(1).list[0].scale));
  }
}

TEST_CASE("observers: NaN, infinity and an empty batch are refused and change nothing") {
  for (const ObserverKind kind : kKinds) {
    Lone lone(kind);
    lone.run({0.5f, 1.0f});
    const auto before = lone.q->state_dict();
    for (const std::vector<float>& bad :
         std::vector<std::vector<float>>{{1.0f, NAN}, {INFINITY}, {}}) {
      CAPTURE(name_of(kind), bad);
      REQUIRE_THROWS_AS(lone.run(bad), Error);
      for (const auto& [name, tensor] : lone.q->state_dict()) {
        CAPTURE(name);
        REQUIRE(std::memcmp(tensor.raw(), before.at(name).raw(), tensor.nbytes()) == 0);
      }
    }
  }
}
