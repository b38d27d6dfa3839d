#include "autograd/variable.h"

#include "autograd/engine.h"
#include "autograd/variable_impl.h"
#include "kernels/quantize.h"

namespace halftone {

Variable::Variable(Tensor value, bool requires_grad) : impl_(std::make_shared<Impl>()) {
  value.context();  // throws when undefined
  impl_->value = std::move(value);
  if (requires_grad) set_requires_grad(true);
}

Variable::Variable(Codes codes) : impl_(std::make_shared<Impl>()) {
  codes.values.context();
  impl_->codes = std::move(codes);
}

Variable::Impl& Variable::impl() const {
  if (impl_ == nullptr) {
    throw HALFTONE_ERROR("variable").expected("a Variable with a value").found("an undefined one");
  }
  return *impl_;
}

namespace {

Tensor reals_of(const Codes& codes) {
  if (codes.values.on_host()) return dequantize(codes);
  Tensor y = Tensor::empty(codes.values.context(), codes.values.shape());
  kernels::codes_to_reals(codes, y);
  return y;
}

}  // namespace

const Tensor& Variable::value() const {
  const Impl& self = impl();
  if (!self.value.defined()) self.value = reals_of(*self.codes);
  return self.value;
}

Tensor& Variable::mutable_value() {
  Impl& self = impl();
  if (self.node != nullptr || self.codes) {
    throw HALFTONE_ERROR("mutable_value")
        .expected("a leaf that holds a tensor")
        .found(self.codes ? "quantized codes" : "the result of " + self.node->op)
        .fix("write to parameters and inputs only");
  }
  return self.value;
}

const Codes* Variable::codes() const {
  const Impl& self = impl();
  return self.codes ? &*self.codes : nullptr;
}

const Shape& Variable::shape() const {
  const Impl& self = impl();
  return self.codes ? self.codes->values.shape() : self.value.shape();
}

const Context& Variable::context() const {
  const Impl& self = impl();
  return self.codes ? self.codes->values.context() : self.value.context();
}

bool Variable::requires_grad() const { return impl().requires_grad; }

void Variable::set_requires_grad(bool on) {
  Impl& self = impl();
  if (self.node != nullptr && !on) {
    throw HALFTONE_ERROR("set_requires_grad")
        .expected("a leaf")
        .found("the result of " + self.node->op)
        .fix("wrap the forward in NoGrad, or start from Variable(x.value())");
  }
  if (on && !self.codes && self.value.dtype() != DType::kFloat32) {
    throw HALFTONE_ERROR("set_requires_grad")
        .expected("float32 values")
        .found(name_of(self.value.dtype()));
  }
  self.requires_grad = on;
}

Tensor Variable::grad() const {
  const Impl& self = impl();
  return self.has_grad ? self.grad : Tensor();
}

void Variable::set_grad_buffer(Tensor buffer) {
  Impl& self = impl();
  if (self.node != nullptr) {
    throw HALFTONE_ERROR("set_grad_buffer")
        .expected("a leaf")
        .found("the result of " + self.node->op);
  }
  if (buffer.dtype() != DType::kFloat32 || buffer.shape() != shape()) {
    throw HALFTONE_ERROR("set_grad_buffer")
        .expected("float32 " + shape().str())
        .found(name_of(buffer.dtype()) + " " + buffer.shape().str());
  }
  if (self.has_grad) buffer.copy_from(self.grad);
  self.grad = std::move(buffer);
  self.has_buffer = true;
}

void Variable::zero_grad() {
  Impl& self = impl();
  self.has_grad = false;
  if (!self.has_buffer) self.grad = Tensor();
}

void Variable::backward(Tensor upstream) { Engine::backward(*this, std::move(upstream)); }

const std::shared_ptr<Node>& Variable::node() const { return impl().node; }

}  // namespace halftone
