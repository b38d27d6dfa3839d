// The parts that ops share.
#pragma once

#include "kernels/cuda/pass.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

// Elements of a pack: 16 bytes; of gradients 4 elements where a thread keeps the constants of each
// (columns), as those of 8 take so many registers that too few threads fit.
template <class T>
constexpr int kRowWidth = 16 / sizeof(T);
template <class T>
constexpr int kColumnWidth = 16 / sizeof(T);
constexpr int kGradientColumnWidth = 4;

// One input and one output, no sums. Unrolls are measured: fewer leave more threads in flight where
// both sides are wide.
template <class T, class Out = T, int kPack = kRowWidth<T>>
struct MapOp {
  static constexpr int kWidth = kPack, kUnroll = sizeof(T) + sizeof(Out) == 8 ? 2 : 4;
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {
    Pack<T, kWidth> x;
  };
  struct Output {
    Pack<Out, kWidth> y;
  };

  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(x, in.x);
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(y, out.y);
  }
  auto arrays() const { return ArrayList<2>{{{x, sizeof(T)}, {y, sizeof(Out)}}}; }

  const T* x;
  Out* y;
};

// Two inputs, dy and x.
template <class T, int kPack = kRowWidth<T>>
struct GradientOp {
  static constexpr int kWidth = kPack, kUnroll = kPack > 4 ? 2 : 4;
  using Tile = Nothing;
  using Total = Nothing;
  struct Input {
    Pack<T, kWidth> dy, x;
  };
  struct Output {
    Pack<T, kWidth> dx;
  };

  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(dy, in.dy);
    at.load(x, in.x);
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(dx, out.dx);
  }
  auto arrays() const { return ArrayList<3>{{{dy, sizeof(T)}, {x, sizeof(T)}, {dx, sizeof(T)}}}; }

  const T* dy;
  const T* x;
  T* dx;
};

// One input, sums only.
template <class T, int kPack = kRowWidth<T>>
struct ReduceOp {
  static constexpr int kWidth = kPack, kUnroll = 4;
  struct Input {
    Pack<T, kWidth> x;
  };
  struct Output {};

  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(x, in.x);
  }
  template <class Place>
  HALFTONE_HD void store(const Place&, const Output&) const {}
  auto arrays() const { return ArrayList<1>{{{x, sizeof(T)}}}; }

  const T* x;
};

// ---- from arguments to ops ----

// body(T{}) with the device's type of a dtype.
template <class Body>
void with_float_type(const char* op, DType dtype, const Body& body) {
  if (dtype == DType::kFloat32) return body(float{});
  if (dtype == DType::kBFloat16) return body(Bf16{});
  throw HALFTONE_ERROR(op).expected("float32 or bfloat16").found(name_of(dtype));
}

template <class Op, class Args>
void set_map(Op& op, const Args& a) {
  op.x = static_cast<decltype(op.x)>(a.x);
  op.y = static_cast<decltype(op.y)>(a.y);
}

template <class Op, class Args>
void set_gradient(Op& op, const Args& a) {
  op.dy = static_cast<decltype(op.dy)>(a.dy);
  op.x = static_cast<decltype(op.x)>(a.x);
  op.dx = static_cast<decltype(op.dx)>(a.dx);
}

}  // namespace halftone::kernels::cuda
