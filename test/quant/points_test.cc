// From config_list to the model: places, entries in errors, set_quant_scheme_dtype.
#include <catch2/catch.hpp>

#include "nn/zoo/zoo.h"
#include "test/quant/layer_net.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

std::string compress_error(const std::string& quantizer, const std::string& config) {
  const Context c;
  Model model = make_model("lenet5", c);
  model->eval();
  return error_of([&] {
    make_quantizer(quantizer, *model.module, config, nullptr,
                   Tensor::zeros(c, model.batch_shape(1)))
        ->compress();
  });
}

const char* const kFirst =
    R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"]},)";

}  // namespace

TEST_CASE("a type that a layer cannot have: entry, key, value, layer, what is near") {
  for (const std::string type : {"weight", "input"}) {
    const std::string what =
        compress_error("QAT_Quantizer", std::string(kFirst) + R"({"quant_types": [")" + type +
                                            R"("], "quant_bits": 8, "op_names": ["relu1"]}])");
    CHECK_THAT(what, Contains("config_list entry 2, quant_types") &&
                         Contains("a Conv2d or Linear for \"" + type + "\"") && Contains("conv1") &&
                         Contains("found relu1, a ReLU") && Contains("quant_types [\"output\"]"));
  }
  CHECK_THAT(compress_error("QAT_Quantizer", std::string(kFirst) +
                                                 R"({"quant_types": ["weight"], "quant_bits": 8,
                                                     "op_names": ["bn1", "fc1"]}])"),
             Contains("entry 2") && Contains("(did you mean fc1?)"));
}

TEST_CASE("an axis that a weight lacks: entry, key, layer, what there is") {
  CHECK_THAT(compress_error("QAT_Quantizer", std::string(kFirst) + R"({"quant_types": ["weight"],
               "quant_bits": 8, "quant_scheme": "per_channel_symmetric", "axis": 4,
               "op_names": ["conv2"]}])"),
             Contains("config_list entry 2, axis of conv2's weight") && Contains("-4 to 3") &&
                 Contains("found 4"));
}

TEST_CASE("an axis that an activation lacks is refused when the network is quantized") {
  const auto entry = [](const std::string& type, int axis, const std::string& layer) {
    return std::string(kFirst) + R"({"quant_types": [")" + type +
           R"("], "quant_bits": 8, "quant_scheme": "per_channel_affine", "axis": )" +
           std::to_string(axis) + R"(, "op_names": [")" + layer + R"("]}])";
  };
  CHECK_THAT(compress_error("QAT_Quantizer", entry("input", 2, "fc1")),
             Contains("config_list entry 2, axis of fc1's input") && Contains("-2 to 1") &&
                 Contains("found 2") && Contains("1 the channel"));
  CHECK_THAT(compress_error("QAT_Quantizer", entry("output", -5, "conv2")),
             Contains("config_list entry 2, axis of conv2's output") && Contains("-4 to 3") &&
                 Contains("found -5"));
  // Of a layer without a weight only the graph knows.
  CHECK_THAT(compress_error("QAT_Quantizer", entry("output", 4, "relu1")),
             Contains("config_list entry 2, axis of relu1's output") && Contains("found 4"));
  CHECK(compress_error("QAT_Quantizer", entry("input", 1, "fc1")).empty());
}

TEST_CASE("what an algorithm refuses names the entry too") {
  CHECK_THAT(compress_error("LsqQuantizer", std::string(kFirst) + R"({"quant_types": ["weight"],
               "quant_bits": 4, "quant_dtype": "uint", "op_names": ["fc1"]}])"),
             Contains("config_list entry 2, fc1, weight"));
  CHECK_THAT(compress_error("ObserverQuantizer", std::string(kFirst) + R"({"quant_types": ["input"],
               "quant_bits": 8, "quant_scheme": "per_channel_affine", "op_names": ["fc1"]}])"),
             Contains("config_list entry 2, fc1") && Contains("per-tensor"));
  CHECK_THAT(compress_error("QAT_Quantizer", std::string(kFirst) + R"({"quant_types": ["bias",
               "weight"], "quant_bits": 8, "op_names": ["fc3"]}])"),
             Contains("config_list entry 2, quant_types of fc3") && Contains("no input"));
}

