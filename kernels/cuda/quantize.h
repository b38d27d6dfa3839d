// The ops of quantize_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/grids.h"
#include "kernels/cuda/ops.h"
#include "kernels/quantize_cuda.h"

namespace halftone::kernels::cuda {

// SharedGrid and the zero point as a float (values, masks) or an integer (codes).
template <class Zero>
struct GridConstants {
  SharedGrid grid;
  Zero z;
  HALFTONE_HD explicit GridConstants(const quant_math::Grid& g)
      : grid(g), z(static_cast<Zero>(g.zero_point)) {}
  GridConstants() = default;
};

template <class T, class Rule, int kPack = kRowWidth<T>>
struct FakeQuantizeOp : MapOp<T, T, kPack> {
  using Base = MapOp<T, T, kPack>;
  using Constants = GridConstants<float>;

  HALFTONE_HD Constants constants(int64_t channel) const { return Constants(grids.at(channel)); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    from_float(Rule::value(to_float(in.x.v[j]), c.grid, c.z), out.y.v[j]);
  }

  DeviceGrids grids;
};

template <class T, class Code, class Rule, int kPack = kRowWidth<T>>
struct QuantizeOp : MapOp<T, Code, kPack> {
  using Base = MapOp<T, Code, kPack>;
  using Constants = GridConstants<int32_t>;

  HALFTONE_HD Constants constants(int64_t channel) const { return Constants(grids.at(channel)); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    out.y.v[j] = static_cast<Code>(Rule::code(to_float(in.x.v[j]), c.grid, c.z));
  }

  DeviceGrids grids;
};

template <class T, class Rule, int kPack = kRowWidth<T>>
struct FakeQuantizeBackwardOp : GradientOp<T, kPack> {
  using Base = GradientOp<T, kPack>;
  using Constants = GridConstants<float>;

  HALFTONE_HD Constants constants(int64_t channel) const { return Constants(grids.at(channel)); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    const bool pass = Rule::mask(to_float(in.x.v[j]), c.grid, c.z);
    out.dx.v[j] = pass ? in.dy.v[j] : T{};
  }

  DeviceGrids grids;
};

// Sums: of the scale's gradient, and of the offset's where kOffset.
template <class T, quant_math::LsqEdge kEdge, bool kOffset, int kPack = kRowWidth<T>>
struct LsqBackwardOp : GradientOp<T, kPack> {
  using Base = GradientOp<T, kPack>;
  using Constants = GridConstants<float>;
  static constexpr int kSums = kOffset ? 2 : 1;
  using Tile = SumTile<kSums>;
  using Total = SumTotal<kSums>;

  HALFTONE_HD Constants constants(int64_t channel) const { return Constants(grids.at(channel)); }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Tile& tile) const {
    const quant_math::LsqShare share =
        shared_lsq_share<kEdge>(to_float(in.x.v[j]), c.grid, kOffset ? c.z : 0.0f);
    const float up = to_float(in.dy.v[j]);
    out.dx.v[j] = share.pass ? in.dy.v[j] : T{};
    tile.sum[0] += up * share.scale;
    if constexpr (kOffset) tile.sum[1] += up * share.offset;
  }
  HALFTONE_HD void finish(int64_t channel, const Total& total) const {
    dscale[channel] = static_cast<float>(total.sum[0] * gradient_scale);
    if constexpr (kOffset) doffset[channel] = static_cast<float>(total.sum[1] * gradient_scale);
  }

  DeviceGrids grids;
  double gradient_scale;
  float *dscale, *doffset;
};

// ---- from arguments to ops ----

template <class Body>
void with_rounding(quant_math::Rounding rounding, const Body& body) {
  rounding == quant_math::Rounding::kOnnx ? body(OnnxRule{}) : body(NniRule{});
}

template <class Launcher>
void launch_fake_quantize(Launcher& launcher, const FakeQuantizeArgs& a) {
  with_float_type("fake_quantize", a.dtype, [&](auto type) {
    using T = decltype(type);
    with_rounding(a.rounding, [&](auto rule) {
      using Rule = decltype(rule);
      pass<FakeQuantizeOp<T, Rule>, FakeQuantizeOp<T, Rule, kColumnWidth<T>>>(launcher, a.layout,
                                                                              [&](auto& op) {
                                                                                set_map(op, a);
                                                                                op.grids = a.grids;
                                                                              });
    });
  });
}

