#include "quant/export_record.h"

namespace halftone {

using Json = nlohmann::json;

Json record_of(const FakeQuantize& q) {
  const QuantSpec spec = q.spec();
  const quant_math::Grid g = q.empty_grid();
  Json out = {{"bits", spec.bits},
              {"dtype", spec.is_signed ? "int" : "uint"},
              {"scheme", std::string(spec.per_channel ? "per_channel_" : "per_tensor_") +
                             (spec.symmetric ? "symmetric" : "affine")},
              {"qmin", g.qmin},
              {"qmax", g.qmax},
              {"summary", q.summary_of_spec()},
              {"rounding", spec.nni ? "nni" : "onnx"},
              {"state", q.path()},
              {"initialised", q.initialised()}};
  if (spec.per_channel) out["axis"] = spec.axis;
  if (q.warm_up()) out["waits_for_step"] = spec.start_step;
  if (q.fold()) out["fold"] = name_of(*q.fold());
  if (!q.observer_in_words().empty()) out["observer"] = q.observer_in_words();
  if (spec.padding_value != 0) out["padding_value"] = spec.padding_value;
  return out;
}

std::string summary_of_record(const Json& r, bool dtype) {
  std::string text = r.at("bits").dump() + " bits " + r.at("scheme").get<std::string>();
  if (dtype) text = r.at("dtype").get<std::string>() + ", " + text;
  if (r.contains("axis")) text += ", axis " + r["axis"].dump();
  if (r.value("fold", "scale") != "scale") text += ", fold " + r["fold"].get<std::string>();
  if (r.value("rounding", "onnx") != "onnx")
    text += ", rounding " + r["rounding"].get<std::string>();
  if (r.contains("observer")) text += ", " + r["observer"].get<std::string>();
  if (r.contains("padding_value")) text += ", padding_value " + r["padding_value"].dump();
  return text;
}

}  // namespace halftone
