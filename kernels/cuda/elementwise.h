// The ops of elementwise_cuda.h, for any launcher.
#pragma once

#include "kernels/activation_math.h"
#include "kernels/cuda/each.h"
#include "kernels/cuda/ops.h"
#include "kernels/elementwise_cuda.h"

namespace halftone::kernels::cuda {

// ---- y = f(a, b) ----

template <class Rule>
struct AddRule {
  Rule act;
  HALFTONE_HD float operator()(float a, float b) const { return act.forward(a + b); }
};
struct MultiplyRule {
  HALFTONE_HD float operator()(float a, float b) const { return a * b; }
};

// GradientOp's members: dy is a, x is b, dx is y.
template <class Rule>
struct CombineOp : GradientOp<float> {
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output& out, Nothing&) const {
    out.dx.v[j] = rule(in.dy.v[j], in.x.v[j]);
  }
  Rule rule;
};

template <class Launcher, class Rule, class Args>
void launch_combine(Launcher& launcher, const Rule& rule, const Args& a) {
  CombineOp<Rule> op{};
  op.dy = a.a, op.x = a.b, op.dx = a.y;
  op.rule = rule;
  pass_flat(launcher, op, a.numel);
}

template <class Launcher>
void launch_add(Launcher& launcher, const AddArgs& a) {
  with_rule(a.act, [&](auto rule) { launch_combine(launcher, AddRule<decltype(rule)>{rule}, a); });
}

template <class Launcher>
void launch_multiply(Launcher& launcher, const MultiplyArgs& a) {
  launch_combine(launcher, MultiplyRule{}, a);
}

// ---- y = f(x) ----

struct ScaleOp : MapOp<float> {
  using Constants = float;
  HALFTONE_HD float constants(int64_t) const { return by != nullptr ? *by : factor; }
  HALFTONE_HD void apply(int j, const Input& in, float c, Output& out, Nothing&) const {
    out.y.v[j] = in.x.v[j] * c;
  }
  float factor;
  const float* by;
};

template <class Launcher>
void launch_scale(Launcher& launcher, const ScaleArgs& a) {
  ScaleOp op{};
  op.x = a.x, op.y = a.y, op.factor = a.factor, op.by = a.by;
  pass_flat(launcher, op, a.numel);
}

HALFTONE_HD float to_float(uint8_t v) { return static_cast<float>(v); }
HALFTONE_HD float to_float(int8_t v) { return static_cast<float>(v); }
HALFTONE_HD float to_float(int32_t v) { return static_cast<float>(v); }

template <class From, class To>
struct CastOp : MapOp<From, To, 16 / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To))> {
  using Base = MapOp<From, To, 16 / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To))>;
  using Constants = Nothing;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const typename Base::Input& in, const Nothing&,
                         typename Base::Output& out, Nothing&) const {
    from_float(to_float(in.x.v[j]), out.y.v[j]);
  }
};

template <class From, class To, class Launcher>
void launch_cast_of(Launcher& launcher, const CastArgs& a) {
  CastOp<From, To> op{};
  set_map(op, a);
  pass_flat(launcher, op, a.numel);
}

template <class Launcher>
void launch_cast(Launcher& launcher, const CastArgs& a) {
  const bool to_single = a.to == DType::kFloat32;
  if (a.from == DType::kFloat32 && a.to == DType::kBFloat16) {
    return launch_cast_of<float, Bf16>(launcher, a);
  }
  if (to_single && a.from == DType::kBFloat16) return launch_cast_of<Bf16, float>(launcher, a);
  if (to_single && a.from == DType::kUInt8) return launch_cast_of<uint8_t, float>(launcher, a);
  if (to_single && a.from == DType::kInt8) return launch_cast_of<int8_t, float>(launcher, a);
  if (to_single && a.from == DType::kInt32) return launch_cast_of<int32_t, float>(launcher, a);
  throw HALFTONE_ERROR("cast")
      .expected("float32 to bfloat16, or bfloat16, uint8, int8 or int32 to float32")
      .found(name_of(a.from) + " to " + name_of(a.to));
}

// ---- by element ----

// body(T{}) with an unsigned integer of `bytes` bytes.
template <class Body>
void with_element(const char* op, int bytes, const Body& body) {
  if (bytes == 1) return body(uint8_t{});
  if (bytes == 2) return body(uint16_t{});
  if (bytes == 4) return body(uint32_t{});
  if (bytes == 8) return body(uint64_t{});
  throw HALFTONE_ERROR(op).expected("elements of 1, 2, 4 or 8 bytes").found(std::to_string(bytes));
}

