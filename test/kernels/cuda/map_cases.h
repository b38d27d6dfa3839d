// Signs and DoReFa against the CPU's kernels, bit for bit, on any machine.
#pragma once

#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/dorefa.h"
#include "kernels/dorefa_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

constexpr int64_t kMapSizes[] = {0, 1, 7, 4099, 20001};
constexpr int kMapShifts[][2] = {{0, 0}, {1, 1}, {3, 3}, {1, 0}};

// The operands of one case, on the CPU and on the machine. `want` takes the CPU's result.
template <class T, class Machine>
struct MapCase {
  MapCase(Machine& machine, int64_t n, const int (&shift)[2])
      : machine(machine),
        n(n),
        a(as<T>(awkward_values(n, 31))),
        b(as<T>(awkward_values(n, 32))),
        first(Tensor::from(context, {n}, to_floats(a))),
        second(Tensor::from(context, {n}, to_floats(b))),
        want(Tensor::empty(context, {n})),
        in(machine.put(a, shift[0])),
        in2(machine.put(b, shift[0])),
        out(machine.template room<T>(n, shift[1])) {}
  ~MapCase() { machine.clear(); }
  // args.numel and args.dtype, of every kernel.
  template <class Args>
  Args args() const {
    Args result;
    result.numel = n;
    result.dtype = DTypeOf<T>::value;
    return result;
  }
  void check() { require_same_bits(machine.get(out, n), as<T>(want.template to_vector<float>())); }

  Machine& machine;
  int64_t n;
  Context context;
  std::vector<T> a, b;
  Tensor first, second, want;
  T *in, *in2, *out;
};

template <class T, class Machine>
void check_signs(Machine& machine, int64_t n, const int (&shift)[2]) {
  using namespace kernels::cuda;
  MapCase<T, Machine> c(machine, n, shift);
  auto args = c.template args<SignArgs>();
  args.x = c.in, args.y = c.out;
  kernels::binarize(c.first, c.want);
  machine.run(args);
  c.check();

  args.stochastic = true;
  args.random = Philox{5, 1234567890123};
  kernels::binarize_stochastic(c.first, args.random, c.want);
  machine.run(args);
  c.check();

  using quant_math::SignGradient;
  auto back = c.template args<SignBackwardArgs>();
  back.dy = c.in2, back.x = c.in, back.dx = c.out;
  for (const SignGradient rule : {SignGradient::kStraightThrough, SignGradient::kApproxSign}) {
    back.rule = rule;
    kernels::binarize_backward(c.second, c.first, rule, c.want);
    machine.run(back);
    c.check();
  }
}

template <class T, class Machine>
void check_dorefa_activations(Machine& machine, int64_t n, const int (&shift)[2], int bits) {
  using namespace kernels::cuda;
  MapCase<T, Machine> c(machine, n, shift);
  auto args = c.template args<DorefaActivationsArgs>();
  args.x = c.in, args.y = c.out, args.bits = bits;
  kernels::dorefa_activations(c.first, bits, c.want);
  machine.run(args);
  c.check();
  auto back = c.template args<DorefaActivationsBackwardArgs>();
  back.dy = c.in2, back.x = c.in, back.dx = c.out;
  kernels::dorefa_activations_backward(c.second, c.first, c.want);
  machine.run(back);
  c.check();
}

