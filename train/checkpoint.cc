#include "train/checkpoint.h"

#include <fmt/format.h>
#include <zlib.h>

#include <nlohmann/json.hpp>

namespace halftone {
namespace {

constexpr const char* kKey = "halftone_checkpoint";
constexpr int kVersion = 2;  // 1: the checksum was of the tensors alone
const std::string kModel = "model.", kOptimizer = "optimizer.";

nlohmann::json header_of(const Checkpoint& c) {
  return {{"version", kVersion},
          {"recipe", c.recipe},
          {"step", c.step},
          {"steps_per_epoch", c.steps_per_epoch},
          {"loader", {{"epoch", c.loader.epoch}, {"batch", c.loader.batch}}},
          {"random", {{"seed", c.random.seed}, {"next", c.random.next}}},
          {"window",
           {{"loss", c.window.loss},
            {"steps", c.window.steps},
            {"correct", c.window.correct},
            {"images", c.window.images},
            {"seconds", c.window.seconds}}},
          {"threads", c.threads},
          {"seconds", c.seconds},
          {"finished", c.finished}};
}

void read_header(const nlohmann::json& j, Checkpoint& c) {
  c.recipe = j.at("recipe");
  c.step = j.at("step");
  c.steps_per_epoch = j.at("steps_per_epoch");
  c.loader = {j.at("loader").at("epoch"), j.at("loader").at("batch")};
  c.random = {j.at("random").at("seed"), j.at("random").at("next")};
  const nlohmann::json& w = j.at("window");
  c.window = {w.at("loss"), w.at("steps"), w.at("correct"), w.at("images"),
              w.value("seconds", 0.0)};
  c.threads = j.at("threads");
  c.seconds = j.at("seconds");
  c.finished = j.at("finished");
}

uint32_t add_to(uint32_t sum, const std::string& text) {
  return crc32_z(sum, reinterpret_cast<const Bytef*>(text.data()), text.size());
}

// Of the header but for the sum itself, and of every tensor's name and bytes, so that no flipped
// bit goes unnoticed.
uint32_t checksum_of(nlohmann::json header, const std::map<std::string, Tensor>& tensors) {
  header.erase("crc32");
  uint32_t sum = header.at("version") < 2 ? 0 : add_to(0, header.dump());
  for (const auto& [name, tensor] : tensors) {
    sum = add_to(sum, name);
    sum = crc32_z(sum, static_cast<const Bytef*>(tensor.raw()), tensor.nbytes());
  }
  return sum;
}

void move_prefixed(TensorFile& file, const std::string& prefix,
                   std::map<std::string, Tensor>& out) {
  for (auto& [name, tensor] : file.tensors) {
    if (name.rfind(prefix, 0) == 0) out.emplace(name.substr(prefix.size()), tensor);
  }
}

void check_sum(const nlohmann::json& header, const TensorFile& file, const std::string& path) {
  const uint32_t expected = header.at("crc32"), found = checksum_of(header, file.tensors);
  if (expected == found) return;
  throw HALFTONE_ERROR("checkpoint")
      .at(path)
      .expected(fmt::format("a header and tensors with the checksum {:08x}", expected))
      .found(fmt::format("{:08x}: the file is damaged", found))
      .fix("use another copy, or train again");
}

nlohmann::json parse_header(const std::string& text, const std::string& path) {
  nlohmann::json header = nlohmann::json::parse(text);
  const int version = header.at("version");
  if (version <= kVersion) return header;
  throw HALFTONE_ERROR("checkpoint")
      .at(path)
      .expected("version " + std::to_string(kVersion) + " or older")
      .found("version " + std::to_string(version))
      .fix("use the newer Halftone that wrote it");
}

// read(header of the metadata); what it lacks is a fault of the file.
template <class Read>
auto with_header(const std::map<std::string, std::string>& metadata, const std::string& path,
                 Read read) {
  const auto text = metadata.find(kKey);
  if (text == metadata.end()) {
    throw HALFTONE_ERROR("checkpoint")
        .at(path)
        .expected("a checkpoint of a Halftone run")
        .found("a safetensors file without '" + std::string(kKey) + "' in its metadata");
  }
  try {
    return read(parse_header(text->second, path));
  } catch (const nlohmann::json::exception& e) {
    throw HALFTONE_ERROR("checkpoint").at(path).expected("a complete header").found(e.what());
  }
}

}  // namespace

bool is_checkpoint(const TensorFile& file) { return file.metadata.count(kKey) > 0; }

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  TensorFile file;
  for (const auto& [name, tensor] : checkpoint.model) file.tensors.emplace(kModel + name, tensor);
  for (const auto& [name, tensor] : checkpoint.optimizer)
    file.tensors.emplace(kOptimizer + name, tensor);
  nlohmann::json header = header_of(checkpoint);
  header["crc32"] = checksum_of(header, file.tensors);
  file.metadata[kKey] = header.dump();
  save_safetensors(path, file);
}

Checkpoint load_checkpoint(const Context& context, const std::string& path) {
  return to_checkpoint(load_safetensors(context, path), path);
}

std::string load_checkpoint_recipe(const std::string& path) {
  return with_header(load_safetensors_metadata(path), path, [](const nlohmann::json& header) {
    return header.at("recipe").get<std::string>();
  });
}

Checkpoint to_checkpoint(TensorFile file, const std::string& path) {
  Checkpoint c = with_header(file.metadata, path, [&](const nlohmann::json& header) {
    Checkpoint read;
    read_header(header, read);
    check_sum(header, file, path);
    return read;
  });
  move_prefixed(file, kModel, c.model);
  move_prefixed(file, kOptimizer, c.optimizer);
  return c;
}

}  // namespace halftone
