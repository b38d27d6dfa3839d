// 2. Train a small network on digits that the library draws itself.
#include <cstdio>
#include <memory>

#include "halftone.h"

int main() {
  using namespace halftone;
  ContextOptions options;
  options.seed = 1;
  const Context context(options);

  // A data set in memory, and batches of it prepared by a worker thread.
  DatasetOptions ten_thousand;
  ten_thousand.limit = 10000;
  auto train = std::make_shared<const Dataset>(
      load_dataset(context, "generated-digits", Split::kTrain, ten_thousand));
  ten_thousand.limit = 2000;
  auto test = std::make_shared<const Dataset>(
      load_dataset(context, "generated-digits", Split::kTest, ten_thousand));
  Loader loader(context, train, {});

  // A model of the zoo; its parameters lie in one flat store that the optimizer walks.
  Model model = make_model("lenet5", context);
  ParameterStore store(*model.module);
  auto adam = make_optimizer(store, {});

  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    double loss_sum = 0;
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
      const Batch batch = loader.next();
      adam->zero_grad();
      // The first step records what memory it takes; the later ones take the same from one block.
      const MemoryStep step(context.memory(), "train " + batch.images.shape().str());
      Variable loss = cross_entropy((*model.module)(Variable(batch.images)), batch.labels);
      loss.backward();
      adam->step();
      loss_sum += loss.value().item<float>();
    }
    const Evaluation e = evaluate(*model.module, test, 500, make_loss("cross_entropy"));
    std::printf("epoch %d: training loss %.4f, test accuracy %.2f %%\n",
                static_cast<int>(epoch + 1),
                loss_sum / static_cast<double>(loader.batches_per_epoch()), 100 * e.accuracy);
  }
  save_safetensors("/tmp/halftone_lenet5.safetensors",
                   {model->state_dict(), {}});  // PyTorch's names and layouts
}
