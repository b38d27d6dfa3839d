#include "train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "autograd/anomaly.h"
#include "kernels/loss.h"
#include "tensor/atomic_file.h"
#include "tensor/memory.h"
#include "train/calibrate.h"
#include "train/out_of_memory.h"
#include "train/stop_signal.h"

namespace halftone {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t count_steps(const Loader& loader, const Recipe& recipe) {
  return (loader.batches_per_epoch() + recipe.accumulate - 1) / recipe.accumulate;
}

void make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    throw HALFTONE_ERROR("train")
        .at(path)
        .expected("a folder that can be made")
        .found(error.message())
        .fix("choose another --out");
  }
}

// What a kill in the middle of a save leaves behind.
void remove_torn_files(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const bool torn = is_temporary_name(entry.path().filename().string());
    if (torn && entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
}

// A resumed run has its weights in the checkpoint: the file it started from may be gone.
Recipe start_recipe(Recipe recipe, const TrainOptions& options) {
  if (options.resume) recipe.model.weights.clear();
  return recipe;
}

}  // namespace

Trainer::Trainer(const Recipe& recipe, const TrainOptions& options)
    : recipe_(recipe),
      options_(options),
      context_(context_of(options.device, recipe, static_cast<uint64_t>(recipe.seed))),
      data_(load_data(context_.host(), recipe.data)),
      loader_(training_loader(context_, recipe, data_.train)),
      steps_per_epoch_(count_steps(*loader_, recipe)),
      network_(build_network(context_, start_recipe(recipe, options), steps_per_epoch_,
                             NetworkUse::kTraining)),
      optimizer_(network_.optimizer.get()),
      schedule_(build_schedule(recipe.schedule, steps_per_epoch_, recipe.epochs)),
      graph_(*network_.model.module, options.graph),
      loss_(build_loss(recipe.loss)),
      progress_(!options.quiet) {
  check_fits(network_, *data_.train, recipe_);
  check_fits(network_, *data_.test, recipe_);
  if (network_.quantizer) {
    for (const std::string& w : network_.quantizer->warnings()) progress_.warn(w);
  }
  if (network_.quantizer && network_.quantizer->needs_calibration()) {
    // In float until the last step is done: tests between epochs are no calibration.
    for (const QuantPoint& p : network_.quantizer->points()) p.quantizer->enable(false, false);
    check_calibration();
  }
  make_folder(options_.out);
  remove_torn_files(options_.out);
  if (options_.resume) restore(load_checkpoint(context_.host(), checkpoint_path()));
  metrics_ = std::make_unique<Metrics>(options_.out, options_.resume ? step_ : -1);
  write_file_atomically(options_.out + "/recipe.yaml", to_yaml(recipe_));
}

void Trainer::restore(const Checkpoint& c) {
  if (c.threads != context_.threads() && !options_.allow_other_threads) {
    throw HALFTONE_ERROR("resume")
        .at(checkpoint_path())
        .expected(fmt::format("{} threads, as before: sums round differently with another count",
                              c.threads))
        .found(std::to_string(context_.threads()))
        .fix(fmt::format("--set threads={}, or --allow-other-threads", c.threads));
  }
  if (c.steps_per_epoch != steps_per_epoch_ && c.finished && c.step == 0) {
    throw HALFTONE_ERROR("resume")
        .at(checkpoint_path())
        .expected("a run that was trained")
        .found("a network that halftone import or quantize wrote")
        .fix("start a new run with model.weights=" + options_.out);
  }
  if (c.steps_per_epoch != steps_per_epoch_) {
    throw HALFTONE_ERROR("resume")
        .at(checkpoint_path())
        .expected(fmt::format("the data it began with: {} steps per epoch", c.steps_per_epoch))
        .found(fmt::format("{} ({} images of {})", steps_per_epoch_, data_.train->size(),
                           data_.train->name));
  }
  network_.model.module->load_state_dict(c.model);
  optimizer_->load_state_dict(c.optimizer);
  context_.random() = c.random;
  loader_->seek(c.loader);
  step_ = c.step;
  if (step_ > total_steps()) {
    throw HALFTONE_ERROR("resume")
        .at(checkpoint_path())
        .expected(fmt::format("at least {} epochs, as many as the run has had",
                              (step_ + steps_per_epoch_ - 1) / steps_per_epoch_))
        .found(std::to_string(recipe_.epochs));
  }
  if (step_ < total_steps() && network_.quantizer && network_.quantizer->needs_calibration() &&
      !records()) {
    throw HALFTONE_ERROR("resume")
        .at(checkpoint_path())
        .expected(fmt::format("{} epochs, as before: the run is calibrated, and not float any more",
                              c.step / std::max<int64_t>(c.steps_per_epoch, 1)))
        .found(std::to_string(recipe_.epochs))
        .fix("start a new run with model.weights=" + options_.out);
  }
  window_ = c.window;
  seconds_before_ = c.seconds;
}

