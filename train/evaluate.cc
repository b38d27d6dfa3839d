#include "train/evaluate.h"

#include "kernels/loss.h"
#include "tensor/memory.h"

namespace halftone {
Evaluation evaluate(Module& model, const std::shared_ptr<const Dataset>& dataset,
                    int64_t batch_size, const Loss& loss, const OnProgress& progress) {
  const EvaluationMode mode(model);
  const NoGrad no_grad;
  LoaderOptions options;
  options.batch_size = batch_size;
  options.shuffle = false;
  Loader loader(model.context(), dataset, options);
  Evaluation result;
  int64_t correct = 0;
  for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
    const Batch batch = loader.next();
    const MemoryStep step(model.context().memory(), "evaluate " + batch.images.shape().str());
    const Variable output = model(Variable(batch.images));
    result.loss += static_cast<double>(loss(output, batch.labels).value().item<float>()) *
                   static_cast<double>(batch.labels.numel());
    correct += kernels::count_correct(output.value(), batch.labels);
    result.images += batch.labels.numel();
    if (progress) progress(result.images, dataset->size());
  }
  result.loss /= static_cast<double>(result.images);
  result.accuracy = static_cast<double>(correct) / static_cast<double>(result.images);
  return result;
}

}  // namespace halftone
