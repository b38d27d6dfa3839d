// Sums, layouts, activations and dropout against the CPU's kernels, bit for bit, on any machine.
#pragma once

#include "kernels/activation.h"
#include "kernels/activation_cuda.h"
#include "kernels/binary.h"
#include "kernels/binary_cuda.h"
#include "kernels/column_sums.h"
#include "kernels/elementwise.h"
#include "kernels/elementwise_cuda.h"
#include "kernels/pad.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

constexpr int64_t kFlatSizes[] = {1, 7, 4099, 20001};

inline std::vector<ActivationOptions> all_activations() {
  std::vector<ActivationOptions> list;
  for (const Activation kind : {Activation::kIdentity, Activation::kReLU, Activation::kReLU6,
                                Activation::kHardtanh, Activation::kLeakyReLU}) {
    ActivationOptions options;
    options.kind = kind;
    list.push_back(options);
  }
  return list;
}

template <class Machine>
void check_add(Machine& machine, int64_t n, int shift, const ActivationOptions& act) {
  const Context context;
  const Tensor a = Tensor::from(context, {n}, awkward_values(n, 1));
  const Tensor b = Tensor::from(context, {n}, awkward_values(n, 2));
  Tensor want = Tensor::empty(context, {n});
  kernels::add_activation(a, b, act, want);
  kernels::cuda::AddArgs args;
  args.numel = n, args.act = act;
  args.a = machine.put(a.to_vector<float>(), shift);
  args.b = machine.put(b.to_vector<float>());
  args.y = machine.template room<float>(n, shift);
  machine.run(args);
  require_same_bits(machine.get(args.y, n), want.to_vector<float>());

  kernels::cuda::ActivationArgs alone;
  alone.numel = n, alone.options = act, alone.x = args.a, alone.y = args.y;
  kernels::activation(a, act, want);
  machine.run(alone);
  require_same_bits(machine.get(args.y, n), want.to_vector<float>());

  kernels::cuda::ActivationBackwardArgs back;
  back.numel = n, back.options = act, back.dy = args.b, back.y = args.a, back.dx = args.y;
  kernels::activation_backward(b, a, act, want);
  machine.run(back);
  require_same_bits(machine.get(args.y, n), want.to_vector<float>());
  machine.clear();
}

// exp of the host and of a device differ by up to 2 ulp of values up to 1.
template <class Machine>
void check_sigmoid(Machine& machine) {
  const Context context;
  const int64_t n = 4099;
  ActivationOptions act;
  act.kind = Activation::kSigmoid;
  const Tensor x = Tensor::from(context, {n}, random_values(n, 3, 5.0f));
  Tensor want = Tensor::empty(context, {n});
  kernels::activation(x, act, want);
  kernels::cuda::ActivationArgs args;
  args.numel = n, args.options = act;
  args.x = machine.put(x.to_vector<float>());
  args.y = machine.template room<float>(n);
  machine.run(args);
  require_within(machine.get(args.y, n), want.to_vector<float>(), 3e-7);
  machine.clear();
}

template <class Machine>
void check_flat(Machine& machine, int64_t n, int shift) {
  const Context context;
  const Tensor a = Tensor::from(context, {n}, awkward_values(n, 4));
  const Tensor b = Tensor::from(context, {n}, awkward_values(n, 5));
  Tensor want = Tensor::empty(context, {n});
  kernels::cuda::MultiplyArgs product;
  product.numel = n;
  product.a = machine.put(a.to_vector<float>(), shift);
  product.b = machine.put(b.to_vector<float>(), shift);
  product.y = machine.template room<float>(n, shift);
  kernels::mul(a, b, want);
  machine.run(product);
  require_same_bits(machine.get(product.y, n), want.to_vector<float>());

  kernels::cuda::ScaleArgs scaled;
  scaled.numel = n, scaled.factor = 0.3f, scaled.x = product.a, scaled.y = product.y;
  kernels::scale(a, 0.3f, want);
  machine.run(scaled);
  require_same_bits(machine.get(product.y, n), want.to_vector<float>());

  kernels::cuda::DropoutArgs dropout;
  dropout.numel = n, dropout.p = 0.4f, dropout.random = Philox{9, 77};
  dropout.x = product.a, dropout.y = product.y;
  kernels::dropout(a, 0.4f, dropout.random, want);
  machine.run(dropout);
  require_same_bits(machine.get(product.y, n), want.to_vector<float>());

  kernels::cuda::ClipLatentArgs clip;
  clip.numel = n, clip.w = machine.put(a.to_vector<float>(), shift);
  want.copy_from(a);
  kernels::clip_latent_weights(want);
  machine.run(clip);
  require_same_bits(machine.get(clip.w, n), want.to_vector<float>());
  machine.clear();
}

