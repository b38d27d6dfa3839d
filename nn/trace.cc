#include "nn/module.h"

namespace halftone {

// Puts every module of a tree into evaluation mode without executor, and back.
class TraceGuard {
 public:
  explicit TraceGuard(Module& root) {
    for (auto& [path, module] : root.named_modules()) {
      saved_.push_back({module, module->training_, std::move(module->executor_)});
      module->training_ = false;
      module->executor_ = nullptr;
    }
  }
  ~TraceGuard() {
    for (Saved& s : saved_) {
      s.module->training_ = s.training;
      s.module->executor_ = std::move(s.executor);
    }
  }
  TraceGuard(const TraceGuard&) = delete;
  TraceGuard& operator=(const TraceGuard&) = delete;

 private:
  struct Saved {
    Module* module;
    bool training;
    Executor executor;
  };
  std::vector<Saved> saved_;
};

Graph trace(Module& model, const Variable& dummy_input) {
  refresh_paths(model);
  TraceGuard guard(model);
  NoGrad no_grad;
  GraphRecorder recorder(dummy_input);
  const Variable output = model(dummy_input);
  return recorder.finish(output, model.tree_version());
}

}  // namespace halftone
