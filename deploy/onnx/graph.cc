#include "deploy/onnx/graph.h"

#include <cstring>

namespace halftone::onnx_format {
namespace {

constexpr int kInt4 = 22;  // of TensorProto.DataType since ONNX 1.16

int type_of(float) { return onnx::TensorProto::FLOAT; }
int type_of(int64_t) { return onnx::TensorProto::INT64; }
int type_of(int32_t) { return onnx::TensorProto::INT32; }
int type_of(int8_t) { return onnx::TensorProto::INT8; }
int type_of(uint8_t) { return onnx::TensorProto::UINT8; }

void set_type(const std::string& name, int type, const Dims& dims, onnx::ValueInfoProto& info) {
  info.set_name(name);
  onnx::TypeProto::Tensor* tensor = info.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  for (const int64_t n : dims) {
    onnx::TensorShapeProto::Dimension* dim = tensor->mutable_shape()->add_dim();
    n == kBatch ? dim->set_dim_param("N") : dim->set_dim_value(n);
  }
}

void set_value(const Attribute& a, onnx::AttributeProto& out) {
  out.set_name(a.name);
  if (const auto* number = std::get_if<int64_t>(&a.value)) {
    out.set_type(onnx::AttributeProto::INT);
    out.set_i(*number);
  } else if (const auto* text = std::get_if<std::string>(&a.value)) {
    out.set_type(onnx::AttributeProto::STRING);
    out.set_s(*text);
  } else {
    out.set_type(onnx::AttributeProto::INTS);
    for (const int64_t n : std::get<Dims>(a.value)) out.add_ints(n);
  }
}

}  // namespace

Graph::Graph(const std::string& name, int opset, int ir_version) {
  model_.set_ir_version(ir_version);
  model_.set_producer_name("halftone");
  model_.mutable_graph()->set_name(name);
  import_domain("", opset);
}

void Graph::import_domain(const std::string& domain, int version) {
  onnx::OperatorSetIdProto* set = model_.add_opset_import();
  set->set_domain(domain);
  set->set_version(version);
}

// Null where it is there already.
onnx::TensorProto* Graph::add_constant(const std::string& name, const Dims& dims, int type) {
  for (const onnx::TensorProto& t : model_.graph().initializer()) {
    if (t.name() == name) return nullptr;
  }
  onnx::TensorProto* tensor = model_.mutable_graph()->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (const int64_t n : dims) tensor->add_dims(n);
  return tensor;
}

template <class T>
std::string Graph::constant(const std::string& name, const Dims& dims,
                            const std::vector<T>& values) {
  onnx::TensorProto* tensor = add_constant(name, dims, type_of(T()));
  if (tensor != nullptr) tensor->set_raw_data(values.data(), values.size() * sizeof(T));
  return name;
}
template std::string Graph::constant(const std::string&, const Dims&, const std::vector<float>&);
template std::string Graph::constant(const std::string&, const Dims&, const std::vector<int64_t>&);
template std::string Graph::constant(const std::string&, const Dims&, const std::vector<int32_t>&);
template std::string Graph::constant(const std::string&, const Dims&, const std::vector<int8_t>&);
template std::string Graph::constant(const std::string&, const Dims&, const std::vector<uint8_t>&);

std::string Graph::constant_int4(const std::string& name, const Dims& dims,
                                 const std::vector<int8_t>& values) {
  std::string packed((values.size() + 1) / 2, '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const int code = values[i] & 15;
    packed[i / 2] = static_cast<char>(packed[i / 2] | (i % 2 == 0 ? code : code << 4));
  }
  onnx::TensorProto* tensor = add_constant(name, dims, kInt4);
  if (tensor != nullptr) tensor->set_raw_data(packed);
  return name;
}

std::string Graph::node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::string& output, const std::vector<Attribute>& attributes,
                        const std::string& domain) {
  onnx::NodeProto* node = model_.mutable_graph()->add_node();
  node->set_op_type(op);
  node->set_name(output);
  if (!domain.empty()) node->set_domain(domain);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(output);
  for (const Attribute& a : attributes) set_value(a, *node->add_attribute());
  return output;
}

void Graph::describe(const std::string& key, const std::string& value) {
  onnx::StringStringEntryProto* entry = model_.add_metadata_props();
  entry->set_key(key);
  entry->set_value(value);
}

void Graph::add_input(const std::string& name, int type, const Dims& dims) {
  set_type(name, type, dims, *model_.mutable_graph()->add_input());
}

void Graph::add_output(const std::string& name, int type, const Dims& dims) {
  set_type(name, type, dims, *model_.mutable_graph()->add_output());
}

}  // namespace halftone::onnx_format
