// An ONNX graph in the making. Inside //deploy/onnx only.
#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace halftone::onnx_format {

using Dims = std::vector<int64_t>;
constexpr int64_t kBatch = -1;  // as an extent: the batch, "N"

struct Attribute {
  std::string name;
  std::variant<int64_t, std::string, Dims> value;
};

class Graph {
 public:
  Graph(const std::string& name, int opset, int ir_version);

  // Constants: each returns `name`; one that is there already is taken as it is.
  template <class T>  // float, int64_t, int32_t, int8_t or uint8_t
  std::string constant(const std::string& name, const Dims& dims, const std::vector<T>& values);
  // Two codes of -8 .. 7 in a byte, the first in the low bits.
  std::string constant_int4(const std::string& name, const Dims& dims,
                            const std::vector<int8_t>& values);

  // Appends a node, named as its output, which it returns. domain "": ONNX's own.
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::string& output, const std::vector<Attribute>& attributes = {},
                   const std::string& domain = "");
  void import_domain(const std::string& domain, int version);
  void describe(const std::string& key, const std::string& value);  // for people and tools
  void add_input(const std::string& name, int type, const Dims& dims);
  void add_output(const std::string& name, int type, const Dims& dims);

  const onnx::ModelProto& model() const { return model_; }

 private:
  onnx::TensorProto* add_constant(const std::string& name, const Dims& dims, int type);
  onnx::ModelProto model_;
};

}  // namespace halftone::onnx_format
