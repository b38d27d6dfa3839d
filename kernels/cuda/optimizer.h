// The ops of optimizer_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/ops.h"
#include "kernels/optimizer_cuda.h"
#include "kernels/optimizer_math.h"

namespace halftone::kernels::cuda {

template <bool kMomentum, bool kNesterov>
struct SgdOp {
  static constexpr int kWidth = 4, kUnroll = 2;
  using Tile = Nothing;
  using Total = Nothing;
  using Constants = SgdConstants;
  struct Input {
    Pack<float, 4> grad, p, buffer;
  };
  struct Output {
    Pack<float, 4> p, buffer;
  };

  HALFTONE_HD Constants constants(int64_t) const { return c; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(grad, in.grad);
    at.load(p, in.p);
    if constexpr (kMomentum) at.load(buffer, in.buffer);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& k, Output& out, Nothing&) const {
    float weight = in.p.v[j], b = kMomentum ? in.buffer.v[j] : 0.0f;
    sgd_element<kMomentum, kNesterov>(k, in.grad.v[j], weight, b);
    out.p.v[j] = weight;
    out.buffer.v[j] = b;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(p, out.p);
    if constexpr (kMomentum) at.store(buffer, out.buffer);
  }
  auto arrays() const { return ArrayList<3>{{{grad, 4}, {p, 4}, {buffer, 4}}}; }

  SgdConstants c;
  const float* grad;
  float *p, *buffer;
};

template <bool kNearStart>
struct AdamOp {
  static constexpr int kWidth = 4, kUnroll = 2;
  using Tile = Nothing;
  using Total = Nothing;
  using Constants = AdamConstants;
  struct Input {
    Pack<float, 4> grad, p, m, v;
  };
  struct Output {
    Pack<float, 4> p, m, v;
  };

  HALFTONE_HD Constants constants(int64_t) const { return c; }
  template <class Place>
  HALFTONE_HD void load(const Place& at, Input& in) const {
    at.load(grad, in.grad);
    at.load(p, in.p);
    at.load(m, in.m);
    at.load(v, in.v);
  }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& k, Output& out, Nothing&) const {
    float weight = in.p.v[j], first = in.m.v[j], second = in.v.v[j];
    adam_element<kNearStart>(k, in.grad.v[j], weight, first, second);
    out.p.v[j] = weight;
    out.m.v[j] = first;
    out.v.v[j] = second;
  }
  template <class Place>
  HALFTONE_HD void store(const Place& at, const Output& out) const {
    at.store(p, out.p);
    at.store(m, out.m);
    at.store(v, out.v);
  }
  auto arrays() const { return ArrayList<4>{{{grad, 4}, {p, 4}, {m, 4}, {v, 4}}}; }

  AdamConstants c;
  const float* grad;
  float *p, *m, *v;
};

template <class Launcher>
void launch_sgd_step(Launcher& launcher, const SgdArgs& a) {
  check_sgd(a.options);
  const SgdConstants c = sgd_constants(a.options);
  if (a.options.momentum == 0.0) {
    return pass_flat(launcher, SgdOp<false, false>{c, a.grad, a.p, nullptr}, a.numel);
  }
  if (a.options.nesterov) {
    return pass_flat(launcher, SgdOp<true, true>{c, a.grad, a.p, a.momentum_buffer}, a.numel);
  }
  pass_flat(launcher, SgdOp<true, false>{c, a.grad, a.p, a.momentum_buffer}, a.numel);
}

template <class Launcher>
void launch_adam_step(Launcher& launcher, const AdamArgs& a) {
  check_adam(a.options);
  const AdamConstants c = adam_constants(a.options);
  if (c.take1 < 0.5f) {
    pass_flat(launcher, AdamOp<true>{c, a.grad, a.p, a.exp_avg, a.exp_avg_sq}, a.numel);
  } else {
    pass_flat(launcher, AdamOp<false>{c, a.grad, a.p, a.exp_avg, a.exp_avg_sq}, a.numel);
  }
}

// ---- pieces: a block looks up what it updates, and with which constants ----

template <class Op>
struct PiecesBody {
  using Row = OptimizerRow<typename Op::Constants>;
  static constexpr int kShared = 0;

  template <class Thread>
  HALFTONE_HD void operator()(const Thread& t) const {
    if (pieces.loss != nullptr && !(*pieces.loss - *pieces.loss == 0.0f)) return;
    const OptimizerPiece piece = pieces.list[t.block()];
    const Row row = rows[piece.row];
    if (row.updated == 0) return;
    Nothing none;
    walk_packs<1>(op, piece.begin + int64_t{t.index()} * Op::kWidth, int64_t{kThreads} * Op::kWidth,
                  piece.begin, piece.end, aligned, &row.constants, &none);
  }

  Op op;
  OptimizerPieces pieces;
  const Row* rows;
  bool aligned;
};

template <class Launcher, class Op, class Args>
void launch_pieces(Launcher& launcher, const Op& op, const Args& a) {
  const bool aligned = common_lead(op.arrays(), Op::kWidth) == 0;
  launcher.run(a.pieces.count, PiecesBody<Op>{op, a.pieces, a.rows, aligned});
}

template <class Launcher>
void launch_sgd_pieces(Launcher& launcher, const SgdPiecesArgs& a) {
  if (a.momentum_buffer == nullptr) {
    return launch_pieces(launcher, SgdOp<false, false>{{}, a.grad, a.p, nullptr}, a);
  }
  if (a.nesterov) {
    return launch_pieces(launcher, SgdOp<true, true>{{}, a.grad, a.p, a.momentum_buffer}, a);
  }
  launch_pieces(launcher, SgdOp<true, false>{{}, a.grad, a.p, a.momentum_buffer}, a);
}

template <class Launcher>
void launch_adam_pieces(Launcher& launcher, const AdamPiecesArgs& a) {
  if (a.near_start) {
    launch_pieces(launcher, AdamOp<true>{{}, a.grad, a.p, a.exp_avg, a.exp_avg_sq}, a);
  } else {
    launch_pieces(launcher, AdamOp<false>{{}, a.grad, a.p, a.exp_avg, a.exp_avg_sq}, a);
  }
}

}  // namespace halftone::kernels::cuda
