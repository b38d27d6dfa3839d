// Additions of codes, and the edges of the graph that share a scale for them. Inside //quant and
// //deploy only.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "kernels/add_codes.h"
#include "quant/chain.h"

namespace halftone {

// add - [activation] - output quantizer, computed on codes of one scale:
//   code = clamp((q_a - z_a) + (q_b - z_b), lo - z, hi - z) + z
struct Sum {
  Add* add = nullptr;  // owns this through its executor
  std::shared_ptr<ActivationLayer> activation;
  std::shared_ptr<FakeQuantize> output;
  std::shared_ptr<TreeWatch> tree;
  // The result of the last call: what the activation recognises and passes on.
  std::weak_ptr<const void> produced;
  Tensor shares;  // of a device, where it runs there: scale_shares()

  Module& tail() const;
};
using SumPtr = std::shared_ptr<Sum>;

// Of an Add that runs once; an activation that is no clamp stays behind it.
SumPtr find_sum(Module& model, const Graph& graph, Add& add);

// What a sum of codes on these grids, which have one scale, computes.
kernels::CodeSum sum_rule(const Sum& sum, const QuantParams& a, const QuantParams& b,
                          const QuantParams& y);
kernels::CodeSum sum_rule(const Sum& sum, const QuantParams& a, const QuantParams& b,
                          const QuantParams& y, const quant_math::Pass& pass);

// What every sum of two codes, qa + qb, contributes to the gradient of a learned scale, to be
// multiplied with dy. act: bounds_of() in steps.
std::vector<float> scale_shares(const kernels::CodeSum& rule, const ActivationBounds& act,
                                const quant_math::LsqRule& learned);

// Sets the executors. Inputs that are no codes of the output's scale are added as floats.
void install(const SumPtr& sum);

// Values that share a scale.
struct Edge {
  int node = -1;            // that makes the value; -1: the network's input
  Module* maker = nullptr;  // whose result it is
  bool non_negative = false;
  bool concatenated = false;  // made of other edges of the group
};
struct EdgeGroup {
  std::vector<Edge> edges;     // as they run
  std::vector<Module*> users;  // the Add and Concat modules behind it
  std::string obstacle;        // why it cannot be; "" when it can
};

// Inputs and output of every sum and of every one of `concats` (modules that run once), united
// where they meet (union-find), seen through operations that codes pass unchanged.
std::vector<EdgeGroup> find_edge_groups(Module& model, const Graph& graph,
                                        const std::vector<SumPtr>& sums,
                                        const std::vector<Module*>& concats,
                                        const IsQuantized& is_quantized);

// The node that makes a value, seen through operations that codes pass unchanged; -1: the network's
// input.
int maker_of(const Graph& graph, int value, const IsQuantized& is_quantized);

}  // namespace halftone
