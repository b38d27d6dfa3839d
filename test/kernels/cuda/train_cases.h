// Epilogues and optimizer steps against the CPU's kernels, bit for bit, on any machine.
#pragma once

#include "kernels/epilogue.h"
#include "kernels/epilogue_cuda.h"
#include "kernels/optimizer.h"
#include "kernels/optimizer_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

inline kernels::Channels epilogue_channels(int64_t count) {
  kernels::Channels out;
  for (int64_t c = 0; c < count; ++c) {
    // Multiplier 1/2 has ties; one channel in seven is a constant, one in eleven NaN.
    const float m = c % 11 == 10 ? NAN : (c % 3 == 0 ? 0.5f : 0.013f * static_cast<float>(c % 9));
    out.push_back({c % 7 == 6 ? 0 : -1, static_cast<int32_t>(c * 37 % 2001 - 1000), m});
  }
  return out;
}

template <class Machine>
void check_epilogue(Machine& machine, int64_t rows, int64_t channels, int shift, int out_shift) {
  const Context context;
  std::mt19937 rng(91);
  std::vector<int32_t> acc(rows * channels);
  for (int32_t& a : acc) {
    a = rng() % 8 == 0 ? static_cast<int32_t>(rng() % 2000000000) - 1000000000
                       : static_cast<int32_t>(rng() % 3000) - 1500;
  }
  const kernels::Channels constants = epilogue_channels(channels);
  const Tensor in = Tensor::from(context, {rows, channels}, acc);
  Tensor codes = Tensor::empty(context, {rows, channels}, DType::kUInt8);
  kernels::epilogue_to_codes(in, constants, {-20.0f, 200.0f, 30}, codes);

  kernels::cuda::EpilogueArgs args;
  args.rows = rows, args.channels = channels;
  args.acc = machine.put(acc, shift);
  args.constants = machine.put(constants);
  args.low = -20.0f, args.high = 200.0f, args.zero_point = 30;
  args.codes = machine.template room<uint8_t>(acc.size(), out_shift);
  machine.run(args);
  require_same_bits(machine.get(args.codes, acc.size()), codes.to_vector<uint8_t>());

  Tensor reals = Tensor::empty(context, {rows, channels});
  kernels::epilogue_to_float(in, constants, -3.0f, 40.5f, reals);
  kernels::cuda::EpilogueFloatArgs to_float;
  to_float.rows = rows, to_float.channels = channels;
  to_float.acc = args.acc, to_float.constants = args.constants;
  to_float.low = -3.0f, to_float.high = 40.5f;
  to_float.y = machine.template room<float>(acc.size(), out_shift);
  machine.run(to_float);
  require_same_bits(machine.get(to_float.y, acc.size()), reals.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_sgd(Machine& machine, int64_t n, int shift, kernels::SgdOptions options) {
  const Context context;
  Tensor p = Tensor::from(context, {n}, random_values(n, 101));
  Tensor buffer = Tensor::full(context, {n}, 7.0f);
  kernels::cuda::SgdArgs args;
  args.numel = n;
  args.p = machine.put(p.to_vector<float>(), shift);
  if (options.momentum != 0.0) args.momentum_buffer = machine.put(buffer.to_vector<float>(), shift);
  for (int step = 0; step < 3; ++step) {
    options.first_step = step == 0;
    const Tensor grad = Tensor::from(context, {n}, random_values(n, 102 + step));
    kernels::sgd_step(options, grad, p, buffer);
    args.options = options;
    args.grad = machine.put(grad.to_vector<float>(), shift);
    machine.run(args);
  }
  require_same_bits(machine.get(args.p, n), p.to_vector<float>());
  if (options.momentum != 0.0) {
    require_same_bits(machine.get(args.momentum_buffer, n), buffer.to_vector<float>());
  }
  machine.clear();
}

// Gradients of normal size: the CPU counts denormals as zero (a GPU too, but host code does not).
template <class Machine>
void check_adam(Machine& machine, int64_t n, int shift, kernels::AdamOptions options) {
  const Context context;
  Tensor p = Tensor::from(context, {n}, random_values(n, 111));
  Tensor m = Tensor::zeros(context, {n}), v = Tensor::zeros(context, {n});
  kernels::cuda::AdamArgs args;
  args.numel = n;
  args.p = machine.put(p.to_vector<float>(), shift);
  args.exp_avg = machine.put(m.to_vector<float>(), shift);
  args.exp_avg_sq = machine.put(v.to_vector<float>(), shift);
  for (options.step = 1; options.step <= 3; ++options.step) {
    const Tensor grad =
        Tensor::from(context, {n}, random_values(n, 112 + static_cast<uint32_t>(options.step)));
    kernels::adam_step(options, grad, p, m, v);
    args.options = options;
    args.grad = machine.put(grad.to_vector<float>(), shift);
    machine.run(args);
  }
  require_same_bits(machine.get(args.p, n), p.to_vector<float>());
  require_same_bits(machine.get(args.exp_avg, n), m.to_vector<float>());
  require_same_bits(machine.get(args.exp_avg_sq, n), v.to_vector<float>());
  machine.clear();
}

// Five parameters of one buffer: two with options of their own, one that has no gradient, one of
// many blocks and one of a few elements; and a loss that lets nothing be updated.
struct PiecesCase {
  static constexpr int64_t kEnds[] = {0, 16, 5216, 5232, 5236, 9011};
  static constexpr int kParameters = 5, kIdle = 2;
  static constexpr int64_t kNumel = kEnds[kParameters];

  template <class Machine>
  kernels::cuda::OptimizerPieces pieces(Machine& machine, float loss) const {
    std::vector<kernels::cuda::OptimizerPiece> list;
    for (int k = 0; k < kParameters; ++k)
      kernels::cuda::add_pieces(kEnds[k], kEnds[k + 1], k, list);
    return {static_cast<int64_t>(list.size()), machine.put(list),
            machine.put(std::vector<float>{loss})};
  }
};

template <class Machine>
void check_sgd_pieces(Machine& machine, int shift, kernels::SgdOptions options) {
  const Context context;
  const PiecesCase c;
  Tensor p = Tensor::from(context, {c.kNumel}, random_values(c.kNumel, 121));
  Tensor buffer = Tensor::full(context, {c.kNumel}, 7.0f);
  kernels::cuda::SgdPiecesArgs args;
  args.nesterov = options.nesterov;
  args.p = machine.put(p.to_vector<float>(), shift);
  if (options.momentum != 0.0) args.momentum_buffer = machine.put(buffer.to_vector<float>(), shift);
  for (int step = 0; step < 3; ++step) {
    const Tensor grad = Tensor::from(context, {c.kNumel}, random_values(c.kNumel, 122 + step));
    std::vector<kernels::cuda::OptimizerRow<kernels::SgdConstants>> rows(c.kParameters);
    for (int k = 0; k < c.kParameters; ++k) {
      options.lr = 0.1 / (k + 1), options.weight_decay = 0.01 * k;
      options.first_step = step == k % 2;
      rows[k] = {kernels::sgd_constants(options), k != c.kIdle};
      if (k == c.kIdle || step == 2) continue;
      Tensor own = p.slice(c.kEnds[k], c.kEnds[k + 1]),
             moment = buffer.slice(c.kEnds[k], c.kEnds[k + 1]);
      kernels::sgd_step(options, grad.slice(c.kEnds[k], c.kEnds[k + 1]), own, moment);
    }
    args.pieces = c.pieces(machine, step == 2 ? NAN : 1.0f);
    args.rows = machine.put(rows);
    args.grad = machine.put(grad.to_vector<float>(), shift);
    machine.run(args);
  }
  require_same_bits(machine.get(args.p, c.kNumel), p.to_vector<float>());
  if (options.momentum != 0.0) {
    require_same_bits(machine.get(args.momentum_buffer, c.kNumel), buffer.to_vector<float>());
  }
  machine.clear();
}

template <class Machine>
void check_adam_pieces(Machine& machine, int shift, kernels::AdamOptions options) {
  const Context context;
  const PiecesCase c;
  Tensor p = Tensor::from(context, {c.kNumel}, random_values(c.kNumel, 131));
  Tensor m = Tensor::zeros(context, {c.kNumel}), v = Tensor::zeros(context, {c.kNumel});
  kernels::cuda::AdamPiecesArgs args;
  args.near_start = options.beta1 > 0.5;
  args.p = machine.put(p.to_vector<float>(), shift);
  args.exp_avg = machine.put(m.to_vector<float>(), shift);
  args.exp_avg_sq = machine.put(v.to_vector<float>(), shift);
  for (int step = 0; step < 3; ++step) {
    const Tensor grad = Tensor::from(context, {c.kNumel}, random_values(c.kNumel, 132 + step));
    std::vector<kernels::cuda::OptimizerRow<kernels::AdamConstants>> rows(c.kParameters);
    for (int k = 0; k < c.kParameters; ++k) {
      options.lr = 0.01 / (k + 1), options.step = 1 + step + 10 * k;
      rows[k] = {kernels::adam_constants(options), k != c.kIdle};
      if (k == c.kIdle || step == 2) continue;
      const int64_t from = c.kEnds[k], to = c.kEnds[k + 1];
      Tensor own = p.slice(from, to), first = m.slice(from, to), second = v.slice(from, to);
      kernels::adam_step(options, grad.slice(from, to), own, first, second);
    }
    args.pieces = c.pieces(machine, step == 2 ? INFINITY : 1.0f);
    args.rows = machine.put(rows);
    args.grad = machine.put(grad.to_vector<float>(), shift);
    machine.run(args);
  }
  require_same_bits(machine.get(args.p, c.kNumel), p.to_vector<float>());
  require_same_bits(machine.get(args.exp_avg, c.kNumel), m.to_vector<float>());
  require_same_bits(machine.get(args.exp_avg_sq, c.kNumel), v.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_all_training(Machine& machine) {
  const int64_t shapes[][2] = {{1, 1},   {5000, 1}, {333, 3}, {100, 10},
                               {71, 64}, {9, 300},  {3, 1100}};
  for (const auto& shape : shapes) {
    INFO(shape[0] << " rows of " << shape[1]);
    check_epilogue(machine, shape[0], shape[1], 0, 0);
    check_epilogue(machine, shape[0], shape[1], 1, 1);
    check_epilogue(machine, shape[0], shape[1], 1, 2);
  }
  for (const int shift : {0, 1}) {
    check_sgd_pieces(machine, shift, {0.1, 0.0, 0.0, 1e-3, false, false});
    check_sgd_pieces(machine, shift, {0.1, 0.9, 0.1, 1e-3, false, false});
    check_sgd_pieces(machine, shift, {0.1, 0.9, 0.0, 0.0, true, false});
    check_adam_pieces(machine, shift, {1e-2, 0.9, 0.999, 1e-8, 1e-3, false, 1});
    check_adam_pieces(machine, shift, {1e-2, 0.4, 0.99, 1e-8, 1e-2, true, 1});
  }
  for (const int64_t n : {1, 4099, 30011}) {
    for (const int shift : {0, 1}) {
      INFO(n << " parameters shifted " << shift);
      check_sgd(machine, n, shift, {0.1, 0.0, 0.0, 1e-3, false, false});
      check_sgd(machine, n, shift, {0.1, 0.9, 0.1, 1e-3, false, false});
      check_sgd(machine, n, shift, {0.1, 0.9, 0.0, 0.0, true, false});
      check_adam(machine, n, shift, {1e-2, 0.9, 0.999, 1e-8, 1e-3, false, 1});
      check_adam(machine, n, shift, {1e-2, 0.4, 0.99, 1e-8, 1e-2, true, 1});
    }
  }
}

}  // namespace halftone::test
