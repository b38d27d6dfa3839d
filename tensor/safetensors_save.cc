#include <algorithm>
#include <nlohmann/json.hpp>

#include "tensor/atomic_file.h"
#include "tensor/safetensors.h"
#include "tensor/safetensors_header.h"

namespace halftone {
namespace {

using Named = std::pair<const std::string, Tensor>;

Error fault(const std::string& path, int line = __builtin_LINE()) {
  return Error("save safetensors", __FILE__, line).at(path);
}

// Widest elements first, so that every tensor is aligned to its element; then by name.
std::vector<const Named*> in_file_order(const std::string& path, const TensorFile& file) {
  std::vector<const Named*> order;
  for (const Named& named : file.tensors) {
    if (!named.second.defined() || named.first == "__metadata__") {
      throw fault(path)
          .what_happened("tensor \"" + named.first + "\"")
          .found(named.second.defined() ? "a name that the format keeps for itself"
                                        : "an undefined tensor");
    }
    order.push_back(&named);
  }
  std::stable_sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  return order;
}

std::string header_text(const std::string& path, const TensorFile& file,
                        const std::vector<const Named*>& order) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  uint64_t offset = 0;
  for (const Named* named : order) {
    const Tensor& tensor = named->second;
    const uint64_t end = offset + tensor.nbytes();
    const std::vector<int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    header[named->first] = {{"dtype", safetensors_type(tensor.dtype()).name},
                            {"shape", shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  try {
    return header.dump();
  } catch (const nlohmann::json::exception&) {
    throw fault(path).expected("names and metadata in UTF-8").found("other bytes");
  }
}

}  // namespace

void save_safetensors(const std::string& path, const TensorFile& file) {
  const std::vector<const Named*> order = in_file_order(path, file);
  std::string header = header_text(path, file, order);
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  if (length > kMaxSafetensorsHeader) {
    throw fault(path)
        .expected("a header of at most " + std::to_string(kMaxSafetensorsHeader) + " bytes")
        .found(std::to_string(length));
  }
  AtomicFile out(path);
  out.write(&length, sizeof length);  // little-endian, as this machine is
  out.write(header);
  for (const Named* named : order) {
    const Tensor on_host = named->second.to(named->second.context().host());
    out.write(on_host.raw(), on_host.nbytes());
  }
  out.commit();
}

}  // namespace halftone
