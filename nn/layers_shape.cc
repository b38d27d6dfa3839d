#include "nn/layers_shape.h"

#include "autograd/ops.h"
#include "nn/input_check.h"

namespace halftone {

Variable Flatten::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("flatten", inputs);
  return x.shape().rank() == 2 ? x : flatten(x);
}

Variable Identity::forward(const std::vector<Variable>& inputs) {
  return only_input("identity", inputs);
}

Dropout::Dropout(const Context& context, float p) : Module(context), p_(p) {
  if (!(p >= 0.0f && p <= 1.0f)) {
    throw HALFTONE_ERROR("dropout").expected("p in [0, 1]").found(std::to_string(p));
  }
}

std::string Dropout::describe() const { return "p=" + short_number(p_); }

Variable Dropout::forward(const std::vector<Variable>& inputs) {
  const Variable& x = only_input("dropout", inputs);
  if (GraphRecorder* recorder = GraphRecorder::current()) recorder->record_dropout(x);
  return training() && p_ > 0.0f ? dropout(x, p_, true) : x;
}

Variable Add::forward(const std::vector<Variable>& inputs) {
  if (inputs.size() != 2) {
    throw HALFTONE_ERROR("add").expected("two inputs").found(std::to_string(inputs.size()));
  }
  if (inputs[0].shape() != inputs[1].shape()) {
    throw HALFTONE_ERROR("add")
        .expected("two inputs of one shape")
        .found(torch_shape(inputs[0].shape()) + " and " + torch_shape(inputs[1].shape()));
  }
  return add(inputs[0], inputs[1], fused_activation);
}

Variable Concat::forward(const std::vector<Variable>& inputs) {
  if (inputs.empty()) throw HALFTONE_ERROR("concat").expected("at least one input").found("none");
  for (const Variable& x : inputs) {
    Shape wanted = inputs[0].shape();
    if (x.shape().rank() == wanted.rank()) wanted.set(wanted.rank() - 1, x.shape().dim(-1));
    if (x.shape() != wanted) {
      throw HALFTONE_ERROR("concat")
          .expected("inputs that differ in their channels only")
          .found(torch_shape(inputs[0].shape()) + " and " + torch_shape(x.shape()));
    }
  }
  return concat(inputs);
}

std::string SubsamplePad::describe() const {
  return "stride=" + std::to_string(args_.stride) + ", channels=(" +
         std::to_string(args_.pad_before) + ", " + std::to_string(args_.pad_after) + ")";
}

Variable SubsamplePad::forward(const std::vector<Variable>& inputs) {
  return subsample_pad(only_input("subsample_pad", inputs), args_.stride, args_.pad_before,
                       args_.pad_after);
}

}  // namespace halftone
