// What an export holds, refuses, and says of layers that compute on floats.
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tensor/safetensors.h"
#include "test/quant/layer_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

const char* const kBoth = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}}])";

std::string weights_only(const std::string& fold) {
  return R"([{"quant_types": ["weight"], "quant_bits": 4, "op_types": ["Conv2d", "Linear"],
    "quant_dtype": "int", "quant_scheme": "per_channel_symmetric", "fold": ")" +
         fold + "\"}]";
}

TensorFile exported(const LayerNet& net) {
  const TempFolder folder;
  net.quantizer->export_model(folder / "a");
  return load_safetensors(net.context, folder / "a");
}

std::map<std::string, std::string> floats_of(const TensorFile& file) {
  return nlohmann::json::parse(file.metadata.at("float_layers"));
}

// scale (code - zero point), on axis 0, of a tensor NAME_codes.
std::vector<double> reals(const TensorFile& file, const std::string& name) {
  const Tensor& codes = file.tensors.at(name + "_codes");
  const Tensor &scale = file.tensors.at(name + "_scale"),
               &zero = file.tensors.at(name + "_zero_point");
  std::vector<double> out;
  for (int64_t i = 0; i < codes.numel(); ++i) {
    const int64_t c = scale.numel() == 1 ? 0 : i / (codes.numel() / codes.dim(0));
    out.push_back(static_cast<double>(scale.data<float>()[c]) *
                  (codes.data<int32_t>()[i] - zero.data<int32_t>()[c]));
  }
  return out;
}

}  // namespace

TEST_CASE("before any step there are no ranges to export: refused, with the names") {
  const TempFolder folder;
  for (const auto& [name, config, found] : std::vector<std::array<std::string, 3>>{
           {"QAT_Quantizer", kBoth, "conv (weight), conv (input), fc (weight), fc (input)"},
           {"QAT_Quantizer", weights_only("scale"), "conv (weight), fc (weight)"},
           {"LsqQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
              "op_types": ["Conv2d", "Linear"]}])",
            "conv (input), fc (input)"}}) {
    LayerNet net(name, config);
    const std::string what =
        error_of([&] { net.quantizer->export_model(folder / "a", folder / "b"); });
    CHECK_THAT(what, Contains("no step of training") && Contains(found) &&
                         Contains("load_calibration_config"));
    CHECK(folder.entries() == 0);
    net.train(1);
    CHECK_NOTHROW(net.quantizer->export_model(folder / "a"));
    std::filesystem::remove(folder / "a");
  }
}

TEST_CASE("before any step: what needs no range exports, and what a calibration file has given") {
  const TempFolder folder;
  for (const char* name : {"NaiveQuantizer", "BNNQuantizer", "DoReFaQuantizer"}) {
    const std::string bits = name[0] == 'B' ? "1" : "8";
    LayerNet net(name, R"([{"quant_types": ["weight"], "quant_bits": )" + bits +
                           R"(, "op_types": ["Conv2d"]}])");
    CHECK(exported(net).tensors.count("conv.weight_codes") == 1);
  }
  LayerNet trained("QAT_Quantizer", kBoth), fresh("QAT_Quantizer", kBoth);
  trained.train(2);
  trained.quantizer->export_model("", folder / "c.json");
  fresh.quantizer->load_calibration_config(folder / "c.json");
  CHECK(exported(fresh).tensors.count("conv.integer.weight_codes") == 1);
}

TEST_CASE("weights quantized alone: raw ones under raw names, folded ones under folded names") {
  for (const std::string fold : {"scale", "batch", "ema"}) {
    for (const bool integer : {true, false}) {
      CAPTURE(fold, integer);
      LayerNet net("QAT_Quantizer", weights_only(fold), integer, Activation::kHardtanh);
      net.norm->weight.mutable_value().data<float>()[2] = 0;
      net.train(2);
      net.norm->weight.mutable_value().data<float>()[2] = 0;
      const TensorFile file = exported(net);
      const auto& t = file.tensors;
      const auto state = net.net->state_dict();
      CHECK(t.at("conv.weight").to_vector<float>() == state.at("conv.weight").to_vector<float>());
      const std::string coded = fold == "scale" ? "conv.weight" : "conv.folded_weight";
      for (const char* end : {"_codes", "_scale", "_zero_point"}) {
        CHECK(t.count("conv.weight" + std::string(end)) == (fold == "scale"));
        CHECK(t.count("conv.folded_weight" + std::string(end)) == (fold != "scale"));
        CHECK(t.count("fc.weight" + std::string(end)) == 1);  // nothing is folded into it
      }
      CHECK(t.count("fc.folded_weight") == 0);
      // The layer that evaluation runs, from the file alone: x * w + folded_bias, clamped.
      std::vector<double> w = reals(file, coded);
      for (size_t i = 0; fold == "scale" && i < w.size(); ++i) {
        const int64_t c = static_cast<int64_t>(i) / 18;
        w[i] *= static_cast<double>(t.at("bn.weight").data<float>()[c]) /
                std::sqrt(static_cast<double>(t.at("bn.running_var").data<float>()[c]) + 1e-5);
      }
      Tensor disk = Tensor::empty(net.context, {4, 2, 3, 3});
      for (size_t i = 0; i < w.size(); ++i) disk.data<float>()[i] = static_cast<float>(w[i]);
      Conv2dArgs args{2, 4, 3};
      args.padding = 1;
      auto layer = make<Conv2d>(net.context, args);
      layer->load_state_dict({{"weight", disk}, {"bias", t.at("conv.folded_bias")}});
      const auto want = net.evaluate(3).value().to_vector<float>();
      const auto got = (*layer)(Variable(net.batch(9))).value().to_vector<float>();
      for (size_t i = 0; i < want.size(); ++i) {
        // A sum of 18 products in float, twice.
        REQUIRE(std::min(std::max(got[i], -1.0f), 1.0f) == Approx(want[i]).margin(2e-5));
      }
    }
  }
}

