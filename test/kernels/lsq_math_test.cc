// LSQ's and LSQ+'s rules against closed forms, at and around every clip edge.
#include "kernels/integer/lsq_math.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace halftone::quant_math;

namespace {

const float kNaN = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

struct Expected {
  float x;
  bool pass;
  float scale;
};

void require(const LsqRule& rule, LsqEdge edge, const std::initializer_list<Expected>& rows) {
  for (const Expected& e : rows) {
    CAPTURE(e.x);
    const LsqShare s = lsq_share(e.x, rule, edge);
    REQUIRE(s.pass == e.pass);
    REQUIRE(s.scale == e.scale);
    REQUIRE(s.offset == (e.pass ? 0.0f : 1.0f));
  }
}

float step(float v, float towards) { return std::nextafter(v, towards); }

}  // namespace

TEST_CASE("LSQ at every edge of -2 .. 1: NNI's inclusive rule and the paper's") {
  const LsqRule rule = lsq_rule({1.0f, 0, -2, 1});
  const float inside_low = step(-2.0f, 0), outside_low = step(-2.0f, -3);
  const float inside_high = step(1.0f, 0), outside_high = step(1.0f, 2);
  for (const LsqEdge edge : {LsqEdge::kInclusive, LsqEdge::kPaper}) {
    require(rule, edge,
            {{-kInf, false, -2},
             {-3.0f, false, -2},
             {outside_low, false, -2},
             {inside_low, true, -2.0f - inside_low},
             {-1.5f, true, -0.5f},  // ties to even: -2
             {-0.5f, true, 0.5f},   // 0
             {-0.0f, true, 0.0f},
             {0.0f, true, 0.0f},
             {0.25f, true, -0.25f},
             {0.75f, true, 0.25f},
             {inside_high, true, 1.0f - inside_high},
             {outside_high, false, 1},
             {2.0f, false, 1},
             {kInf, false, 1},
             {kNaN, false, -2}});  // as forward: the lowest code
  }
  require(rule, LsqEdge::kInclusive, {{-2.0f, true, 0}, {1.0f, true, 0}});
  require(rule, LsqEdge::kPaper, {{-2.0f, false, -2}, {1.0f, false, 1}});
}

TEST_CASE("a share is the derivative of forward by the scale, straight through the rounding") {
  // d/ds of s rint(x / s) with rint(x / s) = x / s + c: rint(v) - v. Clipped: the bound.
  const Grid g{0.37f, 3, -8, 7};
  const LsqRule rule = lsq_rule(g);
  REQUIRE(rule.below == -11);
  REQUIRE(rule.above == 4);
  for (float x = -6.0f; x < 4.0f; x += 0.013f) {
    CAPTURE(x);
    const LsqShare s = lsq_share(x, rule, LsqEdge::kInclusive);
    const float v = x / g.scale;
    const bool inside = v >= -11 && v <= 4;
    REQUIRE(s.pass == inside);
    // y = s (code - z): exactly what forward multiplies with the scale, minus v where dx passes.
    const float steps = static_cast<float>(quantize(x, g) - g.zero_point);
    REQUIRE(s.scale == (inside ? steps - v : steps));
  }
}

TEST_CASE("LSQ+: the derivatives at constant scale and at constant offset") {
  const float scale = 0.5f, beta = -1.6f;
  const Grid g = lsq_plus_grid(scale, beta, 0, 15);
  REQUIRE(g.zero_point == 3);
  const LsqRule rule = lsq_plus_rule(g);
  REQUIRE(rule.low == -3);
  REQUIRE(rule.high == 12);
  // Clipped values are s qmin + beta and s qmax + beta up to the rounding of z.
  require(rule, LsqEdge::kInclusive,
          {{-1.5f, true, 0}, {-1.75f, false, 0}, {6.0f, true, 0}, {6.25f, false, 15}});
  require(rule, LsqEdge::kPaper, {{-1.5f, false, 0}, {6.0f, false, 15}, {5.875f, true, 0.25f}});
}

TEST_CASE("LSQ+ offsets stay where the zero point moves with them") {
  for (const float scale : {0.01f, 0.5f, 3.0f}) {
    for (float beta = -60.0f; beta < 20.0f; beta += 0.37f) {
      const float kept = clamp_lsq_plus_offset(beta, scale, 0, 15);
      const Grid wide = lsq_plus_grid(scale, beta, 0, 15);
      REQUIRE(lsq_plus_grid(scale, kept, 0, 15).zero_point == wide.zero_point);
      REQUIRE(kept <= 0.0f);
      REQUIRE(kept >= -scale * 15);
    }
  }
  REQUIRE(lsq_plus_grid(0.5f, kNaN, -8, 7).zero_point == -8);
  REQUIRE(lsq_plus_grid(0.5f, kInf, -8, 7).zero_point == -8);
  REQUIRE(lsq_plus_grid(0.5f, -kInf, -8, 7).zero_point == 7);
}

TEST_CASE("denormal and huge scales clip instead of making NaN") {
  const float tiny = 1e-44f, huge = 1e38f;
  const LsqRule narrow = lsq_rule({tiny, 0, -8, 7}), wide = lsq_rule({huge, 0, -8, 7});
  require(narrow, LsqEdge::kInclusive, {{1.0f, false, 7}, {-1.0f, false, -8}, {0.0f, true, 0}});
  require(wide, LsqEdge::kInclusive, {{0.0f, true, 0}, {kInf, false, 7}});
  REQUIRE(lsq_share(3e38f, wide, LsqEdge::kInclusive).pass);
}

TEST_CASE("initial scale and gradient scale, numbers of the papers' formulas") {
  REQUIRE(lsq_initial_scale(0.5, 7) == static_cast<float>(1.0 / std::sqrt(7.0)));
  REQUIRE(lsq_initial_scale(0.0, 7) == kScaleFloor);
  REQUIRE(lsq_initial_scale(std::nan(""), 7) == kScaleFloor);
  REQUIRE(lsq_gradient_scale(100, 4) == 0.05);
}
