#include "train/checkpoint.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tensor/error.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;

TEST_CASE("a checkpoint reads back as it was written, to the last bit") {
  const test::TempFolder f;
  const Context context;
  Checkpoint c;
  c.model["conv.weight"] = Tensor::from<float>(context, {2}, {0.1f, -0.0f});
  c.optimizer["exp_avg"] = Tensor::from<float>(context, {1}, {1e-30f});
  c.recipe = "name: \"x\"\n# with quotes\n";
  c.step = 7;
  c.steps_per_epoch = 5;
  c.loader = {1, 2};
  c.random = {0xffffffffffffffffull, 9};
  c.window = {0.1 + 0.2, 3, 4, 5};
  c.threads = 2;
  c.seconds = 1.0 / 3.0;
  c.finished = true;
  save_checkpoint(f.path() + "/c.safetensors", c);
  const Checkpoint r = load_checkpoint(context, f.path() + "/c.safetensors");
  CHECK(r.model.at("conv.weight").to_vector<float>() == std::vector<float>{0.1f, -0.0f});
  CHECK(r.optimizer.at("exp_avg").item<float>() == 1e-30f);
  CHECK(r.recipe == c.recipe);
  CHECK(r.step == 7);
  CHECK(r.steps_per_epoch == 5);
  CHECK((r.loader.epoch == 1 && r.loader.batch == 2));
  CHECK((r.random.seed == c.random.seed && r.random.next == 9));
  CHECK((r.window.loss == c.window.loss && r.window.steps == 3 && r.window.correct == 4));
  CHECK(r.threads == 2);
  CHECK(r.seconds == c.seconds);
  CHECK(r.finished);
}

TEST_CASE("a plain file of weights is no checkpoint") {
  const test::TempFolder f;
  const Context context;
  save_safetensors(f.path() + "/w.safetensors", {{{"w", Tensor::zeros(context, {1})}}, {}});
  CHECK_FALSE(is_checkpoint(load_safetensors(context, f.path() + "/w.safetensors")));
  CHECK_THROWS_WITH(load_checkpoint(context, f.path() + "/w.safetensors"),
                    Catch::Contains("w.safetensors") && Catch::Contains("expected a checkpoint"));
}

TEST_CASE("a flipped bit in a tensor is noticed") {
  const test::TempFolder f;
  const Context context;
  const std::string path = f.path() + "/c.safetensors";
  Checkpoint c;
  c.model["w"] = Tensor::full(context, {100}, 1.0f);
  save_checkpoint(path, c);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-200, std::ios::end);
    file.put('\x01');
  }
  CHECK_THROWS_WITH(load_checkpoint(context, path),
                    Catch::Contains("c.safetensors") && Catch::Contains("the file is damaged"));
}

TEST_CASE("a changed header is noticed") {
  const test::TempFolder f;
  const Context context;
  const std::string path = f.path() + "/c.safetensors";
  Checkpoint c;
  c.step = 4;
  save_checkpoint(path, c);
  TensorFile file = load_safetensors(context, path);
  std::string& header = file.metadata.at("halftone_checkpoint");
  header.replace(header.find("\"step\":4"), 8, "\"step\":2");
  save_safetensors(path, file);
  CHECK_THROWS_WITH(load_checkpoint(context, path), Catch::Contains("the file is damaged"));
}

TEST_CASE("a newer version and an incomplete header are refused") {
  const test::TempFolder f;
  const Context context;
  const std::string path = f.path() + "/c.safetensors";
  save_safetensors(path, {{}, {{"halftone_checkpoint", R"({"version": 99})"}}});
  CHECK_THROWS_WITH(load_checkpoint(context, path), Catch::Contains("version 99"));
  save_safetensors(path, {{}, {{"halftone_checkpoint", R"({"version": 1})"}}});
  CHECK_THROWS_WITH(load_checkpoint(context, path), Catch::Contains("complete header"));
  save_safetensors(path, {{}, {{"halftone_checkpoint", "{"}}});
  CHECK_THROWS_WITH(load_checkpoint(context, path), Catch::Contains("complete header"));
}
