#include "train/step_graph.h"

#include <fmt/format.h>

#include "kernels/loss.h"
#include "nn/layers.h"
#include "tensor/memory.h"

namespace halftone {
namespace {

// What must not happen in a step that is to be recorded.
struct Traces {
  explicit Traces(const Context& context)
      : copies(context.runtime()->host_copies()), random(context.random().next) {
    const MemoryStats stats = context.memory().stats();
    blocks = stats.heap_blocks, departures = stats.departures;
  }
  bool operator==(const Traces& o) const {
    return copies == o.copies && random == o.random && blocks == o.blocks &&
           departures == o.departures;
  }
  uint64_t copies, random, blocks = 0, departures = 0;
};

// Ends the recording however the step ends.
class Capture {
 public:
  explicit Capture(DeviceRuntime& device) : device_(device) { device.begin_capture(); }
  ~Capture() {
    if (!ended_) {
      try {
        device_.end_capture();
      } catch (const Error&) {  // the step's own Error says more
      }
    }
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  std::unique_ptr<DeviceGraph> end() {
    ended_ = true;
    return device_.end_capture();
  }

 private:
  DeviceRuntime& device_;
  bool ended_ = false;
};

}  // namespace

std::string step_key(const Batch& batch, const Quantizer* quantizer) {
  int quantizing = 0, checking = 0;
  if (quantizer != nullptr) {
    for (const QuantPoint& p : quantizer->points()) {
      quantizing += p.quantizer->will_quantize();
      checking += p.quantizer->checks_values();
    }
  }
  return fmt::format("train {} {} {}", batch.images.shape().str(), quantizing, checking);
}

StepGraph::StepGraph(Module& model, bool records) : context_(model.context()), records_(records) {
  if (context_.on_cpu()) return;
  for (auto& [path, module] : model.named_modules()) {
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (norm != nullptr) counters_.push_back(norm->num_batches_tracked);
  }
  loss_ = Tensor::zeros(context_, Shape());
  correct_ = Tensor::zeros(context_, Shape(), DType::kInt64);
}

StepNumbers StepGraph::run(const std::string& key, const Batch& batch, const StepWork& work) {
  if (context_.on_cpu()) {
    const MemoryStep memory(context_.memory(), key);
    const StepOutputs out = work(batch);
    return {out.loss.item<float>(), kernels::count_correct(out.logits, batch.labels)};
  }
  Kind& kind = kinds_[key];
  if (stands(kind)) {
    launch(kind, batch);
  } else if (records_ && kind.fits) {
    record(kind, key, batch, work);
  } else {
    eager(kind, key, batch, work);
  }
  return {loss_.item<float>(), correct_.item<int64_t>()};
}

// Its addresses are those of today.
bool StepGraph::stands(const Kind& kind) const {
  return kind.graph != nullptr && kind.arena == context_.memory().arena() &&
         kind.version == context_.runtime()->version();
}

void StepGraph::take(const StepOutputs& outputs, const Batch& batch) {
  loss_.copy_from(outputs.loss);
  kernels::count_correct_on_device(outputs.logits, batch.labels, correct_);
}

void StepGraph::eager(Kind& kind, const std::string& key, const Batch& batch,
                      const StepWork& work) {
  const Traces before(context_);
  {
    const MemoryStep memory(context_.memory(), key);
    take(work(batch), batch);
  }
  kind.fits = Traces(context_) == before;
}

void StepGraph::record(Kind& kind, const std::string& key, const Batch& batch,
                       const StepWork& work) {
  kind = {};
  kind.inputs = batch;
  kind.inputs.images = batch.images.clone();
  kind.inputs.labels = batch.labels.clone();
  const std::vector<int64_t> before = counts();
  const Traces traces(context_);
  {
    const MemoryStep memory(context_.memory(), key);
    Capture capture(*context_.runtime());
    take(work(kind.inputs), kind.inputs);
    kind.graph = capture.end();
  }
  kind.counts = counts();
  for (size_t i = 0; i < before.size(); ++i) kind.counts[i] -= before[i];
  kind.arena = context_.memory().arena();
  kind.version = context_.runtime()->version();
  kind.graph->launch();
  ++launches_;
  if (!(Traces(context_) == traces)) kind = {};  // its memory is not the plan's: for once only
}

void StepGraph::launch(Kind& kind, const Batch& batch) {
  kind.inputs.images.copy_from(batch.images);
  kind.inputs.labels.copy_from(batch.labels);
  kind.graph->launch();
  ++launches_;
  for (size_t i = 0; i < counters_.size(); ++i) *counters_[i]->data<int64_t>() += kind.counts[i];
}

std::vector<int64_t> StepGraph::counts() const {
  std::vector<int64_t> out;
  for (const Tensor* counter : counters_) out.push_back(counter->item<int64_t>());
  return out;
}

}  // namespace halftone
