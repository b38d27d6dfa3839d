// Layers and the network of G25, written a second time in naive loops. Activations and weights are
// float32 in PyTorch's layout; every sum is one of `Sums`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "test/golden/inputs.h"
#include "test/golden/reference_quantize.h"

namespace halftone::golden::reference {

// A convolution of stride 1 without padding over square images; a linear layer is one of 1 x 1.
// The quantizers may be missing.
struct Layer {
  int in, out, kernel, size;      // channels, window, image
  Values weight = {}, bias = {};  // (out, in, kernel, kernel); (out) or none
  std::unique_ptr<Quantizer> of_weight = {}, of_input = {};

  Values x = {}, x_q = {}, w_q = {};  // of the last forward
  Values dw = {}, db = {};            // of the last backward
  Values weight_buffer = {}, bias_buffer = {};

  int result_size() const { return size - kernel + 1; }
  Values forward(const Values& input, bool training, const Sums& sums);
  // Returns d loss / d input.
  Values backward(const Values& up, const Sums& sums);
  void step(const Sgd& sgd);
  bool lost() const;
};

// min(max(x, 0), top), and the gradient strictly between.
Values clamp(const Values& x, float top);
Values clamp_backward(const Values& up, const Values& x, float top);

// G25. `losses` of ten steps, then log_softmax of the outputs for two images; from step `lost` on
// (10: the logits, 11: nowhere) NNI's own formulas divide by a scale of 0.
struct Trace {
  Values losses, logits;
  int lost = 11;
};
// `quantizer` is a name of the case: "float", "qat8", "qat4pc", "dorefa2", "bnn", "lsq4", "naive".
//
// Codes of few bits have many equal sums, and the max pooling behind the first layer decides by
// their roundings which of them gets the gradient: PyTorch's own convolutions differ in it, and
// their losses by percents after a few steps. `decisions`, what the pooling got in each step of
// somebody else's run, makes the reference decide as that run did, where its own values are equal
// up to rounding; without, the largest float wins.
Trace train(const std::string& quantizer, const Inputs& in, const Sums& sums,
            const std::vector<Values>& decisions = {});

}  // namespace halftone::golden::reference
