// Generated digits are as hard as MNIST by their shapes: a linear classifier does not get far.
#include <memory>

#include <catch2/catch.hpp>
#include "halftone.h"

namespace halftone {
namespace {

std::shared_ptr<const Dataset> digits(const Context& context, Split split, int64_t count) {
  DatasetOptions some;
  some.limit = count;
  return std::make_shared<const Dataset>(load_dataset(context, "generated-digits", split, some));
}

// A third of the set, 4 epochs: 87.4 %; all of it, 8 epochs: 87.8 %.
TEST_CASE("a linear classifier stays below 94 % on generated digits") {
  const Context context;
  LoaderOptions batches;
  batches.batch_size = 100;
  Loader loader(context, digits(context, Split::kTrain, 20000), batches);
  Sequential model(context, {std::make_shared<Flatten>(context),
                             std::make_shared<Linear>(context, 28 * 28, 10)});
  ParameterStore store(model);
  auto adam = make_optimizer(store, {});
  for (int64_t i = 0; i < 4 * loader.batches_per_epoch(); ++i) {
    const Batch batch = loader.next();
    adam->zero_grad();
    cross_entropy(model(Variable(batch.images)), batch.labels).backward();
    adam->step();
  }
  const Evaluation e =
      evaluate(model, digits(context, Split::kTest, 5000), 500, make_loss("cross_entropy"));
  CHECK(e.accuracy > 0.80);  // it did learn
  CHECK(e.accuracy < 0.94);
}

}  // namespace
}  // namespace halftone
