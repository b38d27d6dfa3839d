// The deployed network as data: what a .halftone file holds. It computes from the bytes of an image
// to logits on integer codes alone; the only floats are one multiplier per output channel.
#pragma once

#include <stdint.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/integer/quant_math.h"
#include "kernels/integer/window.h"

namespace halftone::runtime {

// A file that cannot be read, or a program that cannot run, and why.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A tensor of one image. real = scale (code - zero_point), code in [low, high].
struct Value {
  std::string name;  // of the layer that makes it
  integer::Image shape;
  bool is_float = false;  // logits that nobody quantized
  float scale = 1.0f;     // these four: of codes
  int32_t zero_point = 0;
  int32_t low = 0, high = 255;
};

enum class OpKind : uint8_t {
  kTable = 1,        // a code for every code, per channel where the table has as many
  kConvolution = 2,  // also Linear: a window as large as its input
  kMaxPool = 3,
  kAveragePool = 4,  // over the whole image
  kAdd = 5,
  kConcat = 6,        // along the channels
  kSubsamplePad = 7,  // every stride-th pixel, channels of zeros around the channels
};
const char* name_of(OpKind kind);

// Stored weights u, `bits` each, first in the low bits, mean (low + step u) 2^shift, or, where
// there are zero points, (u - zero point of the channel) 2^shift; the negative of it in channels
// that are `negated`. Order (O, kh, kw, C / groups), no padding between.
struct Weights {
  int32_t bits = 8;  // 1, 2, 4 or 8
  int32_t low = -128, step = 1, shift = 0;
  std::vector<uint8_t> packed;
  std::vector<uint8_t> zero_points;  // none, or one per output channel: low is 0 then, step 1
};

struct OutputChannel {
  bool constant = false;   // the accumulator does not count
  bool negated = false;    // of the stored weights
  bool takes_min = false;  // of the accumulators that are pooled: they fall as the values rise
  int32_t bias = 0;
  float multiplier = 1.0f;
};

// Which fields count depends on the kind.
struct Op {
  OpKind kind = OpKind::kTable;
  std::string name;             // of the layer
  std::vector<int32_t> inputs;  // values made before
  int32_t output = 0;           // the value after those of the ops before
  std::vector<uint8_t> table;   // kTable: 256 for each channel, or for all
  integer::Window window;       // kConvolution, kMaxPool; kSubsamplePad: stride_h
  int32_t groups = 1;
  int32_t pad_code = 0;  // around the convolution's input
  Weights weights;
  // kConvolution: one per output channel; kAveragePool: one.
  std::vector<OutputChannel> channels;
  // kConvolution: a maximum over windows of the accumulators, before they become codes.
  bool pools = false;
  integer::Window pool;
  integer::Image unpooled;  // the convolution's own output, where it pools
  // Bounds of the result, less its zero point, in its steps; of a float result, in reals.
  float low = 0, high = 255;
  int32_t pad_before = 0;  // kSubsamplePad: channels in front
};

struct Program {
  std::string network;        // "lenet5", for people
  std::vector<Value> values;  // the first: image bytes; the last: the result
  std::vector<Op> ops;        // as they run

  const Value& input() const { return values.front(); }
  const Value& result() const { return values.back(); }
};

// Throws unless every op can run: shapes fit together, weights are there, no accumulator leaves
// int32. What the loader and the compiler both call.
void check_program(const Program& program);

// The integers that a convolution's weights are, (O, kh, kw, C / groups): int8, or, of 8 bits with
// zero points, -255 .. 255. Throws for any other.
std::vector<int16_t> unpack_weights(const Op& op, int64_t count);
// The same in int8: weight = code + offset of its output channel. Without offsets where int8 holds
// every weight of the layer; else code is u - 128, or 127 - u where negated.
struct NarrowWeights {
  std::vector<int8_t> codes;
  std::vector<int32_t> offsets;  // one per output channel, -127 .. 128, or none
};
NarrowWeights narrow_weights(const Op& op, int64_t count);
// Weights of one output channel.
int64_t weights_per_channel(const Program& program, const Op& op);
// Of one output channel whose weights these are: no |acc + bias| passes it.
int64_t accumulator_bound(const Value& input, const OutputChannel& channel, const int16_t* weights,
                          int64_t count);

}  // namespace halftone::runtime
