// Runs a program, one image at a time.
#pragma once

#include <memory>
#include <vector>

#include "deploy/runtime/program.h"
#include "kernels/integer/dot.h"

namespace halftone::runtime {

// Keeps every tensor of the last image. One thread at a time; threads share the program.
class Session {
 public:
  explicit Session(std::shared_ptr<const Program> program,
                   const integer::Body& body = integer::bodies().back());
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Program& program() const;
  // image: input().shape.size() bytes, (H, W, C). Returns the result as reals,
  // result().shape.size() of them, valid until the next run.
  const std::vector<float>& run(const uint8_t* image);
  // The same for `bytes` bytes; throws ProgramError where the program takes another number.
  const std::vector<float>& run(const uint8_t* image, size_t bytes);
  // The codes of a value, which is not the input and not float.
  const uint8_t* codes(int32_t value) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The label: the first of the largest.
int32_t index_of_largest(const std::vector<float>& logits);

}  // namespace halftone::runtime
