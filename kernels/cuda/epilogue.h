// The ops of epilogue_cuda.h, for any launcher.
#pragma once

#include "kernels/cuda/ops.h"
#include "kernels/epilogue_cuda.h"

namespace halftone::kernels::cuda {

struct EpilogueOp : MapOp<int32_t, uint8_t> {
  using Constants = quant_math::Channel;
  HALFTONE_HD Constants constants(int64_t channel) const { return channels[channel]; }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    out.y.v[j] = static_cast<uint8_t>(quant_math::epilogue(in.x.v[j], c, low, high, zero_point));
  }
  const quant_math::Channel* channels;
  float low, high;
  int32_t zero_point;
};

struct EpilogueFloatOp : MapOp<int32_t, float> {
  using Constants = quant_math::Channel;
  HALFTONE_HD Constants constants(int64_t channel) const { return channels[channel]; }
  HALFTONE_HD void apply(int j, const Input& in, const Constants& c, Output& out, Nothing&) const {
    out.y.v[j] = quant_math::epilogue_float(in.x.v[j], c, low, high);
  }
  const quant_math::Channel* channels;
  float low, high;
};

template <class Op, class Launcher, class Args>
void launch_epilogue_op(Launcher& launcher, Op op, const Args& a) {
  op.x = a.acc;
  op.channels = a.constants;
  op.low = a.low;
  op.high = a.high;
  pass<Op, Op>(launcher, {a.rows, a.channels, 1}, [&](Op& filled) { filled = op; });
}

template <class Launcher>
void launch_epilogue_to_codes(Launcher& launcher, const EpilogueArgs& a) {
  EpilogueOp op{};
  op.y = a.codes;
  op.zero_point = a.zero_point;
  launch_epilogue_op(launcher, op, a);
}

template <class Launcher>
void launch_epilogue_to_float(Launcher& launcher, const EpilogueFloatArgs& a) {
  EpilogueFloatOp op{};
  op.y = a.y;
  launch_epilogue_op(launcher, op, a);
}

}  // namespace halftone::kernels::cuda
