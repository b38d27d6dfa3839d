#include "quant/spec.h"

#include "tensor/nearest.h"

namespace halftone {

std::string name_of(QuantType type) {
  static const char* const kNames[] = {"weight", "input", "output", "gradient", "bias"};
  return kNames[static_cast<int>(type)];
}

std::string name_of(ObserverKind kind) {
  static const char* const kNames[] = {"min_max", "ema", "histogram", "percentile", "kl"};
  return kNames[static_cast<int>(kind)];
}

const std::vector<std::string>& fold_mode_names() {
  static const std::vector<std::string> kNames = {"scale", "batch", "ema", "nni", "none"};
  return kNames;
}

std::string name_of(FoldMode mode) { return fold_mode_names()[static_cast<size_t>(mode)]; }

FoldMode fold_mode_from(const std::string& name) {
  for (size_t i = 0; i < fold_mode_names().size(); ++i) {
    if (fold_mode_names()[i] == name) return static_cast<FoldMode>(i);
  }
  throw_unknown_name("fold mode", name, fold_mode_names());
}

bool QuantSpec::operator==(const QuantSpec& o) const {
  return bits == o.bits && is_signed == o.is_signed && per_channel == o.per_channel &&
         symmetric == o.symmetric && (!per_channel || axis == o.axis) && observer == o.observer &&
         ema_decay == o.ema_decay && percentile == o.percentile && reduce_range == o.reduce_range &&
         start_step == o.start_step && nni == o.nni && fold == o.fold &&
         bn_freeze_step == o.bn_freeze_step && stochastic == o.stochastic &&
         approx_sign == o.approx_sign && padding_value == o.padding_value;
}

std::string QuantSpec::str() const {
  return std::string(is_signed ? "int" : "uint") + std::to_string(bits) +
         (per_channel ? " per-channel (axis " + std::to_string(axis) + ")" : " per-tensor") +
         (symmetric ? " symmetric" : " affine") + (reduce_range ? " (reduced range)" : "") +
         (nni ? " (NNI's rounding)" : "");
}

std::string weight_obstacle(const QuantSpec& spec) {
  if (spec.bits > 8) return "weights of more than 8 bits";
  if (spec.per_channel && spec.axis != 0)
    return "weight scales on an axis other than the output channel";
  if (spec.nni) return "NNI's rounding";
  return "";
}

std::string activation_obstacle(const QuantSpec& spec) {
  if (spec.bits > 8) return "activations of more than 8 bits";
  if (spec.per_channel) return "per-channel activations";
  if (spec.nni) return "NNI's rounding";
  return "";
}

int memory_axis(int torch_axis, int rank) {
  const int axis = torch_axis < 0 ? torch_axis + rank : torch_axis;
  if (axis < 0 || axis >= rank) {
    throw HALFTONE_ERROR("quantize")
        .expected("an axis of a tensor of rank " + std::to_string(rank))
        .found(std::to_string(torch_axis));
  }
  if (rank != 4 || axis == 0) return axis;
  return axis == 1 ? 3 : axis - 1;
}

}  // namespace halftone
