#include "deploy/c_golden.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "deploy/runtime/session.h"

namespace halftone {
namespace {

using runtime::Program;

// Blocks of 3 x 3 pixels of one grey value, whose neighbours differ little or much: more like
// pictures than noise. What ht_self_test computes too.
class ImageMaker {
 public:
  explicit ImageMaker(const integer::Image& shape) : shape_(shape) {}

  std::vector<uint8_t> next() {
    std::vector<uint8_t> image(static_cast<size_t>(shape_.size()));
    size_t i = 0;
    for (int32_t y = 0; y < shape_.height; ++y) {
      for (int32_t x = 0; x < shape_.width; ++x) {
        for (int32_t c = 0; c < shape_.channels; ++c, ++i) {
          const size_t step = static_cast<size_t>(shape_.channels);
          const size_t row = step * static_cast<size_t>(shape_.width);
          state_ = 1664525u * state_ + 1013904223u;
          image[i] = static_cast<uint8_t>(state_ >> 24);
          if (x % 3 != 0) image[i] = image[i - step];
          if (y % 3 != 0) image[i] = image[i - row];
        }
      }
    }
    return image;
  }

 private:
  integer::Image shape_;
  uint32_t state_ = 1;
};

uint32_t fnv1a(const uint8_t* bytes, size_t count) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < count; ++i) h = (h ^ bytes[i]) * 16777619u;
  return h;
}

uint32_t hash_of_floats(const std::vector<float>& values) {
  std::vector<uint8_t> bytes;
  for (const float v : values) {
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    for (int i = 0; i < 32; i += 8) bytes.push_back(static_cast<uint8_t>(bits >> i));
  }
  return fnv1a(bytes.data(), bytes.size());
}

const char kSelfTest[] = R"(
int ht_self_test(void) {{
  static uint8_t image[(uint32_t)HT_HEIGHT * HT_WIDTH * HT_CHANNELS];
  ht_logit result[HT_RESULTS];
  const int32_t row = (int32_t)HT_WIDTH * HT_CHANNELS;
  uint32_t state = 1;
  int n;
  ht_different = 0;
  for (n = 0; n < {count} && ht_different == 0; ++n) {{
    int32_t i;
    for (i = 0; i < HT_HEIGHT * row; ++i) {{
      state = 1664525u * state + 1013904223u;
      image[i] = (uint8_t)(state >> 24);
      if (i % row / HT_CHANNELS % 3 != 0) image[i] = image[i - HT_CHANNELS];
      if (i / row % 3 != 0) image[i] = image[i - row];
    }}
    ht_expected = ht_golden[n];
    ht_run(image, result);
  }}
  ht_expected = 0;
  return ht_different;
}}
)";

}  // namespace

std::string golden_text(const Program& program, int count) {
  runtime::SessionOptions options;
  options.keeps_tensors = true;
  runtime::Session session(std::make_shared<const Program>(program), options);
  ImageMaker maker(program.input().shape);
  std::string text =
      fmt::format("static const uint32_t ht_golden[{}][{}] = {{\n", count, program.ops.size());
  for (int n = 0; n < count; ++n) {
    const std::vector<uint8_t> image = maker.next();
    const std::vector<float>& logits = session.run(image.data(), image.size());
    text += "  {";
    for (const runtime::Op& op : program.ops) {
      const runtime::Value& v = program.values[op.output];
      const size_t size = static_cast<size_t>(v.shape.size());
      text += fmt::format("0x{:08x}u, ", v.is_float ? hash_of_floats(logits)
                                                    : fnv1a(session.codes(op.output), size));
    }
    text += "},\n";
  }
  return text + "};\n" + fmt::format(kSelfTest, fmt::arg("count", count));
}

}  // namespace halftone
