#include "tensor/error.h"

#include <catch2/catch.hpp>
#include <thread>

using namespace halftone;
using Catch::Contains;
using Catch::EndsWith;
using Catch::StartsWith;

namespace {

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing thrown";
}

}  // namespace

TEST_CASE("a wider place goes before the location") {
  Error e = HALFTONE_ERROR("read").found("nothing");
  CHECK(e.inside("b").location() == "b");
  CHECK(e.inside("a").location() == "a, b");
  CHECK(std::string(e.what()).rfind("a, b: read: found nothing", 0) == 0);
}

TEST_CASE("what() says op, event, expected, found, remedy and source in one line") {
  int line = 0;
  const std::string text = message_of([&] {
    line = __LINE__ + 1;
    throw HALFTONE_ERROR("conv2d")
        .fix("permute it")
        .found("3 channels")
        .expected("1 channel")
        .what_happened("wrong input");
  });
  REQUIRE(text ==
          "conv2d: wrong input; expected 1 channel, found 3 channels; permute it "
          "(test/tensor/error_test.cc:" +
              std::to_string(line) + ")");
}

TEST_CASE("what() leaves out what nobody said") {
  REQUIRE_THAT(Error("op", "f.cc", 3).what(), Catch::Equals("op (f.cc:3)"));
  REQUIRE_THAT(Error("op", "f.cc", 3).found("x").what(), Catch::Equals("op: found x (f.cc:3)"));
  REQUIRE_THAT(Error("op", "f.cc", 3).expected("x").fix("y").what(),
               Catch::Equals("op: expected x; y (f.cc:3)"));
}

TEST_CASE("a location comes first") {
  REQUIRE_THAT(Error("recipe", "f.cc", 3).found("x").at("recipe.yaml:12").what(),
               Catch::Equals("recipe.yaml:12: recipe: found x (f.cc:3)"));
}

TEST_CASE("what() stays one line when its parts do not") {
  REQUIRE_THAT(Error("op", "f.cc", 3).found("a\nb\r\tc").what(),
               Catch::Equals("op: found a b  c (f.cc:3)"));
}

TEST_CASE("an error names the module that ran when it was made") {
  const ErrorScope scope("features.3 (Conv2d 128->128)");
  const Error error = HALFTONE_ERROR("conv2d").found("x");
  REQUIRE(error.module_path() == "features.3 (Conv2d 128->128)");
  REQUIRE(error.op() == "conv2d");
  REQUIRE_THAT(error.what(), Contains("x [while running features.3 (Conv2d 128->128)] ("));
}

TEST_CASE("scopes nest, end with exceptions and belong to one thread") {
  REQUIRE(ErrorScope::current() == "");
  {
    const ErrorScope outer("outer");
    try {
      const ErrorScope inner(std::string("inner, long enough to live on the heap"));
      REQUIRE(ErrorScope::current() == "inner, long enough to live on the heap");
      throw HALFTONE_ERROR("op");
    } catch (const Error& e) {
      REQUIRE(e.module_path() == "inner, long enough to live on the heap");
    }
    REQUIRE(ErrorScope::current() == "outer");
    std::string other;
    std::thread([&] { other = ErrorScope::current(); }).join();
    REQUIRE(other == "");
  }
  REQUIRE(ErrorScope::current() == "");
}

TEST_CASE("a scope refers to a string that lives and copies one that does not") {
  const std::string lasting = "lasting path of some length";
  const ErrorScope refers(lasting);
  REQUIRE(ErrorScope::current() == lasting);
  std::string buffer = "a view of this";
  const ErrorScope copies{std::string_view(buffer)};
  buffer.assign("overwritten...");
  REQUIRE(ErrorScope::current() == "a view of this");
}
