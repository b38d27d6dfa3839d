#include "tensor/tensor.h"

#include <cstdint>
#include <cstring>

#include "tensor/memory.h"

namespace halftone {

struct Tensor::Storage {
  // A block of the context's pool.
  Storage(const Context& c, size_t bytes) : context(c), block(c.memory().allocate(bytes)) {}
  // Somebody else's memory.
  Storage(const Context& c, std::shared_ptr<void> o) : context(c), owner(std::move(o)) {}
  ~Storage() {
    if (block != nullptr) context.memory().release(block);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Context context;
  void* block = nullptr;
  std::shared_ptr<void> owner;
};

Tensor Tensor::empty(const Context& context, const Shape& shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.on_host_ = context.on_cpu();
  size_t bytes;
  if (__builtin_mul_overflow(static_cast<size_t>(t.numel()), size_of(dtype), &bytes)) {
    bytes = SIZE_MAX;  // the pool says that there is no such memory
  }
  t.storage_ = std::make_shared<Storage>(context, bytes);
  t.data_ = static_cast<char*>(t.storage_->block);
  return t;
}

Tensor Tensor::zeros(const Context& context, const Shape& shape, DType dtype) {
  Tensor t = empty(context, shape, dtype);
  if (DeviceRuntime* device = context.runtime()) {
    device->zero(t.data_, t.nbytes());
  } else {
    std::memset(t.data_, 0, t.nbytes());
  }
  return t;
}

Tensor Tensor::full(const Context& context, const Shape& shape, float value) {
  Tensor t = empty(context, shape);
  t.fill(value);
  return t;
}

Tensor Tensor::view_of(const Context& context, const Shape& shape, DType dtype, void* data,
                       std::shared_ptr<void> owner) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.on_host_ = context.on_cpu();
  t.storage_ = std::make_shared<Storage>(context, std::move(owner));
  t.data_ = static_cast<char*>(data);
  return t;
}

const Context& Tensor::context() const {
  if (!defined()) throw HALFTONE_ERROR("tensor").expected("a tensor").found("an undefined one");
  return storage_->context;
}

void Tensor::check_dtype(DType wanted) const {
  if (dtype_ == wanted && defined() && on_host_) return;
  if (defined() && !on_host_) {
    throw HALFTONE_ERROR("tensor")
        .expected("values on the CPU: this step has no body for a device")
        .found(name_of(dtype_) + " " + shape_.str() + " on " + name_of(context().device()))
        .fix("run on the CPU (--device cpu)");
  }
  throw HALFTONE_ERROR("tensor")
      .expected(name_of(wanted) + " elements")
      .found(defined() ? name_of(dtype_) + " " + shape_.str() : "an undefined tensor");
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  context();
  if (rank() == 0 || begin < 0 || begin > end || end > shape_[0]) {
    throw HALFTONE_ERROR("slice")
        .expected("a range of axis 0 of " + shape_.str())
        .found("[" + std::to_string(begin) + ", " + std::to_string(end) + ")");
  }
  Tensor t = *this;
  t.shape_.set(0, 1);
  t.data_ += begin * static_cast<int64_t>(t.nbytes());
  t.shape_.set(0, end - begin);
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  context();
  if (shape.numel() != numel()) {
    throw HALFTONE_ERROR("reshape")
        .expected(std::to_string(numel()) + " elements, as in " + shape_.str())
        .found(shape.str());
  }
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(context(), shape_, dtype_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(const Context& other) const {
  if (context() == other) return *this;
  Tensor t = empty(other, shape_, dtype_);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& source) {
  context();
  source.context();
  if (source.shape_ != shape_ || source.dtype_ != dtype_) {
    throw HALFTONE_ERROR("copy_from")
        .expected(name_of(dtype_) + " " + shape_.str())
        .found(name_of(source.dtype_) + " " + source.shape_.str());
  }
  if (on_host_ && source.on_host_) {
    std::memmove(data_, source.data_, nbytes());
  } else if (on_host_) {
    source.context().runtime()->copy(data_, source.data_, nbytes(), CopyKind::kToHost);
  } else if (source.on_host_) {
    context().runtime()->copy(data_, source.data_, nbytes(), CopyKind::kToDevice);
  } else {
    const bool other = !(context() == source.context());  // another stream
    if (other) source.context().runtime()->synchronize();
    context().runtime()->copy(data_, source.data_, nbytes(), CopyKind::kOnDevice);
    if (other) context().runtime()->synchronize();
  }
}

bool Tensor::unique() const {
  return defined() && storage_.use_count() == 1 && storage_->owner == nullptr &&
         storage_->block != nullptr;
}

}  // namespace halftone
