// Every system library Halftone may use compiles, links and runs.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <yaml-cpp/yaml.h>
#include <zlib.h>
#include <cstdio>
// jpeglib.h wants <cstdio> before it.
#include <jpeglib.h>
#include <png.h>

#include <CLI/CLI.hpp>
#include <Eigen/Core>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

TEST_CASE("eigen") { REQUIRE(Eigen::Vector3f(1, 2, 3).sum() == 6.0f); }

TEST_CASE("json") { REQUIRE(nlohmann::json::parse(R"({"a": 1})")["a"] == 1); }

TEST_CASE("yaml-cpp") { REQUIRE(YAML::Load("a: [1, 2]")["a"][1].as<int>() == 2); }

TEST_CASE("fmt and spdlog") {
  REQUIRE(fmt::format("{:.2f}", 1.0) == "1.00");
  REQUIRE(spdlog::default_logger() != nullptr);
}

TEST_CASE("cli11") {
  CLI::App app;
  int n = 0;
  app.add_option("-n", n);
  const char* argv[] = {"x", "-n", "3"};
  app.parse(3, argv);
  REQUIRE(n == 3);
}

TEST_CASE("jpeg, png, zlib") {
  jpeg_error_mgr errors;
  REQUIRE(jpeg_std_error(&errors) == &errors);
  REQUIRE(png_access_version_number() == PNG_LIBPNG_VER);
  REQUIRE(crc32(0, reinterpret_cast<const Bytef*>("123456789"), 9) == 0xCBF43926u);
}