template <class T>
struct FillOp {
  static constexpr int kWidth = 16 / sizeof(T), kUnroll = 2;
  using Constants = Nothing;
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {};
  struct Output {
    Pack<T, kWidth> y;
  };
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  template <class Place>
  HALFTONE_HD void load(const Place&, Input&) const {}
  HALFTONE_HD void apply(int j, const Input&, const Nothing&, Output& out, Nothing&) const {
    out.y.v[j] = value;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(y, out.y);
  }
  auto arrays() const { return ArrayList<1>{{{y, sizeof(T)}}}; }
  T* y;
  T value;
};

template <class Launcher>
void launch_fill(Launcher& launcher, const FillArgs& a) {
  with_element("fill", a.width, [&](auto zero) {
    using T = decltype(zero);
    pass_flat(launcher, FillOp<T>{static_cast<T*>(a.y), static_cast<T>(a.bits)}, a.numel);
  });
}

template <class T>
struct CopyRowsItem {
  const T* x;
  T* y;
  int64_t width, x_stride, y_stride;
  HALFTONE_HD void operator()(int64_t i) const {
    const Division at = divide(i, width);
    y[at.quotient * y_stride + at.rest] = x[at.quotient * x_stride + at.rest];
  }
};

template <class Launcher>
void launch_copy_rows(Launcher& launcher, const CopyRowsArgs& a) {
  const uint64_t all = static_cast<uint64_t>(a.width | a.x_stride | a.y_stride) |
                       reinterpret_cast<uint64_t>(a.x) | reinterpret_cast<uint64_t>(a.y);
  const int unit = all % 8 == 0 ? 8 : (all % 4 == 0 ? 4 : 1);
  with_element("copy_rows", unit, [&](auto zero) {
    using T = decltype(zero);
    const int64_t width = a.width / unit;
    each(launcher, a.rows * width,
         CopyRowsItem<T>{static_cast<const T*>(a.x), static_cast<T*>(a.y), width, a.x_stride / unit,
                         a.y_stride / unit});
  });
}

// ---- transposes, by tiles in shared memory ----

template <class T>
struct TransposeBody {
  static constexpr int kSide = 32, kPitch = kSide + 1;  // a pitch of 33: no two lanes of one bank
  static constexpr int kShared = kSide * kPitch * sizeof(T);

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    const Division image = divide(t.block(), row_tiles * column_tiles);
    const Division tile = divide(image.rest, column_tiles);
    const int64_t row = tile.quotient * kSide, column = tile.rest * kSide;
    const int64_t base = image.quotient * rows * columns;
    const int lane = t.index() % kSide, step = kThreads / kSide;
    T* stage = t.template shared<T>();
    for (int k = t.index() / kSide; k < kSide; k += step) {
      if (row + k < rows && column + lane < columns) {
        stage[k * kPitch + lane] = x[base + (row + k) * columns + column + lane];
      }
    }
    t.sync();
    for (int k = t.index() / kSide; k < kSide; k += step) {
      if (row + lane < rows && column + k < columns) {
        y[base + (column + k) * rows + row + lane] = stage[lane * kPitch + k];
      }
    }
  }

  const T* x;
  T* y;
  int64_t rows, columns, row_tiles, column_tiles;
};

template <class Launcher>
void launch_transpose(Launcher& launcher, const TransposeArgs& a) {
  with_element("transpose", a.element, [&](auto zero) {
    using T = decltype(zero);
    using Body = TransposeBody<T>;
    const int64_t down = divide_up(a.rows, Body::kSide), right = divide_up(a.columns, Body::kSide);
    launcher.run(a.batch * down * right, Body{static_cast<const T*>(a.x), static_cast<T*>(a.y),
                                              a.rows, a.columns, down, right});
  });
}

// ---- layouts of images ----

// Where element i of (n, h, w, c) stands.
struct Spot {
  int64_t n, h, w, c;
};
HALFTONE_HD Spot spot(int64_t i, int64_t height, int64_t width, int64_t channels) {
  const Division pixel = divide(i, channels), column = divide(pixel.quotient, width);
  const Division row = divide(column.quotient, height);
  return {row.quotient, row.rest, column.rest, pixel.rest};
}

template <class T>
struct SubsampleItem {
  SubsampleArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, a.oh, a.ow, a.wide);
    const int64_t c = s.c - a.pad_before;
    const int64_t pixel = (s.n * a.h + s.h * a.stride) * a.w + s.w * a.stride;
    static_cast<T*>(a.y)[i] =
        c >= 0 && c < a.c ? static_cast<const T*>(a.x)[pixel * a.c + c] : static_cast<T>(a.fill);
  }
};

