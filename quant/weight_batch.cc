#include "quant/weight_batch.h"

#include "kernels/device_call.h"
#include "kernels/weights_cuda.h"
#include "quant/chain.h"
#include "quant/range_quantize.h"

namespace halftone {
namespace {

namespace device = kernels::cuda;

float* floats(const Tensor& t) {
  return t.defined() ? static_cast<float*>(const_cast<void*>(t.raw())) : nullptr;
}

// Whether the launch does all that is done with the weights.
bool joins(const Chain& chain) {
  const FakeQuantize& q = *chain.weight;
  if (!q.stays_on_device() || chain.quantizes_folded()) return false;
  return !q.observes() || launch_observes(chain);
}

device::WeightSegment segment_of(const Chain& chain, const Tensor& w, int shift,
                                 const WeightIntegers& out) {
  const GridTensors grid = *chain.weight->grid_tensors();
  device::WeightSegment s;
  s.rule = device::WeightRule::kGrid;
  s.result = out.high.defined() ? device::WeightResult::kParts : device::WeightResult::kIntegers;
  s.rows = w.dim(0), s.length = s.rows == 0 ? 0 : w.numel() / s.rows;
  s.w = floats(w), s.y = floats(out.whole);
  s.high = floats(out.high), s.low = floats(out.low);
  const device::DeviceGrids pointers = grid.pointers();
  s.scale = floats(grid.scale), s.one_scale = grid.scale.numel() == 1;
  s.zero_point = const_cast<int32_t*>(pointers.zero_point);
  s.qmin = grid.qmin, s.qmax = grid.qmax;
  if (chain.norm != nullptr && chain.norm->weight.defined())
    s.gamma = floats(chain.norm->weight.value());
  s.shift = shift;
  if (&w == &chain.weights().value() && dynamic_cast<DorefaQuantize*>(chain.weight.get())) {
    s.bits = chain.weight->spec().bits, s.whole = true;
    s.rule = s.bits == 1 ? device::WeightRule::kAlpha : device::WeightRule::kTanh;
  }
  if (!chain.weight->observes() || !launch_observes(chain)) return s;
  const device::ObserveArgs track = dynamic_cast<RangeQuantize&>(*chain.weight).tracking();
  s.rule = device::WeightRule::kRange, s.whole = s.one_scale;
  s.grid = track.rule, s.zero_point = track.zero_point;
  s.range_low = track.low, s.range_high = track.high, s.not_finite = track.not_finite;
  return s;
}

WeightIntegers room_for(const Tensor& w, bool parts) {
  WeightIntegers out;
  out.whole = Tensor::empty(w.context(), w.shape());
  if (parts) out.high = Tensor::empty(w.context(), w.shape());
  if (parts) out.low = Tensor::empty(w.context(), w.shape());
  return out;
}

}  // namespace

bool launch_observes(const Chain& chain) {
  const auto* range = dynamic_cast<const RangeQuantize*>(chain.weight.get());
  const QuantSpec spec = chain.weight->spec();
  const bool rows =
      !spec.per_channel || memory_axis(spec.axis, chain.weights().value().rank()) == 0;
  return range != nullptr && !range->shares_scale() && rows;
}

WeightBatch::Entry* WeightBatch::find(const std::shared_ptr<Chain>& chain) {
  for (Entry& e : entries_) {
    if (e.chain.lock() == chain) return &e;
  }
  return nullptr;
}

// Those of the forward that took it last, unless that is this one.
std::vector<WeightBatch::Entry*> WeightBatch::together_with(const Entry& own) {
  std::vector<Entry*> all;
  for (Entry& e : entries_) {
    const std::shared_ptr<Chain> chain = e.chain.lock();
    const bool follows =
        own.taken != 0 && e.taken == own.taken && own.taken != Module::call_number();
    if (chain != nullptr && joins(*chain) && (&e == &own || follows)) all.push_back(&e);
  }
  return all;
}

void WeightBatch::launch(const std::vector<Entry*>& entries) {
  std::vector<device::WeightSegment> segments;
  Tensor on;
  for (Entry* e : entries) {
    const std::shared_ptr<Chain> chain = e->chain.lock();
    const Tensor& w = chain->weights().value();
    e->integers = room_for(w, e->parts);
    e->ready = Module::call_number();
    segments.push_back(segment_of(*chain, w, e->shift, e->integers));
    on = w;
  }
  for (size_t i = 0; i < segments.size(); i += device::kWeightSegments)
    kernels::launch<&device::quantize_weights>(on, device::weights_from(segments, i));
}

WeightIntegers WeightBatch::take(const std::shared_ptr<Chain>& chain, int shift, bool parts) {
  if (!joins(*chain)) {
    const Tensor w = chain->weight->before_rounding(chain->weights().value());
    WeightIntegers out = room_for(w, parts);
    kernels::launch<&device::quantize_weights>(
        w, device::weights_from({segment_of(*chain, w, shift, out)}, 0));
    return out;
  }
  if (find(chain) == nullptr) entries_.push_back({chain, shift, parts, 0, 0, {}});
  Entry& own = *find(chain);
  const uint64_t call = Module::call_number();
  if (own.ready != call || own.shift != shift || own.parts != parts) {
    own.shift = shift, own.parts = parts;
    launch(together_with(own));
  }
  own.ready = 0, own.taken = call;
  return std::move(own.integers);
}

}  // namespace halftone
