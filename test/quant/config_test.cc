#include "quant/config.h"

#include <catch2/catch.hpp>

#include "tensor/error.h"

using namespace halftone;

namespace {

const LayerList kLayers = {
    {"0", "Linear"}, {"1", "ReLU"}, {"2", "Linear"}, {"features.conv1", "Conv2d"}};

QuantConfig parse(const std::string& json) { return parse_config(json, ConfigRules(), kLayers); }

void refuses(const std::string& entry, const std::vector<std::string>& parts) {
  CAPTURE(entry);
  std::string text;
  try {
    parse("[" + entry + "]");
  } catch (const Error& e) {
    text = e.what();
  }
  for (const std::string& part : parts) REQUIRE_THAT(text, Catch::Contains(part));
}

std::string entry(const std::string& more) {
  return R"({"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Linear"])" + more + "}";
}

}  // namespace

TEST_CASE("the last matching entry wins entirely") {
  const std::string linear =
      R"({"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Linear"]})";
  QuantConfig c =
      parse("[" + linear + R"(, {"quant_types": ["output"], "quant_bits": 4, "op_names": ["0"]}])");
  REQUIRE(c.select("0", "Linear")->specs.count(QuantType::kWeight) == 0);
  REQUIRE(c.select("0", "Linear")->specs.at(QuantType::kOutput).bits == 4);
  REQUIRE(c.select("2", "Linear")->specs.at(QuantType::kWeight).bits == 8);
  REQUIRE(c.select("1", "ReLU") == nullptr);

  c = parse(R"([{"exclude": true, "op_names": ["0"]}, )" + linear + "]");
  REQUIRE(c.select("0", "Linear") != nullptr);  // included again
  c = parse("[" + linear + R"(, {"exclude": true, "op_names": ["0"]}])");
  REQUIRE(c.select("0", "Linear") == nullptr);
  // exclude: false excludes nothing: its value counts.
  c = parse(
      "[" + linear +
      R"(, {"exclude": false, "quant_types": ["weight"], "quant_bits": 4, "op_names": ["0"]}])");
  REQUIRE(c.select("0", "Linear")->specs.at(QuantType::kWeight).bits == 4);
  c = parse(
      R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Linear"], "op_names": ["1"]}])");
  REQUIRE(c.select("1", "ReLU") == nullptr);
}

TEST_CASE("patterns and the default type") {
  const QuantConfig c =
      parse(R"([{"quant_types": ["weight"], "quant_bits": 8, "op_types": ["default"]},
                                  {"quant_types": ["weight"], "quant_bits": 4, "op_names": ["features.*"]}])");
  REQUIRE(c.select("0", "Linear")->specs.at(QuantType::kWeight).bits == 8);
  REQUIRE(c.select("features.conv1", "Conv2d")->specs.at(QuantType::kWeight).bits == 4);
  REQUIRE(c.select("1", "ReLU") == nullptr);
}

TEST_CASE("values for all types and by type") {
  const QuantConfig c =
      parse(R"([{"quant_types": ["weight", "input"], "quant_bits": {"weight": 4, "input": 8},
      "op_types": ["Linear"], "quant_dtype": {"weight": "int"}, "quant_scheme": {"weight": "per_channel_symmetric"},
      "quant_start_step": 7, "observer": {"input": "min_max"}, "axis": {"weight": 1}}])");
  const QuantSpec& w = c.entries[0].specs.at(QuantType::kWeight);
  const QuantSpec& x = c.entries[0].specs.at(QuantType::kInput);
  REQUIRE((w.bits == 4 && w.is_signed && w.per_channel && w.symmetric && w.axis == 1 &&
           w.start_step == 7));
  REQUIRE((x.bits == 8 && !x.is_signed && !x.per_channel && !x.symmetric && x.axis == 1));
  REQUIRE(x.observer == ObserverKind::kMinMax);
}

