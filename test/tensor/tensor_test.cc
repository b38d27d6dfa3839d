#include "tensor/tensor.h"

#include <catch2/catch.hpp>

#include "tensor/memory.h"

using namespace halftone;
using Catch::Contains;
using Floats = std::vector<float>;

TEST_CASE("a tensor holds the values it was made from") {
  const Context context;
  const Tensor t = Tensor::from<float>(context, {2, 3}, {1, 2, 3, 4, 5, 6});
  REQUIRE(t.shape() == Shape({2, 3}));
  REQUIRE(t.dim(-1) == 3);
  REQUIRE(t.nbytes() == 24);
  REQUIRE(t.to_vector<float>() == Floats{1, 2, 3, 4, 5, 6});
  REQUIRE(reinterpret_cast<uintptr_t>(t.raw()) % 64 == 0);
  REQUIRE(t.context() == context);
  REQUIRE(Tensor::from<bool>(context, {2}, {true, false}).to_vector<bool>() ==
          std::vector<bool>{true, false});
  REQUIRE_THROWS_WITH(Tensor::from<float>(context, {2}, {1}),
                      Contains("expected 2 values for [2], found 1"));
}

TEST_CASE("zeros, full and fill set every element") {
  const Context context;
  REQUIRE(Tensor::zeros(context, {3}, DType::kInt64).to_vector<int64_t>() ==
          std::vector<int64_t>{0, 0, 0});
  REQUIRE(Tensor::full(context, {2}, 2.5f).to_vector<float>() == Floats{2.5f, 2.5f});
  Tensor t = Tensor::zeros(context, {2}, DType::kInt8);
  t.fill(-3.9f);
  REQUIRE(t.to_vector<int8_t>() == std::vector<int8_t>{-3, -3});
}

TEST_CASE("an undefined tensor says so") {
  Tensor t;
  REQUIRE_FALSE(t);
  REQUIRE_FALSE(t.unique());
  REQUIRE_THROWS_WITH(t.context(), Contains("an undefined one"));
  REQUIRE_THROWS_WITH(t.data<float>(), Contains("an undefined tensor"));
  REQUIRE_THROWS_AS(t.clone(), Error);
  REQUIRE_THROWS_AS(t.slice(0, 0), Error);
  REQUIRE_THROWS_AS(t.reshape({}), Error);
  REQUIRE_THROWS_AS(t.fill(0), Error);
  REQUIRE_THROWS_AS(t.to(DType::kInt8), Error);
}

TEST_CASE("data of another element type throws") {
  Tensor t = Tensor::zeros(Context(), {2, 3});
  REQUIRE_THROWS_WITH(t.data<int8_t>(), Contains("expected int8 elements, found float32 [2, 3]"));
}

TEST_CASE("slices and reshapes share values") {
  const Context context;
  Tensor t = Tensor::from<float>(context, {3, 2}, {1, 2, 3, 4, 5, 6});
  Tensor rows = t.slice(1, 3);
  REQUIRE(rows.shape() == Shape({2, 2}));
  REQUIRE(rows.to_vector<float>() == Floats{3, 4, 5, 6});
  rows.reshape({4}).data<float>()[3] = 60;
  REQUIRE(t.to_vector<float>() == Floats{1, 2, 3, 4, 5, 60});
  REQUIRE(t.slice(0, 2).same_memory(t));
  REQUIRE_FALSE(rows.same_memory(t));
  REQUIRE(t.slice(3, 3).numel() == 0);
  REQUIRE(t.slice(1, 1).shape() == Shape({0, 2}));
  for (auto [begin, end] : {std::pair<int, int>{-1, 2}, {2, 1}, {0, 4}}) {
    REQUIRE_THROWS_WITH(t.slice(begin, end), Contains("a range of axis 0 of [3, 2]"));
  }
  REQUIRE_THROWS_AS(Tensor::zeros(context, {}).slice(0, 1), Error);
  REQUIRE_THROWS_WITH(t.reshape({5}), Contains("6 elements, as in [3, 2], found [5]"));
}

TEST_CASE("a clone is its own copy") {
  const Tensor t = Tensor::full(Context(), {2}, 1);
  Tensor copy = t.clone();
  copy.fill(2);
  REQUIRE(t.to_vector<float>() == Floats{1, 1});
  REQUIRE(copy.to_vector<float>() == Floats{2, 2});
}

