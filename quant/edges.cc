// Quantizer: quantizers of edges that several layers share.
#include <algorithm>
#include <set>

#include "nn/input_check.h"
#include "quant/bias_quantize.h"
#include "quant/quantizer.h"
#include "quant/scale_group.h"

namespace halftone {
namespace {

struct Member {
  QuantPoint point;
  std::string entry;  // of config_list, with its number
};

// Throws where two quantizers that become one differ in what the user chose for them.
void check_agreement(const Member& a, const Member& b) {
  const auto differ = [&](const std::string& key, const std::string& one,
                          const std::string& other) {
    if (one == other) return;
    const auto where = [](const QuantPoint& p) { return p.module + " (" + name_of(p.type) + ")"; };
    throw HALFTONE_ERROR("config")
        .at(a.entry + ", " + key + " of " + where(a.point) + " and " +
            (a.entry == b.entry ? "" : "of " + b.entry + ", ") + where(b.point))
        .expected("one " + key + ": a sum or concatenation gives both the same scale")
        .found(one + " and " + other)
        .fix("give both the same " + key + " in config_list");
  };
  const QuantSpec x = a.point.quantizer->spec(), y = b.point.quantizer->spec();
  const auto start = [](const QuantSpec& s) {
    return std::to_string(std::max<int64_t>(s.start_step, 1));  // 0 and 1: from the beginning
  };
  differ("quant_start_step", start(x), start(y));
  differ("observer", name_of(x.observer), name_of(y.observer));
  if (x.observer == ObserverKind::kEma)
    differ("ema_decay", short_number(x.ema_decay), short_number(y.ema_decay));
  if (x.observer == ObserverKind::kPercentile)
    differ("percentile", short_number(x.percentile), short_number(y.percentile));
  differ("reduce_range", x.reduce_range ? "true" : "false", y.reduce_range ? "true" : "false");
}

// Whether a member of a group quantizes as it was asked to. A learned scale without a dtype takes
// that of the values.
bool keeps_spec(const QuantSpec& s) {
  return s.auto_dtype ? s.symmetric : !s.is_signed && !s.symmetric;
}

}  // namespace

// The sum's output quantizer stands behind its activation.
void Quantizer::find_sums() {
  for (auto& [path, module] : model_.named_modules()) {
    auto* add = dynamic_cast<Add*>(module);
    const bool quantized = add != nullptr && find_point(path, QuantType::kOutput) != nullptr;
    if (!quantized || graph_->only_node(path) < 0) continue;
    const SumPtr sum = find_sum(model_, *graph_, *add);
    settle_output({add, sum->activation.get()}, sum->tail());
    sums_.push_back(sum);
  }
}

std::vector<Module*> Quantizer::concats() {
  std::vector<Module*> found;
  for (auto& [path, module] : model_.named_modules()) {
    const bool quantized =
        dynamic_cast<Concat*>(module) != nullptr && find_point(path, QuantType::kOutput) != nullptr;
    if (quantized && graph_->only_node(path) >= 0) found.push_back(module);
  }
  return found;
}

std::string Quantizer::group_obstacle(const EdgeGroup& group) {
  if (!group.obstacle.empty()) return group.obstacle;
  const FakeQuantize* first = nullptr;
  for (const Module* user : group.users) {
    const FakeQuantize& q = *output_of(*user).quantizer;
    if (!q.can_share_scale()) return "the ranges of " + name() + " are not shared between edges";
    const std::string why = activation_obstacle(q.spec());
    if (!why.empty()) return why;
    if (first == nullptr) first = &q;
    if (q.spec().bits != first->spec().bits) return "edges of one scale have different bits";
  }
  for (const Edge& edge : group.edges) {
    const auto own = quantizer_behind(edge.maker->path());
    if (own != nullptr && own->spec().bits != first->spec().bits)
      return "edges of one scale have different bits";
  }
  return "";
}

// What the configuration gives the result of an Add or Concat.
const QuantPoint& Quantizer::output_of(const Module& user) {
  for (const SumPtr& sum : sums_) {
    if (sum->add == &user) return *point_behind(sum->tail().path());
  }
  return *point_behind(user.path());
}

// The inputs of a sum are quantized with its output, on the same scale.
void Quantizer::group_edges() {
  const auto is_quantized = [this](const std::string& path) {
    return quantizer_behind(path) != nullptr;
  };
  for (const EdgeGroup& group : find_edge_groups(model_, *graph_, sums_, concats(), is_quantized)) {
    const std::string why = group_obstacle(group);
    if (why.empty()) {
      make_group(group);
      continue;
    }
    for (const Module* user : group.users) {
      sums_.erase(std::remove_if(sums_.begin(), sums_.end(),
                                 [&](const SumPtr& s) { return s->add == user; }),
                  sums_.end());
      if (options_.integer) reject(user->path(), why);
    }
  }
}

// Input quantizers that can read an edge's codes: by their index among points_.
std::vector<size_t> Quantizer::readers_of(const Edge& edge, int bits) {
  const auto is_quantized = [this](const std::string& path) {
    return quantizer_behind(path) != nullptr;
  };
  std::vector<size_t> readers;
  for (size_t i = 0; i < points_.size(); ++i) {
    const QuantPoint& point = points_[i];
    if (point.type != QuantType::kInput || !point.quantizer->can_share_scale()) continue;
    const int node = graph_->only_node(point.module);
    const QuantSpec& spec = point.quantizer->spec();
    if (node < 0 || spec.bits != bits || spec.per_channel) continue;
    const int value = graph_->nodes()[node].inputs.at(0);
    if (maker_of(*graph_, value, is_quantized) == edge.node) readers.push_back(i);
  }
  return readers;
}

// One quantizer per edge and one scale for all: who gives up a quantizer of its own for it must
// have wanted the same start and the same range.
void Quantizer::check_group(const EdgeGroup& group) {
  std::vector<Member> members;
  const auto add = [&](const QuantPoint& p) { members.push_back({p, entry_number(p.module)}); };
  for (const Module* user : group.users) add(output_of(*user));
  for (const Edge& edge : group.edges) {
    const QuantPoint* own = point_behind(edge.maker->path());
    if (own != nullptr) add(*own);
    for (const size_t i : readers_of(edge, members[0].point.quantizer->spec().bits))
      add(points_[i]);
  }
  for (const Member& m : members) check_agreement(members[0], m);
  std::set<std::string> changed;
  for (const auto& [point, entry] : members) {
    const QuantSpec spec = point.quantizer->spec();
    if (!keeps_spec(spec))
      changed.insert(point.module + " (" + name_of(point.type) + ", " + spec.str() + ")");
  }
  if (changed.empty()) return;
  std::string text;
  for (const std::string& c : changed) text += (text.empty() ? "" : ", ") + c;
  warn(
      "on the scale of " + members[0].point.module +
      " codes are uint with zero point 0 or 2^(bits - 1), whatever quant_dtype and quant_scheme: " +
      text);
}

void Quantizer::make_group(const EdgeGroup& group) {
  check_group(group);
  FakeQuantizeArgs args;
  args.emits_codes = options_.integer;
  const QuantSpec wanted = output_of(*group.users[0]).quantizer->spec();
  std::vector<GroupMember> members;
  for (const Edge& edge : group.edges) {
    args.spec = spec_in_group(wanted, edge.non_negative);
    members.push_back({make_fake_quantize(*edge.maker, args), edge.concatenated});
    members.back().quantizer->train(edge.maker->training());
  }
  share_scale(members);
  for (size_t i = 0; i < members.size(); ++i) give_edge(group.edges[i], members[i].quantizer);
}

QuantSpec Quantizer::spec_in_group(QuantSpec spec, bool non_negative) const {
  spec.is_signed = false;
  spec.symmetric = !non_negative;
  return spec;
}

void Quantizer::give_edge(const Edge& edge, const std::shared_ptr<FakeQuantize>& member) {
  const std::vector<size_t> readers = readers_of(edge, member->spec().bits);
  const std::string& maker = edge.maker->path();
  for (const size_t i : readers) points_[i].quantizer = member, points_[i].place = maker;
  for (QuantPoint& point : points_) {
    if (point.place == maker && point.type == QuantType::kOutput) {
      point.quantizer = member;
      return;
    }
  }
  points_.push_back({maker, QuantType::kOutput, member, maker});
}

// Why there is no bias of a layer to simulate; "" where there is.
std::string Quantizer::bias_obstacle(const std::string& module) {
  if (!dynamic_cast<WeightLayer&>(*model_.find(module)).bias.defined()) return "it has none";
  for (const auto* list : {&chains_, &folds_}) {
    for (const ChainPtr& chain : *list) {
      if (chain->anchor->path() == module && chain->norm != nullptr)
        return "it is folded into the batch norm behind it";
    }
  }
  return "";
}

// A bias takes its scale from its layer's input and weight.
void Quantizer::bind_biases() {
  for (size_t i = 0; i < points_.size();) {
    const QuantPoint point = points_[i];
    if (point.type != QuantType::kBias) {
      ++i;
      continue;
    }
    const std::string why = bias_obstacle(point.module);
    if (!why.empty()) {
      warn("the bias of " + point.module + " is not quantized: " + why);
      points_.erase(points_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    const auto input = quantizer_of(point.module, QuantType::kInput);
    const auto weight = quantizer_of(point.module, QuantType::kWeight);
    if (input == nullptr || weight == nullptr || input->spec().per_channel) {
      throw HALFTONE_ERROR("config")
          .at(entry_number(point.module) + ", quant_types of " + point.module)
          .expected("weight and a per-tensor input among quant_types, for bias")
          .found(input == nullptr    ? "no input"
                 : weight == nullptr ? "no weight"
                                     : "a scale per channel");
    }
    const auto& layer = dynamic_cast<WeightLayer&>(*model_.find(point.module));
    if (weight->grids(layer.weight.value().rank()).axis > 0) {
      throw HALFTONE_ERROR("config")
          .at(entry_number(point.module) + ", axis of " + point.module + "'s weight")
          .expected("one weight scale, or one per output channel, for bias")
          .found("scales along another axis");
    }
    dynamic_cast<BiasQuantize&>(*point.quantizer).bind(input, weight);
    ++i;
  }
}

// The point that quantizes what one end of a chain's result receives: a layer's input, or the
// output of what codes pass unchanged.
QuantPoint* Quantizer::reader_of(const Module* end) {
  if (end == nullptr || graph_->only_node(end->path()) < 0) return nullptr;
  QuantPoint* output = point_behind(end->path());
  if (dynamic_cast<const WeightLayer*>(end) == nullptr) return output;
  const bool integer = std::any_of(chains_.begin(), chains_.end(),
                                   [&](const ChainPtr& c) { return c->anchor == end; });
  QuantPoint* input = find_point(end->path(), QuantType::kInput);
  return integer && input != nullptr && !input->behind_place() ? input : nullptr;
}

// The quantizers of what reads a chain's result become its output quantizer where all of them
// agree: max pooling and flattening commute with rounding (but not with drawing signs).
void Quantizer::share_edges() {
  const auto is_quantized = [this](const std::string& path) {
    return quantizer_behind(path) != nullptr;
  };
  for (const ChainPtr& chain : chains_) {
    const std::string& tail = chain->tail().path();
    std::vector<QuantPoint*> readers;
    for (Module* end : consumers_of(model_, *graph_, *chain, is_quantized))
      readers.push_back(reader_of(end));
    const bool known = std::count(readers.begin(), readers.end(), nullptr) == 0;
    if (readers.empty() || !known || chain->tail().output_transform()) continue;
    const auto own = quantizer_behind(tail);
    const std::shared_ptr<FakeQuantize> shared = own != nullptr ? own : readers[0]->quantizer;
    const QuantSpec spec = shared->spec();
    const bool agree = std::all_of(readers.begin(), readers.end(), [&](const QuantPoint* p) {
      return p->quantizer->spec() == spec && !p->quantizer->shares_scale();
    });
    if (!agree || spec.stochastic || shared->shares_scale()) continue;
    for (QuantPoint* reader : readers) reader->quantizer = shared, reader->place = tail;
  }
}

}  // namespace halftone
