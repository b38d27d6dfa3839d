// Dense, contiguous, row-major values on one device. No strides.
#pragma once

#include <memory>
#include <vector>

#include "tensor/context.h"
#include "tensor/dtype.h"
#include "tensor/error.h"
#include "tensor/shape.h"

namespace halftone {

// A cheap handle: copies share the values. Views are slices of the leading axis and reshapes.
// Images are NHWC, convolution weights OHWI; files and error texts speak PyTorch's NCHW / OIHW.
// A const Tensor& promises that the callee does not write; results go to fresh tensors.
class Tensor {
 public:
  Tensor() = default;  // undefined
  static Tensor empty(const Context& context, const Shape& shape, DType dtype = DType::kFloat32);
  static Tensor zeros(const Context& context, const Shape& shape, DType dtype = DType::kFloat32);
  static Tensor full(const Context& context, const Shape& shape, float value);
  template <class T>
  static Tensor from(const Context& context, const Shape& shape, const std::vector<T>& values);
  // A view of memory that somebody else keeps alive through `owner`.
  static Tensor view_of(const Context& context, const Shape& shape, DType dtype, void* data,
                        std::shared_ptr<void> owner);

  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Context& context() const;  // throws when undefined
  bool on_host() const { return on_host_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int axis) const { return shape_.dim(axis); }
  int rank() const { return shape_.rank(); }
  DType dtype() const { return dtype_; }
  int64_t numel() const { return shape_.numel(); }
  size_t nbytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }

  // Pointer to the first element; throws when T is not the dtype, or the values lie on a device:
  // there, kernels take raw().
  template <class T>
  T* data() {
    check_dtype(DTypeOf<T>::value);
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* data() const {
    check_dtype(DTypeOf<T>::value);
    return reinterpret_cast<const T*>(data_);
  }
  void* raw() { return data_; }
  const void* raw() const { return data_; }

  Tensor slice(int64_t begin, int64_t end) const;  // rows [begin, end) of axis 0, shared values
  Tensor reshape(const Shape& shape) const;        // same numel, shared values
  Tensor clone() const;                            // own copy
  Tensor to(DType dtype) const;                    // converted copy (itself when equal)
  Tensor to(const Context& context) const;         // copy on its device (itself when the same)
  void copy_from(const Tensor& source);            // same shape and dtype, any device
  void fill(float value);
  bool unique() const;  // the only handle: may be written in place
  bool same_memory(const Tensor& other) const { return data_ == other.data_; }

  template <class T>
  std::vector<T> to_vector() const;
  template <class T>
  T item() const;  // the only element

 private:
  void check_dtype(DType wanted) const;
  struct Storage;
  std::shared_ptr<Storage> storage_;
  char* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kFloat32;
  bool on_host_ = true;
};

}  // namespace halftone
