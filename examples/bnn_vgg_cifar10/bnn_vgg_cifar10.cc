// Trains the VGG of the binary networks by a recipe, with part of the training images held out, and
// says three accuracies on the test set: of the last epoch, of the epoch that was best on the test
// set itself (what NNI's example prints), and of the epoch that was best on the held-out images
// (what one may claim). See README.md.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "halftone.h"
#include "train/choose_device.h"
#include "train/data_source.h"
#include "train/network.h"
#include "train/out_of_memory.h"
#include "train/step_graph.h"

namespace {

using namespace halftone;
using DatasetPtr = std::shared_ptr<const Dataset>;

struct Arguments {
  std::string recipe, weights, device = "cpu", math;
  std::vector<std::string> set;
  int64_t held_out = 5000;
};

// Rows [begin, end) of a set.
DatasetPtr part(const Dataset& set, int64_t begin, int64_t end) {
  Dataset out = set;
  out.images = set.images.slice(begin, end);
  out.labels.assign(set.labels.begin() + begin, set.labels.begin() + end);
  return std::make_shared<const Dataset>(std::move(out));
}

struct Parts {
  DatasetPtr train, held_out, test;  // held_out is null where nothing is held out
};

// The last images of the training set are held out: CIFAR-10's files are shuffled.
Parts split(const DataPair& data, int64_t held_out) {
  const int64_t all = data.train->size();
  if (held_out < 0 || held_out >= all) {
    throw HALFTONE_ERROR("--held-out")
        .expected("0 to " + std::to_string(all - 1) + ": some of the training images")
        .found(std::to_string(held_out));
  }
  Parts parts{data.train, nullptr, data.test};
  if (held_out == 0) return parts;
  parts.train = part(*data.train, 0, all - held_out);
  parts.held_out = part(*data.train, all - held_out, all);
  return parts;
}

// Test accuracies, in percent, and what chose them.
struct Results {
  double last = 0, best_on_test = -1, at_best_held_out = 0, best_held_out = -1;
  int test_epoch = 0, held_out_epoch = 0;

  void add(int epoch, double test, double held_out) {
    last = test;
    if (test > best_on_test) best_on_test = test, test_epoch = epoch;
    if (held_out > best_held_out) {
      best_held_out = held_out, at_best_held_out = test, held_out_epoch = epoch;
    }
  }
  void print(bool has_held_out) const {
    std::printf("last epoch                      %6.2f %%\n", last);
    std::printf(
        "best on the test set            %6.2f %%  epoch %d, chosen by what it is "
        "measured on\n",
        best_on_test, test_epoch);
    if (!has_held_out) return;
    std::printf("best on the held-out images     %6.2f %%  epoch %d, %.2f %% of the held-out\n",
                at_best_held_out, held_out_epoch, best_held_out);
  }
};

class Experiment {
 public:
  Experiment(const Arguments& a, const Recipe& recipe)
      : recipe_(recipe),
        context_(context_of(choose_device(a.device, a.math), recipe,
                            static_cast<uint64_t>(recipe.seed))),
        parts_(split(load_data(context_.host(), recipe.data), a.held_out)),
        loader_(training_loader(context_, recipe, parts_.train)),
        network_(
            build_network(context_, recipe, loader_->batches_per_epoch(), NetworkUse::kTraining)),
        graph_(*network_.model.module, true),
        schedule_(build_schedule(recipe.schedule, loader_->batches_per_epoch(), recipe.epochs)),
        loss_(build_loss(recipe.loss)) {
    check_fits(network_, *parts_.train, recipe_);
    check_fits(network_, *parts_.test, recipe_);
  }

  Results run() {
    Results results;
    for (int epoch = 1; epoch <= recipe_.epochs; ++epoch) {
      const double loss = train_epoch();
      const double test = accuracy(parts_.test), held_out = accuracy(parts_.held_out);
      results.add(epoch, test, held_out);
      std::printf("epoch %d/%d: loss %.4f, ", epoch, recipe_.epochs, loss);
      if (parts_.held_out != nullptr) std::printf("held out %.2f %%, ", held_out);
      std::printf("test %.2f %%\n", test);
      std::fflush(stdout);
    }
    return results;
  }
  void save(const std::string& path) {
    save_safetensors(path, {network_.model.module->state_dict(), {}});
  }

