#include "deploy/code_values.h"

#include <algorithm>

namespace halftone {
namespace {

constexpr int64_t kCodes = 256;

// Every code, or what every byte stands for, in every channel: as images of one pixel.
Variable all_codes(const Context& context, const CodeValue& in, int64_t channels,
                   const std::vector<float>& normalisation) {
  const Shape shape{kCodes, 1, 1, channels};
  const auto entries = static_cast<size_t>(kCodes * channels);
  if (!normalisation.empty()) {
    std::vector<float> values(entries);
    for (size_t i = 0; i < entries; ++i)
      values[i] = normalisation.at(i % channels * kCodes + i / channels);
    return Variable(Tensor::from(context, shape, values));
  }
  std::vector<uint8_t> values(entries);
  for (size_t i = 0; i < entries; ++i) values[i] = static_cast<uint8_t>(i / channels);
  return Variable(Codes{Tensor::from(context, shape, values), in.params});
}

// BatchNorm1d reads (N, C).
Variable in_rank_of(const Module& module, const Variable& x) {
  if (module.type_name() != "BatchNorm1d" || x.shape().rank() == 2) return x;
  const Shape flat{x.shape()[0], x.shape().dim(-1)};
  const Codes* codes = x.codes();
  if (codes == nullptr) return Variable(x.value().reshape(flat));
  return Variable(Codes{codes->values.reshape(flat), codes->params});
}

// (256, C) to (C, 256), or to 256 where the channels agree.
std::vector<uint8_t> by_channel(const uint8_t* codes, int64_t channels) {
  std::vector<uint8_t> out;
  bool alike = true;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t v = 0; v < kCodes; ++v) {
      out.push_back(codes[v * channels + c]);
      alike = alike && out.back() == out[v];
    }
  }
  if (alike) out.resize(kCodes);
  return out;
}

}  // namespace

CodeTable tabulate(const Context& context, const CodeValue& in, int64_t channels,
                   const std::vector<float>& normalisation, FakeQuantize* quantizer) {
  Variable x = all_codes(context, in, channels, normalisation);
  for (Module* module : in.pending) x = (*module)(in_rank_of(*module, x));
  if (quantizer != nullptr) x = (*quantizer)(x);
  const Codes* codes = x.codes();
  if (codes == nullptr) {
    const std::string path = quantizer != nullptr ? quantizer->path() : in.pending.back()->path();
    refuse(path, quantizer != nullptr && quantizer->warm_up()
                     ? "its quantizer still waits for step " +
                           std::to_string(quantizer->spec().start_step)
                     : "its values are not quantized to codes");
  }
  return {by_channel(codes->values.data<uint8_t>(), channels), codes->params};
}

void refuse(const std::string& path, const std::string& why) {
  throw HALFTONE_ERROR("export").at(path).expected("a layer with an integer form").found(why);
}

}  // namespace halftone