TEST_CASE("signs drawn in training, and ApproxSign's: the export says their codes too") {
  for (const std::string key :
       {"", R"(, "binarization": "stochastic")", R"(, "sign_gradient": "approx_sign")"}) {
    CAPTURE(key);
    LayerNet net("BNNQuantizer",
                 R"([{"quant_types": ["weight", "input"], "quant_bits": 1, "op_types": ["Conv2d"]},
                     {"quant_types": ["output"], "quant_bits": 1, "op_types": ["Hardtanh"])" +
                     key + "}]",
                 true, Activation::kHardtanh);
    net.train(2);
    const TensorFile file = exported(net);
    const auto number = [&](const char* name) {
      return file.tensors.at("conv.integer." + std::string(name));
    };
    CHECK(number("output_scale").item<float>() == 1.0f);
    CHECK(number("output_zero_point").to_vector<int32_t>() == std::vector<int32_t>{1});
    CHECK(number("output_code_range").to_vector<int32_t>() == std::vector<int32_t>{0, 2});
    // The codes that evaluation makes, by the formula of the README from the file alone.
    const Tensor x = net.batch(9);
    const auto w = number("weight_codes").to_vector<int8_t>();
    const auto b = number("bias_codes").to_vector<int32_t>();
    const auto m = number("multiplier").to_vector<float>();
    const Variable y = net.evaluate(3);
    REQUIRE(y.codes() != nullptr);
    int ones = 0;
    for (int64_t i = 0; i < y.value().numel(); ++i) {
      const int64_t o = i % 4, col = i / 4 % 5, row = i / 20 % 5, n = i / 100;
      int32_t acc = 0;
      for (int64_t t = 0; t < 9; ++t) {
        const int64_t r = row + t / 3 - 1, c = col + t % 3 - 1;
        if (r < 0 || r > 4 || c < 0 || c > 4) continue;  // padded with 0
        for (int64_t k = 0; k < 2; ++k) {
          const bool positive = x.data<float>()[((n * 5 + r) * 5 + c) * 2 + k] >= 0;
          acc += (positive ? 1 : -1) * w[static_cast<size_t>((o * 2 + k) * 9 + t)];
        }
      }
      const float sum =
          static_cast<float>(acc + b[static_cast<size_t>(o)]) * m[static_cast<size_t>(o)];
      const int code = static_cast<int>(std::min(std::max(std::rint(sum), -1.0f), 1.0f)) + 1;
      REQUIRE(y.codes()->values.data<uint8_t>()[i] == code);
      ones += code == 2;
    }
    CHECK((ones > 40 && ones < 360));
  }
}

TEST_CASE("an export says what computes on floats, with the reasons of the configuration") {
  std::string wide = kBoth;
  wide.replace(wide.find("\"quant_bits\": 8"), 15, R"("quant_bits": {"weight": 16, "input": 8})");
  for (const auto& [config, integer, why] : std::vector<std::tuple<std::string, bool, std::string>>{
           {wide, true, "weights of more than 8 bits"},
           {weights_only("scale"), true, "no quantized input reaches it"},
           {kBoth, false, "the float path was asked for"}}) {
    LayerNet net("QAT_Quantizer", config, integer);
    net.train(1);
    const auto floats = floats_of(exported(net));
    CHECK(floats == net.quantizer->float_layers());
    CHECK(floats == std::map<std::string, std::string>{{"conv", why}, {"fc", why}});
    std::string warned;
    for (const std::string& w : net.quantizer->warnings()) warned += w + "\n";
    // What was asked for is no news.
    CHECK((warned.find(why.substr(0, 14)) != std::string::npos) == integer);
  }
  LayerNet whole("QAT_Quantizer", kBoth);
  whole.train(1);
  CHECK(floats_of(exported(whole)).empty());
  CHECK(whole.quantizer->warnings().empty());
}