template <class T, class Machine>
void check_fill(Machine& machine, int64_t n, uint64_t bits) {
  kernels::cuda::FillArgs args;
  args.numel = n, args.width = sizeof(T), args.bits = bits;
  T* y = machine.put(std::vector<T>(n + 1, T(3)));
  args.y = y;
  machine.run(args);
  std::vector<T> want(n + 1, T(3));
  for (int64_t i = 0; i < n; ++i) std::memcpy(&want[i], &bits, sizeof(T));
  require_same_bits(machine.get(y, n + 1), want);
  machine.clear();
}

template <class From, class To, class Machine>
void check_cast(Machine& machine, const std::vector<From>& values, int shift) {
  const Context context;
  const int64_t n = static_cast<int64_t>(values.size());
  const Tensor want = Tensor::from(context, {n}, values).to(DTypeOf<To>::value);
  kernels::cuda::CastArgs args;
  args.numel = n, args.from = DTypeOf<From>::value, args.to = DTypeOf<To>::value;
  args.x = machine.put(values, shift);
  To* y = machine.template room<To>(n, shift);
  args.y = y;
  machine.run(args);
  require_same_bits(machine.get(y, n), want.to_vector<To>());
  machine.clear();
}

template <class Machine>
void check_casts(Machine& machine) {
  for (const int shift : {0, 1}) {
    const std::vector<float> values = awkward_values(1003, 6);
    check_cast<float, BFloat16>(machine, values, shift);
    check_cast<BFloat16, float>(machine, to_bfloat16(values), shift);
    std::vector<uint8_t> bytes(1003);
    std::vector<int8_t> chars(1003);
    std::vector<int32_t> words(1003);
    for (int i = 0; i < 1003; ++i) {
      bytes[i] = static_cast<uint8_t>(i), chars[i] = static_cast<int8_t>(i * 3);
      words[i] = static_cast<int32_t>(static_cast<uint32_t>(i) * 7654321u);  // both signs
    }
    check_cast<uint8_t, float>(machine, bytes, shift);
    check_cast<int8_t, float>(machine, chars, shift);
    check_cast<int32_t, float>(machine, words, shift);
  }
}

template <class Machine>
void check_concat(Machine& machine, int64_t rows, const std::vector<int64_t>& channels) {
  const Context context;
  std::vector<Tensor> parts;
  int64_t all = 0;
  for (const int64_t c : channels) {
    parts.push_back(Tensor::from(context, {rows, c}, random_values(rows * c, 8 + c)));
    all += c;
  }
  Tensor want = Tensor::empty(context, {rows, all});
  kernels::concat_channels(parts, want);
  float* y = machine.template room<float>(rows * all);
  int64_t at = 0;
  for (size_t k = 0; k < parts.size(); ++k) {
    kernels::cuda::CopyRowsArgs args;
    args.rows = rows, args.width = 4 * channels[k];
    args.x_stride = args.width, args.y_stride = 4 * all;
    args.x = machine.put(parts[k].to_vector<float>());
    args.y = y + at;
    machine.run(args);
    at += channels[k];
  }
  require_same_bits(machine.get(y, rows * all), want.to_vector<float>());
  machine.clear();
}

template <class T, class Machine>
void check_transpose(Machine& machine, int64_t n, int64_t pixels, int64_t channels) {
  const Context context;
  std::vector<T> values(n * pixels * channels);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i * 37 % 101);
  const Tensor x = Tensor::from(context, {n, pixels, 1, channels}, values);
  Tensor want = Tensor::empty(context, {n, channels, pixels, 1}, x.dtype());
  kernels::nhwc_to_nchw(x, want);
  kernels::cuda::TransposeArgs args;
  args.batch = n, args.rows = pixels, args.columns = channels, args.element = sizeof(T);
  args.x = machine.put(values);
  T* y = machine.template room<T>(values.size());
  args.y = y;
  machine.run(args);
  require_same_bits(machine.get(y, values.size()), want.to_vector<T>());
  machine.clear();
}

