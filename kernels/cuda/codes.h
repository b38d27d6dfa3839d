// The ops of codes_cuda.h, for any launcher.
#pragma once

#include "kernels/codes_cuda.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/pool.h"
#include "kernels/cuda/quantize.h"

namespace halftone::kernels::cuda {

// ---- codes to numbers, weights to codes ----

template <class Code>
struct ReadCodesOp : MapOp<Code, float, 4> {
  using Base = MapOp<Code, float, 4>;
  struct Constants {
    float scale;
    int32_t zero_point;
  };
  HALFTONE_HD Constants constants(int64_t channel) const {
    return {scales != nullptr ? scales[channel] : scale,
            zero_points != nullptr ? zero_points[channel] : zero_point};
  }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Constants& c,
                         typename Base::Output& out, Nothing&) const {
    out.y.v[j] = c.scale * static_cast<float>(static_cast<int32_t>(in.x.v[j]) - c.zero_point);
  }
  const float* scales;
  const int32_t* zero_points;
  float scale;
  int32_t zero_point;
};

template <class Code, class Launcher>
void launch_read_codes_of(Launcher& launcher, const ReadCodesArgs& a) {
  using Op = ReadCodesOp<Code>;
  pass<Op, Op>(launcher, a.layout, [&](Op& op) {
    op.x = static_cast<const Code*>(a.codes);
    op.y = a.y;
    op.scales = a.scales, op.zero_points = a.zero_points;
    op.scale = a.scale, op.zero_point = a.zero_point;
  });
}

template <class Launcher>
void launch_read_codes(Launcher& launcher, const ReadCodesArgs& a) {
  if (a.code_dtype == DType::kUInt8) return launch_read_codes_of<uint8_t>(launcher, a);
  if (a.code_dtype == DType::kInt8) return launch_read_codes_of<int8_t>(launcher, a);
  throw HALFTONE_ERROR("read_codes").expected("uint8 or int8 codes").found(name_of(a.code_dtype));
}

struct WeightCodesOp : MapOp<float, int8_t> {
  struct Constants {
    SharedGrid grid;
    int32_t factor, offset;
  };
  HALFTONE_HD Constants constants(int64_t row) const {
    return {SharedGrid(grids.at(per_row ? row : 0)), factors[row], offsets[row]};
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    const int32_t steps = OnnxRule::code(in.x.v[j], c.grid, 0);  // code - zero point
    out.y.v[j] = static_cast<int8_t>(steps * c.factor - c.offset);
  }
  DeviceGrids grids;
  const int32_t *factors, *offsets;
  bool per_row;
};

template <class Launcher>
void launch_weight_codes(Launcher& launcher, const WeightCodesArgs& a) {
  using Op = WeightCodesOp;
  pass<Op, Op>(launcher, {1, a.rows, a.length}, [&](Op& op) {
    op.x = a.w, op.y = a.codes;
    op.grids = a.grids, op.per_row = a.per_row;
    op.factors = a.factors, op.offsets = a.offsets;
  });
}

// ---- sums of codes ----

struct SumRangeTotal {
  int32_t low = INT32_MAX, high = INT32_MIN;
  HALFTONE_HD void take(const SumRangeTotal& tile) { merge(tile); }
  HALFTONE_HD void merge(const SumRangeTotal& other) {
    low = other.low < low ? other.low : low;
    high = other.high > high ? other.high : high;
  }
};

// GradientOp's members: dy is a, x is b, dx is y.
struct AddCodesOp : GradientOp<uint8_t> {
  using Constants = Nothing;
  using Tile = SumRangeTotal;
  using Total = SumRangeTotal;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Total& total) const {
    const int32_t t = in.dy.v[j] + in.x.v[j] - sum.a_zero - sum.b_zero;
    total.merge({t, t});
    const int32_t low = t < sum.low ? sum.low : t;
    out.dx.v[j] = static_cast<uint8_t>((low < sum.high ? low : sum.high) + sum.y_zero);
  }
  HALFTONE_HD void finish(int64_t, const Total& total) const { *range = {total.low, total.high}; }
  CodeSum sum;
  SumRange* range;
};

template <class Launcher>
void launch_add_codes(Launcher& launcher, const AddCodesArgs& a) {
  AddCodesOp op{};
  op.dy = a.a, op.x = a.b, op.dx = a.y;
  op.sum = a.sum, op.range = a.range;
  pass_flat(launcher, op, a.numel);
}

struct AddCodesBackwardOp {
  static constexpr int kWidth = 4, kUnroll = 4;
  using Constants = Nothing;
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {
    Pack<float, 4> dy;
    Pack<uint8_t, 4> a, b;
  };
  struct Output {
    Pack<float, 4> dt;
  };

  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(args.dy, in.dy);
    at.load(args.a, in.a);
    at.load(args.b, in.b);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    const CodeSum& sum = args.sum;
    const int32_t t = in.a.v[j] + in.b.v[j] - sum.a_zero - sum.b_zero;
    out.dt.v[j] = (t >= sum.pass_low) & (t <= sum.pass_high) ? in.dy.v[j] : 0.0f;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(args.dt, out.dt);
  }
  auto arrays() const {
    return ArrayList<4>{{{args.dy, 4}, {args.a, 1}, {args.b, 1}, {args.dt, 4}}};
  }
  AddCodesBackwardArgs args;
};