TEST_CASE("a layer that only zeros reach has no range: its export says so") {
  LayerNet net("LsqQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
    "op_types": ["Conv2d", "Linear"]}])");
  net.norm->weight.mutable_value().fill(0.0f);
  net.norm->bias.mutable_value().fill(-1.0f);  // behind the ReLU all is 0
  net.train(1);
  CHECK(net.quantizer->float_layers().count("conv") == 0);
  const TensorFile file = exported(net);
  CHECK_THAT(floats_of(file).at("fc"), Contains("no range of its input"));
  CHECK(file.tensors.count("fc.weight_codes") == 1);
  CHECK(file.tensors.count("fc.integer.weight_codes") == 0);
  CHECK(file.tensors.count("conv.integer.output_scale") == 0);
}

TEST_CASE("outputs without an integer form are warned of") {
  LayerNet net("QAT_Quantizer", R"([{"quant_types": ["output"], "quant_bits": 16,
    "op_types": ["ReLU"]}])");
  REQUIRE(net.quantizer->warnings().size() == 1);
  CHECK_THAT(net.quantizer->warnings()[0], Contains("act") && Contains("more than 8 bits"));
}

namespace {

std::string changed(const std::string& from, const std::string& to, std::string text = kBoth) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("an export's quantizers are compared with the model's, both ways, in one error") {
  const TempFolder folder;
  LayerNet trained("QAT_Quantizer", kBoth);
  trained.train(2);
  trained.quantizer->export_model(folder / "a");
  for (const auto& [config, wanted] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {changed(", \"Linear\"", ""),
            {"2 found in the file and not expected", "fc (input), fc (weight)"}},
           {changed("[{",
                    R"([{"quant_types": ["output"], "quant_bits": 8, "op_names": ["act"]}, {)"),
            {"1 expected and missing in the file: act (output)"}},
           {changed("\"quant_bits\": 8", R"("quant_bits": {"weight": 4, "input": 8})"),
            {"2 different", "conv (weight) expected int, 4 bits", "found int, 8 bits"}},
           {changed("\"int\"", "\"uint\""), {"conv (weight) expected uint, 8", "found int, 8"}},
           {changed("per_tensor_affine", "per_tensor_symmetric"),
            {"conv (input) expected uint, 8 bits per_tensor_symmetric", "per_tensor_affine"}},
           {changed("}]", R"(, "axis": {"weight": 1}}])"), {"axis 1", "axis 0"}},
           {changed("}]", R"(, "fold": "ema"}])"),
            {"1 different: conv (weight) expected", "fold ema, found int"}}}) {
    LayerNet other("QAT_Quantizer", config);
    const auto before = other.net->state_dict();
    const std::string what = error_of([&] { other.quantizer->load_model(folder / "a"); });
    CHECK_THAT(what, Contains(folder / "a") && Contains("with the config_list"));
    for (const std::string& part : wanted) CHECK_THAT(what, Contains(part));
    for (const auto& [name, value] : other.net->state_dict())
      REQUIRE(std::memcmp(value.raw(), before.at(name).raw(), value.nbytes()) == 0);
  }
  LayerNet same("QAT_Quantizer", kBoth);
  same.quantizer->load_model(folder / "a");
  CHECK(same.logits() == trained.logits());
  // Another algorithm with the same points.
  LayerNet lsq("LsqQuantizer", R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
    "op_types": ["Conv2d", "Linear"]}])");
  CHECK_THAT(error_of([&] { lsq.quantizer->load_model(folder / "a"); }),
             Contains("LsqQuantizer") && Contains("QAT_Quantizer"));
}

TEST_CASE("an export that holds other tensors, or no list of quantizers, is refused") {
  const TempFolder folder;
  LayerNet trained("QAT_Quantizer", kBoth);
  trained.train(1);
  TensorFile file = exported(trained);
  file.tensors["fc2.weight"] = Tensor::zeros(trained.context, {2, 2});
  save_safetensors(folder / "more", file);
  CHECK_THAT(error_of([&] { trained.quantizer->load_model(folder / "more"); }),
             Contains("1 unexpected: fc2.weight"));
  file.metadata.erase("layers");
  save_safetensors(folder / "less", file);
  CHECK_THAT(error_of([&] { trained.quantizer->load_model(folder / "less"); }),
             Contains("metadata \"layers\""));
}

TEST_CASE("the fold mode is part of a weight's state, record and description") {
  LayerNet batch("QAT_Quantizer", changed("}]", R"(, "fold": "batch"}])")),
      scale("QAT_Quantizer", kBoth);
  batch.train(1);
  CHECK_THAT(
      error_of([&] { scale.net->load_state_dict(batch.net->state_dict()); }),
      Contains("conv.weight_fake_quant.spec") && Contains("found") && Contains("fold batch"));
  CHECK_THAT(batch.at("conv", QuantType::kWeight).describe(), Contains("fold batch"));
  CHECK_THAT(batch.at("fc", QuantType::kWeight).describe(), !Contains("fold"));
  const auto layers = nlohmann::json::parse(exported(batch).metadata.at("layers"));
  CHECK(layers["conv"]["weight"]["fold"] == "batch");
  CHECK(layers["fc"]["weight"].count("fold") == 0);
}
