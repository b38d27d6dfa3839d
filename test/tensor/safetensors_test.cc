// What is written comes back, and the bytes are the format's.
#include "tensor/safetensors.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "test/tensor/hostile_disk.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

// Length, header, data: as they are.
std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Tensor load_one(const TempFolder& folder, const std::string& dtype, size_t count,
                const std::string& data) {
  write_bytes(folder / "one",
              file_of("{\"t\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + std::to_string(count) +
                          "],\"data_offsets\":[0," + std::to_string(data.size()) + "]}}",
                      data));
  return load_safetensors(Context(), folder / "one").tensors.at("t");
}

}  // namespace

TEST_CASE("every element type, scalars and empty tensors come back as they were") {
  TempFolder folder;
  const Context context;
  TensorFile file;
  file.metadata = {{"format", "pt"}, {"note", "\"quoted\" \xc3\xa4\n"}};
  file.tensors["f"] = Tensor::from<float>(context, {2, 2}, {1.5f, -0.0f, INFINITY, 1e-45f});
  file.tensors["bf"] = Tensor::from<float>(context, {2}, {1.5f, -3.0f}).to(DType::kBFloat16);
  file.tensors["i8"] = Tensor::from<int8_t>(context, {3}, {-128, 0, 127});
  file.tensors["u8"] = Tensor::from<uint8_t>(context, {3, 1}, {0, 128, 255});
  file.tensors["i32"] = Tensor::from<int32_t>(context, {2}, {INT32_MIN, INT32_MAX});
  file.tensors["i64"] = Tensor::from<int64_t>(context, {2}, {INT64_MIN, INT64_MAX});
  file.tensors["b"] = Tensor::from<bool>(context, {2}, {true, false});
  file.tensors["scalar"] = Tensor::from<float>(context, {}, {42});
  file.tensors["empty"] = Tensor::empty(context, {3, 0, 2});
  file.tensors["\xc3\xbc \"name\""] = Tensor::from<float>(context, {1, 1, 1, 1, 1, 1}, {7});
  save_safetensors(folder / "all", file);
  const TensorFile back = load_safetensors(context, folder / "all");
  REQUIRE(back.metadata == file.metadata);
  REQUIRE(back.tensors.size() == file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    INFO(name);
    const Tensor& read = back.tensors.at(name);
    REQUIRE(read.shape() == tensor.shape());
    REQUIRE(read.dtype() == tensor.dtype());
    REQUIRE(std::memcmp(read.raw(), tensor.raw(), tensor.nbytes()) == 0);
  }
}

TEST_CASE("the bytes written are the format's: widest first, names in order, padded header") {
  TempFolder folder;
  const Context context;
  TensorFile file;
  file.metadata["k"] = "v";
  file.tensors["a"] = Tensor::from<uint8_t>(context, {1}, {9});
  file.tensors["c"] = Tensor::from<int32_t>(context, {}, {1});
  file.tensors["b"] = Tensor::from<int32_t>(context, {1}, {2});
  save_safetensors(folder / "f", file);
  std::string header =
      "{\"__metadata__\":{\"k\":\"v\"},"
      "\"b\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[0,4]},"
      "\"c\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[4,8]},"
      "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  REQUIRE(read_bytes(folder / "f") ==
          file_of(header, bytes_of<int32_t>({2, 1}) + bytes_of<uint8_t>({9})));
}

TEST_CASE("a file without tensors is a file") {
  TempFolder folder;
  save_safetensors(folder / "f", TensorFile());
  REQUIRE(read_bytes(folder / "f") == file_of("{}      ", ""));
  REQUIRE(load_safetensors(Context(), folder / "f").tensors.empty());
}

TEST_CASE("I16 and F16 are read exactly, F64 rounded") {
  TempFolder folder;
  const Tensor i16 = load_one(folder, "I16", 2, bytes_of<int16_t>({-32768, 32767}));
  REQUIRE(i16.to_vector<int32_t>() == std::vector<int32_t>{-32768, 32767});
  // one, largest, smallest normal, smallest subnormal, -0, -infinity
  const Tensor f16 = load_one(folder, "F16", 6,
                              bytes_of<uint16_t>({0x3c00, 0x7bff, 0x0400, 0x0001, 0x8000, 0xfc00}));
  REQUIRE(f16.to_vector<float>() ==
          std::vector<float>{1, 65504, 0x1p-14f, 0x1p-24f, -0.0f, -INFINITY});
  REQUIRE(std::signbit(f16.to_vector<float>()[4]));
  REQUIRE(std::isnan(load_one(folder, "F16", 1, bytes_of<uint16_t>({0x7e00})).item<float>()));
  const Tensor f64 = load_one(folder, "F64", 2, bytes_of<double>({0.1, HUGE_VAL}));
  REQUIRE(f64.to_vector<float>() == std::vector<float>{0.1f, INFINITY});
  REQUIRE_THROWS_WITH(load_one(folder, "F64", 2, bytes_of<double>({0, 1e300})),
                      Contains("tensor \"t\" holds F64, which is read as float32"));
}

TEST_CASE("tensors that cannot be written are refused before a file is begun") {
  TempFolder folder;
  TensorFile file;
  file.tensors["t"] = Tensor();
  REQUIRE_THROWS_WITH(save_safetensors(folder / "f", file), Contains("an undefined tensor"));
  file.tensors.clear();
  file.tensors["__metadata__"] = Tensor::zeros(Context(), {1});
  REQUIRE_THROWS_WITH(save_safetensors(folder / "f", file), Contains("keeps for itself"));
  file.tensors.clear();
  file.tensors["\xff"] = Tensor::zeros(Context(), {1});
  REQUIRE_THROWS_WITH(save_safetensors(folder / "f", file), Contains("UTF-8"));
  REQUIRE(folder.entries() == 0);
}

TEST_CASE("a disk that fills up, a locked and a missing folder leave nothing half-written") {
  TempFolder folder;
  TensorFile file;
  file.tensors["t"] = Tensor::zeros(Context(), {300000});
  {
    FileSizeLimit full(65536);
    REQUIRE_THROWS_WITH(save_safetensors(folder / "f", file), Contains("free some space"));
  }
  {
    UnwritableFolder locked(folder.path());
    REQUIRE_THROWS_WITH(save_safetensors(folder / "f", file), Contains("Permission denied"));
  }
  REQUIRE_THROWS_WITH(save_safetensors(folder / "no/f", file), Contains("create the folder"));
  REQUIRE(folder.entries() == 0);
}
