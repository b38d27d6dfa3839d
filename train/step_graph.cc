#include "train/step_graph.h"

#include <fmt/format.h>

#include "kernels/loss.h"
#include "nn/layers.h"
#include "tensor/memory.h"

namespace halftone {
namespace {

// What must not happen in a step that is to be recorded.
struct Traces {
  explicit Traces(const Context& context) : copies(context.runtime()->host_copies()) {
    const MemoryStats stats = context.memory().stats();
    blocks = stats.heap_blocks, departures = stats.departures;
  }
  // What `work` copies does not count.
  template <class Work>
  void leave_out(const Context& context, const Work& work) {
    const uint64_t before = context.runtime()->host_copies();
    work();
    copies += context.runtime()->host_copies() - before;
  }
  bool operator==(const Traces& o) const {
    return copies == o.copies && blocks == o.blocks && departures == o.departures;
  }
  uint64_t copies, blocks = 0, departures = 0;
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

// Of the step that the optimizer's makes of them.
std::string following_key(const Quantizer& quantizer) {
  int checking = 0, warming_up = 0;
  for (const QuantPoint& p : quantizer.points()) {
    const int64_t next = p.quantizer->steps() + 1;
    checking += p.quantizer->checks_values_at(next);
    warming_up += p.quantizer->spec().start_step > next;
  }
  return fmt::format(" {} {}", checking, warming_up);
}

}  // namespace

std::string step_key(const Batch& batch, const Quantizer* quantizer) {
  int quantizing = 0, checking = 0, known = 0, observing = 0, frozen = 0;
  if (quantizer != nullptr) {
    for (const QuantPoint& p : quantizer->points()) {
      const FakeQuantize& q = *p.quantizer;
      const int64_t freeze = q.spec().bn_freeze_step;
      quantizing += q.will_quantize();
      checking += q.checks_values();
      known += q.initialised();
      observing += q.observes();
      frozen += freeze > 0 && q.steps() >= freeze;
    }
  }
  const bool follows = quantizer != nullptr && !batch.images.on_host();
  return fmt::format("train {} {} {} {} {} {}", batch.images.shape().str(), quantizing, checking,
                     known, observing, frozen) +
         (follows ? following_key(*quantizer) : "");
}

StepGraph::StepGraph(Module& model, bool records) : context_(model.context()), records_(records) {
  if (context_.on_cpu()) return;
  for (auto& [path, module] : model.named_modules()) {
    auto* norm = dynamic_cast<BatchNorm*>(module);
    if (norm != nullptr) counters_.push_back(norm->num_batches_tracked);
  }
  for (auto& [name, buffer] : model.named_buffers()) state_.push_back(buffer);
  loss_ = Tensor::zeros(context_, Shape());
  correct_ = Tensor::zeros(context_, Shape(), DType::kInt64);
  later_ = Tensor::zeros(context_, Shape(), DType::kInt64);
}

StepGraph::~StepGraph() {
  if (later_.defined()) context_.random().later = nullptr;
}

StepNumbers StepGraph::run(const std::string& key, const Batch& batch, const StepWork& work,
                           Optimizer* optimizer) {
  const Step step{key, batch, work, optimizer};
  if (context_.on_cpu()) return on_cpu(step);
  context_.random().later = static_cast<const uint64_t*>(later_.raw());
  Kind& kind = kinds_[key];
  if (stands(kind, batch)) {
    launch(kind, step);
  } else if (records_ && kind.fits) {
    record(kind, step);
  } else {
    eager(kind, step);
  }
  return {loss_.item<float>(), correct_.item<int64_t>()};
}

StepNumbers StepGraph::on_cpu(const Step& step) const {
  StepNumbers numbers;
  {
    const MemoryStep memory(context_.memory(), step.key);
    const StepOutputs out = step.work(step.batch);
    numbers = {out.loss.item<float>(), kernels::count_correct(out.logits, step.batch.labels)};
  }
  if (step.optimizer != nullptr) step.optimizer->step();
  return numbers;
}

// Its addresses are those of today, and it makes its batch where it has to.
bool StepGraph::stands(const Kind& kind, const Batch& batch) const {
  return kind.graph != nullptr && kind.draws.defined() == (batch.gather != nullptr) &&
         kind.arena == context_.memory().arena() && kind.version == context_.runtime()->version() &&
         kind.places == places();
}

std::vector<const void*> StepGraph::places() const {
  std::vector<const void*> out;
  for (const Tensor* t : state_) out.push_back(t->raw());
  return out;
}

void StepGraph::take(const StepOutputs& outputs, const Batch& batch) {
  loss_.copy_from(outputs.loss);
  kernels::count_correct_on_device(outputs.logits, batch.labels, correct_);
}

void StepGraph::eager(Kind& kind, const Step& step) {
  Batch batch = step.batch;
  batch.make();
  Traces before(context_);
  {
    const MemoryStep memory(context_.memory(), step.key);
    take(step.work(batch), batch);
    if (step.optimizer != nullptr) {
      before.leave_out(context_, [&] { step.optimizer->advance(step.optimizer->updated()); });
      step.optimizer->launch(&loss_);
    }
  }
  kind.fits = Traces(context_) == before;
}

void StepGraph::record(Kind& kind, const Step& step) {
  kind = {};
  kind.inputs = step.batch;
  kind.inputs.images = step.batch.images.clone();
  kind.inputs.labels = step.batch.labels.clone();
  if (step.batch.gather) kind.draws = step.batch.draws.to(context_);
  const std::vector<int64_t> before = counts();
  kind.first_stream = context_.random().next;
  const Traces traces(context_);
  try {
    const MemoryStep memory(context_.memory(), step.key);
    Capture capture(*context_.runtime());
    if (step.batch.gather) step.batch.gather(kind.draws, kind.inputs.images, kind.inputs.labels);
    take(step.work(kind.inputs), kind.inputs);
    if (step.optimizer != nullptr) {
      kind.updated = step.optimizer->updated();
      step.optimizer->launch(&loss_);
    }
    kind.graph = capture.end();
  } catch (Error& e) {  // what a recording cannot hold may run kernel by kernel
    const bool library = e.op() == "cuda" || e.op() == "cudnn" || e.op() == "cublasLt";
    throw library ? e.fix("halftone train --no-graph launches kernel by kernel") : e;
  }
  const bool fits = Traces(context_) == traces;
  kind.streams = context_.random().next - kind.first_stream;
  kind.counts = counts();
  for (size_t i = 0; i < before.size(); ++i) kind.counts[i] -= before[i];
  kind.arena = context_.memory().arena();
  kind.version = context_.runtime()->version();
  kind.places = places();
  if (step.optimizer != nullptr) step.optimizer->advance(kind.updated);
  kind.graph->launch();
  ++launches_;
  if (!fits) kind = {};  // its memory is not the plan's: for once only
}

void StepGraph::launch(Kind& kind, const Step& step) {
  if (kind.draws.defined()) {
    kind.draws.copy_from(step.batch.draws);
  } else {
    kind.inputs.images.copy_from(step.batch.images);
    kind.inputs.labels.copy_from(step.batch.labels);
  }
  RandomState& random = context_.random();
  set_later(random.next - kind.first_stream);
  if (step.optimizer != nullptr) step.optimizer->advance(kind.updated);
  kind.graph->launch();
  if (step.optimizer != nullptr) step.optimizer->replayed();
  set_later(0);
  random.next += kind.streams;
  ++launches_;
  for (size_t i = 0; i < counters_.size(); ++i) *counters_[i]->data<int64_t>() += kind.counts[i];
}

void StepGraph::set_later(uint64_t streams) {
  context_.runtime()->fill(later_.raw(), sizeof(streams), streams, 1);
}

std::vector<int64_t> StepGraph::counts() const {
  std::vector<int64_t> out;
  for (const Tensor* counter : counters_) out.push_back(counter->item<int64_t>());
  return out;
}

}  // namespace halftone
