// `halftone verify`: every code of every tensor, and every label, as several parties compute them.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "deploy/parties.h"

namespace halftone {

// Where a party first differs from the reference: the first image that differs, its first tensor in
// the program's order, its first code (H, W, C). Of logits, expected and found are reals.
struct Divergence {
  std::string layer, operation;
  int64_t image = 0, y = 0, x = 0, channel = 0;
  double expected = 0, found = 0;
  std::string rule;  // what the party may compute instead, where the oracle can tell
};

struct PartyReport {
  std::string name;
  int64_t codes = 0, differing = 0;  // compared with the reference's, and not equal
  int64_t logits = 0, differing_logits = 0, differing_labels = 0;
  double accuracy = 0;
  std::vector<int64_t> differing_by_value;
  std::vector<std::string> not_shown;  // layers whose codes the party does not show
  std::optional<Divergence> first;
};

struct TensorReport {
  std::string layer, operation;
  int64_t codes = 0;  // over all images
  int distinct = 0;   // of 256, in the reference
};

struct VerifyReport {
  std::string network, dataset;
  int64_t images = 0;
  std::string reference;  // the first party
  double accuracy = 0;    // its
  std::vector<TensorReport> tensors;
  std::vector<PartyReport> parties;            // the others
  std::map<std::string, std::string> not_run;  // who was left out, and why
  double seconds = 0;

  std::string dead() const;  // a tensor of one single code; "" where there is none
  // Nothing differs, and every tensor has more than one code.
  bool passes() const;
};

using OnVerified = std::function<void(int64_t images, int64_t of)>;

// The first `images` of the set (0: all), `batch` at a time. parties: the reference and at least
// one other. Throws where the set's images are not the program's.
VerifyReport verify(const runtime::Program& program, const std::vector<PartyPtr>& parties,
                    const Dataset& data, int64_t images, int64_t batch = 100,
                    const OnVerified& progress = {});

nlohmann::ordered_json to_json(const VerifyReport& report);
std::string to_table(const VerifyReport& report);

}  // namespace halftone
