// Runs a program.
#pragma once

#include <memory>
#include <vector>

#include "deploy/runtime/program.h"
#include "kernels/integer/products.h"

namespace halftone::runtime {

struct SessionOptions {
  integer::Body body = integer::bodies().back();
  int threads = 1;             // they share the images of a call, or the layers of a single one
  bool keeps_tensors = false;  // for codes()
};

// One call at a time; sessions share the program.
class Session {
 public:
  explicit Session(std::shared_ptr<const Program> program, const SessionOptions& options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const Program& program() const;
  // images: `count` of input().shape.size() bytes, (H, W, C). Writes the result as reals,
  // result().shape.size() of each image.
  void run(const uint8_t* images, int64_t count, float* results);
  // One image of `bytes` bytes; throws ProgramError where the program takes another number. What it
  // returns is valid until the next call.
  const std::vector<float>& run(const uint8_t* image, size_t bytes);
  // The codes of a value of all images of the last call, which is not the input and not float. Only
  // where the session keeps_tensors.
  const uint8_t* codes(int32_t value) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The label: the first of the largest.
int32_t index_of_largest(const std::vector<float>& logits);

}  // namespace halftone::runtime
