// G23: NNI's naive quantizer, its truncation and its scale that never shrinks, by name.
#include "nn/layers.h"
#include "test/golden/cases.h"
#include "test/golden/run_layer.h"

namespace halftone::golden {
namespace {

// Two forwards, the second with halved weights; then the scale.
Json g23(const Inputs&) {
  const Context context;
  auto model = make<Sequential>(context);
  const auto linear = make<Linear>(context, 4, 1, false);
  std::vector<float> w = {1.27f, 0.019f, -0.019f, 0.5f};
  model->append(linear);
  linear->load_state_dict({{"weight", Tensor::from(context, Shape{1, 4}, w)}});
  ConfigValues entry;
  entry.quant_types = {"weight"};
  entry.quant_bits = 8;
  entry.op_types = {"Linear"};
  const auto quantizer =
      quantize_as_nni("NaiveQuantizer", *model, std::vector<ConfigValues>{entry});
  Json out = Json::array();
  for (int i = 0; i < 2; ++i) {
    const Variable q = linear->weight_transform()(linear->weight);
    out.push_back(numbers(q.value().to_vector<float>()));
    for (float& v : w) v *= 0.5f;
    linear->weight.mutable_value().copy_from(Tensor::from(context, Shape{1, 4}, w));
  }
  out.push_back(number(quantizer->points().at(0).quantizer->grids(2).list.at(0).scale));
  return out;
}

}  // namespace

std::vector<Case> naive_cases() { return {{"G23", "naive weights, then halved", {{"*"}}, g23}}; }

}  // namespace halftone::golden
