#include "train/clipping.h"

#include "quant/fake_quantize.h"

namespace halftone {
namespace {

struct Count {
  int64_t clipped = 0, seen = 0;
};

std::vector<FakeQuantize*> quantizers_of(Module& model) {
  std::vector<FakeQuantize*> found;
  for (auto& [path, module] : model.named_modules()) {
    if (auto* q = dynamic_cast<FakeQuantize*>(module)) found.push_back(q);
  }
  return found;
}

// Counts what every quantizer sees, as long as it lives.
class Watch {
 public:
  explicit Watch(Module& model) : quantizers_(quantizers_of(model)) {
    for (FakeQuantize* q : quantizers_) {
      q->watch([q, &count = counts_[q->path()]](const Tensor& x) {
        count.clipped += q->count_clipped(x);
        count.seen += x.numel();
      });
    }
  }
  ~Watch() {
    for (FakeQuantize* q : quantizers_) q->watch(nullptr);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  const std::map<std::string, Count>& counts() const { return counts_; }

 private:
  std::vector<FakeQuantize*> quantizers_;
  std::map<std::string, Count> counts_;  // the addresses of its values stay
};

}  // namespace

std::map<std::string, double> clipped_shares(Module& model, const std::vector<Tensor>& batches) {
  const EvaluationMode evaluation(model);
  const NoGrad no_grad;
  const Watch watch(model);
  for (const Tensor& batch : batches) model(Variable(batch));
  std::map<std::string, double> shares;
  for (const auto& [path, count] : watch.counts()) {
    if (count.seen > 0)
      shares[path] = static_cast<double>(count.clipped) / static_cast<double>(count.seen);
  }
  return shares;
}

}  // namespace halftone
