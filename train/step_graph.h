// Training steps of a device as one recorded graph (on a GPU a CUDA graph): forward, backward, the
// optimizer and what follows its step, where nothing in them needs the host.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/loader.h"
#include "nn/module.h"
#include "quant/quantizer.h"

namespace halftone {

struct StepOutputs {
  Tensor logits, loss;
};

struct StepNumbers {
  float loss = 0;
  int64_t correct = 0;
};

// Forward and backward of a batch, gradients zeroed first.
using StepWork = std::function<StepOutputs(const Batch& batch)>;

// Whatever decides which buffers a step asks for, and what it computes: the shapes, and what the
// quantizers do in it and, on a device, behind the optimizer's step. Null: no quantizer.
std::string step_key(const Batch& batch, const Quantizer* quantizer);

class StepGraph {
 public:
  // `records` false: every step launches its kernels one by one, as on the CPU.
  StepGraph(Module& model, bool records);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // work(batch), and then the optimizer's step where there is one: of a device part of what is
  // recorded, and not done where the loss is not finite. Within a MemoryStep of this key. A batch
  // that is not made yet is made first, of a recorded step as a part of it. A step
  // that neither copied between host and device, nor took memory outside its plan, is recorded the
  // next time, on copies of its inputs, and from then on launched as a whole: the same kernels, so
  // the same bits. What the host counts in a step (batches that batch norm tracked, streams of
  // random numbers, steps) is counted for it.
  StepNumbers run(const std::string& key, const Batch& batch, const StepWork& work,
                  Optimizer* optimizer = nullptr);
  int64_t launches() const { return launches_; }  // of recorded steps

 private:
  struct Kind {
    bool fits = false;  // the last one could have been recorded
    std::unique_ptr<DeviceGraph> graph;
    Batch inputs;
    Tensor draws;  // on the device: what the inputs are made of, where that is part of the graph
    const void* arena = nullptr;
    std::vector<const void*> places;  // of state_
    uint64_t version = 0;
    std::vector<int64_t> counts;             // per step, of counters_
    uint64_t first_stream = 0, streams = 0;  // of random numbers: when recorded, and per step
    std::vector<bool> updated;               // parameters
  };
  struct Step {
    const std::string& key;
    const Batch& batch;
    const StepWork& work;
    Optimizer* optimizer;  // null: none
  };
  StepNumbers on_cpu(const Step& step) const;
  void eager(Kind& kind, const Step& step);
  void record(Kind& kind, const Step& step);
  void launch(Kind& kind, const Step& step);
  bool stands(const Kind& kind, const Batch& batch) const;
  void take(const StepOutputs& outputs, const Batch& batch);
  std::vector<int64_t> counts() const;
  void set_later(uint64_t streams);

  const Context context_;
  const bool records_;
  std::vector<const void*> places() const;
  std::vector<Tensor*> counters_;
  std::vector<Tensor*> state_;  // every buffer: a quantizer that runs twice in a step moves its own
  Tensor loss_, correct_;       // of a device: where a step leaves its numbers
  Tensor later_;                // Philox::later of what it draws
  std::map<std::string, Kind> kinds_;
  int64_t launches_ = 0;
};

}  // namespace halftone
