// The module tree.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/graph.h"
#include "autograd/variable.h"

namespace halftone {

class Module;
using ModulePtr = std::shared_ptr<Module>;

// A named, replaceable place in the module tree. A child is its slot: a pass that replaces the
// module leaves no second truth behind. An empty slot passes its input through.
class Slot {
 public:
  Slot(Module* owner, std::string name) : owner_(owner), name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  Module* get() const { return module_.get(); }
  const ModulePtr& ptr() const { return module_; }
  explicit operator bool() const { return module_ != nullptr; }
  Module* operator->() const { return module_.get(); }
  // Replaces the module (null empties the slot); makes recorded graphs stale. A transform slot
  // takes the name under which its module's state is to be stored.
  void set(ModulePtr module);
  void set(std::string name, ModulePtr module);
  Variable operator()(const Variable& x) const;

 private:
  Module* owner_;
  std::string name_;
  ModulePtr module_;
};

// How a parameter of convolution shape lies on disk: OHWI in memory, OIHW in files. Everything else
// is kept.
enum class DiskLayout : uint8_t { kAsIs, kOIHW };

// Runs instead of a module's forward: what a fusing pass installs. The module keeps its name and
// parameters.
using Executor = std::function<Variable(Module& self, const std::vector<Variable>& inputs)>;

class Module : public std::enable_shared_from_this<Module> {
 public:
  explicit Module(const Context& context) : context_(context) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual std::string type_name() const = 0;                   // PyTorch's class name: "Conv2d"
  virtual std::string describe() const { return ""; }          // arguments, as PyTorch's extra_repr
  virtual std::string summary() const { return type_name(); }  // for errors: "Conv2d 128->128"

  // Runs executor or forward inside an ErrorScope "PATH (SUMMARY)", then the output transform.
  Variable operator()(const Variable& x) { return run({x}); }
  Variable operator()(const std::vector<Variable>& inputs) { return run(inputs); }

  const Context& context() const { return context_; }
  bool training() const { return training_; }
  void train(bool on = true);  // recursive
  void eval() { train(false); }

  // Depth first, in registration order, with dotted names; the root's own name is "". Transform
  // slots come after the children, under the name they were set with. A shared module is visited
  // once; in state_dict() it appears under each of its names, as in PyTorch.
  std::vector<std::pair<std::string, Module*>> named_modules();
  std::vector<std::pair<std::string, Variable>> named_parameters();
  std::vector<std::pair<std::string, Tensor*>> named_buffers();
  Module* find(const std::string& path);             // null when absent
  const std::string& path() const { return path_; }  // set by refresh_paths(root)
  uint64_t tree_version();                           // changes when any slot below changes
  // Which of all calls that stand in no other one this thread is in: another in every forward of a
  // model.
  static uint64_t call_number();
  // Grows with every slot set in any tree: while it stays, no tree_version() has changed.
  static uint64_t newest_version();

  // Everything that a file must hold, under PyTorch's names and layouts (NCHW, OIHW).
  std::map<std::string, Tensor> state_dict();
  // Strict: throws one Error that lists every missing, unexpected and mis-shaped name; nothing is
  // loaded then. A buffer without elements takes the shape that the file has.
  void load_state_dict(const std::map<std::string, Tensor>& state);

  // Throws when a file's value of a buffer cannot be this module's (named by its full name): called
  // by load_state_dict() before anything is loaded.
  virtual void check_buffer(const std::string& name, const std::string& full_name,
                            const Tensor& found) const;

  Slot& output_transform() { return output_; }
  void set_executor(Executor executor) { executor_ = std::move(executor); }
  const Executor& executor() const { return executor_; }
  bool has_executor() const { return static_cast<bool>(executor_); }
  // The module's own computation, without executor and output transform: for executors that fall
  // back.
  virtual Variable forward(const std::vector<Variable>& inputs) = 0;

  std::deque<Slot>& children() { return children_; }
  // Children, then transform slots, then the output transform; empty ones too.
  std::vector<Slot*> slots();

 protected:
  // Sets the member and reads it from then on: assigning another module's parameter to it shares
  // that one (before a ParameterStore is made).
  void register_parameter(const std::string& name, Variable& member, Tensor value,
                          DiskLayout layout = DiskLayout::kAsIs);
  Tensor& register_buffer(const std::string& name, Tensor value);   // the address stays valid
  Slot& register_child(const std::string& name, ModulePtr module);  // the address stays valid
  Slot& register_transform(const std::string& name);  // Conv2d, Linear: "input", "weight"

 private:
  friend class Slot;
  friend class TraceGuard;
  friend void refresh_paths(Module& root);
  // One name of the state and where its value lives.
  struct StateEntry {
    std::string name;
    Tensor* value;
    DiskLayout layout;
    const Module* owner;
    std::string own_name;  // of a buffer; "" of a parameter
  };
  Variable run(const std::vector<Variable>& inputs);
  void collect_state(const std::string& prefix, std::vector<StateEntry>& entries);
  struct NamedParameter {
    std::string name;
    Variable* variable;  // a member of this module
    DiskLayout layout;
  };
  Context context_;
  bool training_ = true;
  uint64_t version_ = 0;
  std::string path_, scope_;  // scope_: path and summary, as errors show them
  std::deque<Slot> children_;
  std::deque<Slot> transforms_;
  std::vector<NamedParameter> parameters_;
  std::deque<std::pair<std::string, Tensor>> buffers_;
  Slot output_{this, "output"};
  Executor executor_;
};

template <class M, class... Args>
std::shared_ptr<M> make(Args&&... args) {
  return std::make_shared<M>(std::forward<Args>(args)...);
}

// Writes every module's dotted path, which errors and graphs show. Call after building or changing
// a tree (trace and the trainer do).
void refresh_paths(Module& root);

// Records the Graph of one forward in evaluation mode, without gradients and without executors (so
// that the graph does not depend on what has been fused); no state is touched.
Graph trace(Module& model, const Variable& dummy_input);

// Puts a model into evaluation mode, and every module back into its own at the end.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& model);
  ~EvaluationMode();
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;
};

// An indented listing like PyTorch's print(model).
std::string to_string(Module& root);

}  // namespace halftone
