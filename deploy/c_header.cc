#include "deploy/c_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <memory>

#include "deploy/c_buffer.h"
#include "deploy/c_golden.h"

namespace halftone {
namespace {

using integer::Image;
using integer::Window;
using runtime::Op;
using runtime::OpKind;
using runtime::Program;
using runtime::Value;

const char kKernels[] =
#include "deploy/c/kernels.inc"
    ;

std::string identifier(const std::string& name) {
  std::string out;
  for (const char c : name)
    out +=
        std::isalnum(static_cast<unsigned char>(c)) != 0 ? static_cast<char>(std::tolower(c)) : '_';
  if (out.empty() || std::isalpha(static_cast<unsigned char>(out[0])) == 0) out = "net_" + out;
  return out;
}

std::string upper(std::string s) {
  for (char& c : s) c = static_cast<char>(std::toupper(c));
  return s;
}

// Where `from` begins a name.
void replace_names(const std::string& from, const std::string& to, std::string& text) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + 1)) {
    const auto before = static_cast<unsigned char>(at > 0 ? text[at - 1] : ' ');
    if (std::isalnum(before) == 0 && before != '_') text.replace(at, from.size(), to);
  }
}

// A layer's name inside a comment.
std::string comment(std::string name) {
  for (size_t at; (at = name.find("*/")) != std::string::npos;) name.insert(at + 1, " ");
  return name;
}