template <class Machine>
void check_subsample(Machine& machine, int64_t h, int64_t w, int64_t c, int stride, int before,
                     int64_t wide) {
  const Context context;
  const Shape small{2, h, w, c},
      large{2, (h + stride - 1) / stride, (w + stride - 1) / stride, wide};
  const Tensor x = Tensor::from(context, small, random_values(small.numel(), 21));
  const Tensor dy = Tensor::from(context, large, random_values(large.numel(), 22));
  Tensor want = Tensor::empty(context, large), dx = Tensor::empty(context, small);
  kernels::subsample_pad(x, stride, before, want, 3);
  kernels::cuda::SubsampleBackwardArgs args;
  args.n = 2, args.h = h, args.w = w, args.c = c;
  args.oh = large[1], args.ow = large[2], args.wide = wide;
  args.stride = stride, args.pad_before = before, args.fill = 3.0f;
  args.x = machine.put(x.to_vector<float>());
  float* y = machine.template room<float>(large.numel());
  args.y = y;
  machine.run(static_cast<const kernels::cuda::SubsampleArgs&>(args));
  require_same_bits(machine.get(y, large.numel()), want.to_vector<float>());
  kernels::subsample_pad_backward(dy, stride, before, dx);
  args.x = machine.put(dy.to_vector<float>());
  args.y = y = machine.template room<float>(small.numel());
  machine.run(args);
  require_same_bits(machine.get(y, small.numel()), dx.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_pad(Machine& machine, int64_t h, int64_t w, int64_t c, int64_t top, int64_t left) {
  const Context context;
  const Shape small{2, h, w, c}, large{2, h + 2 * top, w + 2 * left, c};
  const Tensor x = Tensor::from(context, small, random_values(small.numel(), 23));
  const Tensor dy = Tensor::from(context, large, random_values(large.numel(), 24));
  Tensor want = Tensor::empty(context, large), dx = Tensor::empty(context, small);
  kernels::pad_images(x, -1.0f, want);
  kernels::cuda::FrameBackwardArgs args;
  args.n = 2, args.h = h, args.w = w, args.c = c, args.top = top, args.left = left;
  args.value = -1.0f;
  args.x = machine.put(x.to_vector<float>());
  args.y = machine.template room<float>(large.numel());
  machine.run(static_cast<const kernels::cuda::FrameArgs&>(args));
  require_same_bits(machine.get(args.y, large.numel()), want.to_vector<float>());
  kernels::pad_images_backward(dy, dx);
  args.x = machine.put(dy.to_vector<float>());
  args.y = machine.template room<float>(small.numel());
  machine.run(args);
  require_same_bits(machine.get(args.y, small.numel()), dx.to_vector<float>());
  machine.clear();
}

// Sums in another order: within 2^-22 of the sum of magnitudes, of which each float sum of at most
// 64 terms (512 on the CPU) rounds a part.
template <class Machine>
void check_sums(Machine& machine, int64_t rows, int64_t columns, int shift) {
  const Context context;
  const Tensor x = Tensor::from(context, {rows, columns}, random_values(rows * columns, 25));
  Tensor want = Tensor::empty(context, {columns});
  kernels::column_sums(x, want);
  kernels::cuda::ColumnSumsArgs args;
  args.rows = rows, args.columns = columns;
  args.x = machine.put(x.to_vector<float>(), shift);
  args.out = machine.template room<float>(columns);
  machine.run(args);
  const std::vector<float> got = machine.get(args.out, columns);
  require_within(got, want.to_vector<float>(), 2.0 * static_cast<double>(rows) * 0x1p-22);
  machine.run(args);
  require_same_bits(machine.get(args.out, columns), got);

  kernels::cuda::InspectArgs inspect;
  inspect.numel = rows * columns, inspect.x = args.x;
  inspect.total = machine.template room<double>(1);
  inspect.all_finite = machine.template room<int32_t>(1);
  machine.run(inspect);
  REQUIRE(machine.get(inspect.total, 1)[0] == Approx(kernels::sum(x)).epsilon(1e-12).margin(1e-9));
  REQUIRE(machine.get(inspect.all_finite, 1)[0] == 1);
  for (const float bad : {INFINITY, -INFINITY, std::nanf("")}) {
    std::vector<float> values = x.to_vector<float>();
    values[values.size() / 2] = bad;
    inspect.x = machine.put(values, shift);
    machine.run(inspect);
    REQUIRE(machine.get(inspect.all_finite, 1)[0] == 0);
  }
  machine.clear();
}

template <class Machine>
void check_all_elementwise(Machine& machine) {
  for (const int64_t n : kFlatSizes) {
    for (const int shift : {0, 1, 3}) {
      INFO(n << " elements shifted " << shift);
      check_flat(machine, n, shift);
      for (const ActivationOptions& act : all_activations()) check_add(machine, n, shift, act);
    }
  }
  check_sigmoid(machine);
  check_fill<uint8_t>(machine, 777, 0xAB);
  check_fill<uint16_t>(machine, 777, 0xABCD);
  check_fill<float>(machine, 777, 0x3f800000);
  check_fill<int64_t>(machine, 777, 0x0123456789ABCDEF);
  check_casts(machine);
  check_concat(machine, 33, {4, 8, 2});
  check_concat(machine, 300, {1, 3});
  check_transpose<float>(machine, 3, 49, 65);
  check_transpose<uint8_t>(machine, 2, 100, 3);
  check_transpose<int64_t>(machine, 1, 1, 40);
  check_subsample(machine, 8, 6, 3, 2, 1, 6);
  check_subsample(machine, 7, 5, 16, 2, 8, 32);
  check_subsample(machine, 4, 4, 2, 1, 0, 3);
  check_pad(machine, 5, 4, 3, 1, 2);
  check_pad(machine, 8, 8, 16, 2, 0);
  const int64_t shapes[][2] = {{1, 1}, {5000, 1}, {333, 3}, {100, 10}, {71, 64}, {9, 300}};
  for (const auto& shape : shapes) {
    INFO(shape[0] << " rows of " << shape[1]);
    check_sums(machine, shape[0], shape[1], 0);
    check_sums(machine, shape[0], shape[1], 1);
  }
}

}  // namespace halftone::test
