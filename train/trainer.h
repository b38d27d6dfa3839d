// Runs a recipe: trains, measures, writes checkpoints, and stops when asked to.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "data/loader.h"
#include "train/checkpoint.h"
#include "train/choose_device.h"
#include "train/data_source.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/network.h"
#include "train/progress.h"
#include "train/step_graph.h"

namespace halftone {

struct TrainOptions {
  std::string out;                   // the run folder, made when missing
  bool resume = false;               // go on from out/checkpoint.safetensors
  bool allow_other_threads = false;  // resume although sums will round differently
  bool quiet = false;                // no progress bar
  DeviceChoice device;               // where it trains; a run may go on elsewhere
  bool graph = true;                 // of a device: steps as recorded graphs where that fits
};

struct TrainResult {
  bool finished = false;  // false: stopped by a signal, the checkpoint is written
  int signal = 0;
  int64_t steps = 0;
  double seconds =
      0;  // of training, evaluation between epochs included, earlier parts of a resumed run too
  Evaluation test;  // last epoch; of the quantized network where there is a quantizer
};

class Trainer {
 public:
  // Throws Error before anything is written when recipe, data, model or folder do not fit.
  Trainer(const Recipe& recipe, const TrainOptions& options);
  TrainResult run();
  // Called after every optimizer step of run().
  void on_step(std::function<void()> hook) { hook_ = std::move(hook); }

  const Context& context() const { return context_; }
  const Recipe& recipe() const { return recipe_; }
  Network& network() { return network_; }
  const DataPair& data() const { return data_; }
  int64_t steps_per_epoch() const { return steps_per_epoch_; }
  const Loss& loss() const { return loss_; }
  const std::vector<MetricsRow>& rows() const { return metrics_->rows(); }
  int64_t graph_launches() const { return graph_.launches(); }
  // Images of the calibration behind the last step; 0 without one.
  int calibration_images() const;
  std::string checkpoint_path() const { return options_.out + "/checkpoint.safetensors"; }

 private:
  void restore(const Checkpoint& checkpoint);
  void step();
  void labelled(int64_t step, const std::function<void()>& work);
  StepOutputs forward_backward(const Batch& batch, bool first, int64_t parts);
  void check_finite(float loss, const Batch& batch);
  void check_calibration() const;
  bool records() const;
  void quantize();
  void end_of_epoch();
  void end_without_steps();
  void reestimate();
  void add_row(const Evaluation* test);
  void save();
  double seconds() const;
  double window_seconds() const;
  int64_t total_steps() const { return steps_per_epoch_ * recipe_.epochs; }

  Recipe recipe_;
  TrainOptions options_;
  Context context_;
  DataPair data_;
  std::unique_ptr<Loader> loader_;
  int64_t steps_per_epoch_;
  Network network_;
  Optimizer* optimizer_;  // network_'s
  Schedule schedule_;
  StepGraph graph_;
  Loss loss_;
  std::unique_ptr<Metrics> metrics_;
  Progress progress_;
  std::function<void()> hook_;
  Window window_;
  Evaluation test_;
  int64_t step_ = 0;
  double seconds_before_ = 0;
  std::chrono::steady_clock::time_point start_, window_start_, last_save_;
};

}  // namespace halftone