template <class Launcher>
void launch_fake_quantize_backward(Launcher& launcher, const FakeQuantizeBackwardArgs& a) {
  with_float_type("fake_quantize_backward", a.dtype, [&](auto type) {
    using T = decltype(type);
    with_rounding(a.rounding, [&](auto rule) {
      using Rule = decltype(rule);
      pass<FakeQuantizeBackwardOp<T, Rule>, FakeQuantizeBackwardOp<T, Rule, kGradientColumnWidth>>(
          launcher, a.layout, [&](auto& op) {
            set_gradient(op, a);
            op.grids = a.grids;
          });
    });
  });
}

template <class Code, class Launcher>
void launch_quantize_to(Launcher& launcher, const QuantizeArgs& a) {
  with_float_type("quantize", a.dtype, [&](auto type) {
    using T = decltype(type);
    with_rounding(a.rounding, [&](auto rule) {
      using Rule = decltype(rule);
      pass<QuantizeOp<T, Code, Rule>, QuantizeOp<T, Code, Rule, kColumnWidth<T>>>(
          launcher, a.layout, [&](auto& op) {
            op.x = static_cast<const T*>(a.x);
            op.y = static_cast<Code*>(a.codes);
            op.grids = a.grids;
          });
    });
  });
}

template <class Launcher>
void launch_quantize(Launcher& launcher, const QuantizeArgs& a) {
  const bool is_signed = a.code_dtype == DType::kInt8;
  const int32_t low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
  if (!is_signed && a.code_dtype != DType::kUInt8) {
    throw HALFTONE_ERROR("quantize").expected("uint8 or int8 codes").found(name_of(a.code_dtype));
  }
  if (a.grids.qmin + a.grids.up < low || a.grids.qmax + a.grids.up > high) {
    throw HALFTONE_ERROR("quantize")
        .expected("codes that fit " + name_of(a.code_dtype))
        .found(std::to_string(a.grids.qmin + a.grids.up) + " to " +
               std::to_string(a.grids.qmax + a.grids.up));
  }
  is_signed ? launch_quantize_to<int8_t>(launcher, a) : launch_quantize_to<uint8_t>(launcher, a);
}

template <class T, quant_math::LsqEdge kEdge, bool kOffset, class Launcher>
void launch_lsq_backward_of(Launcher& launcher, const LsqBackwardArgs& a) {
  pass<LsqBackwardOp<T, kEdge, kOffset>, LsqBackwardOp<T, kEdge, kOffset, kGradientColumnWidth>>(
      launcher, a.layout, [&](auto& op) {
        set_gradient(op, a);
        op.grids = a.grids;
        op.gradient_scale = a.gradient_scale;
        op.dscale = a.dscale;
        op.doffset = a.doffset;
      });
}

template <class T, quant_math::LsqEdge kEdge, class Launcher>
void launch_lsq_backward_with(Launcher& launcher, const LsqBackwardArgs& a) {
  a.grids.offset != nullptr ? launch_lsq_backward_of<T, kEdge, true>(launcher, a)
                            : launch_lsq_backward_of<T, kEdge, false>(launcher, a);
}

template <class Launcher>
void launch_lsq_backward(Launcher& launcher, const LsqBackwardArgs& a) {
  const bool offset = a.grids.offset != nullptr;
  if (a.dscale == nullptr || offset != (a.doffset != nullptr)) {
    throw HALFTONE_ERROR("lsq_backward")
        .expected("room for the scale's gradient, and for the offset's where there is an offset")
        .found("null, or an offset's gradient without an offset");
  }
  with_float_type("lsq_backward", a.dtype, [&](auto type) {
    using T = decltype(type);
    using quant_math::LsqEdge;
    a.edge == LsqEdge::kInclusive ? launch_lsq_backward_with<T, LsqEdge::kInclusive>(launcher, a)
                                  : launch_lsq_backward_with<T, LsqEdge::kPaper>(launcher, a);
  });
}

}  // namespace halftone::kernels::cuda
