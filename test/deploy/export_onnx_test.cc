// ONNX files: what they hold, and what has none. ONNX Runtime computes them in chains_onnx_test and
// graphs_onnx_test.
#include <catch2/catch.hpp>
#include <cmath>

#include "deploy/export_onnx.h"
#include "deploy/onnx/writing.h"
#include "test/deploy/deployed_net.h"
#include "test/quant/chain_net.h"

using namespace halftone;
using namespace halftone::test;
using runtime::Op;
using runtime::OpKind;
using runtime::Program;

namespace {

runtime::Value value(const std::string& name, int32_t h, int32_t w, int32_t c) {
  runtime::Value v;
  v.name = name;
  v.shape.height = h, v.shape.width = w, v.shape.channels = c;
  return v;
}

Op op(OpKind kind, const std::string& name, std::vector<int32_t> inputs, int32_t output) {
  Op op;
  op.kind = kind;
  op.name = name;
  op.inputs = std::move(inputs);
  op.output = output;
  return op;
}

// 4 x 4 x 2 bytes - identity - 3 x 3 convolution of 4-bit weights, shifted by 3 - logits.
Program small() {
  Program p;
  p.network = "small";
  p.values = {value("image", 4, 4, 2), value("image", 4, 4, 2), value("conv", 2, 2, 3),
              value("fc", 1, 1, 2)};
  p.values[1].scale = 0.1f, p.values[2].scale = 0.7f;
  p.values[3].is_float = true;
  p.ops = {op(OpKind::kTable, "image", {0}, 1), op(OpKind::kConvolution, "conv", {1}, 2),
           op(OpKind::kConvolution, "fc", {2}, 3)};
  for (int v = 0; v < 256; ++v) p.ops[0].table.push_back(static_cast<uint8_t>(v));
  Op& conv = p.ops[1];
  conv.window.kernel_h = conv.window.kernel_w = 3;
  conv.weights = {4, -8, 1, 3, {}};
  for (int i = 0; i < 27; ++i) conv.weights.packed.push_back(static_cast<uint8_t>(5 * i));
  for (const float s_w : {0.01f, 0.0123f, 3e-5f})
    conv.channels.push_back({false, false, false, 7, 0.1f * s_w / 0.7f});
  Op& fc = p.ops[2];
  fc.window.kernel_h = fc.window.kernel_w = 2;
  for (int i = 0; i < 24; ++i) fc.weights.packed.push_back(static_cast<uint8_t>(10 * i + 1));
  fc.channels = {{false, false, false, -3, 0.7f * 0.02f}, {false, false, false, 0, 0.7f * 0.05f}};
  fc.low = -INFINITY, fc.high = INFINITY;
  runtime::check_program(p);
  return p;
}

onnx::ModelProto parsed(const std::string& bytes) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(bytes));
  return model;
}

const onnx::TensorProto& constant(const onnx::ModelProto& model, const std::string& name) {
  for (const onnx::TensorProto& t : model.graph().initializer()) {
    if (t.name() == name) return t;
  }
  throw std::runtime_error("no constant " + name);
}

std::vector<std::string> operators(const onnx::ModelProto& model) {
  std::vector<std::string> list;
  for (const onnx::NodeProto& node : model.graph().node()) list.push_back(node.op_type());
  return list;
}

std::vector<float> floats(const onnx::TensorProto& t) {
  std::vector<float> v(t.raw_data().size() / sizeof(float));
  std::memcpy(v.data(), t.raw_data().data(), t.raw_data().size());
  return v;
}

}  // namespace

