#include "train/calibrate.h"

#include <fmt/format.h>

namespace halftone {
namespace {

constexpr int64_t kBatch = 32;  // images of a calibration batch

}  // namespace

int64_t calibration_batch(int images) { return std::min<int64_t>(kBatch, images); }

std::vector<Tensor> calibration_batches(const Context& context,
                                        const std::shared_ptr<const Dataset>& set, int images,
                                        int seed, const std::string& op) {
  if (images < 1 || images > set->size()) {
    throw HALFTONE_ERROR(op)
        .expected(
            fmt::format("a number from 1 to {}, the training images of {}", set->size(), set->name))
        .found(std::to_string(images));
  }
  LoaderOptions options;
  options.batch_size = calibration_batch(images);
  options.seed = static_cast<uint64_t>(seed);
  Loader loader(context, set, options);
  std::vector<Tensor> batches;
  for (int64_t left = images; left > 0;) {
    const Tensor batch = loader.next().images;
    const int64_t count = std::min(left, batch.dim(0));
    batches.push_back(batch.slice(0, count).clone());
    left -= count;
  }
  return batches;
}

void calibrate(Module& model, const std::vector<Tensor>& batches,
               const std::function<void(int64_t done, int64_t total)>& progress) {
  const EvaluationMode evaluation(model);
  const NoGrad no_grad;
  int64_t total = 0, done = 0;
  for (const Tensor& batch : batches) total += batch.dim(0);
  for (const Tensor& batch : batches) {
    model(Variable(batch));
    done += batch.dim(0);
    progress(done, total);
  }
}

}  // namespace halftone
