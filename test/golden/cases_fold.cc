// G15_16: NNI's batch-norm fold over four steps without an optimizer.
#include <cmath>

#include "nn/layers.h"
#include "tensor/safetensors.h"
#include "test/golden/cases.h"
#include "test/golden/run_layer.h"
#include "test/tensor/temp_folder.h"

namespace halftone::golden {
namespace {

Tensor pair(const Context& context, float a, float b) {
  return Tensor::from(context, Shape{2}, std::vector<float>{a, b});
}

struct Folded {
  Folded() : net(make<Sequential>(context)) {
    conv = make<Conv2d>(context, Conv2dArgs{1, 2, 1});
    norm = make<BatchNorm>(context, 2, 2);
    net->append(conv).append(norm);
    net->load_state_dict({{"0.weight", pair(context, 1, -2).reshape({2, 1, 1, 1})},
                          {"0.bias", pair(context, 0.5f, 0)},
                          {"1.weight", pair(context, 2, 0.5f)},
                          {"1.bias", pair(context, 0.1f, -0.1f)},
                          {"1.running_mean", pair(context, 0.2f, -0.3f)},
                          {"1.running_var", pair(context, 4, 1)},
                          {"1.num_batches_tracked", *norm->num_batches_tracked}});
    ConfigValues entry;
    entry.quant_types = {"weight"};
    entry.quant_bits = 8;
    entry.op_types = {"Conv2d"};
    entry.quant_dtype = ByType<std::string>("int");
    entry.quant_scheme = ByType<std::string>("per_channel_symmetric");
    QuantizerOptions options;
    options.nni = true;
    quantizer = make_quantizer("QAT_Quantizer", *net, std::vector<ConfigValues>{entry}, nullptr,
                               Tensor::zeros(context, {1, 2, 2, 1}), options);
    quantizer->compress();
  }

  Json step(const Inputs& in) {
    for (auto& [name, parameter] : net->named_parameters()) parameter.zero_grad();
    const Tensor x = Tensor::from<float>(context, {1, 2, 2, 1}, {0, 1, 2, 3});
    Variable y = (*net)(Variable(x));
    y.backward(in.activation(context, {1, 2, 2, 2}, -1, 1, 7));
    Json row = {{"y", numbers(torch_values(y.value()))}};
    add_folded(row);
    const auto put = [&](const char* key, const Tensor& t) {
      row[key] = numbers(t.to_vector<float>());
    };
    put("dW", conv->weight.grad());
    put("db", conv->bias.grad());
    put("dgamma", norm->weight.grad());
    put("dbeta", norm->bias.grad());
    return row;
  }

  // From the exported file: quantized folded weight, folded bias; the statistics; the scale.
  void add_folded(Json& row) const {
    const test::TempFolder folder;
    quantizer->export_model(folder / "model");
    const auto tensors = load_safetensors(context, folder / "model").tensors;
    const auto codes = tensors.at("0.folded_weight_codes").to_vector<int32_t>();
    const auto scales = tensors.at("0.folded_weight_scale").to_vector<float>();
    row["w"] = numbers(
        {scales[0] * static_cast<float>(codes[0]), scales[1] * static_cast<float>(codes[1])});
    row["b"] = numbers(tensors.at("0.folded_bias").to_vector<float>());
    row["rm"] = numbers(norm->running_mean->to_vector<float>());
    row["rv"] = numbers(norm->running_var->to_vector<float>());
    row["ws"] = numbers(scales);
  }

  Context context;
  std::shared_ptr<Sequential> net;
  std::shared_ptr<Conv2d> conv;
  std::shared_ptr<BatchNorm> norm;
  std::unique_ptr<Quantizer> quantizer;
};

Json run(const Inputs& in) {
  Folded f;
  Json rows = Json::array();
  for (int i = 0; i < 4; ++i) rows.push_back(f.step(in));
  return rows;
}

// The statistics of the float convolution: batch means (2, -3), unbiased variances (5/3, 20/3).
Json right(const Inputs&) {
  const double weight[] = {1, -2}, bias[] = {0.5, 0}, gamma[] = {2, 0.5}, beta[] = {0.1, -0.1};
  const double batch_mean[] = {2, -3}, batch_variance[] = {5.0 / 3, 20.0 / 3};
  double mean[] = {0.2, -0.3}, variance[] = {4, 1};
  Json rows = Json::array();
  for (int i = 0; i < 4; ++i) {
    Json row = {{"rm", {}}, {"rv", {}}, {"w", {}}, {"ws", {}}, {"b", {}}};
    for (int c = 0; c < 2; ++c) {
      mean[c] = 0.9 * mean[c] + 0.1 * batch_mean[c];
      variance[c] = 0.9 * variance[c] + 0.1 * batch_variance[c];
      const double ratio = gamma[c] / std::sqrt(variance[c] + 1e-5);
      row["rm"].push_back(mean[c]);
      row["rv"].push_back(variance[c]);
      row["w"].push_back(weight[c] * ratio);  // the only weight of its channel has the last code
      row["ws"].push_back(std::fabs(weight[c] * ratio) / 127);
      row["b"].push_back(beta[c] + (bias[c] - mean[c]) * ratio);
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

std::vector<Case> fold_cases() {
  return {{"G15_16",
           "NNI's fold of a batch norm: the first step, and the following three",
           {{"0/*", Nearness::kLargest, 1e-6},
            {"*", Nearness::kOurs, 1e-6,
             "from its second step on NNI takes the statistics of the convolution that it folded "
             "and quantized before (B2); ours are the float convolution's"}},
           run,
           right}};
}

}  // namespace halftone::golden
