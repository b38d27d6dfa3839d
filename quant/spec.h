// What one quantizer of one tensor does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/integer/quant_math.h"
#include "kernels/quantize.h"

namespace halftone {

// What is quantized. kGradient: the gradient that reaches a layer's output (DoReFa); kBias:
// simulated as int32.
enum class QuantType : uint8_t { kWeight, kInput, kOutput, kGradient, kBias };
std::string name_of(QuantType type);  // "weight", "input", "output", "gradient", "bias"

// kEma: moving average over batches (Jacob et al. 2018, section 3.1). kMinMax: weights, the current
// range; activations, the smallest and largest value ever seen. The others choose a range from a
// histogram of all values seen.
enum class ObserverKind : uint8_t { kMinMax, kEma, kHistogram, kPercentile, kKl };
std::string name_of(ObserverKind kind);  // "min_max", "ema", "histogram", "percentile", "kl"

// How a batch norm joins the weights of the convolution or linear layer before it. One convolution
// per forward but for kNni.
enum class FoldMode : uint8_t {
  // Raw weights are quantized; gamma / sigma goes into their scale. The batch's own statistics.
  kScale,
  // W gamma / sigma_run is quantized and divided by gamma / sigma_run again; then the real batch
  // norm (Krishnamoorthi 2018, arXiv:1806.08342, section 3.2.2, with its correction; PyTorch's
  // ConvBn). From bn_freeze_step on, with the running statistics, which stay.
  kBatch,
  // As kBatch, but normalised with the running statistics, after this batch has entered them
  // (Jacob et al. 2018, section 3.2). No gradient through the statistics.
  kEma,
  // NNI's: a float convolution for the statistics, a second one with quantized W gamma / sigma_run.
  kNni,
  kNone  // batch norm stays apart
};
std::string name_of(FoldMode mode);  // "scale", "batch", "ema", "nni", "none"
const std::vector<std::string>& fold_mode_names();
FoldMode fold_mode_from(const std::string& name);  // throws on any other name

struct QuantSpec {
  int bits = 8;                       // 1 to 16, as far as the algorithm has them
  int first_bits = 0, last_bits = 0;  // in the model's first and last layer; 0: bits
  bool is_signed = false;
  bool per_channel = false;
  bool symmetric = false;
  int axis = 0;  // of per-channel scales, in PyTorch's layout (OIHW, NCHW)
  ObserverKind observer = ObserverKind::kEma;
  double ema_decay = 0.99;
  double percentile = 99.99;  // of kPercentile
  bool reduce_range = false;  // one bit less than `bits` (for x86 without VNNI)
  int64_t start_step =
      0;  // NNI's quant_start_step: float while it is larger than the step, which starts at 1
  bool nni = false;                  // NNI's rounding and zero points
  bool auto_dtype = false;           // is_signed follows from the values (LSQ); no part of equality
  FoldMode fold = FoldMode::kScale;  // weights
  int64_t bn_freeze_step = 0;  // weights: batch norm trains with its running statistics, which
                               // stay, from this step on; 0: never

  // Of binary tensors (bnn.h). XNOR-Net's scale of weights is per_channel.
  bool stochastic = false, approx_sign = false;
  int padding_value = 0;

  bool operator==(const QuantSpec& o) const;
  quant_math::GridRule rule() const { return {bits - reduce_range, is_signed, symmetric, nni}; }
  quant_math::Rounding rounding() const {
    return nni ? quant_math::Rounding::kNni : quant_math::Rounding::kOnnx;
  }
  std::string str() const;  // "int8 per-channel symmetric"
};

// Why this weight, or this activation, has no place in integer arithmetic; "" when it has one.
std::string weight_obstacle(const QuantSpec& spec);
std::string activation_obstacle(const QuantSpec& spec);

// The axis in memory (NHWC, OHWI) of PyTorch's axis; negative axes count from the end. Throws when
// there is none.
int memory_axis(int torch_axis, int rank);

}  // namespace halftone
