#include "autograd/op_support.h"
#include "autograd/ops.h"
#include "kernels/batch_norm.h"

namespace halftone {
namespace {

struct Statistics {
  Tensor mean, variance;
};

// Values per channel; PyTorch refuses a single one as well.
int64_t check_count(const Shape& x) {
  const int64_t channels = x.dim(-1);
  const int64_t count = channels == 0 ? 0 : x.numel() / channels;
  if (count > 1) return count;
  throw HALFTONE_ERROR("batch_norm")
      .expected("more than one value per channel in training")
      .found(std::to_string(count) + " (input " + x.str() + ", NHWC)")
      .fix("use a larger batch, or drop the last incomplete one");
}

Statistics of_batch(const Tensor& x, float momentum, Tensor& running_mean, Tensor& running_var) {
  const int64_t count = check_count(x.shape());
  const Shape shape{x.dim(-1)};
  Statistics batch{Tensor::empty(x.context(), shape), Tensor::empty(x.context(), shape)};
  kernels::batch_norm_statistics(x, batch.mean, batch.variance);
  if (running_mean.defined()) {
    kernels::batch_norm_update(batch.mean, batch.variance, count, momentum, running_mean,
                               running_var);
  }
  return batch;
}

// A copy where a backward will read them: a later training step writes the running ones.
Statistics of_running(const Tensor& mean, const Tensor& variance, bool saved) {
  if (!mean.defined() || !variance.defined()) {
    throw HALFTONE_ERROR("batch_norm").expected("running statistics in evaluation").found("none");
  }
  return saved ? Statistics{mean.clone(), variance.clone()} : Statistics{mean, variance};
}

// What backward needs besides the sink.
struct Saved {
  Tensor x, y;  // y only for the mask of an activation after a sum
  Statistics statistics;
  Tensor weight, bias;
  BatchNormOptions options;

  // The addend's gradient is dy past the activation.
  void operator()(const Tensor& dy, GradSink& sink) const {
    Tensor addend, dx;
    if (y.defined() && sink.needs(3)) {
      addend = reuse_or_empty(dy);
      dx = Tensor::empty(dy.context(), dy.shape());
    } else {
      sink.put(3, dy);
      dx = reuse_or_empty(dy);
    }
    kernels::batch_norm_backward(
        dy, x, pointer(y),
        {statistics.mean, statistics.variance, options.eps, pointer(weight), pointer(bias),
         options.act},
        options.uses_batch(),
        {&dx, out_or_null(sink, 1), out_or_null(sink, 2), addend.defined() ? &addend : nullptr});
    if (addend.defined()) sink.put(3, std::move(addend));
    sink.put(0, std::move(dx));
  }

  static const Tensor* pointer(const Tensor& t) { return t.defined() ? &t : nullptr; }
};

}  // namespace

Variable batch_norm(const Variable& x, const Variable& weight, const Variable& bias,
                    Tensor& running_mean, Tensor& running_var, const BatchNormOptions& options,
                    const Variable& addend) {
  const Tensor& xv = x.value();
  const bool saves = wants_grad(x) || wants_grad(weight) || wants_grad(bias) || wants_grad(addend);
  Statistics statistics;
  if (options.training) statistics = of_batch(xv, options.momentum, running_mean, running_var);
  if (!options.uses_batch()) statistics = of_running(running_mean, running_var, saves);
  Tensor y = Tensor::empty(xv.context(), xv.shape());
  const kernels::Normalization norm{statistics.mean,       statistics.variance, options.eps,
                                    value_or_null(weight), value_or_null(bias), options.act};
  if (options.sign) {
    kernels::batch_norm_sign(xv, norm, y);
  } else {
    kernels::batch_norm_apply(xv, norm, y, value_or_null(addend));
  }
  OpRecord record{"batch_norm", {x, weight, bias}, {}};
  if (addend.defined()) record.inputs.push_back(addend);
  if (saves) {
    const bool masked_sum = addend.defined() && options.act.kind != Activation::kIdentity;
    record.backward = Saved{xv,
                            saved_if(masked_sum, y),
                            statistics,
                            weight.defined() ? weight.value() : Tensor(),
                            bias.defined() ? bias.value() : Tensor(),
                            options};
  }
  return make_result(std::move(record), std::move(y));
}

}  // namespace halftone
