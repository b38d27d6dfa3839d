// Quantizers: they decide which FakeQuantize goes where, and make integer chains of what they can.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "autograd/graph.h"
#include "nn/fuse.h"
#include "nn/module.h"
#include "nn/optimizer.h"
#include "quant/average.h"
#include "quant/chain.h"
#include "quant/config.h"
#include "quant/fake_quantize.h"
#include "quant/sum.h"
#include "quant/value_sign.h"

namespace halftone {

struct QuantizerOptions {
  bool integer = true;  // false: dequantized floats throughout (comparison with other toolkits)
  bool nni = false;     // NNI's rounding and zero points; implies the float path
  // Of entries without one. Unset: kScale, and kNni where nni is set.
  std::optional<FoldMode> fold;
  int64_t start_step = 0;  // quant_start_step of entries without one
  double scale_lr = 1.0;   // learning rate of learned scales, as a factor of the optimizer's
};

// The layer's output before its activation, with batch norm apart and folded, for the same
// quantized weights and inputs.
struct FoldReport {
  std::string layer, norm;
  FoldMode fold;
  float difference = 0;  // largest
  float magnitude = 0;   // of the output
};

// The metadata "format" of a file that export_model wrote.
constexpr const char* kExportFormat = "halftone-quantized";

// One quantized tensor of a layer. Layers on the two sides of an edge share its quantizer.
struct QuantPoint {
  std::string module;  // that config_list names
  QuantType type;
  std::shared_ptr<FakeQuantize> quantizer;
  // The module in whose slot the quantizer stands: `module`; the last of what is computed together
  // with it; for the input of a layer also the module that makes it.
  std::string place;
  bool behind_place() const { return type == QuantType::kOutput || place != module; }
};

// Made from (model, config_list, optimizer, dummy input). The model and the optimizer must outlive
// it. Parameters stay where they are, under their names. With an optimizer, parameters of the
// quantizers' own join it in compress(), and every optimizer step advances the quantizers; without
// one the caller does, by advance_step().
class Quantizer {
 public:
  // dummy_input: NHWC; undefined: no graph, so batch norm stays apart and every layer quantizes its
  // own input.
  Quantizer(Module& model, ConfigList config_list, Optimizer* optimizer = nullptr,
            Tensor dummy_input = {}, const QuantizerOptions& options = {});
  virtual ~Quantizer() = default;
  Quantizer(const Quantizer&) = delete;
  Quantizer& operator=(const Quantizer&) = delete;

  virtual std::string name() const = 0;
  // What its config_list may say: tensor types, bits, defaults.
  virtual ConfigRules rules() const = 0;

  // Defaults of a tensor type for entries without quant_scheme or quant_dtype. Before compress(),
  // and before ObserverQuantizer has recorded anything; throws for an algorithm whose grids are
  // fixed, and for a type that it does not quantize.
  void set_quant_scheme_dtype(const std::string& type, const std::string& scheme,
                              const std::string& dtype);
  // Checks config_list and fills the model's slots. A second call does nothing. Where it throws,
  // the model is as it was.
  void prepare();
  // prepare(), and what the algorithm needs before the network is the quantized one
  // (ObserverQuantizer: scales from what was observed). A second call does nothing.
  void compress();
  // Whether the network has to be trained with it. The others quantize a trained network.
  virtual bool needs_training() const { return true; }
  // Whether the network computes nearly the same with its quantizers off. Latent weights that are
  // binarized, or that go through tanh first, are no weights of a float network.
  virtual bool approximates_float() const { return true; }
  // Whether data has to run through the network between prepare() and compress().
  virtual bool needs_calibration() const { return false; }

  // The number of the coming optimizer step, from 1. Part of the model's state.
  int64_t step() const;
  // What follows an optimizer step.
  void advance_step();

  // Float master weights and every buffer under their names, and per layer integer codes, scales,
  // zero points and the folded weight and bias (safetensors); NNI's calibration keys (JSON). Any
  // path may be empty. Changes nothing. Throws before any step where ranges are not known yet, and
  // for an onnx_path: ONNX files hold the normalisation of images too, and are written by
  // deploy/export_onnx.h.
  void export_model(const std::string& model_path, const std::string& calibration_path = "",
                    const std::string& onnx_path = "") const;
  // What export_model wrote as model_path, for the same model and config_list: weights and
  // quantizers; training and evaluation go on from it. Throws one Error that lists every quantizer
  // that either has and the other lacks, or has otherwise; nothing is loaded then.
  void load_model(const std::string& model_path);
  // Ranges of inputs and outputs and scales of weights from NNI's keys: tracked from now on, and
  // used by an evaluation at once. Bits must agree, and layers exist; warnings() gets what the file
  // leaves out, and what it has and config_list does not quantize.
  void load_calibration_config(const std::string& path);

