// The rules with a shared division against quant_math's and lsq_math's, bit for bit.
#include "kernels/cuda/grids.h"
#include "kernels/integer/dorefa_math.h"
#include "test/kernels/cuda/values.h"

using namespace halftone;
using namespace halftone::test;
using namespace halftone::kernels::cuda;
using quant_math::Grid;

namespace {

// Scales: powers of two, their neighbours, ends of what is allowed, random mantissas.
std::vector<float> scales() {
  std::vector<float> list = {1.0f, 0.5f, 0x1p-23f, 0x1p-100f, 0x1p100f, 0.1f, 3.0f, 1e-5f};
  for (const float s : {1.0f, 2.0f, 0x1p-23f}) {
    list.push_back(std::nextafterf(s, 0.0f));
    list.push_back(std::nextafterf(s, 4.0f));
  }
  std::mt19937 rng(3);
  for (int i = 0; i < 300; ++i) {
    const float mantissa = 1.0f + static_cast<float>(rng() >> 9) * 0x1p-23f;
    list.push_back(std::ldexp(mantissa, static_cast<int>(rng() % 60) - 40));
  }
  return list;
}

// Values near every kind of tie and bound of a grid of scale s, and awkward ones.
std::vector<float> values(float s, uint32_t seed) {
  std::vector<float> list = awkward_values(300, seed);
  std::mt19937 rng(seed);
  for (int i = 0; i < 700; ++i) {
    const float steps = 0.5f * static_cast<float>(static_cast<int>(rng() % 1100) - 550);
    float x = s * steps;
    for (uint32_t k = rng() % 4; k > 0; --k) x = std::nextafterf(x, rng() % 2 ? 1e38f : -1e38f);
    list.push_back(x);
    list.push_back(s * std::ldexp(steps, -static_cast<int>(rng() % 40)));
  }
  return list;
}

std::vector<Grid> grids(float s) {
  return {{s, 0, -8, 7},   {s, 0, 0, 255},  {s, 127, 0, 255},  {s, 255, 0, 255},
          {s, 0, -128, 0}, {s, 3, -127, 9}, {s, 77, 0, 65535}, {s, 0, 0, 1}};
}

template <class Check>
void for_all(const Check& check) {
  uint32_t seed = 1;
  for (const float s : scales()) {
    const std::vector<float> list = values(s, ++seed);
    for (const Grid& g : grids(s)) {
      int64_t bad = 0;
      for (const float x : list) bad += check(x, g, SharedGrid(g)) ? 0 : 1;
      INFO("scale " << s << ", zero point " << g.zero_point << ", codes " << g.qmin << " to "
                    << g.qmax);
      REQUIRE(bad == 0);
    }
  }
}

}  // namespace

TEST_CASE("a shared division has the bits of a division") {
  uint32_t seed = 1;
  for (const float s : scales()) {
    const Divider divide = Divider::by(s);
    int64_t bad = 0;
    for (const float x : values(s, ++seed)) {
      const float q = x / s;
      if (!(std::fabs(q) < 0x1p27f) || std::fabs(x) < 0x1p-103f) continue;
      bad += bits_of(divide(x)) == bits_of(q) ? 0 : 1;
    }
    INFO("by " << s);
    REQUIRE(bad == 0);
  }
}

TEST_CASE("shared grids: rounding before the zero point") {
  for_all([](float x, const Grid& g, const SharedGrid& shared) {
    const float z = static_cast<float>(g.zero_point);
    const float y = quant_math::fake_quantize(x, g.scale, g.qmin - z, g.qmax - z);
    return bits_of(OnnxRule::value(x, shared, z)) == bits_of(y) &&
           OnnxRule::code(x, shared, g.zero_point) == quant_math::quantize(x, g) &&
           OnnxRule::mask(x, shared, z) == quant_math::ste_mask(x, g);
  });
}

TEST_CASE("shared grids: rounding behind the zero point") {
  for_all([](float x, const Grid& g, const SharedGrid& shared) {
    const float z = static_cast<float>(g.zero_point);
    const float y = quant_math::dequantize(quant_math::quantize_nni(x, g), g);
    return bits_of(NniRule::value(x, shared, z)) == bits_of(y) &&
           NniRule::code(x, shared, g.zero_point) == quant_math::quantize_nni(x, g) &&
           NniRule::mask(x, shared, z) == quant_math::ste_mask_nni(x, g);
  });
}

TEST_CASE("shared grids: LSQ's shares") {
  using quant_math::LsqEdge;
  const auto same = [](const quant_math::LsqShare& a, const quant_math::LsqShare& b) {
    return a.pass == b.pass && a.scale == b.scale && a.offset == b.offset;
  };
  for_all([&](float x, const Grid& g, const SharedGrid& shared) {
    if (std::fabs(x) < 0x1p-103f) return true;  // the last bit of a tiny quotient
    const float z = static_cast<float>(g.zero_point);
    const auto rule = quant_math::lsq_rule(g), plus = quant_math::lsq_plus_rule(g);
    return same(shared_lsq_share<LsqEdge::kInclusive>(x, shared, 0.0f),
                quant_math::lsq_share(x, rule, LsqEdge::kInclusive)) &&
           same(shared_lsq_share<LsqEdge::kPaper>(x, shared, 0.0f),
                quant_math::lsq_share(x, rule, LsqEdge::kPaper)) &&
           same(shared_lsq_share<LsqEdge::kInclusive>(x, shared, z),
                quant_math::lsq_share(x, plus, LsqEdge::kInclusive));
  });
}
