#include "nn/input_check.h"

#include <cstdio>

namespace halftone {

const Variable& only_input(const char* op, const std::vector<Variable>& inputs) {
  if (inputs.size() != 1) {
    throw HALFTONE_ERROR(op).expected("one input").found(std::to_string(inputs.size()));
  }
  return inputs[0];
}

std::string torch_shape(const Shape& nhwc) {
  std::vector<int64_t> dims(nhwc.begin(), nhwc.end());
  if (dims.size() == 4) dims = {dims[0], dims[3], dims[1], dims[2]};
  std::string text = "(";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + (dims.size() == 1 ? ",)" : ")");
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

void check_channels(const char* op, const Shape& x, int rank, int64_t channels,
                    const std::string& owner, const std::string& fix) {
  if (x.rank() == rank && x[rank - 1] == channels) return;
  const std::string wanted = "(N, " + std::to_string(channels) + (rank == 4 ? ", H, W)" : ")");
  Error error = HALFTONE_ERROR(op);
  error.expected("an input of shape " + wanted + " for " + owner).found(torch_shape(x));
  if (!fix.empty()) error.fix(fix);
  throw error;
}

}  // namespace halftone