double Trainer::seconds() const { return seconds_before_ + seconds_since(start_); }

double Trainer::window_seconds() const { return window_.seconds + seconds_since(window_start_); }

void Trainer::save() {
  Checkpoint c;
  c.model = network_.model.module->state_dict();
  c.optimizer = optimizer_->state_dict();
  c.recipe = to_yaml(recipe_);
  c.step = step_;
  c.steps_per_epoch = steps_per_epoch_;
  c.loader = loader_->state();
  c.random = context_.random();
  metrics_->flush();
  c.window = window_;
  c.window.seconds = window_seconds();
  c.threads = context_.threads();
  c.seconds = seconds();
  c.finished = step_ >= total_steps();
  save_checkpoint(checkpoint_path(), c);
  last_save_ = Clock::now();
}

void Trainer::check_finite(float loss, const Batch& batch) {
  if (std::isfinite(loss)) return;
  Error error = HALFTONE_ERROR("train");
  error.what_happened(
      fmt::format("the loss is {} at step {} (epoch {})", loss, step_ + 1, batch.epoch + 1));
  try {  // once more, looking at every value
    Batch again = batch;
    again.make();
    const DetectNonFinite detect;
    loss_((*network_.model.module)(Variable(again.images)), again.labels).backward();
  } catch (const Error& e) {
    error.found(e.what());
  }
  const bool saved = std::filesystem::exists(checkpoint_path());
  throw error.fix(std::string("lower optimizer.lr, or add schedule.warmup_epochs") +
                  (saved ? "; the last checkpoint is whole" : ""));
}

// The sum of `parts` such gradients is the step's.
StepOutputs Trainer::forward_backward(const Batch& batch, bool first, int64_t parts) {
  if (first) optimizer_->zero_grad();
  const Variable output = (*network_.model.module)(Variable(batch.images));
  Variable loss = loss_(output, batch.labels);
  const StepOutputs outputs{output.value(), loss.value()};
  // Of a device it is looked at when the step is over.
  if (context_.on_cpu()) check_finite(outputs.loss.item<float>(), batch);
  if (parts > 1) loss = scale(loss, 1.0f / static_cast<float>(parts));
  loss.backward();
  return outputs;
}

void Trainer::step() {
  optimizer_->schedule(schedule_, step_);
  // The last step of an epoch may have fewer batches to add up.
  const int64_t left = loader_->batches_per_epoch() - loader_->state().batch;
  const int64_t parts = std::min<int64_t>(recipe_.accumulate, left);
  for (int64_t i = 0; i < parts; ++i) {
    const Batch batch = loader_->next_unmade();
    StepNumbers numbers;
    with_batch_advice("batch_size", recipe_.batch_size, [&] {
      const bool first = i == 0, last = i + 1 == parts;
      const std::string key = fmt::format("{} {}{}/{}", step_key(batch, network_.quantizer.get()),
                                          first ? 0 : 1, last ? " last" : "", parts);
      numbers = graph_.run(
          key, batch, [&](const Batch& b) { return forward_backward(b, first, parts); },
          last ? optimizer_ : nullptr);
    });
    check_finite(numbers.loss, batch);
    window_.loss += numbers.loss / static_cast<double>(parts);
    window_.correct += numbers.correct;
    window_.images += batch.labels.numel();
  }
  ++step_;
  ++window_.steps;
}

// Errors say at which step they came.
void Trainer::labelled(int64_t step, const std::function<void()>& work) {
  try {
    work();
  } catch (Error& e) {
    throw e.inside(fmt::format("step {} (epoch {})", step, (step - 1) / steps_per_epoch_ + 1));
  }
}

void Trainer::add_row(const Evaluation* test) {
  MetricsRow row;
  row.step = step_;
  row.epoch = static_cast<double>(step_) / static_cast<double>(steps_per_epoch_);
  row.lr = optimizer_->groups().back().lr;
  row.loss = window_.loss / static_cast<double>(window_.steps);
  row.accuracy = static_cast<double>(window_.correct) / static_cast<double>(window_.images);
  row.images_per_second = static_cast<double>(window_.images) / std::max(window_seconds(), 1e-9);
  if (test) row.test_loss = test->loss, row.test_accuracy = test->accuracy;
  metrics_->add(row);
  window_ = {};
  window_start_ = Clock::now();
}

int Trainer::calibration_images() const {
  if (!network_.quantizer || !network_.quantizer->needs_calibration()) return 0;
  const int wanted = recipe_.quantizer.calibration_images;
  return wanted > 0 ? wanted : kCalibrationImages;
}

