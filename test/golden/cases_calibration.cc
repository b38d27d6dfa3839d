// G24: post-training observers. G17: what QAT exports. G18: the hand-over from one to the other.
#include <algorithm>
#include <cmath>

#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/reference_net.h"
#include "test/golden/run_layer.h"
#include "test/tensor/temp_folder.h"

namespace halftone::golden {
namespace {

const char* const kConfig = R"([
  {"quant_types": ["weight", "input"], "quant_bits": 8, "op_types": ["Conv2d", "Linear"]},
  {"quant_types": ["output"], "quant_bits": 8, "op_types": ["ReLU6"]}])";

// Conv2d(1, 2, 3) - ReLU6 - Flatten - Linear(18, 3).
std::shared_ptr<Sequential> network(const Context& context, const Inputs& in) {
  auto net = make<Sequential>(context);
  net->append(make<Conv2d>(context, Conv2dArgs{1, 2, 3}));
  net->append(make_relu6(context));
  net->append(make<Flatten>(context));
  net->append(make<Linear>(context, 18, 3));
  net->load_state_dict({{"0.weight", in.tensor(context, {2, 1, 3, 3}, -0.5, 0.6, 1)},
                        {"0.bias", in.tensor(context, {2}, -0.1, 0.1, 3)},
                        {"3.weight", in.tensor(context, {3, 18}, -0.4, 0.3, 2)},
                        {"3.bias", in.tensor(context, {3}, -0.1, 0.1, 5)}});
  return net;
}

Tensor batch(const Context& context, const Inputs& in, int i) {
  return in.activation(context, {2, 1, 5, 5}, -1 - 0.2 * i, 2 + 0.3 * i, 3 + 2 * i);
}

Json calibration_of(const Quantizer& quantizer) {
  const test::TempFolder folder;
  quantizer.export_model("", folder / "calibration.json");
  return Json::parse(test::read_bytes(folder / "calibration.json"));
}

std::unique_ptr<Quantizer> observed(Sequential& net, const Context& context, const Inputs& in) {
  net.eval();
  QuantizerOptions options;
  options.nni = true;
  auto quantizer = make_quantizer("ObserverQuantizer", net, kConfig, nullptr, {}, options);
  for (int i = 0; i < 3; ++i) net(Variable(batch(context, in, i)));
  quantizer->compress();
  return quantizer;
}

// The entries of the file, and no others: ours may have more keys.
Json only(const Json& all, const std::vector<std::string>& keys) {
  Json out = Json::object();
  for (const std::string& key : keys) {
    if (all.contains(key)) out[key] = all[key];
  }
  return out;
}

Json as_floats(Json list) {
  for (Json& v : list) v = static_cast<double>(v.get<float>());
  return list;
}

Json g24(const Inputs& in) {
  const Context context;
  const auto net = network(context, in);
  const auto quantizer = observed(*net, context, in);
  Json scales = Json::object();
  for (const char* place : {"0 weight", "0 input", "1 output", "3 weight", "3 input"}) {
    for (const QuantPoint& p : quantizer->points()) {
      if (p.module + " " + name_of(p.type) != place) continue;
      const std::string key = p.module + ".module." + name_of(p.type);
      const quant_math::Grid g = p.quantizer->grids(4).list.at(0);
      scales[key + "_scale"] = numbers({g.scale});
      scales[key + "_zero_point"] = {g.zero_point};
    }
  }
  const Json all = calibration_of(*quantizer);
  const std::vector<std::string> weight = {"weight_bits", "tracked_max_weight",
                                           "tracked_min_weight", "tracked_qmin_weight",
                                           "tracked_qmax_weight"};
  const std::vector<std::string> input = {"input_bits", "tracked_min_input", "tracked_max_input",
                                          "tracked_qmin_input", "tracked_qmax_input"};
  const std::vector<std::string> output = {"output_bits", "tracked_min_output",
                                           "tracked_max_output", "tracked_qmin_output",
                                           "tracked_qmax_output"};
  std::vector<std::string> layer = weight;
  layer.insert(layer.end(), input.begin(), input.end());
  auto& conv = dynamic_cast<WeightLayer&>(*net->find("0"));
  return {{"scales", scales},
          {"cc",
           {{"0", only(all.at("0"), layer)},
            {"1", only(all.at("1"), output)},
            {"3", only(all.at("3"), layer)}}},
          {"weight0", numbers(torch_values(conv.weight_transform()(conv.weight).value()))}};
}

Json g17(const Inputs& in) {
  const Context context;
  const auto net = network(context, in);
  const auto quantizer = quantize_as_nni("QAT_Quantizer", *net, kConfig);
  const Variable y = (*net)(Variable(batch(context, in, 0)));
  Json all = calibration_of(*quantizer);
  for (const char* layer : {"0", "3"}) {
    all[layer]["weight_scale"] = as_floats(all[layer]["weight_scale"]);
  }
  const std::vector<std::string> layer = {"weight_bits", "weight_scale",      "weight_zero_point",
                                          "input_bits",  "tracked_min_input", "tracked_max_input"};
  Json keys = {"steps"};
  for (const auto& [name, tensor] : net->state_dict()) {
    if (name.find("fake_quant") == std::string::npos &&
        name.find("post_process") == std::string::npos)
      keys.push_back(name);
  }
  return {{"cc",
           {{"0", only(all.at("0"), layer)},
            {"1", only(all.at("1"), {"output_bits", "tracked_min_output", "tracked_max_output"})},
            {"3", only(all.at("3"), layer)}}},
          {"y", numbers(y.value().to_vector<float>())},
          {"keys", keys}};
}

