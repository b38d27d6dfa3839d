// halftone list
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "nn/optimizer.h"
#include "nn/zoo/zoo.h"
#include "quant/observer.h"
#include "quant/quantizer.h"
#include "tools/command_line.h"

namespace halftone::tools {
namespace {

struct Item {
  std::string name, text;
};

std::vector<Item> models() {
  std::vector<Item> items;
  for (const ZooEntry& e : zoo()) {
    std::string variants =
        e.variants.empty() ? "" : fmt::format("; variants {}", fmt::join(e.variants, ", "));
    items.push_back(
        {e.name, fmt::format("{} (input {}{})", e.description, e.input_shape.str(), variants)});
  }
  return items;
}

std::vector<Item> datasets() {
  std::vector<Item> items;
  for (const std::string& name : dataset_names()) items.push_back({name, dataset_summary(name)});
  return items;
}

std::vector<Item> optimizers() {
  std::vector<Item> items;
  for (const std::string& name : optimizer_names())
    items.push_back({name, optimizer_summary(name)});
  return items;
}

std::vector<Item> observer_items() {
  std::vector<Item> items;
  for (const ObserverEntry& e : observers()) items.push_back({e.name, e.summary});
  return items;
}

std::vector<Item> quantizers() {
  std::vector<Item> items;
  for (const std::string& name : quantizer_names())
    items.push_back({name, quantizer_summary(name)});
  return items;
}

std::vector<Item> items_of(const std::string& kind) {
  if (kind == "models") return models();
  if (kind == "datasets") return datasets();
  if (kind == "optimizers") return optimizers();
  if (kind == "observers") return observer_items();
  return quantizers();
}

int run(const std::string& kind, bool json) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  size_t width = 0;
  for (const Item& i : items_of(kind)) {
    list.push_back({{"name", i.name}, {"description", i.text}});
    width = std::max(width, i.name.size());
  }
  if (json) {
    std::printf("%s\n", nlohmann::ordered_json{{kind, list}}.dump().c_str());
    return 0;
  }
  for (const Item& i : items_of(kind)) fmt::print("{:<{}}  {}\n", i.name, width, i.text);
  return 0;
}

}  // namespace

void add_list(CLI::App& app, int& code) {
  CLI::App* c = app.add_subcommand("list", "Names that a recipe may use");
  auto kind = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  c->add_option("kind", *kind, "models, quantizers, observers, datasets or optimizers")
      ->required()
      ->check(CLI::IsMember({"models", "quantizers", "observers", "datasets", "optimizers"}));
  c->add_flag("--json", *json, "One JSON object on standard output");
  c->callback([=, &code] { code = run(*kind, *json); });
}

}  // namespace halftone::tools
