// A VerifyReport for people and for programs.
#include <fmt/format.h>

#include "deploy/verify.h"

namespace halftone {
namespace {

nlohmann::ordered_json to_json(const Divergence& d) {
  return {{"layer", d.layer},
          {"operation", d.operation},
          {"image", d.image},
          {"channel", d.channel},
          {"y", d.y},
          {"x", d.x},
          {"expected", d.expected},
          {"found", d.found},
          {"rule", d.rule}};
}

nlohmann::ordered_json to_json(const PartyReport& p) {
  nlohmann::ordered_json j = {{"name", p.name},
                              {"codes", p.codes},
                              {"differing", p.differing},
                              {"logits", p.logits},
                              {"differing_logits", p.differing_logits},
                              {"differing_labels", p.differing_labels},
                              {"accuracy", p.accuracy},
                              {"not_shown", p.not_shown}};
  j["first"] = p.first.has_value() ? to_json(*p.first) : nlohmann::ordered_json();
  return j;
}

std::string text(const PartyReport& p, int64_t images) {
  const std::string logits = fmt::format("{} of {} logits, {} of {} labels\n", p.differing_logits,
                                         p.logits, p.differing_labels, images);
  std::string t = fmt::format("{:<34} ", p.name);
  if (p.codes == 0) {
    t += "shows logits only: " + logits;
  } else {
    t += fmt::format("{} of {} codes differ, {}", p.differing, p.codes, logits);
    for (const std::string& layer : p.not_shown)
      t += fmt::format("{:<34} does not show {}\n", "", layer);
  }
  if (!p.first.has_value()) return t;
  const Divergence& d = *p.first;
  return t + fmt::format(
                 "{:<34} first in {} ({}), image {}, channel {}, y {}, x {}: {} instead of "
                 "{}; {}\n",
                 "", d.layer, d.operation, d.image, d.channel, d.y, d.x, d.found, d.expected,
                 d.rule);
}

}  // namespace

nlohmann::ordered_json to_json(const VerifyReport& r) {
  nlohmann::ordered_json j = {{"network", r.network},
                              {"dataset", r.dataset},
                              {"images", r.images},
                              {"passes", r.passes()},
                              {"reference", r.reference},
                              {"accuracy", r.accuracy},
                              {"seconds", r.seconds},
                              {"tensors", nlohmann::ordered_json::array()},
                              {"parties", nlohmann::ordered_json::array()}};
  for (const TensorReport& t : r.tensors) {
    j["tensors"].push_back({{"layer", t.layer},
                            {"operation", t.operation},
                            {"codes", t.codes},
                            {"distinct", t.distinct}});
  }
  for (const PartyReport& p : r.parties) j["parties"].push_back(to_json(p));
  if (!r.not_run.empty()) j["not_run"] = r.not_run;
  return j;
}

std::string to_table(const VerifyReport& r) {
  std::string t = fmt::format("{:<32} {:<18} {:>12} {:>9}\n{:-<74}\n", "tensor", "made by", "codes",
                              "distinct", "");
  for (const TensorReport& tensor : r.tensors) {
    t += fmt::format("{:<32} {:<18} {:>12} {:>9}\n", tensor.layer, tensor.operation, tensor.codes,
                     tensor.distinct);
  }
  t += fmt::format("\n{}, {} images of {}; reference: {}, accuracy {:.2f} %\n", r.network, r.images,
                   r.dataset, r.reference, 100 * r.accuracy);
  for (const PartyReport& p : r.parties) t += text(p, r.images);
  for (const auto& [name, why] : r.not_run) t += fmt::format("{:<34} not run: {}\n", name, why);
  const std::string dead = r.dead();
  if (!dead.empty())
    t += fmt::format("{} holds one single code, so that its equality shows nothing\n", dead);
  const char* verdict = r.passes() ? "equal" : dead.empty() ? "NOT EQUAL" : "NOT SHOWN";
  return t + fmt::format("{}, {:.1f} s\n", verdict, r.seconds);
}

}  // namespace halftone