TEST_CASE("the file: from bytes through QuantizeLinear and DequantizeLinear to logits") {
  const Program p = small();
  const std::string bytes = to_onnx(p);
  REQUIRE(bytes == to_onnx(p));
  const onnx::ModelProto model = parsed(bytes);
  REQUIRE(model.ir_version() == 8);
  REQUIRE(model.opset_import_size() == 1);
  REQUIRE(model.opset_import(0).version() == 13);
  REQUIRE(operators(model) ==
          std::vector<std::string>{
              "Cast", "Gather", "DequantizeLinear",                                 // the image
              "DequantizeLinear", "DequantizeLinear", "Conv", "QuantizeLinear",     // conv
              "DequantizeLinear", "Flatten", "QuantizeLinear", "DequantizeLinear",  // fc
              "DequantizeLinear", "DequantizeLinear", "Gemm"});
  const onnx::GraphProto& graph = model.graph();
  REQUIRE(graph.input(0).name() == "image");
  REQUIRE(graph.input(0).type().tensor_type().elem_type() == onnx::TensorProto::UINT8);
  REQUIRE(graph.input(0).type().tensor_type().shape().dim(0).dim_param() == "N");
  REQUIRE(graph.input(0).type().tensor_type().shape().dim(1).dim_value() == 2);
  REQUIRE(graph.output(0).name() == "logits");
  // Two values are called "image"; every tensor has a name of its own.
  REQUIRE(onnx_tensors(p) == std::vector<std::string>{"image", "image_2", "conv", "fc"});
}

TEST_CASE("weights are in the order of ONNX, shifted") {
  const Program p = small();
  const onnx::ModelProto model = parsed(to_onnx(p));
  const onnx::TensorProto& t = constant(model, "conv.weight");
  REQUIRE(t.dims_size() == 4);
  REQUIRE(t.raw_data().size() == 54);
  const std::vector<int16_t> codes = runtime::unpack_weights(p.ops[1], 54);
  for (int o = 0; o < 3; ++o) {
    for (int tap = 0; tap < 9; ++tap) {
      for (int c = 0; c < 2; ++c)
        REQUIRE(static_cast<int8_t>(t.raw_data()[(o * 2 + c) * 9 + tap]) ==
                codes[(o * 9 + tap) * 2 + c]);
    }
  }
}

TEST_CASE("a runtime's multiplier is the program's, and the bias has the accumulator's scale") {
  const Program p = small();
  const onnx::ModelProto model = parsed(to_onnx(p));
  const std::vector<float> scales = floats(constant(model, "conv.weight_scale"));
  const std::vector<float> of_bias = floats(constant(model, "conv.bias_scale"));
  for (size_t c = 0; c < 3; ++c) {
    const float unit = 0.1f * scales[c];
    REQUIRE(unit / 0.7f == p.ops[1].channels[c].multiplier);
    REQUIRE(of_bias[c] == unit);
  }
}

// Whatever the scales: fl(fl(s_x s_w) / s_y) has a preimage near m s_y / s_x, if any.
TEST_CASE("a weight scale is found for every multiplier that some weight scale gives") {
  const Philox random{3, 0};
  Program p = small();
  for (uint64_t i = 0; i < 3000; ++i) {
    const auto draw = [&](uint64_t k) {
      return std::ldexp(1.0f + static_cast<float>(random.below(3 * i + k, 1 << 23)) * 0x1p-23f,
                        static_cast<int>(random.below(3 * i + k + 9000, 20)) - 15);
    };
    const float s_x = draw(0), s_w = draw(1), s_y = draw(2), unit = s_x * s_w;
    p.values[1].scale = s_x, p.values[2].scale = s_y;
    for (runtime::OutputChannel& c : p.ops[1].channels) c.multiplier = unit / s_y;
    const onnx_format::Writing w(p, 13, 8);
    const float found = onnx_format::weight_scales(w, p.ops[1]).values[0];
    const float again = s_x * found;
    REQUIRE(again / s_y == unit / s_y);
  }
}

