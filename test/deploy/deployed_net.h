// A small network, trained for a few steps on random bytes, and verified against its own program.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/augment.h"
#include "deploy/parties.h"
#include "deploy/runtime/program_file.h"
#include "deploy/verify.h"
#include "nn/layers.h"
#include "tensor/random.h"
#ifdef HALFTONE_WITH_ONNX_RUNTIME
#include "test/deploy/onnx_parties.h"
#endif

namespace halftone::test {

// Random images; the labels count up. Mean and deviation differ by channel.
inline Dataset random_images(const Context& context, const Shape& chw, int64_t count,
                             int64_t classes, uint64_t seed = 1) {
  Dataset d;
  d.name = "random bytes";
  d.images = Tensor::zeros(context, {count, chw[1], chw[2], chw[0]}, DType::kUInt8);
  const Philox random{seed, 0};
  for (int64_t i = 0; i < d.images.numel(); ++i) {
    d.images.data<uint8_t>()[i] = static_cast<uint8_t>(random.below(static_cast<uint64_t>(i), 256));
  }
  for (int64_t i = 0; i < count; ++i) d.labels.push_back(i % classes);
  for (int64_t c = 0; c < classes; ++c) d.classes.push_back(std::to_string(c));
  for (int64_t c = 0; c < chw[0]; ++c) {
    d.mean.push_back(0.4f + 0.05f * static_cast<float>(c));
    d.stddev.push_back(0.3f - 0.02f * static_cast<float>(c));
  }
  return d;
}

inline Tensor normalised(const Context& context, const Dataset& d) {
  const SampleShape shape{d.height(), d.width(), d.channels()};
  const std::vector<float> table = normalisation_table(d);
  Tensor x = Tensor::empty(context, d.images.shape());
  const int64_t size = x.numel() / d.size();
  for (int64_t i = 0; i < d.size(); ++i) {
    move_normalised(d.images.data<uint8_t>() + i * size, shape, {}, table.data(),
                    x.data<float>() + i * size);
  }
  return x;
}

// Forward passes in training, so that quantizers and batch norms have seen something.
inline void warm(Module& model, Quantizer& quantizer, const Dataset& data) {
  model.train();
  const NoGrad no_grad;
  for (int i = 0; i < 3; ++i) {
    model(Variable(normalised(model.context(), data)));
    quantizer.advance_step();
  }
  model.eval();
}

// Two branches of one input, joined.
struct Fork : Module {
  explicit Fork(const Context& c, int64_t channels = 4) : Module(c) {
    register_child("left", make<Conv2d>(c, Conv2dArgs{channels, 3, 3, 1, 1}));
    register_child("right", make<Conv2d>(c, Conv2dArgs{channels, 5, 1}));
    register_child("join", make<Concat>(c));
  }
  std::string type_name() const override { return "Fork"; }
  Variable forward(const std::vector<Variable>& in) override {
    auto& parts = children();
    return (*parts[2].get())(std::vector<Variable>{parts[0](in.at(0)), parts[1](in.at(0))});
  }
};

struct Deployed {
  Dataset data;
  ProgramSource source;
  CompiledProgram compiled;
  std::shared_ptr<const runtime::Program> program;  // from a file's bytes
};

inline Deployed deploy(const Quantizer& quantizer, const Dataset& data) {
  Deployed d;
  d.data = data;
  d.source = {"net", {data.channels(), data.height(), data.width()}, normalisation_table(data)};
  d.compiled = compile_program(quantizer, d.source);
  const std::string bytes = runtime::to_bytes(d.compiled.program);
  d.program = std::make_shared<const runtime::Program>(
      runtime::program_from_bytes(bytes.data(), bytes.size()));
  return d;
}

// Training, every body of the engine, the oracle, and what `more` adds.
inline VerifyReport verify_all(Module& model, const Deployed& d, std::vector<PartyPtr> more = {}) {
  std::vector<PartyPtr> parties;
  parties.push_back(training_party(model, d.compiled, d.source));
  for (const integer::Body& body : integer::bodies())
    parties.push_back(engine_party(model.context(), d.program, body));
  parties.push_back(oracle_party(model.context(), d.program));
#ifdef HALFTONE_WITH_ONNX_RUNTIME
  add_onnx_runtime(model.context(), d.program, parties);
#endif
  for (PartyPtr& party : more) parties.push_back(std::move(party));
  return verify(*d.program, parties, d.data, 0, 5);
}

}  // namespace halftone::test
