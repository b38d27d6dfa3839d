#include "deploy/explain.h"

namespace halftone {
namespace {

struct Known {
  const char* what;
  OracleRules rules;
};

std::vector<Known> known_rules() {
  using Rounding = OracleRules::Rounding;
  std::vector<Known> list = {
      {"this is what the program says: the reference computes something else", {}},
      {"ties are rounded away from zero, not to even", {Rounding::kHalfAway}},
      {"ties are rounded up, not to even", {Rounding::kHalfUp}},
      {"it truncates, and does not round", {Rounding::kTruncate}},
      {"multipliers are rounded to bfloat16", {}},
      {"padding is code 0, not the code of zero", {}},
      {"the input's zero point is left out", {}},
  };
  list[4].rules.bf16_multipliers = true;
  list[5].rules.pads_with_code_0 = true;
  list[6].rules.ignores_zero_point = true;
  return list;
}

}  // namespace

std::string explain(const runtime::Program& program, size_t op, const CodeTensors& codes,
                    const std::vector<uint8_t>& found, const std::vector<float>& found_reals) {
  for (const Known& known : known_rules()) {
    std::vector<uint8_t> out;
    std::vector<float> reals;
    Oracle(program, known.rules).run_op(op, codes, out, reals);
    if (program.values[op + 1].is_float ? reals == found_reals : out == found) return known.what;
  }
  return "no rule that is known here gives it";
}

}  // namespace halftone
