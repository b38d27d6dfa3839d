// What a session does, one after the other. Inside this folder.
#pragma once

#include <memory>

#include "deploy/runtime/places.h"

namespace halftone::runtime {

class Step {
 public:
  virtual ~Step() = default;
  // This thread's share.
  virtual void run(const Round& round) const = 0;
  // int32 that a thread needs for itself.
  virtual int64_t scratch() const { return 0; }
};
using StepPtr = std::unique_ptr<Step>;

// Operation `index` of the program. `places` must outlive the step.
StepPtr make_step(const Program& program, size_t index, const Places& places,
                  const integer::Body& body);
// Place `from` to its copy `to`, of codes or of bits.
StepPtr make_copy(const Places& places, int32_t from, int32_t to, const integer::Body& body);

// Three of make_step's kinds.
StepPtr make_convolution(const Program& program, const Op& op, const Places& places, int32_t in,
                         const integer::Body& body);
StepPtr make_bit_convolution(const Program& program, const Op& op, const Places& places, int32_t in,
                             const integer::Body& body);
StepPtr make_depthwise(const Program& program, const Op& op, const Places& places, int32_t in,
                       const integer::Body& body);

}  // namespace halftone::runtime