struct SubsampleBackwardItem {
  SubsampleArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, a.h, a.w, a.c);
    const Division row = divide(s.h, a.stride), column = divide(s.w, a.stride);
    const int64_t pixel = (s.n * a.oh + row.quotient) * a.ow + column.quotient;
    const bool taken = row.rest == 0 && column.rest == 0;
    const float* dy = static_cast<const float*>(a.x);
    static_cast<float*>(a.y)[i] = taken ? dy[pixel * a.wide + a.pad_before + s.c] : 0.0f;
  }
};

template <class Launcher>
void launch_subsample_pad(Launcher& launcher, const SubsampleArgs& a) {
  const int64_t count = a.n * a.oh * a.ow * a.wide;
  if (a.dtype == DType::kUInt8) return each(launcher, count, SubsampleItem<uint8_t>{a});
  each(launcher, count, SubsampleItem<float>{a});
}

template <class Launcher>
void launch_subsample_pad_backward(Launcher& launcher, const SubsampleBackwardArgs& a) {
  each(launcher, a.n * a.h * a.w * a.c, SubsampleBackwardItem{a});
}

struct FrameItem {
  FrameArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, a.h + 2 * a.top, a.w + 2 * a.left, a.c);
    const int64_t h = s.h - a.top, w = s.w - a.left;
    const bool inside = h >= 0 && h < a.h && w >= 0 && w < a.w;
    a.y[i] = inside ? a.x[((s.n * a.h + h) * a.w + w) * a.c + s.c] : a.value;
  }
};

struct FrameBackwardItem {
  FrameArgs a;
  HALFTONE_HD void operator()(int64_t i) const {
    const Spot s = spot(i, a.h, a.w, a.c);
    const int64_t h = s.h + a.top, w = s.w + a.left;
    a.y[i] = a.x[((s.n * (a.h + 2 * a.top) + h) * (a.w + 2 * a.left) + w) * a.c + s.c];
  }
};

template <class Launcher>
void launch_pad_images(Launcher& launcher, const FrameArgs& a) {
  each(launcher, a.n * (a.h + 2 * a.top) * (a.w + 2 * a.left) * a.c, FrameItem{a});
}

template <class Launcher>
void launch_pad_images_backward(Launcher& launcher, const FrameBackwardArgs& a) {
  each(launcher, a.n * a.h * a.w * a.c, FrameBackwardItem{a});
}

// ---- sums ----

struct InspectTotal {
  double sum = 0.0;
  uint32_t bad = 0;
  HALFTONE_HD void take(const InspectTotal& tile) { merge(tile); }
  HALFTONE_HD void merge(const InspectTotal& other) {
    sum += other.sum;
    bad |= other.bad;
  }
};

struct InspectOp : ReduceOp<float> {
  using Constants = Nothing;
  using Tile = InspectTotal;
  using Total = InspectTotal;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output&, Total& total) const {
    const float v = in.x.v[j];
    total.sum += static_cast<double>(v);
    total.bad |= v - v == 0.0f ? 0u : 1u;
  }
  HALFTONE_HD void finish(int64_t, const Total& all) const {
    if (total != nullptr) *total = all.sum;
    if (all_finite != nullptr) *all_finite = all.bad == 0 ? 1 : 0;
  }
  double* total;
  int32_t* all_finite;
};

template <class Launcher>
void launch_inspect(Launcher& launcher, const InspectArgs& a) {
  InspectOp op{};
  op.x = a.x, op.total = a.total, op.all_finite = a.all_finite;
  pass_flat(launcher, op, a.numel);
}

struct ColumnSumsOp : ReduceOp<float> {
  using Constants = Nothing;
  using Tile = SumTile<1>;
  using Total = SumTotal<1>;
  HALFTONE_HD Nothing constants(int64_t) const { return {}; }
  HALFTONE_HD void apply(int j, const Input& in, const Nothing&, Output&, Tile& tile) const {
    tile.sum[0] += in.x.v[j];
  }
  HALFTONE_HD void finish(int64_t channel, const Total& total) const {
    out[channel] = static_cast<float>(total.sum[0]);
  }
  float* out;
};

template <class Launcher>
void launch_column_sums(Launcher& launcher, const ColumnSumsArgs& a) {
  pass<ColumnSumsOp, ColumnSumsOp>(launcher, {a.rows, a.columns, 1}, [&](ColumnSumsOp& op) {
    op.x = a.x;
    op.out = a.out;
  });
}

}  // namespace halftone::kernels::cuda