 private:
  double train_epoch() {
    network_.model->train();
    double sum = 0;
    const int64_t batches = loader_->batches_per_epoch();
    for (int64_t i = 0; i < batches; ++i) {
      const Batch batch = loader_->next_unmade();
      network_.optimizer->schedule(schedule_, step_++);
      with_batch_advice("batch_size", recipe_.batch_size, [&] {
        const std::string key = step_key(batch, network_.quantizer.get());
        const StepNumbers step = graph_.run(
            key, batch, [this](const Batch& b) { return forward_backward(b); },
            network_.optimizer.get());
        if (!std::isfinite(step.loss)) {
          throw HALFTONE_ERROR("loss")
              .at("step " + std::to_string(step_))
              .expected("a finite number")
              .found(std::to_string(step.loss))
              .fix("a smaller optimizer.lr; halftone train names the layer");
        }
        sum += static_cast<double>(step.loss);
      });
    }
    return sum / static_cast<double>(batches);
  }
  StepOutputs forward_backward(const Batch& batch) {
    network_.optimizer->zero_grad();
    const Variable logits = (*network_.model.module)(Variable(batch.images));
    Variable loss = loss_(logits, batch.labels);
    loss.backward();
    return {logits.value(), loss.value()};
  }
  // In percent; 0 of no set.
  double accuracy(const DatasetPtr& set) {
    if (set == nullptr) return 0;
    return 100 * evaluate(*network_.model.module, set, recipe_.test_batch_size, loss_).accuracy;
  }

  Recipe recipe_;
  Context context_;
  Parts parts_;
  std::unique_ptr<Loader> loader_;
  Network network_;
  StepGraph graph_;
  Schedule schedule_;
  Loss loss_;
  int64_t step_ = 0;
};

// What this loop, which writes no checkpoints, does not do.
void check_recipe(const Recipe& recipe) {
  const auto refuse = [](bool given, const char* key) {
    if (!given) return;
    throw HALFTONE_ERROR("bnn_vgg_cifar10")
        .at(key)
        .what_happened("this program does not know the key")
        .fix("halftone train does");
  };
  const Recipe plain;
  refuse(recipe.accumulate != plain.accumulate, "accumulate");
  refuse(recipe.checkpoint_minutes != plain.checkpoint_minutes, "checkpoint_minutes");
  refuse(recipe.quantizer.reestimate_batches > 0, "quantizer.reestimate_batches");
  refuse(recipe.quantizer.calibration_images > 0, "quantizer.calibration_images");
}

int run(const Arguments& a) {
  const Recipe recipe = load_recipe(a.recipe, a.set);
  check_recipe(recipe);
  Experiment experiment(a, recipe);
  const Results results = experiment.run();
  results.print(a.held_out > 0);
  if (!a.weights.empty()) experiment.save(a.weights);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The VGG of the binary networks on CIFAR-10, by a recipe");
  Arguments a;
  app.add_option("recipe", a.recipe, "examples/recipes/bnn_vgg_cifar10_*.yaml")->required();
  app.add_option("--set", a.set, "Change one value of the recipe (repeatable)")
      ->allow_extra_args(false);
  app.add_option("--held-out", a.held_out,
                 "Training images that choose the epoch instead of training; 0: none, as NNI");
  app.add_option("--device", a.device,
                 "cpu (the default), cuda, cuda:N, or auto: cuda where there is a GPU");
  app.add_option("--math", a.math,
                 "On a GPU, what convolutions and products multiply: float32 (the default), tf32 "
                 "or bfloat16");
  app.add_option("--weights", a.weights, "Where to write the trained weights (safetensors)");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(a);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bnn_vgg_cifar10: %s\n", e.what());
    return 1;
  }
}
