#include "deploy/parties.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "data/augment.h"
#include "deploy/runtime/session.h"
#include "kernels/parallel.h"

namespace halftone {
namespace {

BatchTensors room_for(const runtime::Program& program, int64_t count) {
  BatchTensors t;
  t.codes.resize(program.values.size());
  for (size_t v = 1; v < program.values.size(); ++v) {
    if (!program.values[v].is_float)
      t.codes[v].resize(static_cast<size_t>(count * program.values[v].shape.size()));
  }
  t.reals.resize(static_cast<size_t>(count * program.result().shape.size()));
  return t;
}

// Behind Flatten training's codes lie channel by channel, as PyTorch's; a program's pixel by pixel.
std::vector<uint8_t> in_image_order(const std::vector<uint8_t>& codes, const integer::Image& shape,
                                    int64_t count) {
  const int64_t pixels = int64_t{1} * shape.height * shape.width;
  std::vector<uint8_t> out(codes.size());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t image = i * shape.size();
    for (int64_t c = 0; c < shape.channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p)
        out[image + p * shape.channels + c] = codes[image + c * pixels + p];
    }
  }
  return out;
}

class TrainingParty : public Party {
 public:
  TrainingParty(Module& model, const CompiledProgram& compiled, const ProgramSource& source)
      : model_(model), compiled_(compiled), source_(source) {}
  std::string name() const override {
    const Device device = model_.context().device();
    const bool elsewhere = device.type != DeviceType::kCpu;
    return "training's evaluation" + (elsewhere ? " on " + name_of(device) : "");
  }

  BatchTensors run(const uint8_t* images, int64_t count) override {
    const EvaluationMode mode(model_);
    const NoGrad no_grad;
    const Variable x(normalised(images, count));
    GraphRecorder recorder(x);
    const Variable y = model_(x);
    const Graph graph = recorder.finish(y, 0);
    std::map<std::string, int> last;  // value that a module made last
    for (const GraphNode& node : graph.nodes()) last[node.module_path] = node.output;
    BatchTensors t;
    t.codes.resize(compiled_.modules.size());
    for (size_t v = 1; v < t.codes.size(); ++v) {
      if (compiled_.program.values[v].is_float) continue;
      const auto found = last.find(compiled_.modules[v]);
      take_codes(found == last.end() ? Variable() : recorder.value(found->second), v, count, t);
    }
    t.reals = y.value().to_vector<float>();
    return t;
  }

 private:
  Tensor normalised(const uint8_t* images, int64_t count) const {
    const Shape& s = source_.input_shape;
    const SampleShape shape{s[1], s[2], s[0]};
    Tensor x = Tensor::empty(model_.context().host(), {count, s[1], s[2], s[0]});
    for (int64_t i = 0; i < count; ++i) {
      move_normalised(images + i * s.numel(), shape, {}, source_.normalisation.data(),
                      x.data<float>() + i * s.numel());
    }
    return x.to(model_.context());
  }

  static std::string text_of(int64_t count, float scale, int32_t zero_point) {
    return fmt::format("{} codes of scale {:.9g} and zero point {}", count, scale, zero_point);
  }

  void take_codes(const Variable& made, size_t v, int64_t count, BatchTensors& t) const {
    const runtime::Value& value = compiled_.program.values[v];
    const Codes* codes = made.defined() ? made.codes() : nullptr;
    const bool fits = codes != nullptr && codes->values.numel() == count * value.shape.size() &&
                      codes->params.scale == value.scale &&
                      codes->params.zero_point == value.zero_point;
    if (!fits) {
      throw HALFTONE_ERROR("verify")
          .at(compiled_.modules[v])
          .expected(text_of(count * value.shape.size(), value.scale, value.zero_point) +
                    " in the evaluation of the network")
          .found(codes == nullptr ? "floats, or nothing"
                                  : text_of(codes->values.numel(), codes->params.scale,
                                            codes->params.zero_point));
    }
    t.codes[v] = codes->values.to_vector<uint8_t>();
    if (codes->values.rank() == 2) t.codes[v] = in_image_order(t.codes[v], value.shape, count);
  }

  Module& model_;
  const CompiledProgram& compiled_;
  const ProgramSource& source_;
};

// What one image gives goes to its place in the batch.
void place(const std::vector<uint8_t>& codes, int64_t image, std::vector<uint8_t>& batch) {
  std::copy(codes.begin(), codes.end(), batch.begin() + image * static_cast<int64_t>(codes.size()));
}

class EngineParty : public Party {
 public:
  EngineParty(const Context& context, std::shared_ptr<const runtime::Program> program,
              const integer::Body& body)
      : session_(program, {body, context.threads(), true}), name_(body.name) {}
  std::string name() const override { return "engine, " + name_; }

  BatchTensors run(const uint8_t* images, int64_t count) override {
    BatchTensors t = room_for(session_.program(), count);
    session_.run(images, count, t.reals.data());
    for (size_t v = 1; v < t.codes.size(); ++v) {
      if (t.codes[v].empty()) continue;
      const uint8_t* codes = session_.codes(static_cast<int32_t>(v));
      std::copy(codes, codes + t.codes[v].size(), t.codes[v].begin());
    }
    return t;
  }

 private:
  runtime::Session session_;
  std::string name_;
};

class OracleParty : public Party {
 public:
  OracleParty(const Context& context, std::shared_ptr<const runtime::Program> program,
              const OracleRules& rules, std::string name)
      : context_(context),
        program_(std::move(program)),
        oracle_(*program_, rules),
        name_(std::move(name)) {}
  std::string name() const override { return name_; }

  BatchTensors run(const uint8_t* images, int64_t count) override {
    BatchTensors t = room_for(*program_, count);
    const int64_t pixels = program_->input().shape.size();
    parallel_for(context_, count, 1, [&](int64_t begin, int64_t end) {
      CodeTensors codes(program_->values.size());
      std::vector<float> reals;
      for (int64_t i = begin; i < end; ++i) {
        codes[0].assign(images + i * pixels, images + (i + 1) * pixels);
        oracle_.run(codes, reals);
        for (size_t v = 1; v < codes.size(); ++v) place(codes[v], i, t.codes[v]);
        std::copy(reals.begin(), reals.end(),
                  t.reals.begin() + i * static_cast<int64_t>(reals.size()));
      }
    });
    return t;
  }

 private:
  Context context_;
  std::shared_ptr<const runtime::Program> program_;
  Oracle oracle_;
  std::string name_;
};

}  // namespace

PartyPtr training_party(Module& model, const CompiledProgram& compiled,
                        const ProgramSource& source) {
  return std::make_unique<TrainingParty>(model, compiled, source);
}

PartyPtr engine_party(const Context& context, std::shared_ptr<const runtime::Program> program,
                      const integer::Body& body) {
  return std::make_unique<EngineParty>(context, std::move(program), body);
}

PartyPtr oracle_party(const Context& context, std::shared_ptr<const runtime::Program> program,
                      const OracleRules& rules, const std::string& name) {
  return std::make_unique<OracleParty>(context, std::move(program), rules, name);
}

}  // namespace halftone