TEST_CASE("codes of fewer bits, and bounds of an activation, are clipped") {
  Program p = small();
  p.values[2].high = 15;
  p.ops[1].low = 2, p.ops[1].high = 15;
  const onnx::ModelProto model = parsed(to_onnx(p));
  REQUIRE(operators(model)[7] == "Clip");
  REQUIRE(constant(model, "conv/low").raw_data() == std::string(1, '\2'));
  REQUIRE(constant(model, "conv/high").raw_data() == std::string(1, '\17'));
}

TEST_CASE("opset 21: 4-bit weights are int4, without their shift") {
  const Program p = small();
  const onnx::ModelProto model = parsed(to_onnx(p, 21));
  REQUIRE(model.ir_version() == 10);
  const onnx::TensorProto& t = constant(model, "conv.weight");
  REQUIRE(t.data_type() == 22);
  REQUIRE(t.raw_data().size() == 27);
  const std::string whole = constant(parsed(to_onnx(p)), "conv.weight").raw_data();
  for (size_t i = 0; i < 54; ++i) {
    const int code = t.raw_data()[i / 2] >> (4 * (i % 2)) & 15;
    REQUIRE((code < 8 ? code : code - 16) * 8 == static_cast<int8_t>(whole[i]));
  }
  REQUIRE(floats(constant(model, "conv.weight_scale"))[0] ==
          8 * floats(constant(parsed(to_onnx(p)), "conv.weight_scale"))[0]);
  REQUIRE(constant(model, "fc.weight").data_type() == onnx::TensorProto::INT8);
}

TEST_CASE("a multiplier that no scales make: the integers are written down") {
  Program p = small();
  p.ops[1].channels[2].multiplier = 0;
  p.ops[2].channels[0].multiplier = 0;
  const onnx::ModelProto model = parsed(to_onnx(p));
  REQUIRE(operators(model) == std::vector<std::string>{"Cast", "Gather", "ConvInteger", "Add",
                                                       "Cast", "Mul", "Round", "Clip", "Add",
                                                       "Cast", "ConvInteger", "Add", "Cast", "Mul",
                                                       "Flatten"});
}

TEST_CASE("what has no ONNX form is refused by name") {
  const auto refused = [](const char* why, const std::function<void(Program&)>& change) {
    Program p = small();
    change(p);
    REQUIRE_THROWS_WITH(to_onnx(p), Catch::Contains(why) && Catch::Contains("with an ONNX form"));
  };
  refused("conv: export: expected a layer with an ONNX form, found a pooled convolution",
          [](Program& p) {
            p.values.pop_back();
            p.ops.pop_back();
            p.values[2].is_float = p.ops[1].pools = true;
          });
  refused(
      "mean: export: expected a layer with an ONNX form, found an average with constants of its "
      "own",
      [](Program& p) {
        p.values[3] = value("mean", 1, 1, 3);
        p.ops[2] = op(OpKind::kAveragePool, "mean", {2}, 3);
        p.ops[2].channels.resize(1);
      });
  refused("sum: export: expected a layer with an ONNX form, found a sum of codes on several scales",
          [](Program& p) {
            p.values[3] = value("sum", 2, 2, 3);
            p.ops[2] = op(OpKind::kAdd, "sum", {2, 2}, 3);
          });
}

TEST_CASE("a copy of the file shows tensors") {
  const Program p = small();
  const std::string bytes = with_outputs(to_onnx(p), onnx_code_tensors(p), "x.onnx");
  const onnx::GraphProto graph = parsed(bytes).graph();
  REQUIRE(graph.output_size() == 3);
  REQUIRE(graph.output(0).name() == "image_2");
  REQUIRE(graph.output(1).name() == "conv");
  REQUIRE(graph.output(2).name() == "logits");
  REQUIRE_THROWS_WITH(with_outputs(to_onnx(p), {"conv9"}, "x.onnx"), Catch::Contains("conv9"));
  REQUIRE_THROWS_WITH(with_outputs("PK\3\4", {"conv"}, "x.onnx"),
                      Catch::Contains("x.onnx: verify: expected an ONNX file"));
}
