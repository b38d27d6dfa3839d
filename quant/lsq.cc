#include "quant/lsq.h"

#include <algorithm>

#include "quant/lsq_quantize.h"
#include "quant/value_sign.h"

namespace halftone {
namespace {

[[noreturn]] void refuse(const Module& module, QuantType type, const std::string& expected,
                         const std::string& found, const std::string& fix) {
  throw HALFTONE_ERROR("config")
      .at(module.path() + ", " + name_of(type))
      .expected(expected)
      .found(found)
      .fix(fix);
}

void check(const Module& module, const FakeQuantizeArgs& args, bool learns_offsets) {
  const QuantSpec& spec = args.spec;
  const bool weight = args.type == QuantType::kWeight;
  if (weight && !spec.is_signed)
    refuse(module, args.type, "quant_dtype int", "uint", "learned weight scales have z = 0");
  if (!spec.symmetric && (weight || !learns_offsets)) {
    refuse(module, args.type, "a symmetric quant_scheme",
           spec.per_channel ? "per_channel_affine" : "per_tensor_affine",
           weight ? "" : "LsqPlusQuantizer learns an offset");
  }
  if (!weight && spec.per_channel)
    refuse(module, args.type, "one scale per tensor", "a per-channel quant_scheme", "");
}

// The names under which learned parameters of quantizers appear.
const char* const kPatterns[] = {"*_fake_quant.scale", "*activation_post_process.scale",
                                 "*_fake_quant.offset", "*activation_post_process.offset"};

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

ConfigRules LsqQuantizer::rules() const {
  ConfigRules rules;
  rules.keys = {"quant_dtype", "quant_scheme", "axis"};  // nothing is observed beyond a first scale
  rules.fold = true;
  for (const QuantType type : rules.types) {
    QuantSpec& spec = rules.defaults[type];
    spec.symmetric = true;
    spec.is_signed = true;
    spec.auto_dtype = type != QuantType::kWeight;
  }
  return rules;
}

ConfigRules LsqPlusQuantizer::rules() const {
  ConfigRules rules = LsqQuantizer::rules();
  rules.nni = false;  // it has no LSQ+
  for (const QuantType type : {QuantType::kInput, QuantType::kOutput})
    rules.defaults[type].symmetric = false;
  return rules;
}

std::shared_ptr<FakeQuantize> LsqQuantizer::make_fake_quantize(Module& module,
                                                               const FakeQuantizeArgs& args) const {
  check(module, args, learns_offsets());
  FakeQuantizeArgs own = args;
  if (own.spec.nni) own.spec.auto_dtype = false;  // NNI: signed, whatever the values
  return make<LsqQuantize>(module.context(), own, learns_offsets());
}

// int8 with z = 0 and uint8 with z = 128 are the same codes as they are stored.
QuantSpec LsqQuantizer::spec_in_group(QuantSpec spec, bool non_negative) const {
  spec.is_signed = !non_negative;
  spec.symmetric = true;
  spec.auto_dtype = false;
  return spec;
}

void LsqQuantizer::start_weight(const QuantPoint& point, FakeQuantize& q) const {
  try {
    q.observe_values(weight_of(point));
  } catch (Error& e) {
    throw e.inside(point.module + ".weight");
  }
}

void LsqQuantizer::prepare_points() {
  for (const QuantPoint& point : points()) {
    auto& q = dynamic_cast<LsqQuantize&>(*point.quantizer);
    if (point.type == QuantType::kWeight) {
      start_weight(point, q);
      continue;
    }
    if (!q.spec().auto_dtype || !graph().has_value()) continue;
    const ValueSign sign = sign_of(point);
    if (sign != ValueSign::kUnknown) q.decide_sign(sign == ValueSign::kAny);
  }
}

void LsqQuantizer::prepare_optimizer(Optimizer& optimizer) {
  ParameterGroupOptions group;
  group.lr = optimizer.groups().back().base_lr * options().scale_lr;
  group.weight_decay = 0;
  for (const std::string pattern : kPatterns) {
    const auto& entries = optimizer.store().entries();
    const bool used = std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
      return ends_with(entry.name, pattern.substr(1));
    });
    group.pattern = pattern;
    if (used) optimizer.add_group(group);
  }
}

}  // namespace halftone