TEST_CASE("set_quant_scheme_dtype acts on what a quantizer has, and keeps its other defaults") {
  const std::string weights = R"([{"quant_types": ["weight"], "quant_bits": 8,
    "op_types": ["Conv2d"]}])";
  const Context c;
  for (const char* name : {"NaiveQuantizer", "QAT_Quantizer", "LsqQuantizer"}) {
    Model model = make_model("lenet5", c);
    auto q = make_quantizer(name, *model.module, weights);
    q->set_quant_scheme_dtype("weight", "per_channel_symmetric", "int");
    q->compress();
    const QuantSpec spec = q->points().at(0).quantizer->spec();
    CHECK(spec.str() == "int8 per-channel (axis 0) symmetric");
    CHECK(spec.observer == q->rules().defaults[QuantType::kWeight].observer);
    CHECK(q->points()[0].quantizer->grids(4).list.size() == 6);
    CHECK_THAT(error_of([&] { q->set_quant_scheme_dtype("weight", "per_tensor_affine", "int"); }),
               Contains("before") && Contains("config_list"));
  }
}

TEST_CASE("set_quant_scheme_dtype of ObserverQuantizer, until something is recorded") {
  const std::string both = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
    "op_types": ["Conv2d", "Linear"]}])";
  // The same calibration of the same weights, once by the call and once by config_list.
  std::vector<std::vector<float>> logits;
  for (const bool calls : {true, false}) {
    const Context c;
    Model model = make_model("resnet20", c);
    model->eval();
    const Tensor x = spread(c, model.batch_shape(2), -0.4f, 2.0f, 3);
    std::string config = both;
    if (!calls)
      config.replace(config.find("\"op_types\""), 0,
                     R"("quant_scheme": {"weight": "per_channel_symmetric"}, )");
    auto q = make_quantizer("ObserverQuantizer", *model.module, config, nullptr, x);
    if (calls) q->set_quant_scheme_dtype("weight", "per_channel_symmetric", "int");
    const NoGrad no_grad;
    (*model.module)(Variable(x));
    CHECK_THAT(error_of([&] { q->set_quant_scheme_dtype("weight", "per_tensor_affine", "int"); }),
               Contains("before anything is recorded") &&
                   Contains("quant_scheme and quant_dtype of weight in config_list"));
    q->compress();
    CHECK(q->points().at(0).quantizer->spec().str() == "int8 per-channel (axis 0) symmetric");
    logits.push_back((*model.module)(Variable(x)).value().to_vector<float>());
  }
  CHECK(logits[0] == logits[1]);
  const Context c;
  // What config_list's observer does not take leaves everything as it was.
  Model model = make_model("lenet5", c);
  model->eval();
  auto q = make_quantizer("ObserverQuantizer", *model.module, both);
  CHECK_THAT(error_of([&] { q->set_quant_scheme_dtype("input", "per_channel_affine", "uint"); }),
             Contains("config_list entry 1, conv1") && Contains("observer histogram"));
  REQUIRE(q->points().size() == 10);
  q->set_quant_scheme_dtype("input", "per_tensor_symmetric", "int");
  for (const QuantPoint& point : q->points())
    CHECK(point.quantizer->spec().str() == "int8 per-tensor symmetric");
}

TEST_CASE("set_quant_scheme_dtype refuses what it cannot do, in NNI's words") {
  const Context c;
  Model model = make_model("lenet5", c);
  auto naive = make_quantizer("NaiveQuantizer", *model.module, "[]");
  CHECK_THAT(
      error_of([&] { naive->set_quant_scheme_dtype("input", "per_tensor_affine", "int"); }),
      Contains("quant_type") && Contains("NaiveQuantizer quantizes: weight") && Contains("input"));
  CHECK_THAT(error_of([&] { naive->set_quant_scheme_dtype("weight", "per_tensor", "int"); }),
             Contains("quant_scheme") && Contains("per_tensor_affine"));
  CHECK_THAT(
      error_of([&] { naive->set_quant_scheme_dtype("weight", "per_tensor_affine", "int8"); }),
      Contains("quant_dtype") && Contains("int8"));
  auto qat = make_quantizer("QAT_Quantizer", *model.module, "[]");
  CHECK_THAT(error_of([&] { qat->set_quant_scheme_dtype("bias", "per_tensor_affine", "int"); }),
             Contains("weight, input, output"));
  for (const char* fixed : {"DoReFaQuantizer", "BNNQuantizer"}) {
    auto q = make_quantizer(fixed, *model.module, "[]");
    CHECK_THAT(error_of([&] { q->set_quant_scheme_dtype("weight", "per_tensor_affine", "int"); }),
               Contains(fixed) && Contains("fixed"));
  }
}
