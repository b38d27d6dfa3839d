#include "data/image_folder.h"

#include <filesystem>

#include "test/data/pictures.h"

namespace halftone {
namespace {

using Catch::Contains;

DatasetOptions at(const test::TemporaryFolder& folder) {
  DatasetOptions options;
  options.data_dir = folder.path();
  return options;
}

// A PNG whose red says which it is.
test::Bytes numbered(uint8_t number, int side = 4) {
  return test::plain_png(side, side, number, 0, 0);
}

std::vector<int> reds(const Dataset& set) {
  const int64_t step = set.height() * set.width() * 3;
  std::vector<int> values;
  for (int64_t i = 0; i < set.size(); ++i) values.push_back(set.images.data<uint8_t>()[i * step]);
  return values;
}

std::string load_error(const DatasetOptions& options, Split split = Split::kTrain) {
  return test::message_of([&] { load_image_folder(Context(), split, options); });
}

TEST_CASE("classes and pictures are sorted as torchvision sorts them") {
  const test::TemporaryFolder folder;
  folder.write("train/zebra/1.png", numbered(5));
  folder.write("train/ant/b.PNG", numbered(2));
  folder.write("train/ant/a.png", numbered(1));
  folder.write("train/ant/deep/a.png", numbered(3));
  folder.write("train/ant/notes.txt", {'x'});
  folder.write("train/Bee/1.png", numbered(4));
  folder.write("train/stray.png", numbered(9));
  const Dataset set = load_image_folder(Context(), Split::kTrain, at(folder));
  check_dataset(set);
  CHECK(set.classes == std::vector<std::string>{"Bee", "ant", "zebra"});
  CHECK(reds(set) == std::vector<int>{4, 1, 2, 3, 5});
  CHECK(set.labels == std::vector<int64_t>{0, 1, 1, 1, 2});
}

TEST_CASE("the test split may be called val") {
  const test::TemporaryFolder folder;
  folder.write("train/a/1.png", numbered(4));
  folder.write("val/a/1.png", numbered(5));
  CHECK(reds(load_image_folder(Context(), Split::kTest, at(folder))) == std::vector<int>{5});
}

TEST_CASE("labels of the test split are those of the training split") {
  const test::TemporaryFolder folder;
  for (const char* name : {"a", "b", "c"}) {
    folder.write(std::string("train/") + name + "/1.png", numbered(1));
  }
  folder.write("test/a/1.png", numbered(6));
  folder.write("test/c/1.png", numbered(7));
  SECTION("where classes are missing") {
    const Dataset set = load_image_folder(Context(), Split::kTest, at(folder));
    check_dataset(set);
    CHECK(set.classes == std::vector<std::string>{"a", "b", "c"});
    CHECK(set.labels == std::vector<int64_t>{0, 2});
  }
  SECTION("a class of its own is refused") {
    folder.write("test/bb/1.png", numbered(8));
    CHECK_THAT(load_error(at(folder), Split::kTest),
               Contains("/test/bb: load image-folder: expected a class of " + folder.path() +
                        "/train: a, b, c") &&
                   Contains("found 'bb' (did you mean b?)"));
  }
  SECTION("without a training split there are no labels") {
    std::filesystem::remove_all(folder / "train");
    CHECK_THAT(load_error(at(folder), Split::kTest),
               Contains("a folder " + folder.path() + "/train"));
  }
}

TEST_CASE("resize and crop bring pictures to one size") {
  const test::TemporaryFolder folder;
  folder.write("train/a/1.png", test::plain_png(10, 20, 1, 2, 3));
  folder.write("train/a/2.png", test::plain_png(30, 12, 4, 5, 6));
  DatasetOptions options = at(folder);
  options.resize = 8;
  options.crop = 6;
  const Dataset set = load_image_folder(Context(), Split::kTrain, options);
  CHECK(set.images.shape() == Shape{2, 6, 6, 3});
  CHECK(reds(set) == std::vector<int>{1, 4});
}

TEST_CASE("limit takes samples of every class, evenly spread") {
  const test::TemporaryFolder folder;
  for (int i = 0; i < 10; ++i) {
    const std::string name = i < 5 ? "train/a/" : i < 8 ? "train/b/" : "train/c/";
    folder.write(name + std::to_string(i) + ".png", numbered(static_cast<uint8_t>(i)));
  }
  DatasetOptions options = at(folder);
  options.limit = 4;
  const Dataset set = load_image_folder(Context(), Split::kTrain, options);
  CHECK(reds(set) == std::vector<int>{0, 2, 5, 7});
  CHECK(set.labels == std::vector<int64_t>{0, 0, 1, 1});
  options.limit = 9;
  CHECK(reds(load_image_folder(Context(), Split::kTrain, options)) ==
        std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8});
}

TEST_CASE("limit stops the decoding early") {
  const test::TemporaryFolder folder;
  folder.write("train/a/1.png", numbered(5));
  folder.write("train/a/2.png", {'b', 'a', 'd'});
  DatasetOptions options = at(folder);
  options.limit = 1;
  CHECK(load_image_folder(Context(), Split::kTrain, options).size() == 1);
}

TEST_CASE("any number of threads gives the same set") {
  const test::TemporaryFolder folder;
  for (int i = 0; i < 20; ++i) {
    folder.write("train/a/" + std::to_string(100 + i) + ".png", numbered(static_cast<uint8_t>(i)));
  }
  ContextOptions one, four;
  one.threads = 1;
  four.threads = 4;
  CHECK(reds(load_image_folder(Context(one), Split::kTrain, at(folder))) ==
        reds(load_image_folder(Context(four), Split::kTrain, at(folder))));
}

TEST_CASE("bad image folders") {
  const test::TemporaryFolder folder;
  SECTION("no data_dir") { CHECK_THAT(load_error({}), Contains("expected data_dir")); }
  SECTION("no split") {
    folder.write("train/a/1.png", numbered(1));
    CHECK_THAT(load_error(at(folder), Split::kTest),
               Contains(folder.path() + "/test or " + folder.path() + "/val"));
  }
  SECTION("no classes") {
    folder.write("train/1.png", numbered(1));
    CHECK_THAT(load_error(at(folder)), Contains("/train") && Contains("one sub-folder per class"));
  }
  SECTION("an empty class") {
    folder.write("train/a/1.png", numbered(1));
    std::filesystem::create_directories(folder / "train/b");
    CHECK_THAT(load_error(at(folder)),
               Contains("/train/b") && Contains("at least one .jpg, .jpeg or .png"));
  }
  SECTION("two sizes") {
    folder.write("train/a/1.png", numbered(1, 4));
    folder.write("train/a/2.png", numbered(2, 6));
    CHECK_THAT(load_error(at(folder)), Contains("a/2.png") && Contains("a/1.png, 4 x 4") &&
                                           Contains("found 6 x 6") && Contains("set crop"));
  }
  SECTION("a damaged picture, the first of two") {
    for (const char* name : {"1.png", "3.png"})
      folder.write(std::string("train/a/") + name, numbered(1));
    for (const char* name : {"2.jpg", "4.jpg"}) folder.write(std::string("train/a/") + name, {'x'});
    CHECK_THAT(load_error(at(folder)), Contains("a/2.jpg") && Contains("cannot decode"));
  }
}

}  // namespace
}  // namespace halftone
