#include "quant/bnn.h"
#include "quant/dorefa.h"
#include "quant/lsq.h"
#include "quant/naive.h"
#include "quant/observer_quantizer.h"
#include "quant/qat.h"
#include "tensor/nearest.h"

namespace halftone {
namespace {

struct Entry {
  std::string summary;
  QuantizerFactory make;
};

template <class Q>
std::unique_ptr<Quantizer> create(Module& model, const ConfigList& config_list,
                                  Optimizer* optimizer, const Tensor& dummy_input,
                                  const QuantizerOptions& options) {
  return std::make_unique<Q>(model, config_list, optimizer, dummy_input, options);
}

std::map<std::string, Entry>& registry() {
  static std::map<std::string, Entry> entries = {
      {"NaiveQuantizer",
       {"weights on their own range, 8 bits, nothing learned or observed", create<NaiveQuantizer>}},
      {"ObserverQuantizer",
       {"post-training: ranges from a few batches of data, behind float training, 2 to 16 bits",
        create<ObserverQuantizer>}},
      {"QAT_Quantizer",
       {"quantization-aware training (Jacob et al. 2018): weights, inputs, outputs, 2 to 16 bits",
        create<QatQuantizer>}},
      {"DoReFaQuantizer",
       {"DoReFa-Net (Zhou et al. 2016): weights, inputs, outputs, gradients, 1 to 16 bits each",
        create<DorefaQuantizer>}},
      {"BNNQuantizer",
       {"binary networks (Hubara et al. 2016): weights, inputs, outputs of -1 and 1",
        create<BnnQuantizer>}},
      {"LsqQuantizer",
       {"learned step sizes (Esser et al. 2020): scales are parameters; weights, inputs, outputs",
        create<LsqQuantizer>}},
      {"LsqPlusQuantizer",
       {"LSQ+ (Bhalgat et al. 2020): learned step sizes, and learned offsets of activations",
        create<LsqPlusQuantizer>}}};
  return entries;
}

const Entry& entry(const std::string& name) {
  const auto found = registry().find(name);
  if (found != registry().end()) return found->second;
  throw_unknown_name("quantizer", name, quantizer_names());
}

}  // namespace

void register_quantizer(const std::string& name, const std::string& summary,
                        QuantizerFactory factory) {
  if (!registry().emplace(name, Entry{summary, std::move(factory)}).second) {
    throw HALFTONE_ERROR("register_quantizer").what_happened("the name " + name + " is taken");
  }
}

std::vector<std::string> quantizer_names() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : registry()) names.push_back(name);
  return names;
}

std::string quantizer_summary(const std::string& name) { return entry(name).summary; }

std::unique_ptr<Quantizer> make_quantizer(const std::string& name, Module& model,
                                          const ConfigList& config_list, Optimizer* optimizer,
                                          const Tensor& dummy_input,
                                          const QuantizerOptions& options) {
  return entry(name).make(model, config_list, optimizer, dummy_input, options);
}

}  // namespace halftone
