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

struct Channel {
  double weight, bias, gamma, beta, mean, variance;
  double batch_mean, batch_variance;  // of the float convolution of x = 0..3; unbiased
};

// One channel of one step, appended to the row's lists: NNI's fold with the statistics of the float
// convolution. The channel's only weight has the last code, so that it is its own quantized value
// and its gradient passes.
void add_channel(Channel& c, const std::vector<double>& up, Json& row) {
  c.mean = 0.9 * c.mean + 0.1 * c.batch_mean;
  c.variance = 0.9 * c.variance + 0.1 * c.batch_variance;
  const double sigma = std::sqrt(c.variance + 1e-5), ratio = c.gamma / sigma;
  const double w = c.weight * ratio, b = c.beta + (c.bias - c.mean) * ratio;
  double dw = 0, db = 0;  // of the folded ones
  for (size_t x = 0; x < 4; ++x) {
    row["y"].push_back(w * static_cast<double>(x) + b);
    dw += up[x] * static_cast<double>(x);
    db += up[x];
  }
  row["w"].push_back(w);
  row["b"].push_back(b);
  row["rm"].push_back(c.mean);
  row["rv"].push_back(c.variance);
  row["ws"].push_back(std::fabs(w) / 127);
  row["dW"].push_back(dw * ratio);
  row["db"].push_back(db * ratio);
  row["dgamma"].push_back((dw * c.weight + db * (c.bias - c.mean)) / sigma);
  row["dbeta"].push_back(db);
}

Json right(const Inputs& in) {
  Channel channels[] = {{1, 0.5, 2, 0.1, 0.2, 4, 2, 5.0 / 3},
                        {-2, 0, 0.5, -0.1, -0.3, 1, -3, 20.0 / 3}};
  const auto up = in.g(8, -1, 1, 7);
  Json rows = Json::array();
  for (int i = 0; i < 4; ++i) {
    Json row;
    for (size_t c = 0; c < 2; ++c)
      add_channel(channels[c], {up.begin() + 4 * c, up.begin() + 4 * c + 4}, row);
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
