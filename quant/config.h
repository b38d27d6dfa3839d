// config_list: which tensors are quantized, and how. NNI's keys and matching.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "quant/config_values.h"
#include "quant/spec.h"

namespace halftone {

// One entry of the list. Keys of the JSON form:
//   quant_types      ["weight", "input", "output", "gradient", "bias"], as far as the algorithm
//                    goes; a bias (QAT) is int32, whatever quant_bits says for all types
//   quant_bits       8, or {"weight": 4, "input": 8}
//   first_layer_bits, last_layer_bits   of the first and the last Conv2d or Linear of the model, in
//                    the order in which they run, where the entry is about them
//   op_types         class names; "default" stands for every layer with a weight
//   op_names         dotted names; *, ? and [..] match as in a shell
//   exclude          true leaves the layers alone
//   quant_start_step the first training step that quantizes, counted from 1, as in NNI
//   quant_dtype      "int" | "uint", or by type
//   quant_scheme     "per_tensor_affine" | "per_tensor_symmetric" | "per_channel_affine" |
//                    "per_channel_symmetric", or by type
//   axis             of per-channel scales (PyTorch's), or by type; weight 0, input and output 1
//   observer         "ema" | "min_max", or by type; ObserverQuantizer's: `halftone list observers`
//   ema_decay        0.99, of observer ema;  percentile  99.99, of observer percentile
//   reduce_range     true: activations use one bit less (ObserverQuantizer)
//   fold             QAT, LSQ: of the batch norm behind a quantized weight (FoldMode):
//                    "scale" | "batch" | "ema" | "nni" | "none"
//   bn_freeze_step   from this step on batch norm keeps and uses its running statistics; 0: never
// BNN's own: binarization, sign_gradient, xnor_scale, padding_value (bnn.h).
// A key that changes nothing is an error: one of another quantizer, ema_decay beside another
// observer, axis without scales per channel, anything beside exclude: true. What has no effect in
// this model only (fold without a batch norm, a first layer that another entry takes) is warned of.
struct ConfigEntry {
  std::map<QuantType, QuantSpec> specs;
  std::vector<std::string> op_types, op_names;
  bool has_op_types = false, has_op_names = false;
  bool exclude = false;
  std::set<std::string> keys;  // as given
};

// What a quantizer accepts, and what holds where an entry is silent.
struct ConfigRules {
  std::vector<QuantType> types = {QuantType::kWeight, QuantType::kInput, QuantType::kOutput};
  int min_bits = 2, max_bits = 16;
  std::map<QuantType, QuantSpec> defaults;  // per type; dtype, scheme, observer, start step
  std::vector<ObserverKind> observers = {ObserverKind::kEma, ObserverKind::kMinMax};
  // Keys beyond those that every quantizer has: of grids that follow from values.
  std::vector<std::string> keys = {"quant_dtype", "quant_scheme", "axis", "observer", "ema_decay"};
  bool start_step = true;  // whether quant_start_step is known
  bool nni = true;         // whether QuantizerOptions::nni is another arithmetic than ours
  bool fold = false;       // whether fold and bn_freeze_step are known
};

// The layers of the model, for messages: (name, class name).
using LayerList = std::vector<std::pair<std::string, std::string>>;

struct QuantConfig {
  std::vector<ConfigEntry> entries;
  std::vector<std::string> warnings;  // names and types that match no layer

  // The last entry that matches wins entirely; null where none does or it excludes.
  const ConfigEntry* select(const std::string& name, const std::string& type) const;
  // The same, whether it excludes or not.
  const ConfigEntry* last_match(const std::string& name, const std::string& type) const;
};

// Throws Error: entry number, key, value, what is allowed, the nearest key or layer name.
QuantConfig parse_config(const ConfigList& list, const ConfigRules& rules, const LayerList& layers);

// The words of quant_dtype and quant_scheme, written into a spec. Throw on any other.
void set_dtype(const std::string& dtype, const std::string& where, QuantSpec& spec);
void set_scheme(const std::string& scheme, const std::string& where, QuantSpec& spec);

}  // namespace halftone
