// Sums, copies and layouts on a CUDA device. float32 unless said.
#pragma once

#include "kernels/activation.h"
#include "kernels/cuda/stream.h"

namespace halftone::kernels::cuda {

// y = act(a + b); y may be a or b.
struct AddArgs {
  int64_t numel = 0;
  ActivationOptions act;
  const float* a = nullptr;
  const float* b = nullptr;
  float* y = nullptr;
};
void add(Stream& stream, const AddArgs& args);

struct MultiplyArgs {
  int64_t numel = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  float* y = nullptr;
};
void multiply(Stream& stream, const MultiplyArgs& args);

// y = factor x; y may be x.
struct ScaleArgs {
  int64_t numel = 0;
  float factor = 1.0f;
  const float* x = nullptr;
  float* y = nullptr;
  const float* by = nullptr;  // of the device, in place of `factor`
};
void scale(Stream& stream, const ScaleArgs& args);

// Every element of `width` bytes (1, 2, 4, 8) gets the low bytes of `bits`.
struct FillArgs {
  int64_t numel = 0;
  int width = 4;
  uint64_t bits = 0;
  void* y = nullptr;
};
void fill(Stream& stream, const FillArgs& args);

// float32 to bfloat16 and back, and uint8, int8, int32 to float32.
struct CastArgs {
  int64_t numel = 0;
  DType from = DType::kFloat32, to = DType::kBFloat16;
  const void* x = nullptr;
  void* y = nullptr;
};
void cast(Stream& stream, const CastArgs& args);

// Rows of `width` bytes between places `x_stride` and `y_stride` bytes apart: channels into a
// concatenation, or out of it.
struct CopyRowsArgs {
  int64_t rows = 0, width = 0, x_stride = 0, y_stride = 0;
  const void* x = nullptr;
  void* y = nullptr;
};
void copy_rows(Stream& stream, const CopyRowsArgs& args);

// y (batch, columns, rows) = x (batch, rows, columns), elements of `element` bytes (1, 2, 4, 8).
struct TransposeArgs {
  int64_t batch = 0, rows = 0, columns = 0;
  int element = 4;
  const void* x = nullptr;
  void* y = nullptr;
};
void transpose(Stream& stream, const TransposeArgs& args);

// ResNet option A and its gradient (elementwise.h): x (n, h, w, c), y (n, oh, ow, wide).
struct SubsampleArgs {
  int64_t n = 0, h = 0, w = 0, c = 0, oh = 0, ow = 0, wide = 0;
  int64_t stride = 1, pad_before = 0;
  float fill = 0.0f;  // forward
  const void* x = nullptr;
  void* y = nullptr;
  DType dtype = DType::kFloat32;  // forward: or uint8
};
void subsample_pad(Stream& stream, const SubsampleArgs& args);
// Here x is dy, of y's shape, and y is dx; float32.
struct SubsampleBackwardArgs : SubsampleArgs {};
void subsample_pad_backward(Stream& stream, const SubsampleBackwardArgs& args);

// Frames around images (pad.h): small (n, h, w, c), large (n, h + 2 top, w + 2 left, c).
struct FrameArgs {
  int64_t n = 0, h = 0, w = 0, c = 0, top = 0, left = 0;
  float value = 0.0f;  // forward
  const float* x = nullptr;
  float* y = nullptr;
};
void pad_images(Stream& stream, const FrameArgs& args);
struct FrameBackwardArgs : FrameArgs {};  // x large, y small
void pad_images_backward(Stream& stream, const FrameBackwardArgs& args);

// total = sum of x in double; all_finite = 1 or 0. Either may be null.
struct InspectArgs {
  int64_t numel = 0;
  const float* x = nullptr;
  double* total = nullptr;
  int32_t* all_finite = nullptr;
};
void inspect(Stream& stream, const InspectArgs& args);

// out (columns) = sums over rows of x (rows, columns): bias gradients.
struct ColumnSumsArgs {
  int64_t rows = 0, columns = 0;
  const float* x = nullptr;
  float* out = nullptr;
};
void column_sums(Stream& stream, const ColumnSumsArgs& args);

#define HALFTONE_ELEMENTWISE_KERNELS(K)            \
  K(add, AddArgs)                                  \
  K(multiply, MultiplyArgs)                        \
  K(scale, ScaleArgs)                              \
  K(fill, FillArgs)                                \
  K(cast, CastArgs)                                \
  K(copy_rows, CopyRowsArgs)                       \
  K(transpose, TransposeArgs)                      \
  K(subsample_pad, SubsampleArgs)                  \
  K(subsample_pad_backward, SubsampleBackwardArgs) \
  K(pad_images, FrameArgs)                         \
  K(pad_images_backward, FrameBackwardArgs)        \
  K(inspect, InspectArgs)                          \
  K(column_sums, ColumnSumsArgs)

}  // namespace halftone::kernels::cuda