TEST_CASE("a bad entry says which, what is allowed, and what is near") {
  refuses(entry(R"(, "quant_bit": 4)"), {"entry 1", "quant_bit", "did you mean \"quant_bits\""});
  refuses(R"({"quant_types": ["weight"], "quant_bits": 8})", {"entry 1", "op_types", "op_names"});
  refuses(R"({"quant_types": "weight", "quant_bits": 8, "op_types": ["Linear"]})",
          {"quant_types", "list out of weight, input, output", "\"weight\""});
  refuses(R"({"quant_types": ["bias"], "quant_bits": 8, "op_types": ["Linear"]})",
          {"quant_types", "bias"});
  refuses(R"({"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv2d"], "op_types": []})",
          {"each key once", "\"op_types\" again"});
  refuses(entry(R"(, "quant_dtype": {"weights": "int"})"), {"did you mean \"weight\""});
  refuses(R"({"quant_types": ["weight"], "quant_bits": 8, "op_names": [0]})",
          {"list of strings", "quote numbers"});
  refuses(R"({"quant_types": ["wieght"], "quant_bits": 8, "op_types": ["Linear"]})",
          {"quant_types", "did you mean \"weight\""});
  for (const char* bits : {"32", "0", "1", "true", "\"8\"", "8.5"}) {
    refuses(R"({"quant_types": ["weight"], "quant_bits": )" + std::string(bits) +
                R"(, "op_types": ["Linear"]})",
            {"quant_bits", "whole number from 2 to 16", bits});
  }
  refuses(R"({"quant_types": ["weight"], "quant_bits": {}, "op_types": ["Linear"]})",
          {"quant_bits", "weight too"});
  refuses(
      R"({"quant_types": ["weight"], "quant_bits": {"weight": 8, "output": 4}, "op_types": ["Linear"]})",
      {"quant_bits.output", "quant_types lists", "4", "add \"output\" to quant_types"});
  refuses(R"({"quant_types": [], "quant_bits": 8, "op_types": ["Linear"]})",
          {"entry 1", "quant_types is empty", "exclude"});
  refuses(R"({"quant_types": ["weight"], "op_types": ["Linear"]})", {"quant_bits is missing"});
  refuses(R"({"quant_bits": 8, "op_types": ["Linear"]})", {"quant_types is missing"});
  refuses(entry(R"(, "quant_scheme": "per_chanel_symmetric")"),
          {"quant_scheme", "did you mean \"per_channel_symmetric\""});
  refuses(entry(R"(, "quant_dtype": "int8")"), {"quant_dtype", "\"int\" or \"uint\"", "int8"});
  refuses(entry(R"(, "quant_dtype": {"weights": "int"})"), {"quant_dtype", "weights"});
  refuses(entry(R"(, "quant_start_step": -1)"), {"quant_start_step", "-1"});
  refuses(entry(R"(, "exclude": 1)"), {"exclude", "true or false"});
  refuses(entry(R"(, "ema_decay": 1.0)"), {"ema_decay", "[0, 1)"});
  refuses(entry(R"(, "observer": "histogram")"), {"observer", "min_max", "histogram"});
  refuses(entry(R"(, "observer": "minmax")"), {"observer", "did you mean \"min_max\"?"});
  refuses("8", {"entry 1", "8"});
  REQUIRE_THROWS_WITH(parse("{"), Catch::Contains("not JSON"));
  REQUIRE_THROWS_WITH(parse("[\n{\"quant_types\": [\"weight]\n}]"),
                      Catch::Contains("config_list, line 2") && Catch::Contains("not JSON"));
  REQUIRE_THROWS_WITH(parse("[{}, {\"axis\": 1, \"axis\": 1}]"), Catch::Contains("entry 2"));
  REQUIRE_THROWS_WITH(parse("[{\"ema_decay\": 1e999}]"), Catch::Contains("config: expected"));
  REQUIRE_THROWS_WITH(parse("[" + entry("") + ", {}]"), Catch::Contains("entry 2"));
}

TEST_CASE("names that match nothing are warned of, with the nearest") {
  const QuantConfig c =
      parse(R"([{"quant_types": ["weight"], "quant_bits": 8, "op_names": ["features.conv2", "x*"]},
                                  {"quant_types": ["weight"], "quant_bits": 8, "op_types": ["Conv1d"]}])");
  REQUIRE(c.warnings.size() == 3);
  REQUIRE_THAT(c.warnings[0],
               Catch::Contains("entry 1") && Catch::Contains("did you mean \"features.conv1\""));
  REQUIRE_THAT(c.warnings[2], Catch::Contains("entry 2") && Catch::Contains("Conv1d"));
}

TEST_CASE("C++ values are the JSON form") {
  ConfigValues all, first;
  all.quant_types = {"weight", "input"};
  all.quant_bits = ByType<int>({{"weight", 4}, {"input", 8}});
  all.op_types = {"Linear", "Conv2d"};
  all.quant_dtype = ByType<std::string>("int");
  all.quant_scheme = ByType<std::string>({{"weight", "per_channel_symmetric"}});
  all.first_layer_bits = 8;
  all.quant_start_step = 3;
  all.ema_decay = 0.5;
  all.axis = ByType<int>({{"weight", 1}});
  first.exclude = true;
  first.op_names = {"0"};
  const QuantConfig c = parse_config(std::vector<ConfigValues>{all, first}, ConfigRules(), kLayers);
  REQUIRE(c.select("0", "Linear") == nullptr);
  const QuantSpec w = c.select("2", "Linear")->specs.at(QuantType::kWeight);
  const QuantSpec x = c.select("2", "Linear")->specs.at(QuantType::kInput);
  CHECK((w.bits == 4 && w.is_signed && w.per_channel && w.symmetric && w.axis == 1));
  CHECK((w.first_bits == 8 && w.last_bits == 0 && w.start_step == 3 && w.ema_decay == 0.5));
  CHECK((x.bits == 8 && x.is_signed && !x.per_channel && x.first_bits == 8));

  all.quant_bits = 32;
  REQUIRE_THROWS_WITH(
      parse_config(std::vector<ConfigValues>{all}, ConfigRules(), kLayers),
      Catch::Contains("entry 1") && Catch::Contains("quant_bits") && Catch::Contains("32"));
}