  // What folding changes, per layer with a batch norm, on a batch in evaluation.
  std::vector<FoldReport> fold_report(const Tensor& batch) const;
  // Running means and variances of every batch norm anew, as the averages over these batches
  // (PyTorch's momentum=None), computed by the quantized network; quantizers stay as they are.
  void reestimate_statistics(const std::vector<Tensor>& batches) const;

  const std::vector<QuantPoint>& points() const { return points_; }
  const std::vector<ChainPtr>& chains() const { return chains_; }
  const std::vector<SumPtr>& sums() const { return sums_; }              // additions of codes
  const std::vector<AveragePtr>& averages() const { return averages_; }  // of codes
  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::optional<Graph>& graph() const { return graph_; }
  Module& model() const { return model_; }
  // Why this layer has no integer form; "" where it has one.
  std::string integer_obstacle(const std::string& module) const;
  // By name, with the reason: quantized layers that compute on floats (for want of an integer form,
  // or, once trained, of a range, or because they do not quantize yet), and, where there is a
  // graph, all else that computes on floats between quantized layers. A batch norm or an activation
  // that follows a layer of the list is not named again. Empty where the network from its first
  // quantized layer to its last runs on integers. An export holds the same as metadata
  // "float_layers".
  std::map<std::string, std::string> float_layers() const;

 protected:
  // Whether a device computes on codes, as the CPU does. False: on floats, and evaluation with it.
  virtual bool integer_on_device() const { return true; }
  // The quantizer of one tensor: a RangeQuantize unless the algorithm has one of its own.
  virtual std::shared_ptr<FakeQuantize> make_fake_quantize(Module& module,
                                                           const FakeQuantizeArgs& args) const;
  // That of an edge which shares a scale, for what config_list says of the sum: zero point 0 where
  // its values are never negative, else half of the codes are negative.
  virtual QuantSpec spec_in_group(QuantSpec spec, bool non_negative) const;
  void warn(const std::string& text) { warnings_.push_back(text); }
  // Once chains and sums are known, before edges share quantizers: what the graph and the weights
  // decide.
  virtual void prepare_points() {}
  // What the graph says of an input or output where its quantizer stands. With a graph only.
  ValueSign sign_of(const QuantPoint& point) const;
  // Once all is installed: what of the layers themselves changes. It checks everything first, as
  // nobody undoes that.
  virtual void finish_prepare() {}
  // The quantizer whose codes reach a layer that has none for its input; null where there is none.
  std::shared_ptr<FakeQuantize> codes_before(const std::string& layer) const;
  // "config_list entry 2", of the entry that a layer follows.
  std::string entry_number(const std::string& layer) const;
  // Behind that: what concerns the optimizer beyond new parameters.
  virtual void prepare_optimizer(Optimizer&) {}
  const QuantizerOptions& options() const { return options_; }
  virtual void convert() {}  // the last part of compress()
  // Whether nothing would be lost if prepare() were undone and done again.
  virtual bool can_prepare_anew() const { return false; }
  // Throws when there is nothing to export yet.
  virtual void check_exportable() const {}
  // What the quantizer of a layer's weight sees: folded where that is its mode.
  Tensor weight_of(const QuantPoint& point) const;

