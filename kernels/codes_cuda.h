// Integer codes on a CUDA device: to and from numbers, sums of codes, maxima of accumulators.
#pragma once

#include "kernels/add_codes.h"
#include "kernels/cuda/grids.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/walk.h"
#include "kernels/pool_cuda.h"
#include "tensor/dtype.h"

namespace halftone::kernels::cuda {

// y = scale (code - zero_point); float32.
struct ReadCodesArgs {
  ChannelLayout layout;
  DType code_dtype = DType::kUInt8;  // or int8
  int32_t zero_point = 0;
  float scale = 1.0f;
  const float* scales = nullptr;         // one per channel, in place of `scale`
  const int32_t* zero_points = nullptr;  // one per channel, in place of `zero_point`
  const void* codes = nullptr;
  float* y = nullptr;
};
void read_codes(Stream& stream, const ReadCodesArgs& args);

// int8 codes of weight rows around their zero points, times a factor per row, less an offset
// (quantize_weights of quantize.h).
struct WeightCodesArgs {
  int64_t rows = 0, length = 0;
  bool per_row = false;  // a grid per row, else one
  DeviceGrids grids;
  const int32_t* factors = nullptr;
  const int32_t* offsets = nullptr;
  const float* w = nullptr;
  int8_t* codes = nullptr;
};
void weight_codes(Stream& stream, const WeightCodesArgs& args);

// The sums of add_codes.h over uint8 codes.
struct AddCodesArgs {
  int64_t numel = 0;
  CodeSum sum;
  const uint8_t* a = nullptr;
  const uint8_t* b = nullptr;
  uint8_t* y = nullptr;
  SumRange* range = nullptr;  // of t
};
void add_codes(Stream& stream, const AddCodesArgs& args);

struct AddCodesBackwardArgs {
  int64_t numel = 0;
  CodeSum sum;
  const float* dy = nullptr;
  const uint8_t* a = nullptr;
  const uint8_t* b = nullptr;
  float* dt = nullptr;  // may be dy
};
void add_codes_backward(Stream& stream, const AddCodesBackwardArgs& args);

struct WeightedCodesArgs {
  int64_t numel = 0;
  const float* dy = nullptr;
  const uint8_t* a = nullptr;
  const uint8_t* b = nullptr;
  const float* shares = nullptr;  // kCodeSums
  double* total = nullptr;
};
void weighted_codes(Stream& stream, const WeightedCodesArgs& args);

// y = codes where the mask is not 0, else the code of zero.
struct DropCodesArgs {
  int64_t numel = 0;
  uint8_t zero = 0;
  const uint8_t* codes = nullptr;
  const float* mask = nullptr;
  uint8_t* y = nullptr;
  const int32_t* zero_point = nullptr;  // of the device, in place of `zero`
};
void drop_codes(Stream& stream, const DropCodesArgs& args);

// max_pool2d of uint8 codes, and max_pool2d_accumulators of int32 (pool.h): where flips[c] is -1,
// the minimum.
struct WholePoolArgs {
  PoolGeometry g;
  DType dtype = DType::kUInt8;     // of x and y
  const int32_t* flips = nullptr;  // channels, 0 or -1; null: maxima
  const void* x = nullptr;
  void* y = nullptr;
  uint8_t* taps = nullptr;  // may be null
};
void max_pool_whole(Stream& stream, const WholePoolArgs& args);

// sum_code_windows of pool.h.
struct CodeWindowsArgs {
  PoolGeometry g;
  int32_t zero_point = 0;
  const uint8_t* codes = nullptr;
  int32_t* sums = nullptr;
  const int32_t* zero = nullptr;  // of the device, in place of `zero_point`
};
void code_windows(Stream& stream, const CodeWindowsArgs& args);

#define HALFTONE_CODES_KERNELS(K)             \
  K(read_codes, ReadCodesArgs)                \
  K(weight_codes, WeightCodesArgs)            \
  K(add_codes, AddCodesArgs)                  \
  K(add_codes_backward, AddCodesBackwardArgs) \
  K(weighted_codes, WeightedCodesArgs)        \
  K(drop_codes, DropCodesArgs)                \
  K(max_pool_whole, WholePoolArgs)            \
  K(code_windows, CodeWindowsArgs)

}  // namespace halftone::kernels::cuda
