#include "quant/sign_batch.h"

#include <algorithm>

#include "kernels/device_call.h"
#include "quant/binary_quantize.h"

namespace halftone {

namespace device = kernels::cuda;

device::WeightSegment sign_segment(const Tensor& w, const Tensor& alpha, Tensor& y) {
  device::WeightSegment s;
  s.rule = alpha.defined() ? device::WeightRule::kAlpha : device::WeightRule::kSign;
  s.rows = w.dim(0), s.length = s.rows == 0 ? 0 : w.numel() / s.rows;
  s.w = static_cast<const float*>(w.raw());
  s.y = static_cast<float*>(y.raw());
  if (alpha.defined()) s.scale = static_cast<float*>(const_cast<void*>(alpha.raw()));
  return s;
}

Tensor SignBatch::take(const BinaryQuantize& q) {
  const auto own = std::find_if(entries_.begin(), entries_.end(),
                                [&](const Entry& e) { return e.quantizer.lock().get() == &q; });
  const uint64_t call = Module::call_number();
  if (own->ready != call) launch(*own);
  own->ready = 0, own->taken = call;
  return std::move(own->values);
}

void SignBatch::launch(const Entry& own) {
  const uint64_t call = Module::call_number();
  const bool others = own.taken != 0 && own.taken != call;
  std::vector<device::WeightSegment> segments;
  Tensor on;
  for (Entry& e : entries_) {
    const auto q = e.quantizer.lock();
    if (q == nullptr || !q->joins_batch()) continue;
    if (&e != &own && !(others && e.taken == own.taken)) continue;
    on = q->latent();
    e.values = Tensor::empty(on.context(), on.shape());
    e.ready = call;
    segments.push_back(sign_segment(on, q->alpha(), e.values));
  }
  for (size_t i = 0; i < segments.size(); i += device::kWeightSegments)
    kernels::launch<&device::quantize_weights>(on, device::weights_from(segments, i));
}

}  // namespace halftone
