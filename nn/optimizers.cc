// SGD, Adam and AdamW, by name.
#include "kernels/optimizer.h"
#include "nn/optimizer.h"
#include "nn/optimizer_table.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

template <class T>
void refuse(const OptimizerOptions& options, const char* what, const std::optional<T>& value) {
  if (value) throw HALFTONE_ERROR("optimizer").what_happened(options.name + " has no " + what);
}

float* floats(Tensor& t) { return static_cast<float*>(t.raw()); }

// A device's part but for the launch itself.
template <class Constants>
class DeviceOptimizer : public Optimizer {
 protected:
  using Optimizer::Optimizer;
  virtual Constants constants(const Range& range) const = 0;

  void lay_out_on_device(ParameterStore& store) override { table_.lay_out(store); }
  void put_on_device(const std::vector<Range>& parameters) override {
    std::vector<typename OptimizerTable<Constants>::Row> rows(parameters.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      if (parameters[i].group != nullptr) rows[i] = {constants(parameters[i]), 1};
    }
    table_.put(rows);
  }

  OptimizerTable<Constants> table_;
};

class Sgd : public DeviceOptimizer<kernels::SgdConstants> {
 public:
  Sgd(ParameterStore& store, const OptimizerOptions& options)
      : DeviceOptimizer(store, options, options.weight_decay.value_or(0.0), buffer_names(options)) {
    base_.momentum = options.momentum.value_or(0.0);
    base_.dampening = options.dampening.value_or(0.0);
    base_.nesterov = options.nesterov.value_or(false);
    check(options);
    if (!store.values().on_host()) lay_out_on_device(store);
  }

 private:
  static std::vector<std::string> buffer_names(const OptimizerOptions& options) {
    if (options.momentum.value_or(0.0) == 0.0) return {};
    return {"momentum_buffer"};
  }

  void check(const OptimizerOptions& options) const {
    refuse(options, "beta1", options.beta1);
    refuse(options, "beta2", options.beta2);
    refuse(options, "eps", options.eps);
    if (base_.momentum < 0.0f) {
      throw HALFTONE_ERROR("SGD").expected("momentum >= 0").found(std::to_string(base_.momentum));
    }
    if (base_.nesterov && (base_.momentum <= 0.0f || base_.dampening != 0.0f)) {
      throw HALFTONE_ERROR("SGD").what_happened("Nesterov needs momentum and no dampening");
    }
    if (base_.dampening != 0.0f && base_.momentum == 0.0f) {
      throw HALFTONE_ERROR("SGD").what_happened("dampening without momentum has no effect");
    }
  }

  kernels::SgdOptions options_of(const Range& range) const {
    kernels::SgdOptions o = base_;
    o.lr = range.group->lr;
    o.weight_decay = range.group->weight_decay;
    o.first_step = range.step == 1;
    return o;
  }
  void update(const Range& range, const Tensor& grad, Tensor& value,
              std::vector<Tensor>& buffers) override {
    Tensor none;
    kernels::sgd_step(options_of(range), grad, value, buffers.empty() ? none : buffers[0]);
  }
  kernels::SgdConstants constants(const Range& range) const override {
    return kernels::sgd_constants(options_of(range));
  }
  void update_on_device(const float* loss, ParameterStore& store,
                        std::vector<Tensor>& buffers) override {
    kernels::launch<&kernels::cuda::sgd_pieces>(
        store.values(),
        kernels::cuda::SgdPiecesArgs{table_.pieces(loss), table_.rows(), base_.nesterov,
                                     floats(store.grads()), floats(store.values()),
                                     buffers.empty() ? nullptr : floats(buffers[0])});
  }

  kernels::SgdOptions base_;
};

class Adam : public DeviceOptimizer<kernels::AdamConstants> {
 public:
  Adam(ParameterStore& store, const OptimizerOptions& options, bool decoupled)
      : DeviceOptimizer(store, options, options.weight_decay.value_or(decoupled ? 0.01 : 0.0),
                        {"exp_avg", "exp_avg_sq"}) {
    refuse(options, "momentum", options.momentum);
    refuse(options, "dampening", options.dampening);
    refuse(options, "nesterov", options.nesterov);
    base_.beta1 = options.beta1.value_or(0.9);
    base_.beta2 = options.beta2.value_or(0.999);
    base_.eps = options.eps.value_or(1e-8);
    base_.decoupled = decoupled;
    const bool betas =
        base_.beta1 >= 0.0f && base_.beta1 < 1.0f && base_.beta2 >= 0.0f && base_.beta2 < 1.0f;
    if (!betas || base_.eps < 0.0f) {
      throw HALFTONE_ERROR("Adam")
          .expected("beta1 and beta2 in [0, 1), eps >= 0")
          .found(std::to_string(base_.beta1) + ", " + std::to_string(base_.beta2) + ", " +
                 std::to_string(base_.eps));
    }
    if (!store.values().on_host()) lay_out_on_device(store);
  }

 private:
  kernels::AdamOptions options_of(const Range& range) const {
    kernels::AdamOptions o = base_;
    o.lr = range.group->lr;
    o.weight_decay = range.group->weight_decay;
    o.step = range.step;
    return o;
  }
  void update(const Range& range, const Tensor& grad, Tensor& value,
              std::vector<Tensor>& buffers) override {
    kernels::adam_step(options_of(range), grad, value, buffers[0], buffers[1]);
  }
  kernels::AdamConstants constants(const Range& range) const override {
    return kernels::adam_constants(options_of(range));
  }
  void update_on_device(const float* loss, ParameterStore& store,
                        std::vector<Tensor>& buffers) override {
    const bool near_start = kernels::adam_constants(base_).take1 < 0.5f;
    kernels::launch<&kernels::cuda::adam_pieces>(
        store.values(), kernels::cuda::AdamPiecesArgs{
                            table_.pieces(loss), table_.rows(), near_start, floats(store.grads()),
                            floats(store.values()), floats(buffers[0]), floats(buffers[1])});
  }

  kernels::AdamOptions base_;
};

using OptimizerPtr = std::unique_ptr<Optimizer>;

struct Entry {
  const char *name, *summary;
  OptimizerPtr (*make)(ParameterStore&, const OptimizerOptions&);
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> list = {
      {"SGD", "momentum, dampening, nesterov, weight_decay (as torch.optim.SGD)",
       [](ParameterStore& store, const OptimizerOptions& o) -> OptimizerPtr {
         return std::make_unique<Sgd>(store, o);
       }},
      {"Adam", "beta1, beta2, eps, weight_decay (Kingma and Ba 2015, as torch.optim.Adam)",
       [](ParameterStore& store, const OptimizerOptions& o) -> OptimizerPtr {
         return std::make_unique<Adam>(store, o, false);
       }},
      {"AdamW", "Adam with decoupled weight decay (Loshchilov and Hutter 2019)",
       [](ParameterStore& store, const OptimizerOptions& o) -> OptimizerPtr {
         return std::make_unique<Adam>(store, o, true);
       }},
  };
  return list;
}

const Entry& entry(const std::string& name) {
  for (const Entry& e : entries()) {
    if (name == e.name) return e;
  }
  throw_unknown_name("optimizer", name, optimizer_names());
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const Entry& e : entries()) names.push_back(e.name);
  return names;
}

std::string optimizer_summary(const std::string& name) { return entry(name).summary; }

std::unique_ptr<Optimizer> make_optimizer(ParameterStore& store, const OptimizerOptions& options) {
  return entry(options.name).make(store, options);
}

}  // namespace halftone