uint32_t bits_of(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

std::string text_of(const Image& s) {
  return fmt::format("{{{}, {}, {}}}", s.height, s.width, s.channels);
}

std::string text_of(const Window& w) {
  return fmt::format("{{{}, {}, {}, {}, {}, {}, {}, {}}}", w.kernel_h, w.kernel_w, w.stride_h,
                     w.stride_w, w.pad_h, w.pad_w, w.dilation_h, w.dilation_w);
}

// Writes the constants and the calls of one program. Everything is named ht_; the caller renames.
class Writer {
 public:
  explicit Writer(const Program& program) : program_(program), plan_(plan_buffer(program)) {
    for (size_t i = 0; i < program.ops.size(); ++i) write(program.ops[i], i);
  }

  std::string constants, calls;
  int64_t constant_bytes = 0;
  const BufferPlan& plan() const { return plan_; }

 private:
  const Value& in(const Op& op, size_t i = 0) const { return program_.values[op.inputs[i]]; }
  const Value& out(const Op& op) const { return program_.values[op.output]; }

  // A C expression of a tensor's first code.
  std::string place(int32_t value) const {
    if (value == 0) return "image";
    if (value + 1 == static_cast<int32_t>(program_.values.size())) return "result";
    return fmt::format("ht_buffer + {}", plan_.offset[value]);
  }

  template <class T>
  void array(const std::string& type, const std::string& name, const std::vector<T>& values,
             int64_t bytes) {
    constants += fmt::format("static const {} {}[{}] = {{", type, name, values.size());
    const size_t per_line = 16;
    for (size_t i = 0; i < values.size(); ++i)
      constants += fmt::format("{}{},", i % per_line == 0 ? "\n  " : " ", values[i]);
    constants += "\n};\n";
    constant_bytes += bytes * static_cast<int64_t>(values.size());
  }

  std::string epilogue(const Op& op, size_t i) {
    std::vector<int32_t> bias;
    std::vector<std::string> multiplier;
    for (const runtime::OutputChannel& c : op.channels) {
      bias.push_back(c.bias);
      multiplier.push_back(fmt::format("0x{:08x}u", bits_of(c.multiplier)));
    }
    array("int32_t", fmt::format("ht_bias_{}", i), bias, 4);
    array("uint32_t", fmt::format("ht_multiplier_{}", i), multiplier, 4);
    const bool floats = out(op).is_float;
    return fmt::format("{{ht_bias_{}, ht_multiplier_{}, {}, {}, 0x{:08x}u, 0x{:08x}u, {}}}", i, i,
                       floats ? 0 : static_cast<int32_t>(op.low),
                       floats ? 0 : static_cast<int32_t>(op.high), bits_of(op.low),
                       bits_of(op.high), out(op).zero_point);
  }

  void convolution(const Op& op, size_t i) {
    std::vector<int32_t> flags;
    for (const runtime::OutputChannel& c : op.channels)
      flags.push_back((c.constant ? 1 : 0) + (c.negated ? 2 : 0) + (c.takes_min ? 4 : 0));
    array("uint8_t", fmt::format("ht_weights_{}", i), op.weights.packed, 1);
    array("uint8_t", fmt::format("ht_flags_{}", i), flags, 1);
    const std::string zero_points =
        op.weights.zero_points.empty() ? "0" : fmt::format("ht_weight_zero_points_{}", i);
    if (!op.weights.zero_points.empty()) array("uint8_t", zero_points, op.weights.zero_points, 1);
    const std::string e = epilogue(op, i);
    const runtime::Weights& w = op.weights;
    const int log2_bits = w.bits == 1 ? 0 : w.bits == 2 ? 1 : w.bits == 4 ? 2 : 3;
    constants += fmt::format(
        "static const ht_convolution ht_op_{} = {{\n  {}, {}, {},\n  {}, {}, {}, {}, {}, {},\n"
        "  {{ht_weights_{}, {}, {}, {}, {}, {}}}, ht_flags_{},\n  {},\n}};\n",
        i, text_of(in(op).shape), text_of(out(op).shape), text_of(op.window), op.groups,
        in(op).zero_point, op.pad_code, op.pools ? 1 : 0, text_of(op.pool), text_of(op.unpooled), i,
        zero_points, log2_bits, w.low, w.step, w.shift, i, e);
    call(fmt::format("ht_convolve{}(&ht_op_{}, {}, {});", out(op).is_float ? "_to_float" : "", i,
                     place(op.inputs[0]), place(op.output)));
  }

  void table(const Op& op, size_t i) {
    array("uint8_t", fmt::format("ht_table_{}", i), op.table, 1);
    shape(in(op).shape, i);
    call(fmt::format("ht_map({}, ht_shape_{}, ht_table_{}, {}, {});", place(op.inputs[0]), i, i,
                     op.table.size() / 256, place(op.output)));
  }

  void shape(const Image& s, size_t i, const char* name = "shape") {
    constants += fmt::format("static const ht_image ht_{}_{} = {};\n", name, i, text_of(s));
  }

  void max_pool(const Op& op, size_t i) {
    shape(in(op).shape, i);
    shape(out(op).shape, i, "to");
    constants += fmt::format("static const ht_window ht_window_{} = {};\n", i, text_of(op.window));
    call(fmt::format("ht_max_pool({}, ht_shape_{}, ht_window_{}, ht_to_{}, {});",
                     place(op.inputs[0]), i, i, i, place(op.output)));
  }

  void average(const Op& op, size_t i) {
    shape(in(op).shape, i);
    const std::string e = epilogue(op, i);
    constants += fmt::format("static const ht_epilogue ht_op_{} = {};\n", i, e);
    call(fmt::format("ht_average({}, ht_shape_{}, {}, &ht_op_{}, {});", place(op.inputs[0]), i,
                     in(op).zero_point, i, place(op.output)));
  }

  void add(const Op& op) {
    call(fmt::format("ht_add({}, {}, {}, {}, {}, {}, {}, {});", place(op.inputs[0]),
                     place(op.inputs[1]), out(op).shape.size(),
                     in(op).zero_point + in(op, 1).zero_point, static_cast<int32_t>(op.low),
                     static_cast<int32_t>(op.high), out(op).zero_point, place(op.output)));
  }

  void concat(const Op& op, size_t i) {
    int32_t first = 0;
    for (size_t k = 0; k < op.inputs.size(); ++k) {
      const std::string name = fmt::format("part{}", k);
      shape(in(op, k).shape, i, name.c_str());
      calls += fmt::format("  ht_place({}, ht_{}_{}, {}, {}, {});\n", place(op.inputs[k]), name, i,
                           first, out(op).shape.channels, place(op.output));
      first += in(op, k).shape.channels;
    }
  }

  void subsample_pad(const Op& op, size_t i) {
    shape(in(op).shape, i);
    shape(out(op).shape, i, "to");
    call(fmt::format("ht_subsample_pad({}, ht_shape_{}, {}, {}, {}, ht_to_{}, {});",
                     place(op.inputs[0]), i, op.window.stride_h, op.pad_before, in(op).zero_point,
                     i, place(op.output)));
  }

  void call(const std::string& text) { calls += "  " + text + "\n"; }

  void write(const Op& op, size_t i) {
    constants += fmt::format("\n/* {}: {}, {} x {} x {} */\n", i, comment(op.name),
                             out(op).shape.height, out(op).shape.width, out(op).shape.channels);
    switch (op.kind) {
      case OpKind::kTable:
        table(op, i);
        break;
      case OpKind::kConvolution:
        convolution(op, i);
        break;
      case OpKind::kMaxPool:
        max_pool(op, i);
        break;
      case OpKind::kAveragePool:
        average(op, i);
        break;
      case OpKind::kAdd:
        add(op);
        break;
      case OpKind::kConcat:
        concat(op, i);
        break;
      case OpKind::kSubsamplePad:
        subsample_pad(op, i);
        break;
    }
    calls += fmt::format("  HT_SEEN{}({}, {}, {})\n", out(op).is_float ? "_FLOAT" : "", i,
                         place(op.output), out(op).shape.size());
  }

  const Program& program_;
  BufferPlan plan_;
};

const char kTop[] =
    R"(/* {net}: a quantized network on integer codes, written by `halftone export --format c`.
 *
 *   #define HT_IMPLEMENTATION   // in one source file, before it includes this file
 *
 *   int label = ht_label(image);   // image: HT_HEIGHT x HT_WIDTH x HT_CHANNELS bytes, 0..255
 *
 * C99 or C++; memcpy and memset are all that it calls. {constants} bytes of constants and {buffer}
 * bytes of buffer; not for two threads at a time. HT_NO_FLOAT computes the same numbers without
 * floating point; logits are then the bits of binary32 numbers. HT_SELF_TEST adds ht_self_test(). */
#ifndef HT_HEADER
#define HT_HEADER

#include <stdint.h>

#define HT_HEIGHT {height}
#define HT_WIDTH {width}
#define HT_CHANNELS {channels}
#define HT_RESULTS {results}

{logits}

#ifdef __cplusplus
extern "C" {{
#endif

/* The logits of an image of HT_HEIGHT x HT_WIDTH x HT_CHANNELS bytes. */
void ht_run(const uint8_t *image, ht_logit result[HT_RESULTS]);
/* The index of the largest logit; the first of equals. */
int ht_label(const uint8_t *image);
#ifdef HT_SELF_TEST
/* 0, or 1 + the number of the first operation whose result differs from the engine's, on images
 * that it makes itself. */
int ht_self_test(void);
#endif

#ifdef __cplusplus
}}
#endif

#endif

#ifdef HT_IMPLEMENTATION
#undef HT_IMPLEMENTATION

)";

