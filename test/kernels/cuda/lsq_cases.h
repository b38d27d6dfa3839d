// LSQ and LSQ+ backward: dx bit for bit, the gradients of scale and offset within the bound that
// the order of summation allows, and the same in every run.
#pragma once

#include "kernels/integer/lsq_math.h"
#include "kernels/quantize_cuda.h"
#include "test/kernels/cuda/quantize_cases.h"

namespace halftone::test {

struct LsqCase {
  ChannelLayout layout;
  int shift = 0, dx_shift = 0;
  quant_math::LsqEdge edge = quant_math::LsqEdge::kInclusive;
  bool plus = false;
  bool awkward = false;  // x: NaN, infinities, denormals, huge ones
};

struct LsqResult {
  std::vector<float> dscale, doffset;
};

// What is expected: sums in double, and the sums of magnitudes for the bound.
template <class T>
struct LsqOracle {
  LsqOracle(const LsqCase& c, const std::vector<T>& x, const std::vector<T>& dy,
            const std::vector<quant_math::Grid>& grids)
      : dscale(grids.size()), doffset(grids.size()), size(grids.size()), dx(x.size()) {
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t k = static_cast<int64_t>(i) / c.layout.inner % c.layout.channels;
      const auto rule =
          c.plus ? quant_math::lsq_plus_rule(grids[k]) : quant_math::lsq_rule(grids[k]);
      const auto share = quant_math::lsq_share(static_cast<float>(x[i]), rule, c.edge);
      const float up = static_cast<float>(dy[i]);
      dx[i] = share.pass ? dy[i] : T{};
      dscale[k] += static_cast<double>(up * share.scale);
      doffset[k] += static_cast<double>(up * share.offset);
      size[k] += std::fabs(up * share.scale) + std::fabs(up * share.offset);
    }
  }
  std::vector<double> dscale, doffset, size;
  std::vector<T> dx;
};

template <class T, class Machine>
LsqResult check_lsq_backward(Machine& machine, const LsqCase& c) {
  const int64_t n = c.layout.numel();
  std::vector<float> raw = c.awkward ? awkward_values(n, 17) : random_values(n, 17);
  std::vector<float> up = random_values(n, 18, 1.0f);
  if (c.awkward) {  // gradients too, but for what is not finite, which leaves no sum to compare
    for (size_t i = 0; i < up.size(); i += 5) up[i] = i % 2 == 0 ? 1e-40f : -0.0f;
  } else {
    for (size_t i = 0; i < raw.size(); i += 3) raw[i] = std::rint(raw[i]) * 0.5f;  // bounds, ties
  }
  const std::vector<T> x = as<T>(raw), dy = as<T>(up);
  std::vector<float> scale, offset;
  std::vector<quant_math::Grid> grids;
  const int32_t qmin = c.plus ? 0 : -4, qmax = c.plus ? 7 : 3;
  for (int64_t k = 0; k < c.layout.channels; ++k) {
    scale.push_back(0.5f + 0.125f * static_cast<float>(k % 4));
    offset.push_back(-0.75f - 0.1f * static_cast<float>(k % 3));
    grids.push_back(c.plus ? quant_math::lsq_plus_grid(scale.back(), offset.back(), qmin, qmax)
                           : quant_math::Grid{scale.back(), 0, qmin, qmax});
  }
  const LsqOracle<T> want(c, x, dy, grids);

  kernels::cuda::LsqBackwardArgs args;
  args.layout = c.layout;
  args.dtype = DTypeOf<T>::value;
  args.grids = {machine.put(scale), nullptr, c.plus ? machine.put(offset) : nullptr, qmin, qmax};
  args.edge = c.edge;
  args.x = machine.put(x, c.shift);
  args.dy = machine.put(dy, c.shift);
  T* dx = machine.template room<T>(x.size(), c.dx_shift);
  args.dx = dx;
  args.gradient_scale = 0.37;
  args.dscale = machine.template room<float>(scale.size());
  args.doffset = c.plus ? machine.template room<float>(scale.size()) : nullptr;
  machine.run(args);
  require_same_bits(machine.get(dx, x.size()), want.dx);

  LsqResult got;
  got.dscale = machine.get(args.dscale, scale.size());
  if (c.plus) got.doffset = machine.get(args.doffset, scale.size());
  for (size_t k = 0; k < scale.size(); ++k) {
    // At most 16 float additions within a tile, each off by half an ulp of a partial sum that the
    // sum of magnitudes bounds; double after that; the last rounding to float.
    const double bound = 0.37 * want.size[k] * 16 * 0x1p-24 + 1e-30;
    const double ds = want.dscale[k] * 0.37, db = want.doffset[k] * 0.37;
    REQUIRE(std::fabs(got.dscale[k] - ds) <= bound + std::fabs(ds) * 0x1p-23);
    if (c.plus) REQUIRE(std::fabs(got.doffset[k] - db) <= bound + std::fabs(db) * 0x1p-23);
  }
  machine.clear();
  return got;
}

// Calls body(case) for a set of cases.
template <class Body>
void for_lsq_cases(const std::vector<ChannelLayout>& list, const Body& body) {
  using quant_math::LsqEdge;
  const int shifts[][2] = {{0, 0}, {1, 1}, {2, 3}};
  for (const ChannelLayout& layout : list) {
    int turn = 0;
    for (const auto& shift : shifts) {
      const bool paper = ++turn % 2 == 0;
      for (const bool plus : {false, true}) {
        INFO(text(layout) << " shifted " << shift[0] << " " << shift[1] << (plus ? " LSQ+" : ""));
        const LsqEdge edge = paper ? LsqEdge::kPaper : LsqEdge::kInclusive;
        for (const bool awkward : {false, true})
          body(LsqCase{layout, shift[0], shift[1], edge, plus, awkward});
      }
    }
  }
}

template <class Machine>
void check_all_lsq(Machine& machine, const std::vector<ChannelLayout>& list) {
  for_lsq_cases(list, [&](const LsqCase& c) {
    const LsqResult first = check_lsq_backward<float>(machine, c);
    const LsqResult again = check_lsq_backward<float>(machine, c);
    require_same_bits(first.dscale, again.dscale);
    require_same_bits(first.doffset, again.doffset);
    check_lsq_backward<BFloat16>(machine, c);
  });
}

}  // namespace halftone::test