std::unique_ptr<reference::RangeQuantizer> ranges(bool average) {
  reference::RangeSpec spec;
  spec.average = average;
  return std::make_unique<reference::RangeQuantizer>(spec);
}

// G17 in plain loops.
struct Reference {
  explicit Reference(const Inputs& in) {
    conv.of_input = ranges(true), linear.of_input = ranges(true);
    conv.of_weight = ranges(false), linear.of_weight = ranges(false);
    conv.weight = in.g(18, -0.5, 0.6, 1), conv.bias = in.g(2, -0.1, 0.1, 3);
    linear.weight = in.g(54, -0.4, 0.3, 2), linear.bias = in.g(3, -0.1, 0.1, 5);
    const auto sums = conv.forward(in.g(50, -1, 2, 3), true, {});
    y = linear.forward(output->forward(reference::clamp(sums, 6), true), true, {});
  }
  static Json ends(const reference::Quantizer& q, const std::string& type) {
    const auto& range = dynamic_cast<const reference::RangeQuantizer&>(q);
    return {{"tracked_min_" + type, number(range.low[0])},
            {"tracked_max_" + type, number(range.high[0])}};
  }
  static Json record_of(const reference::Layer& layer) {
    Json record = ends(*layer.of_input, "input");
    const auto& weight = dynamic_cast<const reference::RangeQuantizer&>(*layer.of_weight);
    record["weight_scale"] = numbers({weight.grids[0].scale});
    record["weight_zero_point"] = numbers({weight.grids[0].zero_point});
    return record;
  }

  reference::Layer conv{1, 2, 3, 5}, linear{18, 3, 1, 1};
  std::unique_ptr<reference::RangeQuantizer> output = ranges(true);  // of the ReLU6
  reference::Values y;
};

Json g17_right(const Inputs& in) {
  const Reference r(in);
  return {{"cc",
           {{"0", Reference::record_of(r.conv)},
            {"1", Reference::ends(*r.output, "output")},
            {"3", Reference::record_of(r.linear)}}},
          {"y", numbers(r.y)}};
}

// A ReLU6 that leaves zeros only.
Json g17_lost(const Inputs& in) {
  const bool lost = Reference(in).output->lost;
  return {{"cc", {{"3", {{"tracked_min_input", lost}, {"tracked_max_input", lost}}}}}, {"y", lost}};
}

float tracked_high(const Quantizer& quantizer) {
  for (const QuantPoint& p : quantizer.points()) {
    if (p.module == "0" && p.type == QuantType::kInput) return p.quantizer->ranges().at(0).high;
  }
  return NAN;
}

Json g18(const Inputs& in) {
  const Context context;
  const test::TempFolder folder;
  const auto first = network(context, in), second = network(context, in);
  observed(*first, context, in)->export_model("", folder / "calibration.json");
  const auto quantizer = quantize_as_nni("QAT_Quantizer", *second, kConfig);
  quantizer->load_calibration_config(folder / "calibration.json");
  const float loaded = tracked_high(*quantizer);
  (*second)(Variable(batch(context, in, 0)));
  return {{"loaded", numbers({loaded})},
          {"after_first_forward", numbers({tracked_high(*quantizer)})}};
}

// The loaded end, moved by the average alone; the first end is P and stands in our own numbers.
Json g18_right(const Inputs& in) {
  const Json ours = g18(in);
  float batch_high = -INFINITY;
  for (const float v : in.g(50, -1, 2, 3)) batch_high = std::max(batch_high, v);
  return {{"after_first_forward",
           {0.99 * ours["loaded"][0].get<double>() + 0.01 * double{batch_high}}}};
}

}  // namespace

std::vector<Case> calibration_cases() {
  const double sums = 1e-6;  // behind a convolution, whose sums are taken in another order
  return {{"G24", "observers on three batches: scales, calibration file, weights", {{"*"}}, g24},
          {"G17",
           "QAT after one step: calibration file, outputs, names of the state",
           {{"cc/0/*"},
            {"cc/*/tracked_*", Nearness::kUlp, 8},
            {"y/*", Nearness::kLargest, sums},
            {"*"}},
           g17,
           g17_right,
           nullptr,
           g17_lost},
          {"G18",
           "observers' ranges loaded into QAT",
           {{"after_first_forward*", Nearness::kOurs, 0,
             "NNI's first training forward throws the loaded range away (B7); ours moves it by the "
             "average"},
            {"*"}},
           g18,
           g18_right}};
}

}  // namespace halftone::golden
