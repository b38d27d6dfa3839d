#include "train/evaluate.h"

#include <cmath>

#include "autograd/anomaly.h"
#include "kernels/loss.h"
#include "tensor/memory.h"
#include "train/out_of_memory.h"

namespace halftone {
namespace {

// Which layer made it: once more, looking at every value.
[[noreturn]] void refuse_loss(Module& model, const Batch& batch, const Loss& loss, float value) {
  Error error = HALFTONE_ERROR("evaluate");
  error.what_happened("the test loss is " + std::to_string(value));
  try {
    const DetectNonFinite detect;
    loss(model(Variable(batch.images)), batch.labels);
  } catch (const Error& e) {
    error.found(e.what());
  }
  throw error.fix("look for NaN or huge weights; after training, lower optimizer.lr");
}

}  // namespace

Evaluation evaluate(Module& model, const std::shared_ptr<const Dataset>& dataset,
                    int64_t batch_size, const Loss& loss, const OnProgress& progress) {
  const EvaluationMode mode(model);
  const NoGrad no_grad;
  LoaderOptions options;
  options.batch_size = batch_size;
  options.shuffle = false;
  const Context& context = model.context();
  Loader loader(context, dataset, options);
  Evaluation result;
  int64_t correct = 0;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    with_batch_advice("test_batch_size", batch_size, [&] {
      const Batch batch = loader.next();
      const MemoryStep step(context.memory(), "evaluate " + batch.images.shape().str());
      const Variable output = model(Variable(batch.images));
      const float value = loss(output, batch.labels).value().item<float>();
      if (!std::isfinite(value)) refuse_loss(model, batch, loss, value);
      result.loss += static_cast<double>(value) * static_cast<double>(batch.labels.numel());
      correct += kernels::count_correct(output.value(), batch.labels);
      result.images += batch.labels.numel();
    });
    if (progress) progress(result.images, dataset->size());
  }
  result.loss /= static_cast<double>(result.images);
  result.accuracy = static_cast<double>(correct) / static_cast<double>(result.images);
  return result;
}

}  // namespace halftone
