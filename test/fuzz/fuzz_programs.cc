#include <zlib.h>

#include <vector>

#include "deploy/runtime/program_file.h"
#include "deploy/runtime/session.h"
#include "test/fuzz/fuzz.h"

namespace halftone::test {
namespace {

using namespace runtime;

constexpr size_t kHeader = 24;

Value value(int32_t height, int32_t width, int32_t channels) {
  Value v;
  v.name = "v";
  v.shape.height = height, v.shape.width = width, v.shape.channels = channels;
  v.zero_point = 1, v.scale = 0.5f;
  return v;
}

Op operation(OpKind kind, const std::vector<int32_t>& inputs, int32_t output) {
  Op op;
  op.kind = kind, op.name = name_of(kind), op.inputs = inputs, op.output = output;
  op.low = -1, op.high = 254;
  return op;
}

Op convolution(int32_t input, int32_t output, int32_t channels, int32_t kernel, int64_t weights) {
  Op op = operation(OpKind::kConvolution, {input}, output);
  op.window.kernel_h = op.window.kernel_w = kernel;
  op.pad_code = 1, op.weights.low = -100;
  for (int64_t i = 0; i < weights; ++i)
    op.weights.packed.push_back(static_cast<uint8_t>(37 * i % 200));
  op.channels.assign(static_cast<size_t>(channels), {false, true, false, 3, 0.01f});
  return op;
}

// Every operation: an image of 6 x 6 x 2 in a table, a pooled convolution, a depthwise one, a sum,
// a concatenation and so on to three logits.
Program whole_program() {
  Program p;
  p.network = "fuzzed";
  p.values = {value(6, 6, 2), value(6, 6, 2), value(3, 3, 3), value(3, 3, 3), value(3, 3, 3),
              value(3, 3, 6), value(2, 2, 8), value(1, 1, 8), value(1, 1, 8), value(1, 1, 3)};
  p.values.back().is_float = true;
  Op table = operation(OpKind::kTable, {0}, 1);
  for (int i = 0; i < 256; ++i) table.table.push_back(static_cast<uint8_t>(i / 3));
  Op pooled = convolution(1, 2, 3, 3, 54);
  pooled.window.pad_h = pooled.window.pad_w = 1;
  pooled.pools = true, pooled.unpooled = value(6, 6, 3).shape;
  pooled.pool.kernel_h = pooled.pool.kernel_w = pooled.pool.stride_h = pooled.pool.stride_w = 2;
  Op depthwise = convolution(2, 3, 3, 3, 4);
  depthwise.weights = {1, -1, 2, 1, depthwise.weights.packed};
  depthwise.groups = 3, depthwise.window.pad_h = depthwise.window.pad_w = 1;
  Op subsample = operation(OpKind::kSubsamplePad, {5}, 6);
  subsample.window.stride_h = 2, subsample.pad_before = 1;
  Op pool = operation(OpKind::kMaxPool, {6}, 7);
  pool.window.kernel_h = pool.window.kernel_w = 2;
  Op average = operation(OpKind::kAveragePool, {7}, 8);
  average.channels.assign(1, {false, false, false, 0, 1.0f});
  p.ops = {table,
           pooled,
           depthwise,
           operation(OpKind::kAdd, {2, 3}, 4),
           operation(OpKind::kConcat, {3, 4}, 5),
           subsample,
           pool,
           average,
           convolution(8, 9, 3, 1, 24)};
  return p;
}

// Checksum and length fit again, so that mutations reach the checks behind them.
void mend_header(std::string* bytes) {
  if (bytes->size() <= kHeader) return;
  const uint64_t body = bytes->size() - kHeader;
  const auto* from = reinterpret_cast<const Bytef*>(bytes->data() + kHeader);
  const auto sum = static_cast<uint32_t>(crc32(0, from, static_cast<uInt>(body)));
  bytes->replace(12, 4, reinterpret_cast<const char*>(&sum), 4);
  bytes->replace(16, 8, reinterpret_cast<const char*>(&body), 8);
}

// What was loaded must run; programs of large tensors would only take time.
bool run_small(Program program) {
  int64_t work = 0;
  for (const Value& v : program.values) work += v.shape.size();
  for (const Op& op : program.ops)
    work += op.window.taps() * program.values[op.output].shape.size() + op.unpooled.size();
  if (work > 20000) return false;
  const auto size = static_cast<size_t>(program.input().shape.size());
  const auto shared = std::make_shared<const Program>(std::move(program));
  Session session(shared, {integer::bodies().back(), 1, false});
  session.run(std::vector<uint8_t>(size, 200).data(), size);
  return true;
}

// One integer of the body, where fields are 4 bytes.
void overwrite_field(const Philox& random, uint64_t* draw, std::string* bytes) {
  constexpr int32_t kTelling[] = {0, 1, -1, 2, 3, 255, 256, 65536, INT32_MAX, INT32_MIN, 1 << 26};
  if (bytes->size() < kHeader + 4) return;
  const uint64_t at = kHeader + random.below((*draw)++, bytes->size() - kHeader - 3);
  const int32_t telling = kTelling[random.below((*draw)++, 11)];
  bytes->replace(at, 4, reinterpret_cast<const char*>(&telling), 4);
}

}  // namespace

FuzzCount fuzz_programs(uint64_t inputs, uint64_t seed) {
  const std::string telling("\0\1\2\3\4\5\6\7\x08\x10\x7f\x80\xff\xfe", 14);
  const std::string valid = to_bytes(whole_program());
  program_from_bytes(valid.data(), valid.size());  // throws where it is none
  const Philox random{seed, 1};
  uint64_t draw = 0;
  FuzzCount count;
  for (uint64_t i = 0; i < inputs; ++i) {
    std::string bytes = valid;
    for (uint64_t n = 1 + random.below(draw++, 3); n > 0; --n) {
      if (random.below(draw++, 2) == 0) {
        overwrite_field(random, &draw, &bytes);
      } else {
        bytes = mutate(bytes, telling, random, &draw);
      }
    }
    if (random.below(draw++, 8) > 0) mend_header(&bytes);
    try {
      count.run += run_small(program_from_bytes(bytes.data(), bytes.size())) ? 1 : 0;
      ++count.loaded;
    } catch (const ProgramError& e) {
      check_message(e.what());
      ++count.refused;
    }
  }
  return count;
}

}  // namespace halftone::test