template <class Launcher>
void launch_add_codes_backward(Launcher& launcher, const AddCodesBackwardArgs& a) {
  pass_flat(launcher, AddCodesBackwardOp{a}, a.numel);
}

struct WeightedCodesItem {
  using Total = SumTotal<1>;
  WeightedCodesArgs a;
  HALFTONE_HD void add(int64_t i, Total& total) const {
    total.sum[0] += static_cast<double>(a.dy[i]) * static_cast<double>(a.shares[a.a[i] + a.b[i]]);
  }
  HALFTONE_HD void finish(const Total& total) const { *a.total = total.sum[0]; }
};

template <class Launcher>
void launch_weighted_codes(Launcher& launcher, const WeightedCodesArgs& a) {
  sum_each(launcher, a.numel, WeightedCodesItem{a});
}

struct DropCodesOp {
  static constexpr int kWidth = 4, kUnroll = 4;
  using Constants = uint8_t;  // the code of zero
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {
    Pack<uint8_t, 4> codes;
    Pack<float, 4> mask;
  };
  struct Output {
    Pack<uint8_t, 4> y;
  };

  HALFTONE_HD uint8_t constants(int64_t) const {
    return args.zero_point != nullptr ? static_cast<uint8_t>(*args.zero_point) : args.zero;
  }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(args.codes, in.codes);
    at.load(args.mask, in.mask);
  }
  HALFTONE_HD void apply(int j, const Input& in, uint8_t zero, Output& out, Nothing&) const {
    out.y.v[j] = in.mask.v[j] != 0.0f ? in.codes.v[j] : zero;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(args.y, out.y);
  }
  auto arrays() const { return ArrayList<3>{{{args.codes, 1}, {args.mask, 4}, {args.y, 1}}}; }
  DropCodesArgs args;
};

template <class Launcher>
void launch_drop_codes(Launcher& launcher, const DropCodesArgs& a) {
  pass_flat(launcher, DropCodesOp{a}, a.numel);
}

// ---- windows ----

// Flipping all bits of an int32 reverses the order. The first extreme wins.
template <class T>
struct WholePoolItem {
  StridedAxis hs, ws;
  int64_t channels;
  const int32_t* flips;
  const T* x;
  T* y;
  uint8_t* taps;

  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.out, ws.out, channels);
    const int64_t top = s.h * hs.stride - hs.pad, left = s.w * ws.stride - ws.pad;
    const int64_t h0 = hs.begin(s.h), w0 = ws.begin(s.w), h1 = hs.end(s.h), w1 = ws.end(s.w);
    const int32_t flip = flips != nullptr ? flips[s.c] : 0;
    int32_t best = INT32_MIN;
    int64_t tap = (h0 - top) * ws.kernel + (w0 - left);
    for (int64_t h = h0; h < h1; ++h) {
      for (int64_t w = w0; w < w1; ++w) {
        const int32_t code = x[((s.n * hs.in + h) * ws.in + w) * channels + s.c];
        const int32_t v = code ^ flip;
        const bool better = v > best;
        best = better ? v : best;
        tap = better ? (h - top) * ws.kernel + (w - left) : tap;
      }
    }
    y[i] = static_cast<T>(best ^ flip);
    if (taps != nullptr) taps[i] = static_cast<uint8_t>(tap);
  }
};

template <class T, class Launcher>
void launch_max_pool_of(Launcher& launcher, const WholePoolArgs& a) {
  const PoolGeometry& g = a.g;
  each(launcher, g.n * g.oh * g.ow * g.c,
       WholePoolItem<T>{pool_rows(g), pool_columns(g), g.c, a.flips, static_cast<const T*>(a.x),
                        static_cast<T*>(a.y), a.taps});
}

template <class Launcher>
void launch_max_pool_whole(Launcher& launcher, const WholePoolArgs& a) {
  if (a.dtype == DType::kUInt8) return launch_max_pool_of<uint8_t>(launcher, a);
  if (a.dtype == DType::kInt32) return launch_max_pool_of<int32_t>(launcher, a);
  throw HALFTONE_ERROR("max_pool").expected("uint8 or int32").found(name_of(a.dtype));
}

struct CodeWindowsItem {
  StridedAxis hs, ws;
  CodeWindowsArgs a;

  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, hs.out, ws.out, a.g.c);
    const int32_t zero = a.zero != nullptr ? *a.zero : a.zero_point;
    int32_t sum = 0;
    for (int64_t h = hs.begin(s.h); h < hs.end(s.h); ++h) {
      for (int64_t w = ws.begin(s.w); w < ws.end(s.w); ++w) {
        sum += a.codes[((s.n * hs.in + h) * ws.in + w) * a.g.c + s.c] - zero;
      }
    }
    a.sums[i] = sum;
  }
};

template <class Launcher>
void launch_code_windows(Launcher& launcher, const CodeWindowsArgs& a) {
  const PoolGeometry& g = a.g;
  each(launcher, g.n * g.oh * g.ow * g.c, CodeWindowsItem{pool_rows(g), pool_columns(g), a});
}

}  // namespace halftone::kernels::cuda
