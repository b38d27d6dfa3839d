#include "train/recipe.h"

#include <catch2/catch.hpp>

#include "tensor/error.h"

using namespace halftone;

namespace {

std::string message_of(const std::string& yaml, const std::vector<std::string>& set = {}) {
  try {
    parse_recipe(yaml, "r.yaml", set);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an empty recipe holds the defaults") {
  const Recipe r = parse_recipe("", "r.yaml");
  CHECK(r.model.name == "lenet5");
  CHECK(r.optimizer.beta2 == 0.999);
  CHECK(r.quantizer.name.empty());
}

TEST_CASE("a recipe written as YAML reads back as the same recipe") {
  const char* text = R"(
name: x
epochs: 3
data: {name: mnist, flip: true, pad_crop: 2}
optimizer: {name: SGD, lr: 0.1, momentum: 0.9, nesterov: true, groups: [{params: "*.bias", weight_decay: 0}]}
schedule: {name: multi_step, milestones: [5, 10], gamma: 0.3}
quantizer:
  name: QAT_Quantizer
  float_epochs: 0.5
  config_list: [{quant_types: [weight, input], quant_bits: {weight: 8, input: 8}, op_types: [Conv2d], exclude: false}]
)";
  const Recipe r = parse_recipe(text, "r.yaml");
  CHECK(r.schedule.milestones == std::vector<int>{5, 10});
  CHECK(r.optimizer.groups.at(0).weight_decay == 0);
  CHECK(r.optimizer.groups.at(0).lr < 0);
  CHECK(
      r.quantizer.config_list ==
      R"([{"exclude":false,"op_types":["Conv2d"],"quant_bits":{"input":8,"weight":8},"quant_types":["weight","input"]}])");
  const std::string once = to_yaml(r);
  CHECK(to_yaml(parse_recipe(once, "again.yaml")) == once);
}

TEST_CASE("quantizer.integer is kept") {
  const std::string of = "quantizer: {name: NaiveQuantizer, integer: false, config_list: []}";
  const Recipe r = parse_recipe(of, "r.yaml");
  CHECK(!r.quantizer.integer);
  CHECK(to_yaml(parse_recipe(to_yaml(r), "again.yaml")) == to_yaml(r));
  CHECK(parse_recipe("quantizer: {name: NaiveQuantizer, config_list: []}", "r.yaml")
            .quantizer.integer);
  CHECK(message_of("quantizer: {integer: false}").find("nothing without quantizer.name") !=
        std::string::npos);
}

TEST_CASE("compute says what backward multiplies, unless that is said, too") {
  const auto both = [](const std::string& yaml) {
    const Recipe r = parse_recipe(yaml, "r.yaml");
    CHECK(to_yaml(parse_recipe(to_yaml(r), "again.yaml")) == to_yaml(r));
    return r.compute + " " + r.backward;
  };
  CHECK(both("") == "fp32 fp32");
  CHECK(both("compute: bf16") == "bf16 bf16");
  CHECK(both("backward: bf16") == "fp32 bf16");
  CHECK(both("compute: bf16\nbackward: fp32") == "bf16 fp32");
  CHECK(message_of("backward: fp16").find("expected one of fp32, bf16") != std::string::npos);
}

TEST_CASE("--set changes what the file says, in order") {
  const Recipe r = parse_recipe(
      "optimizer: {lr: 1}\nquantizer: {name: QAT_Quantizer, config_list: [{quant_bits: 8}]}",
      "r.yaml",
      {"optimizer.lr=0.5", "optimizer.lr=0.25", "data.name=mnist",
       "quantizer.config_list.0.quant_bits=4"});
  CHECK(r.optimizer.lr == 0.25);
  CHECK(r.data.name == "mnist");
  CHECK(r.quantizer.config_list == R"([{"quant_bits":4}])");
}

TEST_CASE("an unknown key names its line and the nearest key") {
  const std::string m = message_of("epochs: 1\noptimizer:\n  name: SGD\n  momentun: 0.9\n");
  CHECK_THAT(m, Catch::Contains("r.yaml:4") && Catch::Contains("optimizer.momentun") &&
                    Catch::Contains("did you mean 'momentum'?"));
  CHECK_THAT(message_of("epochz: 1"), Catch::Contains("r.yaml:1") && Catch::Contains("'epochs'"));
}

TEST_CASE("a key that the chosen optimizer does not take is unknown") {
  CHECK_THAT(message_of("optimizer: {name: Adam, momentum: 0.9}"),
             Catch::Contains("optimizer.momentum"));
  CHECK_THAT(message_of("schedule: {name: exponential, gamma: 0}"),
             Catch::Contains("schedule.gamma: expected a number above 0"));
  CHECK_THAT(message_of("schedule: {name: cosine, gamma: 0.1}"), Catch::Contains("schedule.gamma"));
}

TEST_CASE("a wrong type or range names line, key, what is allowed and what was found") {
  const std::string type = message_of("\nepochs: many\n");
  CHECK_THAT(type, Catch::Contains("r.yaml:2") && Catch::Contains("epochs") &&
                       Catch::Contains("an integer") && Catch::Contains("'many'"));
  const std::string range = message_of("batch_size: 0");
  CHECK_THAT(range, Catch::Contains("an integer from 1 to 1000000") && Catch::Contains("'0'"));
  CHECK_THAT(message_of("optimizer: {lr: -1}"), Catch::Contains("a number from 0 to"));
  CHECK_THAT(message_of("optimizer: {name: adam}"),
             Catch::Contains("SGD, Adam, AdamW") && Catch::Contains("'Adam'?"));
  CHECK_THAT(message_of("data: mnist"), Catch::Contains("a mapping") && Catch::Contains("'mnist'"));
  CHECK_THAT(message_of("schedule: {name: multi_step, milestones: 5}"),
             Catch::Contains("a list of integers"));
}

TEST_CASE("half a quantizer is refused") {
  CHECK_THAT(message_of("quantizer: {config_list: []}"), Catch::Contains("quantizer.config_list"));
  CHECK_THAT(message_of("quantizer: {float_epochs: 1}"), Catch::Contains("quantizer.float_epochs"));
  CHECK_THAT(message_of("quantizer: {name: QAT_Quantizer}"), Catch::Contains("a config_list"));
  CHECK_THAT(
      message_of("epochs: 3\nquantizer: {name: QAT_Quantizer, config_list: [], float_epochs: 3}"),
      Catch::Contains("r.yaml:2") && Catch::Contains("below the 3 epochs"));
  CHECK_THAT(message_of("schedule: {warmup_factor: 0}"), Catch::Contains("above 0"));
}

TEST_CASE("a key that stands twice is refused") {
  CHECK_THAT(message_of("epochs: 1\nepochs: 5"), Catch::Contains("'epochs' a second time"));
  CHECK_THAT(message_of("quantizer:\n  name: QAT_Quantizer\n  config_list:\n"
                        "    - {quant_types: [weight], op_types: [Conv2d], op_types: [Linear]}"),
             Catch::Contains("r.yaml:4: ") && Catch::Contains("op_types again"));
}

TEST_CASE("schedule keys without use are refused") {
  CHECK_THAT(message_of("schedule: {name: cosine, warmup_factor: 0.5}"),
             Catch::Contains("warmup_epochs beside it"));
  CHECK_THAT(message_of("schedule: {name: constant, per: step}"),
             Catch::Contains("another schedule than constant"));
}

TEST_CASE("lists that hold themselves and entries that are not there are refused") {
  CHECK_THAT(message_of("quantizer: {name: QAT_Quantizer, config_list: &x [*x]}"),
             Catch::Contains("32 levels"));
  const std::string list = "quantizer: {name: QAT_Quantizer, config_list: [{quant_bits: 8}]}";
  CHECK_THAT(message_of(list, {"quantizer.config_list.7.x=1"}),
             Catch::Contains("an entry from 0 to 0"));
  CHECK_THAT(message_of(list, {"quantizer.config_list.99999999999999999999999.x=1"}),
             Catch::Contains("an entry from 0 to 0"));
}

TEST_CASE("broken YAML names its line") {
  CHECK_THAT(message_of("epochs: 1\ndata: {name: [}\n"), Catch::Contains("r.yaml:2"));
}

TEST_CASE("a bad override says so") {
  CHECK_THAT(message_of("", {"epochs"}), Catch::Contains("--set") && Catch::Contains("KEY=VALUE"));
  CHECK_THAT(message_of("", {"epochs=x"}),
             Catch::Contains("r.yaml (--set)") && Catch::Contains("'x'"));
  CHECK_THAT(message_of("epochs: 2", {"epochs.deep=1"}), Catch::Contains("--set epochs.deep=1"));
}

TEST_CASE("an empty file is an empty recipe") {
  CHECK(load_recipe("/dev/null").model.name == "lenet5");
}

TEST_CASE("a folder in place of a recipe is refused") {
  CHECK_THROWS_WITH(load_recipe("/tmp"), Catch::Contains("/tmp") && Catch::Contains("a folder"));
}

TEST_CASE("a list with something else than integers is refused with its line") {
  CHECK_THAT(message_of("epochs: 2\nschedule: {name: multi_step, milestones: [3, a]}"),
             Catch::Contains("r.yaml:2") && Catch::Contains("a list of integers"));
}

TEST_CASE("a missing recipe file is named") {
  CHECK_THROWS_WITH(load_recipe("/nonexistent/r.yaml"), Catch::Contains("/nonexistent/r.yaml"));
}

TEST_CASE("a key without a value is refused, and not taken for its default") {
  CHECK_THAT(message_of("name: x\nepochs:\n"),
             Catch::Contains("r.yaml:2: epochs: expected a value, found nothing"));
  CHECK_THAT(message_of("data:\n"), Catch::Contains("data: expected a value, found nothing"));
  CHECK_THAT(message_of("model: {weights: null}"), Catch::Contains("model.weights: expected"));
  CHECK_THAT(message_of("optimizer: {groups: [null]}"),
             Catch::Contains("optimizer.groups[0]: expected a mapping"));
  for (const char* key : {"batch_size", "optimizer.lr", "data", "seed", "quantizer.config_list"}) {
    CHECK_THAT(message_of("", {std::string(key) + "="}),
               Catch::Contains("r.yaml (--set): " + std::string(key) + ": expected a value"));
  }
}

TEST_CASE("names of networks, data sets and quantizers are checked at their own lines") {
  CHECK_THAT(message_of("data:\n  workers: 1\n  name: cifar11\n"),
             Catch::Contains("r.yaml:3: data.name") && Catch::Contains("'cifar10'"));
  CHECK_THAT(message_of("model:\n  name: lenet5\n  variant: batchnorm\n"),
             Catch::Contains("r.yaml:3: model.variant") && Catch::Contains("'batch_norm'"));
  CHECK_THAT(message_of("model: {name: resnet20, variant: big}"),
             Catch::Contains("no such key: resnet20 has one form"));
  CHECK_THAT(message_of("model: {name: resnet20, width: 2}"),
             Catch::Contains("no such key: resnet20 has one size"));
  CHECK_THAT(message_of("quantizer:\n  config_list: []\n  name: QAT\n"),
             Catch::Contains("r.yaml:3: quantizer.name") &&
                 Catch::Contains("did you mean 'QAT_Quantizer'?"));
  CHECK_THAT(message_of("data:\n  dir: /here\n"),
             Catch::Contains("r.yaml:2: data.dir") &&
                 Catch::Contains("generated-digits does not take it"));
  CHECK_THAT(message_of("data: {name: mnist, coarse_labels: true}"),
             Catch::Contains("data.coarse_labels") && Catch::Contains("mnist does not take it"));
}

TEST_CASE("a run's name is one of a folder") {
  for (const char* name : {"../../evil", "a/b", ".", "..", "''"})
    CHECK_THAT(message_of("name: " + std::string(name)), Catch::Contains("a name of a folder"));
}

TEST_CASE("a key of another section is named with its section") {
  CHECK_THAT(message_of("", {"lr=1"}), Catch::Contains("did you mean 'optimizer.lr'?"));
  CHECK_THAT(message_of("learning_rate: 1"), Catch::Contains("did you mean 'optimizer.lr'?"));
  CHECK_THAT(message_of("optimizer: {learning_rate: 1}"), Catch::Contains("did you mean 'lr'?"));
  CHECK_THAT(message_of("", {"data.train_limit=5"}),
             Catch::Contains("did you mean 'train_samples'?"));
}

TEST_CASE("an empty value at the very beginning has a line, too") {
  CHECK_THAT(message_of("epochs:\nname: x\n"),
             Catch::Contains("r.yaml:1: epochs: expected a value"));
  CHECK_THAT(message_of("data:\n"), Catch::Contains("r.yaml:1: data: expected a value"));
}

TEST_CASE("milestones rise, are there, and are said at their line") {
  const std::string name = "schedule:\n  name: multi_step\n";
  CHECK_THAT(message_of(name + "  milestones: [3, 1]"),
             Catch::Contains("r.yaml:3: schedule.milestones") && Catch::Contains("['3', '1']"));
  CHECK_THAT(message_of(name + "  milestones: [-5]"), Catch::Contains("integers of at least 1"));
  CHECK_THAT(message_of(name), Catch::Contains("schedule.milestones: expected a list of epochs"));
}

TEST_CASE("advice on unknown keys looks into every section") {
  CHECK_THAT(message_of("model: {lr: 0.1}"), Catch::Contains("did you mean 'optimizer.lr'?"));
  CHECK_THAT(message_of("data: {learning_rate: 1}"), Catch::Contains("'optimizer.lr'"));
  CHECK_THAT(message_of("model: {momentum: 1}"), Catch::Contains("'optimizer.momentum'"));
  CHECK_THAT(message_of("nesterov: true"), Catch::Contains("'optimizer.nesterov'"));
  CHECK_THAT(message_of("data: {epochs: 1}"), Catch::Contains("'epochs' at the top level?"));
  CHECK_THAT(message_of("optimizer: {nesterov: true}"),
             Catch::Contains("the name that is chosen beside it does not take it"));
  const std::string variants = message_of("model: {x: 1}");
  CHECK(variants.find("variant") == variants.rfind("variant"));
}

TEST_CASE("two documents, a group without params and a path through a value are refused") {
  CHECK_THAT(message_of("epochs: 1\n---\nepochs: 2\n"), Catch::Contains("one YAML document"));
  CHECK_THAT(message_of("optimizer:\n  groups:\n    - {lr: 0.1}\n"),
             Catch::Contains("r.yaml:3: optimizer.groups[0].params"));
  CHECK_THAT(message_of("epochs: 2", {"epochs.deep=1"}), Catch::Contains("below a value"));
}

TEST_CASE("what a message shows of a list ends, though the list holds itself") {
  CHECK_THAT(message_of("schedule: {name: multi_step, milestones: &a [*a]}"),
             Catch::Contains("found [a list]"));
  CHECK_THAT(message_of("optimizer.lr: 0.1"), Catch::Contains("write it into its section"));
}
