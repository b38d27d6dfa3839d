#include "deploy/export_onnx.h"

#include <onnx/checker.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>

#include "deploy/onnx/qdq.h"
#include "deploy/onnx/qonnx.h"
#include "tensor/error.h"

namespace halftone {
namespace {

using onnx_format::Graph;
using onnx_format::Writing;

constexpr int kNewestChecked = 13;

[[noreturn]] void reject(const std::string& why) {
  throw HALFTONE_ERROR("export").expected("a file that ONNX's checker accepts").found(why);
}

// What every tensor is must follow from the inputs: a copy is inferred.
void check(const onnx::ModelProto& model) {
  try {
    onnx::checker::check_model(model);
    onnx::ModelProto inferred = model;
    const onnx::ShapeInferenceOptions strict(true, 1);
    onnx::shape_inference::InferShapes(inferred, onnx::OpSchemaRegistry::Instance(), strict);
  } catch (const std::exception& e) {
    reject(e.what());
  }
}

bool makes(const onnx::GraphProto& graph, const std::string& tensor) {
  return std::any_of(graph.node().begin(), graph.node().end(), [&](const onnx::NodeProto& node) {
    return node.output_size() > 0 && node.output(0) == tensor;
  });
}

}  // namespace

std::string to_onnx(const runtime::Program& program, int opset) {
  const Graph graph = onnx_format::write_qdq(program, opset);
  if (opset <= kNewestChecked) check(graph.model());
  return graph.model().SerializeAsString();
}

std::string to_qonnx(const runtime::Program& program, const std::vector<float>& normalisation) {
  const Graph graph = onnx_format::write_qonnx(program, normalisation);
  try {
    onnx::checker::check_model(graph.model());
  } catch (const std::exception& e) {
    reject(e.what());
  }
  return graph.model().SerializeAsString();
}

std::vector<std::string> onnx_tensors(const runtime::Program& program) {
  return Writing(program, kNewestChecked, 8).tensors;
}

std::vector<std::string> onnx_code_tensors(const runtime::Program& program) {
  std::vector<std::string> tensors = onnx_tensors(program);
  tensors.erase(tensors.begin());
  if (program.result().is_float) tensors.pop_back();
  return tensors;
}

std::string with_outputs(const std::string& bytes, const std::vector<std::string>& tensors,
                         const std::string& path) {
  onnx::ModelProto model;
  if (!model.ParseFromString(bytes) || !model.has_graph())
    throw HALFTONE_ERROR("verify").at(path).expected("an ONNX file").found("something else");
  onnx::GraphProto& graph = *model.mutable_graph();
  const auto own = graph.output();
  graph.clear_output();
  for (const std::string& tensor : tensors) {
    if (!makes(graph, tensor)) {
      throw HALFTONE_ERROR("verify")
          .at(path)
          .expected("a tensor of the name " + tensor + ", as in the run's own file")
          .found("none");
    }
    onnx::ValueInfoProto* output = graph.add_output();
    output->set_name(tensor);
    output->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::UINT8);
  }
  for (const onnx::ValueInfoProto& output : own) *graph.add_output() = output;
  return model.SerializeAsString();
}

}  // namespace halftone
