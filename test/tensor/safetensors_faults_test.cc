// Damaged and foreign files: one clear Error each.
#include <catch2/catch.hpp>
#include <filesystem>

#include "tensor/safetensors.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;
using Catch::Contains;

namespace {

std::string length_of(uint64_t n) { return std::string(reinterpret_cast<const char*>(&n), 8); }

// The message of loading these bytes; "" when they load.
std::string fault_of_bytes(const std::string& bytes) {
  TempFolder folder;
  write_bytes(folder / "f.safetensors", bytes);
  try {
    load_safetensors(Context(), folder / "f.safetensors");
  } catch (const Error& e) {
    const std::string what = e.what();
    REQUIRE_THAT(what, Contains("f.safetensors: load safetensors: "));
    return what;
  }
  return "";
}

std::string fault_of(const std::string& header, size_t data_bytes = 0) {
  return fault_of_bytes(length_of(header.size()) + header + std::string(data_bytes, '\1'));
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("a good file has no fault") {
  REQUIRE(fault_of("{\"a\":" + entry("U8", "[4]", "[0,4]") + "}", 4) == "");
  REQUIRE(fault_of("{\"a\":" + entry("U8", "[]", "[0,1]") + "}  ", 1) == "");
}

TEST_CASE("missing files, folders and special files are named") {
  TempFolder folder;
  const Context context;
  REQUIRE_THROWS_WITH(
      load_safetensors(context, folder / "none"),
      Contains("none: load safetensors: cannot open it") && Contains("No such file or directory"));
  REQUIRE_THROWS_WITH(load_safetensors(context, folder.path()), Contains("found a folder"));
  REQUIRE_THROWS_WITH(load_safetensors(context, "/dev/zero"), Contains("found a special file"));
}

TEST_CASE("truncated files are said to be") {
  const std::string header = "{\"a\":" + entry("U8", "[4]", "[0,4]") + "}";
  REQUIRE_THAT(fault_of_bytes(""), Contains("truncated") && Contains("found 0 bytes"));
  REQUIRE_THAT(fault_of_bytes("1234567"), Contains("truncated") && Contains("found 7 bytes"));
  REQUIRE_THAT(fault_of_bytes(length_of(100) + "{}"),
               Contains("truncated; expected a header of 100 bytes, found 2"));
  REQUIRE_THAT(fault_of(header, 3), Contains("truncated; expected 4 bytes of tensors, found 3"));
  REQUIRE_THAT(fault_of(header, 5), Contains("bytes to spare"));
}

TEST_CASE("a header is JSON, starts with a brace and is no longer than the format allows") {
  REQUIRE_THAT(fault_of_bytes(length_of(100000001) + "{}"),
               Contains("at most 100000000 bytes, found length 100000001"));
  REQUIRE_THAT(fault_of_bytes(length_of(UINT64_MAX)), Contains("is this a safetensors file?"));
  REQUIRE_THAT(fault_of(""), Contains("found an empty one"));
  REQUIRE_THAT(fault_of(" {}"), Contains("starts with {, found byte 32"));
  REQUIRE_THAT(fault_of("[]"), Contains("starts with {"));
  REQUIRE_THAT(fault_of("{\"a\":"), Contains("a JSON header") && Contains("line 1, column 6"));
  REQUIRE_THAT(fault_of("{} x"), Contains("a JSON header") && Contains("column 4"));
  REQUIRE_THAT(fault_of("{\"\xff\":1}"), Contains("ill-formed UTF-8"));
  REQUIRE_THAT(fault_of("{\"a\":" + std::string(100000, '[')), Contains("nests deeper"));
}

TEST_CASE("a key that comes twice is a fault wherever it is") {
  const std::string empty = entry("U8", "[0]", "[0,0]");
  REQUIRE_THAT(fault_of("{\"a\":" + empty + ",\"a\":" + empty + "}"),
               Contains("the key \"a\" twice"));
  REQUIRE_THAT(fault_of("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}"),
               Contains("\"dtype\" twice"));
  REQUIRE_THAT(fault_of("{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}"), Contains("\"k\" twice"));
}

TEST_CASE("metadata is strings by name") {
  REQUIRE_THAT(fault_of("{\"__metadata__\":{\"k\":1}}"), Contains("strings by name"));
  REQUIRE_THAT(fault_of("{\"__metadata__\":[]}"), Contains("strings by name"));
}

TEST_CASE("a tensor's entry has its three fields, of the right kind") {
  REQUIRE_THAT(fault_of("{\"a\":1}"), Contains("tensor \"a\"; expected an object, found 1"));
  REQUIRE_THAT(fault_of("{\"a\":{}}"), Contains("a field dtype"));
  REQUIRE_THAT(fault_of("{\"a\":{\"dtype\":\"U8\"}}"), Contains("a field shape"));
  REQUIRE_THAT(fault_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}"),
               Contains("a field data_offsets"));
  REQUIRE_THAT(fault_of("{\"a\":" + entry("U16", "[0]", "[0,0]") + "}"),
               Contains("one of the dtypes F32, BF16") && Contains("found \"U16\""));
  for (const char* shape : {"[-1]", "[1.5]", "[\"1\"]", "1", "[1,1,1,1,1,1,1]", "[[1]]",
                            "[18446744073709551615]", "[1e+20]"}) {
    REQUIRE_THAT(fault_of("{\"a\":" + entry("U8", shape, "[0,1]") + "}", 1),
                 Contains("a shape of at most 6 counts, found " + std::string(shape).substr(0, 4)));
  }
  for (const char* offsets : {"[0]", "[0,1,2]", "[1,0]", "[-1,0]", "0", "[0,0.5]"}) {
    REQUIRE_THAT(fault_of("{\"a\":" + entry("U8", "[1]", offsets) + "}", 1),
                 Contains(std::string("data_offsets [begin, end], found ") + offsets));
  }
}

TEST_CASE("a tensor's bytes are its shape times its element") {
  REQUIRE_THAT(fault_of("{\"a\":" + entry("F32", "[2,3]", "[0,20]") + "}", 20),
               Contains("[2, 3] elements of 4 bytes, found data_offsets [0,20]"));
  REQUIRE_THAT(
      fault_of("{\"a\":" + entry("F32", "[4611686018427387904]", "[0,0]") + "}"),  // 2^62 * 4 = 0
      Contains("elements of 4 bytes, found data_offsets [0,0]"));
  REQUIRE_THAT(fault_of("{\"a\":" + entry("U8", "[4294967296,4294967296]", "[0,0]") + "}"),
               Contains("fewer than 2^63 elements"));
}

TEST_CASE("tensors cover the data without hole or overlap") {
  const std::string first = "{\"a\":" + entry("U8", "[4]", "[0,4]") + ",\"b\":";
  REQUIRE_THAT(fault_of(first + entry("U8", "[4]", "[5,9]") + "}", 9),
               Contains("tensor \"b\"") && Contains("offset 4") && Contains("found 5 (hole)"));
  REQUIRE_THAT(fault_of(first + entry("U8", "[4]", "[3,7]") + "}", 7),
               Contains("found 3 (overlap)"));
  REQUIRE_THAT(fault_of(first + entry("U8", "[4]", "[0,4]") + "}", 4), Contains("(overlap)"));
}

TEST_CASE("bool bytes are 0 or 1") {
  const std::string header = "{\"a\":" + entry("BOOL", "[2]", "[0,2]") + "}";
  REQUIRE_THAT(fault_of_bytes(length_of(header.size()) + header + "\1\7"),
               Contains("tensor \"a\"") && Contains("found 7 at element 1"));
}
