#include "deploy/onnx_party.h"

#include <nlohmann/json.hpp>

#include "deploy/worker.h"
#include "tensor/error.h"

namespace halftone {
namespace {

using nlohmann::json;

const char kScript[] =
#include "deploy/onnx_runtime.inc"
    ;

class OnnxParty : public Party {
 public:
  OnnxParty(std::shared_ptr<const runtime::Program> program, const OnnxRun& run)
      : program_(std::move(program)),
        python_(run.python),
        shown_(values(run)),
        worker_({run.python, "-c", kScript}) {
    const integer::Image& s = program_->input().shape;
    json request = {{"model", run.model.size()},
                    {"tensors", json::array()},
                    {"shape", {s.height, s.width, s.channels}},
                    {"threads", run.threads}};
    for (const size_t v : shown_) request["tensors"].push_back(run.tensors[v]);
    worker_.send(request.dump() + "\n");
    worker_.send(run.model);
    name_ = "ONNX Runtime " + answer().at("version").get<std::string>();
    if (!shown_.empty()) name_ += ", all tensors";
  }
  std::string name() const override { return name_; }

  BatchTensors run(const uint8_t* images, int64_t count) override {
    worker_.send(std::to_string(count) + "\n");
    worker_.send(images, static_cast<size_t>(count * program_->input().shape.size()));
    const auto sizes = answer().at("bytes").get<std::vector<size_t>>();
    BatchTensors t;
    t.codes.resize(program_->values.size());
    for (size_t i = 0; i < shown_.size(); ++i) {
      t.codes[shown_[i]].resize(sizes.at(i));
      worker_.receive(t.codes[shown_[i]].data(), sizes[i]);
    }
    t.reals.resize(static_cast<size_t>(count * program_->result().shape.size()));
    if (sizes.size() != shown_.size() + 1 || sizes.back() != t.reals.size() * sizeof(float))
      fail(std::to_string(sizes.back()) + " bytes of logits");
    worker_.receive(t.reals.data(), sizes.back());
    return t;
  }

 private:
  std::vector<size_t> values(const OnnxRun& run) const {
    std::vector<size_t> list;
    for (size_t v = 1; v < run.tensors.size(); ++v) {
      if (!program_->values[v].is_float) list.push_back(v);
    }
    return list;
  }

  json answer() {
    const json said = json::parse(worker_.line(), nullptr, false);
    if (said.is_object() && !said.contains("error")) return said;
    fail(said.is_object() ? said["error"].get<std::string>() : "an answer that is none");
  }

  [[noreturn]] void fail(const std::string& why) const {
    throw HALFTONE_ERROR("verify")
        .at(python_)
        .expected("ONNX Runtime on the exported file")
        .found(why);
  }

  std::shared_ptr<const runtime::Program> program_;
  std::string python_, name_;
  std::vector<size_t> shown_;  // values
  Worker worker_;
};

}  // namespace

PartyPtr onnx_party(std::shared_ptr<const runtime::Program> program, const OnnxRun& run) {
  return std::make_unique<OnnxParty>(std::move(program), run);
}

}  // namespace halftone
