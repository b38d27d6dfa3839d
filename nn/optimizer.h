// Optimizers over a ParameterStore: on a device one launch for all parameters.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nn/parameter_store.h"
#include "nn/schedule.h"

namespace halftone {

// Parameters whose name matches the pattern ('*' any text, '?' one letter) take these values
// instead of the optimizer's; the first pattern that matches counts.
struct ParameterGroupOptions {
  std::string pattern;
  std::optional<double> lr, weight_decay;
};

// What is not set takes PyTorch's default for the optimizer; what the optimizer does not have
// throws.
struct OptimizerOptions {
  std::string name = "Adam";  // see optimizer_names()
  double lr = 1e-3;
  std::optional<double> weight_decay;         // 0; AdamW 0.01
  std::optional<double> momentum, dampening;  // SGD: 0, 0
  std::optional<bool> nesterov;               // SGD: false
  std::optional<double> beta1, beta2, eps;    // Adam, AdamW: 0.9, 0.999, 1e-8
  std::vector<ParameterGroupOptions> groups;
};

struct ParameterGroup {
  std::string pattern;
  double base_lr, lr, weight_decay;  // lr: now; base_lr: what schedules start from
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Updates every parameter that has a gradient (PyTorch: whose grad is not None).
  void step();
  void zero_grad() { store_.zero_grad(); }
  // Takes in parameters that the model has gained since the store was made:
  // they follow the others, and what is known of those stays.
  void take_in(Module& model);
  // Before the groups that exist; moves the parameters that match into it. Throws where none does.
  void add_group(const ParameterGroupOptions& group);
  // Called at the end of every step(), in the order of the calls here. host_part: what remains to
  // be done where the step, with the hook's launches in it, is a recorded one.
  void on_step(std::function<void()> hook, std::function<void()> host_part = nullptr) {
    hooks_.push_back({std::move(hook), std::move(host_part)});
  }
  // Sets every group's learning rate to that of step t.
  void schedule(const Schedule& schedule, int64_t t);
  const std::vector<ParameterGroup>& groups() const { return groups_; }
  ParameterStore& store() { return store_; }

  // A step of a device in parts, for who records it (train/step_graph.h).
  // Per parameter of the store: whether it has a gradient.
  std::vector<bool> updated() const;
  // Counts a step of these, and puts what it takes, learning rates too, where launch() reads it:
  // outside what is recorded, before it runs.
  void advance(const std::vector<bool>& updated);
  // The update, unless `loss` is given and not finite, and the hooks.
  void launch(const Tensor* loss);
  // In place of launch() where a recorded one ran.
  void replayed();

  // Everything that a resumed run needs (learning rates follow from the schedule): flat buffers in
  // the store's order, and how often each parameter was updated ("steps", int64).
  std::map<std::string, Tensor> state_dict() const;
  void load_state_dict(const std::map<std::string, Tensor>& state);

 protected:
  Optimizer(ParameterStore& store, const OptimizerOptions& options, double weight_decay,
            std::vector<std::string> buffer_names);
  // A range of the flat buffers; `step` is 1 the first time.
  struct Range {
    const ParameterGroup* group;
    int64_t begin, end, step;
  };
  // On the CPU.
  virtual void update(const Range& range, const Tensor& grad, Tensor& value,
                      std::vector<Tensor>& buffers) = 0;
  // On a device: for the store as it is now; what launch() takes, per parameter, where a null group
  // leaves it as it is; and the launch.
  virtual void lay_out_on_device(ParameterStore& store) = 0;
  virtual void put_on_device(const std::vector<Range>& parameters) = 0;
  virtual void update_on_device(const float* loss, ParameterStore& store,
                                std::vector<Tensor>& buffers) = 0;

 private:
  void update_ranges(const std::vector<bool>& updated);
  void update_range(const Range& range);
  Range range_of(size_t entry) const;
  void assign_groups();
  void check_home(const ParameterStore::Entry& entry) const;
  ParameterStore& store_;
  std::vector<ParameterGroup> groups_;  // the last one holds the rest
  std::vector<int> group_of_;           // per entry of the store
  std::vector<int64_t> steps_;          // per entry of the store
  std::vector<std::string> buffer_names_;
  std::vector<Tensor> buffers_;  // flat, as long as the store
  struct Hook {
    std::function<void()> whole, host_part;
  };
  std::vector<Hook> hooks_;
};

// The store must outlive the optimizer.
std::unique_ptr<Optimizer> make_optimizer(ParameterStore& store, const OptimizerOptions& options);
// PyTorch's class names: SGD, Adam, AdamW.
std::vector<std::string> optimizer_names();
// One line about an optimizer, for `halftone list optimizers`. Throws on an unknown name.
std::string optimizer_summary(const std::string& name);

}  // namespace halftone