const char kBottom[] = R"(
static uint8_t ht_buffer[{buffer}];

#ifdef HT_SELF_TEST
static const uint32_t *ht_expected;
static int ht_different;

/* FNV-1a. */
static uint32_t ht_hash(uint32_t h, uint32_t byte) {{ return (h ^ byte) * 16777619u; }}

static void ht_compare(int op, uint32_t hash) {{
  if (ht_expected != 0 && ht_different == 0 && hash != ht_expected[op]) ht_different = 1 + op;
}}

static inline void ht_seen(int op, const uint8_t *codes, int32_t count) {{
  uint32_t h = 2166136261u;
  for (; count > 0; --count) h = ht_hash(h, *codes++);
  ht_compare(op, h);
}}

static inline void ht_seen_float(int op, const ht_float *values, int32_t count) {{
  uint32_t h = 2166136261u, bits, i;
  for (; count > 0; --count) {{
    memcpy(&bits, values++, sizeof bits);
    for (i = 0; i < 32; i += 8) h = ht_hash(h, bits >> i & 255);
  }}
  ht_compare(op, h);
}}
#define HT_SEEN(op, codes, count) ht_seen(op, codes, count);
#define HT_SEEN_FLOAT(op, values, count) ht_seen_float(op, values, count);
#else
#define HT_SEEN(op, codes, count)
#define HT_SEEN_FLOAT(op, values, count)
#endif

void ht_run(const uint8_t *image, ht_logit result[HT_RESULTS]) {{
{calls}}}

int ht_label(const uint8_t *image) {{
  ht_logit result[HT_RESULTS];
  int best = 0, i;
  ht_run(image, result);
  for (i = 1; i < HT_RESULTS; ++i) {{
    if ({less}) best = i;
  }}
  return best;
}}

#ifdef HT_SELF_TEST
{golden}#endif
#undef HT_SEEN
#undef HT_SEEN_FLOAT

#endif
)";

// The type of the result, and what it means.
std::string logits_of(const Value& result) {
  if (result.is_float) {
    return "#ifdef HT_NO_FLOAT\ntypedef uint32_t ht_logit; /* bits of a binary32 number */\n"
           "#else\ntypedef float ht_logit;\n#endif";
  }
  return fmt::format("typedef uint8_t ht_logit; /* real = {:.9g} * (code - {}) */", result.scale,
                     result.zero_point);
}

}  // namespace

CHeader to_c_header(const Program& program, int golden) {
  runtime::check_program(program);
  const Writer w(program);
  const Image& image = program.input().shape;
  CHeader header;
  header.constant_bytes = w.constant_bytes;
  header.buffer_bytes = w.plan().bytes;
  using fmt::arg;
  header.text = fmt::format(
      kTop, arg("net", comment(program.network)), arg("constants", header.constant_bytes),
      arg("buffer", header.buffer_bytes), arg("height", image.height), arg("width", image.width),
      arg("channels", image.channels), arg("results", program.result().shape.size()),
      arg("logits", logits_of(program.result())));
  header.text += kKernels + w.constants;
  header.text += fmt::format(
      kBottom, arg("buffer", std::max<int64_t>(1, header.buffer_bytes)), arg("calls", w.calls),
      arg("less", program.result().is_float ? "ht_less(result[best], result[i])"
                                            : "result[best] < result[i]"),
      arg("golden", golden_text(program, golden)));
  const std::string name = identifier(program.network);
  replace_names("ht_", name + "_", header.text);
  replace_names("HT_", upper(name) + "_", header.text);
  return header;
}

}  // namespace halftone
