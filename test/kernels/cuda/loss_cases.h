// Softmax and losses against the CPU's kernels on any machine. exp of the host and of a device
// differ by up to 2 ulp: probabilities by some 4e-7 at most, losses and their gradients likewise.
#pragma once

#include "kernels/loss.h"
#include "kernels/loss_cuda.h"
#include "test/kernels/cuda/values.h"

namespace halftone::test {

constexpr double kExpError = 5e-7;

inline std::vector<int64_t> some_labels(int64_t rows, int64_t classes) {
  std::vector<int64_t> labels(rows);
  for (int64_t r = 0; r < rows; ++r) labels[r] = r * 7 % classes;
  return labels;
}

template <class Machine>
void check_softmax(Machine& machine, int64_t rows, int64_t classes) {
  const Context context;
  const int64_t n = rows * classes;
  const Tensor x = Tensor::from(context, {rows, classes}, random_values(n, 1, 3.0f));
  const Tensor dy = Tensor::from(context, {rows, classes}, random_values(n, 2, 1.0f));
  for (const bool log : {false, true}) {
    Tensor y = Tensor::empty(context, x.shape()), dx = Tensor::empty(context, x.shape());
    log ? kernels::log_softmax(x, y) : kernels::softmax(x, y);
    log ? kernels::log_softmax_backward(dy, y, dx) : kernels::softmax_backward(dy, y, dx);
    kernels::cuda::SoftmaxArgs args;
    args.rows = rows, args.classes = classes, args.log = log;
    args.x = machine.put(x.to_vector<float>());
    args.y = machine.template room<float>(n);
    machine.run(args);
    require_within(machine.get(args.y, n), y.to_vector<float>(), log ? 4e-6 : kExpError);
    kernels::cuda::SoftmaxBackwardArgs back;
    back.rows = rows, back.classes = classes, back.log = log;
    back.dy = machine.put(dy.to_vector<float>());
    back.y = machine.put(y.to_vector<float>());
    back.dx = machine.template room<float>(n);
    machine.run(back);
    // A sum of `classes` gradients of about 1 stands in front of exp.
    require_within(machine.get(back.dx, n), dx.to_vector<float>(),
                   kExpError * static_cast<double>(classes));
    machine.clear();
  }
}

template <class Machine, class OnCpu>
void check_loss(Machine& machine, int64_t rows, int64_t classes, kernels::cuda::LossKind kind,
                float smoothing, const OnCpu& on_cpu) {
  const Context context;
  const int64_t n = rows * classes;
  const std::vector<int64_t> labels = some_labels(rows, classes);
  const Tensor x = Tensor::from(context, {rows, classes}, random_values(n, 3, 3.0f));
  Tensor dx = Tensor::empty(context, x.shape());
  const float want = on_cpu(x, Tensor::from(context, {rows}, labels), dx);
  kernels::cuda::LossArgs args;
  args.kind = kind, args.rows = rows, args.classes = classes, args.label_smoothing = smoothing;
  args.x = machine.put(x.to_vector<float>());
  args.labels = machine.put(labels);
  args.dx = machine.template room<float>(n);
  args.result = machine.template room<kernels::cuda::LossResult>(1);
  machine.run(args);
  const auto result = machine.get(args.result, 1)[0];
  REQUIRE(result.loss == Approx(want).epsilon(1e-6));
  REQUIRE(result.bad_labels == 0);
  require_within(machine.get(args.dx, n), dx.to_vector<float>(), kExpError);

  std::vector<int64_t> bad = labels;
  bad.back() = classes;
  bad.front() = -1;
  args.labels = machine.put(bad);
  machine.run(args);
  REQUIRE(machine.get(args.result, 1)[0].bad_labels == (rows > 1 ? 2 : 1));
  REQUIRE(std::isnan(machine.get(args.result, 1)[0].loss));

  kernels::cuda::CountCorrectArgs count;
  std::vector<float> some = x.to_vector<float>();
  if (rows > 2) some[2 * classes] = std::nanf("");
  count.rows = rows, count.classes = classes, count.x = machine.put(some);
  count.labels = machine.put(labels);
  count.correct = machine.template room<int64_t>(1);
  machine.run(count);
  REQUIRE(machine.get(count.correct, 1)[0] ==
          kernels::count_correct(Tensor::from(context, x.shape(), some),
                                 Tensor::from(context, {rows}, labels)));
  machine.clear();
}

template <class Machine>
void check_mse(Machine& machine, int64_t n) {
  const Context context;
  const Tensor x = Tensor::from(context, {n}, random_values(n, 4));
  const Tensor target = Tensor::from(context, {n}, random_values(n, 5));
  Tensor dx = Tensor::empty(context, {n});
  const float want = kernels::mse(x, target, dx);
  kernels::cuda::MseArgs args;
  args.numel = n;
  args.x = machine.put(x.to_vector<float>());
  args.target = machine.put(target.to_vector<float>());
  args.dx = machine.template room<float>(n);
  args.result = machine.template room<kernels::cuda::LossResult>(1);
  machine.run(args);
  REQUIRE(machine.get(args.result, 1)[0].loss == Approx(want).epsilon(1e-6));
  require_same_bits(machine.get(args.dx, n), dx.to_vector<float>());
  machine.clear();
}

template <class Machine>
void check_all_losses(Machine& machine) {
  using kernels::cuda::LossKind;
  const int64_t shapes[][2] = {{1, 10}, {64, 10}, {500, 10}, {300, 3}, {5, 1000}};
  for (const auto& s : shapes) {
    INFO(s[0] << " rows of " << s[1]);
    check_softmax(machine, s[0], s[1]);
    for (const float smoothing : {0.0f, 0.1f}) {
      check_loss(machine, s[0], s[1], LossKind::kCrossEntropy, smoothing,
                 [&](const Tensor& x, const Tensor& labels, Tensor& dx) {
                   return kernels::cross_entropy(x, labels, smoothing, dx);
                 });
    }
    check_loss(machine, s[0], s[1], LossKind::kNll, 0.0f, kernels::nll);
    check_loss(machine, s[0], s[1], LossKind::kSquaredHinge, 0.0f, kernels::squared_hinge);
  }
  for (const int64_t n : {1, 4099, 300000}) check_mse(machine, n);
}

}  // namespace halftone::test
