#include "quant/qat.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

std::map<std::string, QuantizerFactory>& registry() {
  static std::map<std::string, QuantizerFactory> factories = {
      {"QAT_Quantizer", [](Module& model, const std::string& config_list,
                           const QuantizerOptions& options, const Tensor& dummy) {
         return std::unique_ptr<Quantizer>(new QatQuantizer(model, config_list, options, dummy));
       }}};
  return factories;
}

}  // namespace

void register_quantizer(const std::string& name, QuantizerFactory factory) {
  if (!registry().emplace(name, std::move(factory)).second) {
    throw HALFTONE_ERROR("register_quantizer").what_happened("the name " + name + " is taken");
  }
}

std::vector<std::string> quantizer_names() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : registry()) names.push_back(name);
  return names;
}

std::unique_ptr<Quantizer> make_quantizer(const std::string& name, Module& model,
                                          const std::string& config_list,
                                          const QuantizerOptions& options,
                                          const Tensor& dummy_input) {
  const auto found = registry().find(name);
  if (found != registry().end()) return found->second(model, config_list, options, dummy_input);
  const std::string near = nearest_name(name, quantizer_names());
  std::string all;
  for (const std::string& known : quantizer_names()) all += (all.empty() ? "" : ", ") + known;
  throw HALFTONE_ERROR("quantizer")
      .expected("one of " + all)
      .found("\"" + name + "\"")
      .fix(near.empty() ? "" : "did you mean " + near + "?");
}

}  // namespace halftone
