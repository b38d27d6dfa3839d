// No key of config_list is accepted and ignored: for every key and every quantizer, it changes what
// is computed, or it is refused.
#include <set>

#include "test/quant/every_quantizer.h"

using namespace halftone;
using namespace halftone::test;

namespace {

struct Key {
  std::string key, value;
  std::set<std::string> owners;  // who takes it
  std::string beside;            // what must stand beside it, with a comma before it
};

const std::set<std::string> kLearned = {"LsqQuantizer", "LsqPlusQuantizer"};
const std::set<std::string> kRanges = {"QAT_Quantizer", "ObserverQuantizer"};

std::set<std::string> operator+(std::set<std::string> a, const std::set<std::string>& b) {
  a.insert(b.begin(), b.end());
  return a;
}

const std::vector<Key>& keys() {
  const std::set<std::string> bits = kLearned + kRanges + std::set<std::string>{"DoReFaQuantizer"} +
                                     std::set<std::string>{"BNNQuantizer"};
  const std::set<std::string> grids = kLearned + kRanges + std::set<std::string>{"NaiveQuantizer"};
  const std::set<std::string> folds = kLearned + std::set<std::string>{"QAT_Quantizer"};
  const std::set<std::string> bnn = {"BNNQuantizer"}, observer = {"ObserverQuantizer"};
  const std::set<std::string> train =
      kLearned + folds + bnn + std::set<std::string>{"DoReFaQuantizer", "NaiveQuantizer"};
  const std::string per_channel = R"(, "quant_scheme": {"weight": "per_channel_symmetric"})";
  static const std::vector<Key> all = {
      {"first_layer_bits", "6", bits, ""},  // NaiveQuantizer has one width
      {"last_layer_bits", "6", bits, ""},
      {"quant_start_step", "4", train, ""},
      {"quant_dtype", R"({"input": "int"})", kLearned + kRanges, ""},
      {"quant_scheme", R"({"weight": "per_channel_symmetric"})", grids, ""},
      {"axis", R"({"weight": 1})", grids, per_channel},
      {"observer", R"({"input": "min_max"})", kRanges, ""},
      {"ema_decay", "0.3", kRanges, R"(, "observer": {"input": "ema"})"},
      {"percentile", "90", observer, R"(, "observer": {"input": "percentile"})"},
      {"reduce_range", "true", observer, ""},
      {"fold", R"("batch")", folds, ""},
      {"bn_freeze_step", "2", folds, ""},
      {"binarization", R"("stochastic")", bnn, ""},
      {"sign_gradient", R"("approx_sign")", bnn, ""},
      {"xnor_scale", "true", bnn, ""},
      {"padding_value", "1", bnn, ""}};
  return all;
}

// Weights, and inputs where the quantizer has them, of the convolution and the linear layer.
std::string config(const std::string& quantizer, const std::string& more) {
  const bool naive = quantizer == "NaiveQuantizer";
  const std::string bits = quantizer == "BNNQuantizer" ? "1" : naive ? "8" : "4";
  return R"([{"op_types": ["Conv2d", "Linear"], "quant_types": ["weight")" +
         std::string(naive ? "" : R"(, "input")") + R"(], "quant_bits": )" + bits + more + "}]";
}

// What four steps leave, but for the spec that a state carries, and what evaluation makes of it.
std::map<std::string, std::vector<float>> outcome(const std::string& quantizer,
                                                  const std::string& more) {
  EveryRun run(quantizer, config(quantizer, more));
  for (const std::string& w : run.quantizer->warnings())
    REQUIRE(w.find("no effect") == std::string::npos);
  for (int k = 0; k < 4; ++k) run.step(k);
  auto all = run.values();
  for (auto entry = all.begin(); entry != all.end();) {
    const std::string& name = entry->first;
    const bool said = name.find(".spec") != std::string::npos ||
                      name.find(".observer") != std::string::npos ||
                      name.find(".padding_value") != std::string::npos;
    entry = said ? all.erase(entry) : std::next(entry);
  }
  all["output"] = run.evaluate();
  return all;
}

std::string error_of(const std::string& quantizer, const std::string& config) {
  try {
    EveryRun run(quantizer, config);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::vector<std::string> warnings_of(const std::string& quantizer, const std::string& config) {
  return EveryRun(quantizer, config).quantizer->warnings();
}

}  // namespace

TEST_CASE("every key changes what its quantizer computes, and the others refuse it") {
  for (const Key& key : keys()) {
    const std::string more = ", \"" + key.key + "\": " + key.value;
    for (const std::string& name : quantizer_names()) {
      CAPTURE(key.key, name);
      if (key.owners.count(name) > 0) {
        CHECK(outcome(name, key.beside) != outcome(name, key.beside + more));
        continue;
      }
      const std::string error = error_of(name, config(name, more));
      CHECK_THAT(error, Catch::Contains("config_list entry 1") && Catch::Contains(key.key));
    }
  }
}

TEST_CASE("a key that its own entry leaves without effect is refused, with what to do") {
  struct Row {
    std::string quantizer, entry;
    std::vector<std::string> parts;
  };
  const std::string weight =
      R"("op_types": ["Conv2d"], "quant_types": ["weight"], "quant_bits": 8)";
  const std::string both =
      R"("op_types": ["Conv2d"], "quant_types": ["weight", "input"], "quant_bits": 8)";
  const std::string qat = "QAT_Quantizer", observer = "ObserverQuantizer";
  for (const Row& row : std::vector<Row>{
           {qat,
            both + R"(, "observer": "min_max", "ema_decay": 0.5)",
            {"ema_decay", "0.5", "observer \"ema\"", "take ema_decay out"}},
           {qat, weight + R"(, "ema_decay": 0.5)", {"ema_decay", "for input or output"}},
           {observer, both + R"(, "ema_decay": 0.5)", {"ema_decay", "observer \"ema\""}},
           {observer, both + R"(, "percentile": 99)", {"percentile", "observer \"percentile\""}},
           {observer,
            weight + R"(, "observer": "percentile", "percentile": 99)",
            {"observer", "min_max"}},
           {qat, weight + R"(, "observer": "ema")", {"observer", "min_max", "take it out"}},
           {observer, weight + R"(, "reduce_range": true)", {"reduce_range", "input or output"}},
           {observer,
            both + R"(, "reduce_range": true, "first_layer_bits": 2)",
            {"reduce_range", "at least 3 bits"}},
           {qat, both + R"(, "axis": 1)", {"axis", "1", "per-channel quant_scheme"}},
           {qat,
            both + R"(, "axis": {"weight": 0, "input": 1}, "quant_scheme":
                    {"weight": "per_channel_symmetric"})",
            {"axis.input", "per-channel quant_scheme", "take axis out"}},
           {"LsqQuantizer", both + R"(, "axis": 0)", {"axis", "per-channel"}},
           {qat,
            weight + R"(, "fold": "none", "bn_freeze_step": 5)",
            {"bn_freeze_step", "5", "\"none\" freezes nothing"}},
           {qat, weight + R"(, "fold": "nni", "bn_freeze_step": 5)", {"\"nni\" freezes nothing"}},
           {qat,
            R"("op_types": ["Conv2d"], "exclude": true, "quant_bits": 8)",
            {"quant_bits", "8", "beside exclude: true"}},
           {qat,
            R"("op_types": [], "quant_types": ["weight"], "quant_bits": 8)",
            {"op_types", "at least one name"}},
           {qat,
            R"("op_types": ["Conv2d"], "quant_types": ["weight", "weight"], "quant_bits": 8)",
            {"quant_types", "each type once"}},
           // Where a key of another quantizer belongs, without sending anybody in a circle.
           {qat,
            both + R"(, "percentile": 99)",
            {"percentile", "99", "it is a key of ObserverQuantizer"}},
           {qat,
            both + R"(, "observer": {"input": "percentile"})",
            {"observer.input", "ObserverQuantizer", "has \"percentile\""}},
           {"LsqQuantizer", both + R"(, "ema_decay": 0.5)", {"QAT_Quantizer and Observer"}},
           {"LsqQuantizer",
            both + R"(, "quant_dtype": {"weight": "uint"})",
            {"config_list entry 1", "quant_dtype int", "uint"}}}) {
    CAPTURE(row.quantizer, row.entry);
    const std::string error = error_of(row.quantizer, "[{" + row.entry + "}]");
    for (const std::string& part : row.parts) CHECK_THAT(error, Catch::Contains(part));
    CHECK_THAT(error, Catch::Contains("config_list entry 1"));
  }
}

TEST_CASE("what has no effect in this model alone is warned of, with the entry and the key") {
  struct Row {
    std::string quantizer, config, part;
  };
  const std::string qat = "QAT_Quantizer";
  const auto entry = [](const std::string& layers, const std::string& more) {
    return "{" + layers + R"(, "quant_types": ["weight"])" + more + "}";
  };
  const std::string conv = R"("op_types": ["Conv2d"])", linear = R"("op_types": ["Linear"])";
  const std::string eight = R"(, "quant_bits": 8)", one = R"(, "quant_bits": 1)";
  for (const Row& row :
       {Row{qat, entry(linear, eight + R"(, "fold": "batch")"),
            "config_list entry 1, fold: no effect, no batch norm follows"},
        Row{qat, entry(linear, eight + R"(, "bn_freeze_step": 9)"),
            "config_list entry 1, bn_freeze_step: no effect"},
        Row{qat, entry(linear, eight + R"(, "first_layer_bits": 4)"),
            "config_list entry 1, first_layer_bits: no effect, the first layer 0 "},
        Row{qat, entry(conv, eight + R"(, "last_layer_bits": 4)"),
            "config_list entry 1, last_layer_bits: no effect, the last layer 5 "},
        Row{"BNNQuantizer",
            entry(conv, R"(, "quant_bits": 4, "last_layer_bits": 1, "padding_value": 1)"),
            "config_list entry 1, padding_value: no effect"},
        Row{"BNNQuantizer", entry(linear, one + R"(, "padding_value": 1)"),
            "config_list entry 1, padding_value: no effect"},
        Row{qat, entry(conv, eight) + ", " + entry(conv, eight + R"(, "fold": "batch")"),
            "config_list entry 1: no effect"},
        Row{qat, entry(R"("op_types": ["Linear"], "op_names": ["0"])", eight),
            "config_list entry 1: no effect"}}) {
    CAPTURE(row.config);
    const std::vector<std::string> warnings = warnings_of(row.quantizer, "[" + row.config + "]");
    const bool told = std::any_of(warnings.begin(), warnings.end(), [&](const std::string& w) {
      return w.find(row.part) != std::string::npos;
    });
    CAPTURE(warnings);
    CHECK(told);
  }
}