 private:
  std::vector<FakeQuantize*> quantizers() const;  // each once
  void count_step();  // what of advance_step() is the host's where a recorded step ran
  void read_config();
  std::pair<std::string, std::string> outer_layers() const;
  const ConfigEntry* entry_of(const std::string& path) const;
  std::string number_of(const ConfigEntry& entry) const;
  void warn_of_idle_layer_bits(const ConfigEntry& entry);
  void warn_of_idle_fold(const ConfigEntry& entry, const std::set<std::string>& norms);
  void warn_of_idle_padding(const ConfigEntry& entry);
  void warn_of_idle_keys(const std::set<std::string>& norms);
  void create();
  void install_all();
  void install_chains();
  void create_point(Module& module, QuantType type, const QuantSpec& spec);
  void create_points();
  void create_chains();
  std::string chain_obstacle(const Chain& chain) const;
  void settle_outputs(const Chain& chain);
  void settle_output(const std::vector<const Module*>& members, const Module& tail);
  void warn_of_moved_outputs(const std::vector<ChainPtr>& chains);
  void find_sums();
  std::vector<Module*> concats();
  std::string group_obstacle(const EdgeGroup& group);
  const QuantPoint& output_of(const Module& user);
  void group_edges();
  std::vector<size_t> readers_of(const Edge& edge, int bits);
  void check_group(const EdgeGroup& group);
  void make_group(const EdgeGroup& group);
  void give_edge(const Edge& edge, const std::shared_ptr<FakeQuantize>& member);
  void share_edges();
  QuantPoint* reader_of(const Module* end);
  void bind_places();
  void bind_biases();
  std::string bias_obstacle(const std::string& module);
  void fill_slots();
  void take_out();
  void prepare_anew(QuantType type, const QuantSpec& defaults);
  void fill_slot(const QuantPoint& point);
  void join_optimizer();
  void check_options() const;
  void check_learning_rate() const;
  void check_tree(const char* op) const;  // throws before compress() and for a changed tree
  const QuantPoint* find_point(const std::string& module, QuantType type) const;
  QuantPoint* find_point(const std::string& module, QuantType type);
  QuantPoint* point_behind(const std::string& module);
  // What stands behind a module, of whatever point; null where nothing does.
  std::shared_ptr<FakeQuantize> quantizer_behind(const std::string& module) const;
  std::shared_ptr<FakeQuantize> quantizer_of(const std::string& module, QuantType type) const;
  void reject(const std::string& module, const std::string& why);
  bool runs_on_integers(const GraphNode& node) const;
  std::string reason_on_floats(const GraphNode& node) const;
  void warn_of_floats();
  std::string waits_for(const std::string& path) const;
  std::string unknown_scale(const std::string& path) const;
  void check_known() const;
  const Chain* chain_of(const std::string& module) const;  // null where there is none
  void add_layer(const QuantPoint& weight, bool integer, std::map<std::string, Tensor>& out) const;

  Module& model_;
  ConfigList config_list_;
  Optimizer* optimizer_;
  Tensor dummy_;
  QuantizerOptions options_;
  bool prepared_ = false, compressed_ = false;
  std::map<QuantType, QuantSpec> defaults_;
  QuantConfig config_;
  std::vector<QuantPoint> points_;
  std::vector<ChainPtr> chains_;
  std::vector<SumPtr> sums_;
  std::vector<AveragePtr> averages_;
  std::vector<ChainPtr> folds_;  // layers without an integer form that fold their batch norm
  std::vector<ModulePtr> held_;  // the chains' anchors, alive as long as this
  std::map<Module*, Executor> executors_;  // before prepare(); empty ones too
  std::map<Slot*, std::string> placed_;    // slots that hold quantizers, with their names before
  FusedLayers fused_;
  std::shared_ptr<TreeWatch> tree_;
  bool joined_ = false;                                               // the optimizer
  std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);  // watched by the optimizer
  std::vector<std::string> warnings_;
  std::map<std::string, std::string> obstacles_;
  std::optional<Graph> graph_;
};

using QuantizerFactory = std::function<std::unique_ptr<Quantizer>(
    Module& model, const ConfigList& config_list, Optimizer*, const Tensor& dummy_input,
    const QuantizerOptions&)>;
// Quantizers by NNI's names. Registering a name twice throws. summary: one line, for
// `halftone list quantizers`.
void register_quantizer(const std::string& name, const std::string& summary,
                        QuantizerFactory factory);
std::vector<std::string> quantizer_names();
// Throws on an unknown name, as make_quantizer does.
std::string quantizer_summary(const std::string& name);
// Throws on an unknown name, naming the nearest.
std::unique_ptr<Quantizer> make_quantizer(const std::string& name, Module& model,
                                          const ConfigList& config_list,
                                          Optimizer* optimizer = nullptr,
                                          const Tensor& dummy_input = {},
                                          const QuantizerOptions& options = {});

}  // namespace halftone
