// A quantizer that cannot be made leaves the model as it was.
#include <catch2/catch.hpp>

#include "quant/bnn.h"
#include "test/quant/block_net.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

// Everything that prepare() changes: modules, slots with their names, executors, state, paddings.
struct Snapshot {
  explicit Snapshot(Module& model) : tree(to_string(model)) {
    for (auto& [path, module] : model.named_modules()) {
      executors.emplace_back(path, module->has_executor());
      for (Slot* slot : module->slots()) slots.emplace_back(slot, slot->name(), slot->get());
      if (auto* norm = dynamic_cast<BatchNorm*>(module))
        fused.push_back(norm->fused_activation.kind);
      if (auto* add = dynamic_cast<Add*>(module)) fused.push_back(add->fused_activation.kind);
    }
    for (const auto& [name, value] : model.state_dict())
      state[name] =
          value.dtype() == DType::kFloat32 ? value.to_vector<float>() : std::vector<float>();
  }
  bool operator==(const Snapshot& o) const {
    return tree == o.tree && executors == o.executors && slots == o.slots && fused == o.fused &&
           state == o.state;
  }
  std::string tree;  // with paddings
  std::vector<std::pair<std::string, bool>> executors;
  std::vector<std::tuple<Slot*, std::string, Module*>> slots;
  std::vector<Activation> fused;
  std::map<std::string, std::vector<float>> state;
};

// The block with the last of its slots taken.
std::shared_ptr<Block> taken_block(const Context& c) {
  auto net = make<Block>(c, false);
  dynamic_cast<Conv2d&>(*net->find("conv3")).weight_transform().set(make<Identity>(c));
  return net;
}

}  // namespace

TEST_CASE("compress() that throws takes out what it put in") {
  struct Row {
    std::string quantizer, config, message;
    bool taken = false;
  };
  const std::string binary = R"({"quant_types": ["weight", "output"], "quant_bits": {"weight": 1,
    "output": 8}, "op_types": ["Conv2d"], "padding_value": 1})";
  std::string late = kLayers;
  late.insert(1, R"("quant_start_step": 5, )");
  for (const Row& row :
       {Row{"QAT_Quantizer", with(outputs("Add")), "an empty slot", true},
        Row{"QAT_Quantizer", "[" + late + ", " + outputs("Add") + "]", "quant_start_step"},
        Row{"BNNQuantizer", "[" + binary + "]", "padding_value"},
        Row{"ObserverQuantizer", with(outputs("Add")), "an empty slot", true}}) {
    CAPTURE(row.quantizer, row.config);
    const Context c(two_threads());
    auto net = row.taken ? taken_block(c) : make<Block>(c, false);
    net->eval();
    const Tensor image = Tensor::zeros(c, {1, 6, 6, 2});
    const Snapshot before(*net);
    REQUIRE_THROWS_WITH(make_quantizer(row.quantizer, *net, row.config, nullptr, image)->compress(),
                        Contains(row.message));
    REQUIRE(Snapshot(*net) == before);
    // Another quantizer finds the model free.
    if (!row.taken)
      make_quantizer("QAT_Quantizer", *net, with(outputs("Add")), nullptr, image)->compress();
  }
}

TEST_CASE("executors that were there before come back") {
  const Context c(two_threads());
  auto net = taken_block(c);
  const Tensor image = Tensor::zeros(c, {1, 6, 6, 2});
  fuse_layers(*net, trace(*net, Variable(image)));
  net->eval();
  const auto run = [&] {
    const NoGrad no_grad;
    return (*net)(Variable(spread(c, {2, 6, 6, 2}, -1, 1))).value().to_vector<float>();
  };
  const Snapshot before(*net);
  const auto y = run();
  REQUIRE_THROWS_WITH(
      make_quantizer("QAT_Quantizer", *net, with(outputs("Add")), nullptr, image)->compress(),
      Contains("an empty slot"));
  REQUIRE(Snapshot(*net) == before);
  REQUIRE(run() == y);
}

TEST_CASE("a factor of the scales' learning rate that is none is refused before anything changes") {
  const Context c(two_threads());
  auto net = make<Block>(c, false);
  ParameterStore store(*net);
  const auto optimizer = make_optimizer(store, {});
  const size_t parameters = store.entries().size();
  QuantizerOptions options;
  options.scale_lr = -1;
  const Snapshot before(*net);
  REQUIRE_THROWS_WITH(make_quantizer("LsqQuantizer", *net, R"([{"quant_types": ["weight"],
                          "quant_bits": 4, "op_types": ["Conv2d"]}])",
                                     optimizer.get(), {}, options)
                          ->compress(),
                      Contains("scale_lr") && Contains("-1"));
  REQUIRE(Snapshot(*net) == before);
  REQUIRE(store.entries().size() == parameters);
}
