// What the ops share: autograd's own files only.
#pragma once

#include "autograd/variable.h"

namespace halftone {

// Whether an op over this input will be asked for its gradient: then it saves what that takes.
inline bool wants_grad(const Variable& v) {
  return grad_enabled() && v.defined() && v.requires_grad();
}

inline const Tensor* value_or_null(const Variable& v) { return v.defined() ? &v.value() : nullptr; }

inline Tensor saved_if(bool wanted, const Tensor& t) { return wanted ? t : Tensor(); }

// For kernels that compute several gradients at once: input i's, or a throw-away where nobody wants
// it.
inline Tensor& out_or_scratch(GradSink& sink, size_t i, const Context& context, const Shape& shape,
                              Tensor& scratch) {
  if (sink.needs(i)) return sink.out(i);
  scratch = Tensor::empty(context, shape);
  return scratch;
}

// For closures whose gradient may overwrite the upstream one element by element: its own memory
// where nobody else can see it, else a fresh tensor. Hand it over with put().
inline Tensor reuse_or_empty(const Tensor& upstream) {
  return upstream.unique() ? upstream : Tensor::empty(upstream.context(), upstream.shape());
}

inline Tensor* out_or_null(GradSink& sink, size_t i) {
  return sink.needs(i) ? &sink.out(i) : nullptr;
}

}  // namespace halftone