TEST_CASE("copy_from wants one shape and one element type") {
  const Context context;
  Tensor t = Tensor::zeros(context, {2});
  t.copy_from(Tensor::full(context, {2}, 3));
  REQUIRE(t.to_vector<float>() == Floats{3, 3});
  REQUIRE_THROWS_WITH(t.copy_from(Tensor::zeros(context, {1, 2})),
                      Contains("float32 [2], found float32 [1, 2]"));
  REQUIRE_THROWS_WITH(t.copy_from(Tensor::zeros(context, {2}, DType::kInt32)),
                      Contains("found int32 [2]"));
}

TEST_CASE("conversion truncates towards zero and saturates") {
  const Context context;
  const Tensor t = Tensor::from<float>(
      context, {8}, {-1e20f, -128.5f, -1.9f, 0.5f, 127.9f, 128, 1e20f, std::nanf("")});
  REQUIRE(t.to(DType::kInt8).to_vector<int8_t>() ==
          std::vector<int8_t>{-128, -128, -1, 0, 127, 127, 127, 0});
  REQUIRE(t.to(DType::kUInt8).to_vector<uint8_t>() ==
          std::vector<uint8_t>{0, 0, 0, 0, 127, 128, 255, 0});
  REQUIRE(t.to(DType::kInt32).to_vector<int32_t>() ==
          std::vector<int32_t>{INT32_MIN, -128, -1, 0, 127, 128, INT32_MAX, 0});
  REQUIRE(t.to(DType::kInt64).to_vector<int64_t>() ==
          std::vector<int64_t>{INT64_MIN, -128, -1, 0, 127, 128, INT64_MAX, 0});
  REQUIRE(t.to(DType::kBool).to_vector<bool>() == std::vector<bool>(8, true));
}

TEST_CASE("integers convert exactly where they fit") {
  const Context context;
  const Tensor wide = Tensor::from<int64_t>(context, {3}, {-5, 300, (int64_t{1} << 40) + 1});
  REQUIRE(wide.to(DType::kUInt8).to_vector<uint8_t>() == std::vector<uint8_t>{0, 255, 255});
  REQUIRE(wide.to(DType::kInt32).to_vector<int32_t>() == std::vector<int32_t>{-5, 300, INT32_MAX});
  REQUIRE(wide.to(DType::kFloat32).to_vector<float>() == Floats{-5, 300, 0x1p40f});
  REQUIRE(wide.to(DType::kBFloat16).to(DType::kFloat32).to_vector<float>() ==
          Floats{-5, 300, 0x1p40f});
  REQUIRE(wide.to(DType::kInt64).same_memory(wide));
}

TEST_CASE("unique is the only handle of memory that is its own") {
  const Context context;
  Tensor t = Tensor::zeros(context, {4});
  REQUIRE(t.unique());
  {
    const Tensor part = t.slice(0, 1);
    REQUIRE_FALSE(t.unique());
  }
  REQUIRE(t.unique());
  auto owner = std::make_shared<std::vector<float>>(4, 1.0f);
  const Tensor view = Tensor::view_of(context, {4}, DType::kFloat32, owner->data(), owner);
  REQUIRE_FALSE(view.unique());
}

TEST_CASE("a view keeps its owner alive and sees its memory") {
  auto owner = std::make_shared<std::vector<float>>(Floats{1, 2});
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor view = Tensor::view_of(Context(), {2}, DType::kFloat32, owner->data(), owner);
  owner.reset();
  REQUIRE(view.to_vector<float>() == Floats{1, 2});
  view = Tensor();
  REQUIRE(watch.expired());
}

TEST_CASE("item is the only element") {
  const Context context;
  REQUIRE(Tensor::from<int32_t>(context, {}, {7}).item<int32_t>() == 7);
  REQUIRE_THROWS_WITH(Tensor::zeros(context, {2}).item<float>(), Contains("shape [2]"));
}

TEST_CASE("tensors give their memory back, and outlive the handle of their context") {
  Tensor survivor;
  {
    const Context context;
    { const Tensor t = Tensor::zeros(context, {1000}); }
    REQUIRE(context.memory().stats().live_bytes == 0);
    survivor = Tensor::full(context, {1000}, 4);
  }
  REQUIRE(survivor.to_vector<float>()[999] == 4);
}

TEST_CASE("a tensor too large for the machine is an Error") {
  const Context context;
  REQUIRE_THROWS_WITH(Tensor::empty(context, {int64_t{1} << 45}), Contains("out of memory"));
  REQUIRE_THROWS_WITH(Tensor::empty(context, {int64_t{1} << 62}), Contains("out of memory"));
}