template <class T, class Machine>
void check_dorefa_weights(Machine& machine, const std::vector<float>& values, const int (&shift)[2],
                          int bits) {
  using namespace kernels::cuda;
  const Context context;
  const auto n = static_cast<int64_t>(values.size());
  const std::vector<T> w = as<T>(values), dy = as<T>(random_values(n, 42));
  const Tensor weight = Tensor::from(context, {n}, to_floats(w));
  const Tensor up = Tensor::from(context, {n}, to_floats(dy));
  Tensor want = Tensor::empty(context, {n});
  const float largest = kernels::dorefa_largest(weight);
  T* out = machine.template room<T>(n, shift[1]);
  DorefaWeightsArgs args;
  args.numel = n, args.dtype = DTypeOf<T>::value, args.bits = bits;
  args.w = machine.put(w, shift[0]), args.y = out;
  args.largest = machine.template room<float>(1);
  machine.run(args);
  REQUIRE(machine.get(args.largest, 1)[0] == largest);
  kernels::dorefa_weights(weight, largest, bits, want);
  require_same_bits(machine.get(out, n), as<T>(want.to_vector<float>()));

  DorefaWeightsBackwardArgs back;
  back.numel = n, back.dtype = args.dtype, back.w = args.w, back.largest = args.largest;
  back.dy = machine.put(dy, shift[0]), back.dw = out;
  back.rule = machine.template room<quant_math::DorefaWeightRule>(1);
  machine.run(back);
  kernels::dorefa_weights_backward(up, weight, largest, want);
  // Only the weight with the largest |tanh w| sees the sum, whose order of addition in double may
  // move it by an ulp.
  const std::vector<float> got = to_floats(machine.get(out, n));
  const std::vector<float> expected = to_floats(as<T>(want.to_vector<float>()));
  for (int64_t i = 0; i < n; ++i) {
    if (same_bits(got[i], expected[i])) continue;
    if (quant_math::dorefa_tanh(static_cast<float>(std::fabs(static_cast<float>(w[i])))) ==
        largest) {
      REQUIRE(got[i] == Approx(expected[i]).epsilon(sizeof(T) < 4 ? 0x1p-7 : 0x1p-21));
    } else {
      FAIL("dw of " << i);
    }
  }
  machine.clear();
}

template <class T, class Machine>
void check_dorefa_gradients(Machine& machine, int64_t samples, int64_t length,
                            const int (&shift)[2]) {
  using namespace kernels::cuda;
  const Context context;
  std::vector<float> raw = random_values(samples * length, 51);
  for (int64_t i = 0; i < std::min<int64_t>(length, samples * length); ++i) raw[i] = 0.0f;
  if (samples > 2) raw[2 * length] = INFINITY;
  if (samples > 3) raw[3 * length] = std::nanf("");
  const std::vector<T> g = as<T>(raw);
  Tensor want = Tensor::empty(context, {samples, length});
  DorefaGradientsArgs args;
  args.samples = samples, args.length = length, args.dtype = DTypeOf<T>::value, args.bits = 4;
  args.noise = Philox{77, 3};
  T* out = machine.template room<T>(raw.size(), shift[1]);
  args.x = machine.put(g, shift[0]), args.y = out;
  args.largest = machine.template room<float>(samples);
  machine.run(args);
  kernels::dorefa_gradients(Tensor::from(context, {samples, length}, to_floats(g)), args.bits,
                            args.noise, want);
  require_same_bits(machine.get(out, raw.size()), as<T>(want.to_vector<float>()));
  machine.clear();
}

template <class T, class Machine>
void check_maps_of(Machine& machine) {
  for (const auto& shift : kMapShifts) {
    INFO("shifted " << shift[0] << " " << shift[1]);
    for (const int64_t n : kMapSizes) {
      INFO(n << " elements");
      check_signs<T>(machine, n, shift);
      check_dorefa_activations<T>(machine, n, shift, n % 2 == 0 ? 2 : 5);
    }
    check_dorefa_weights<T>(machine, random_values(4099, 41, 1.5f), shift, 4);
    for (const int64_t n : {7, 4099})
      check_dorefa_weights<T>(machine, awkward_values(n, 43), shift, 3);
    check_dorefa_gradients<T>(machine, 5, 331, shift);
  }
  check_dorefa_weights<T>(machine, random_values(20001, 41, 1.5f), kMapShifts[0], 2);
  check_dorefa_gradients<T>(machine, 1, 9000, kMapShifts[0]);
  check_dorefa_gradients<T>(machine, 300, 3, kMapShifts[0]);
}

template <class Machine>
void check_all_maps(Machine& machine) {
  check_maps_of<float>(machine);
  check_maps_of<BFloat16>(machine);
}

}  // namespace halftone::test