// Hours before they are wanted.
void Trainer::check_calibration() const {
  if (calibration_images() <= data_.train->size()) return;
  throw HALFTONE_ERROR("quantizer.calibration_images")
      .at(recipe_.quantizer.lines.at("calibration_images"))
      .expected(fmt::format("at most the {} training images of {}", data_.train->size(),
                            data_.train->name))
      .found(std::to_string(calibration_images()));
}

// Whether the ranges of a quantizer that calibrates are still to come.
bool Trainer::records() const {
  if (!network_.quantizer || !network_.quantizer->needs_calibration()) return false;
  for (const QuantPoint& p : network_.quantizer->points()) {
    if (!p.quantizer->initialised()) return true;
  }
  return false;
}

// Behind the last step: the float network becomes the quantized one.
void Trainer::quantize() {
  if (step_ < total_steps() || !records()) return;
  for (const QuantPoint& p : network_.quantizer->points()) p.quantizer->enable(true, true);
  const std::string key = "quantizer.calibration_images";
  const int images = calibration_images();
  with_batch_advice(key, calibration_batch(images), [&] {
    calibrate(*network_.model.module,
              calibration_batches(context_, data_.train, images, recipe_.seed, key),
              [this](int64_t done, int64_t total) { progress_.count("calibration", done, total); });
  });
  network_.quantizer->compress();
}

// quantizer.reestimate_batches: the first batches of epoch 0, as the images are.
void Trainer::reestimate() {
  const int wanted = recipe_.quantizer.reestimate_batches;
  if (step_ < total_steps() || wanted == 0) return;
  LoaderOptions options = loader_->options();
  options.augmentation = {};
  with_batch_advice("batch_size", recipe_.batch_size, [&] {
    Loader loader(context_, data_.train, options);
    std::vector<Tensor> batches;
    for (int64_t k = 0; k < std::min<int64_t>(wanted, loader.batches_per_epoch()); ++k)
      batches.push_back(loader.next().images);
    network_.quantizer->reestimate_statistics(batches);
  });
}

void Trainer::end_of_epoch() {
  labelled(step_, [this] { quantize(); });
  labelled(step_, [this] { reestimate(); });
  labelled(step_, [this] {
    test_ = evaluate(*network_.model.module, data_.test, recipe_.test_batch_size, loss_);
  });
  add_row(&test_);
  progress_.note(fmt::format("epoch {}/{}: test accuracy {:.2f} %, test loss {:.4f}, {}",
                             step_ / steps_per_epoch_, recipe_.epochs, 100 * test_.accuracy,
                             test_.loss, format_duration(seconds())));
  save();
  window_start_ = Clock::now();
}

// epochs: 0, or a run resumed behind its last step, which with fewer epochs than planned may not
// have been calibrated.
void Trainer::end_without_steps() {
  if (records() || !options_.resume) {
    labelled(step_, [this] { quantize(); });
    labelled(step_, [this] { reestimate(); });
    save();
  }
  test_ = evaluate(*network_.model.module, data_.test, recipe_.test_batch_size, loss_);
}

TrainResult Trainer::run() {
  const StopSignal stop;
  const int64_t row_every = (steps_per_epoch_ + 19) / 20;
  start_ = window_start_ = last_save_ = Clock::now();
  const bool trains = step_ < total_steps();
  network_.model->train();
  while (step_ < total_steps() && !StopSignal::received()) {
    labelled(step_ + 1, [this] { step(); });
    if (hook_) hook_();
    ProgressState p;
    p.epoch_steps = steps_per_epoch_;
    p.epoch_step = (step_ - 1) % steps_per_epoch_ + 1;
    p.epoch = static_cast<int>((step_ - 1) / steps_per_epoch_) + 1;
    p.epochs = recipe_.epochs;
    p.step = step_;
    p.steps = total_steps();
    p.loss = window_.loss / static_cast<double>(window_.steps);
    p.accuracy = static_cast<double>(window_.correct) / static_cast<double>(window_.images);
    p.images_per_second = static_cast<double>(window_.images) / std::max(window_seconds(), 1e-9);
    progress_.update(p);
    if (step_ % steps_per_epoch_ == 0) {
      end_of_epoch();
    } else if (step_ % steps_per_epoch_ % row_every == 0) {
      add_row(nullptr);
    }
    if (recipe_.checkpoint_minutes > 0 &&
        seconds_since(last_save_) > 60 * recipe_.checkpoint_minutes)
      save();
  }
  progress_.finish();
  if (step_ < total_steps()) save();
  if (test_.images == 0 && step_ == total_steps()) end_without_steps();
  const double taken = trains || !options_.resume ? seconds() : seconds_before_;
  return {step_ >= total_steps(), StopSignal::received(), step_, taken, test_};
}

}  // namespace halftone
