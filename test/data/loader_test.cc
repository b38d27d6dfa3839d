#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "test/data/files.h"

namespace halftone {
namespace {

using Catch::Contains;

// Sample i is filled with byte i and has label i % 10.
std::shared_ptr<const Dataset> counted_set(int64_t count) {
  auto set = std::make_shared<Dataset>();
  set->name = "counted";
  set->images = Tensor::zeros(Context(), {count, 4, 3, 2}, DType::kUInt8);
  set->classes.resize(10);
  set->mean = {0.5f, 0.4f};
  set->stddev = {0.2f, 0.3f};
  for (int64_t i = 0; i < count; ++i) {
    std::fill_n(set->images.data<uint8_t>() + i * 24, 24, static_cast<uint8_t>(i));
    set->labels.push_back(i % 10);
  }
  return set;
}

LoaderOptions bytes_in_batches_of(int64_t size) {
  LoaderOptions options;
  options.batch_size = size;
  options.dtype = DType::kUInt8;
  return options;
}

// Which samples a batch of a counted set (uint8) holds.
std::vector<int> samples_of(const Batch& batch) {
  std::vector<int> samples;
  for (int64_t i = 0; i < batch.images.dim(0); ++i) {
    samples.push_back(batch.images.data<uint8_t>()[i * 24]);
    REQUIRE(batch.labels.data<int64_t>()[i] == samples.back() % 10);
  }
  return samples;
}

struct Record {
  std::vector<float> images;
  std::vector<int64_t> labels;
  int64_t epoch, index;
  bool last;
  bool operator==(const Record& o) const {
    return images == o.images && labels == o.labels && epoch == o.epoch && index == o.index &&
           last == o.last;
  }
};

std::vector<Record> take(Loader& loader, int batches) {
  std::vector<Record> records;
  for (int i = 0; i < batches; ++i) {
    const Batch b = loader.next();
    records.push_back({b.images.to_vector<float>(), b.labels.to_vector<int64_t>(), b.epoch, b.index,
                       b.last_of_epoch});
  }
  return records;
}

LoaderOptions augmented(int workers) {
  LoaderOptions options;
  options.batch_size = 7;
  options.seed = 5;
  options.workers = workers;
  options.augmentation.pad = 1;
  options.augmentation.flip = true;
  options.augmentation.edit = [](const Philox& stream, int64_t, uint8_t* pixels) {
    pixels[stream.below(0, 24)] ^= 128;
  };
  return options;
}

TEST_CASE("without shuffle: the set's order, a short last batch, then the next epoch") {
  LoaderOptions options = bytes_in_batches_of(4);
  options.shuffle = false;
  Loader loader(Context(), counted_set(6), options);
  CHECK(loader.batches_per_epoch() == 2);
  CHECK(samples_of(loader.next()) == std::vector<int>{0, 1, 2, 3});
  const Batch last = loader.next();
  CHECK(samples_of(last) == std::vector<int>{4, 5});
  CHECK(last.images.shape() == Shape{2, 4, 3, 2});
  CHECK(last.last_of_epoch);
  const Batch first = loader.next();
  CHECK(samples_of(first) == std::vector<int>{0, 1, 2, 3});
  CHECK(first.epoch == 1);
  CHECK(first.index == 0);
  CHECK_FALSE(first.last_of_epoch);
}

TEST_CASE("drop_last leaves only full batches") {
  LoaderOptions options = bytes_in_batches_of(4);
  options.drop_last = true;
  Loader loader(Context(), counted_set(10), options);
  CHECK(loader.batches_per_epoch() == 2);
  CHECK(loader.samples_per_epoch() == 8);
  loader.next();
  CHECK(loader.next().images.dim(0) == 4);
  CHECK(loader.next().epoch == 1);
}

TEST_CASE("a shuffled epoch visits every sample once, in another order each epoch") {
  Loader loader(Context(), counted_set(50), bytes_in_batches_of(8));
  std::vector<std::vector<int>> epochs(2);
  for (auto& epoch : epochs) {
    for (int64_t i = 0; i < loader.batches_per_epoch(); ++i) {
      const std::vector<int> samples = samples_of(loader.next());
      epoch.insert(epoch.end(), samples.begin(), samples.end());
    }
    CHECK(epoch.size() == 50);
    CHECK(std::set<int>(epoch.begin(), epoch.end()).size() == 50);
    CHECK_FALSE(std::is_sorted(epoch.begin(), epoch.end()));
  }
  CHECK(epochs[0] != epochs[1]);
}

TEST_CASE("the shuffle is fair and keyed by seed and epoch") {
  CHECK(shuffled_order(100, 1, 2) == shuffled_order(100, 1, 2));
  CHECK(shuffled_order(100, 1, 2) != shuffled_order(100, 1, 3));
  CHECK(shuffled_order(100, 1, 2) != shuffled_order(100, 2, 2));
  // Each of the 6 orders of three comes 1000 times in 6000; five standard deviations are 144.
  std::map<std::vector<int64_t>, int> seen;
  for (int epoch = 0; epoch < 6000; ++epoch) ++seen[shuffled_order(3, 9, epoch)];
  CHECK(seen.size() == 6);
  for (const auto& [order, times] : seen) CHECK(std::abs(times - 1000) < 144);
}

TEST_CASE("batches are the same for any number of workers and any prefetch") {
  Loader alone(Context(), counted_set(45), augmented(0));
  const std::vector<Record> expected = take(alone, 20);
  for (int workers : {1, 2, 5}) {
    LoaderOptions options = augmented(workers);
    options.prefetch = workers == 2 ? 1 : 6;
    Loader loader(Context(), counted_set(45), options);
    CHECK(take(loader, 20) == expected);
  }
}

TEST_CASE("a loader that seeks goes on as if it had never stopped") {
  Loader first(Context(), counted_set(45), augmented(2));
  take(first, 10);
  const LoaderState state = first.state();
  CHECK(state.epoch == 1);
  CHECK(state.batch == 3);
  const std::vector<Record> expected = take(first, 8);
  Loader second(Context(), counted_set(45), augmented(1));
  take(second, 3);
  second.seek(state);
  CHECK(take(second, 8) == expected);
  first.seek(state);
  CHECK(take(first, 8) == expected);
}

TEST_CASE("a seek outside an epoch is refused") {
  Loader loader(Context(), counted_set(45), augmented(1));
  CHECK_THAT(test::message_of([&] {
               loader.seek({0, 7});
             }),
             Contains("a batch in [0, 7)") && Contains("epoch 0, batch 7"));
}

TEST_CASE("batches that the consumer keeps are never written again") {
  LoaderOptions options = bytes_in_batches_of(4);
  options.shuffle = false;
  Loader loader(Context(), counted_set(200), options);
  std::vector<Batch> kept;
  for (int i = 0; i < 40; ++i) kept.push_back(loader.next());
  for (int i = 0; i < 40; ++i) {
    CHECK(samples_of(kept[static_cast<size_t>(i)])[0] == 4 * i);
  }
}

TEST_CASE("buffers are reused in steady state") {
  Loader loader(Context(), counted_set(200), bytes_in_batches_of(4));
  std::set<const void*> buffers;
  for (int i = 0; i < 300; ++i) buffers.insert(loader.next().images.raw());
  CHECK(buffers.size() <= static_cast<size_t>(loader.options().prefetch) + 1);
}

TEST_CASE("what a worker throws reaches the consumer, who may go on") {
  for (int workers : {0, 2}) {
    LoaderOptions options = bytes_in_batches_of(4);
    options.shuffle = false;
    options.workers = workers;
    auto broken = std::make_shared<std::atomic<bool>>(true);
    options.augmentation.edit = [broken](const Philox&, int64_t sample, uint8_t*) {
      if (*broken && sample == 9) throw HALFTONE_ERROR("edit").what_happened("sample 9 is bad");
    };
    Loader loader(Context(), counted_set(20), options);
    CHECK(samples_of(loader.next())[0] == 0);
    CHECK(samples_of(loader.next())[0] == 4);
    CHECK_THAT(test::message_of([&] { loader.next(); }), Contains("sample 9 is bad"));
    CHECK(loader.state().batch == 2);
    *broken = false;
    CHECK(samples_of(loader.next())[0] == 8);
    CHECK(samples_of(loader.next())[0] == 12);
  }
}

TEST_CASE("a loader stops cleanly wherever it stands") {
  for (int taken : {0, 1, 9}) {
    Loader loader(Context(), counted_set(45), augmented(3));
    take(loader, taken);
  }
  SUCCEED("every destructor returned");
}

TEST_CASE("bad loader options") {
  const auto error = [](const LoaderOptions& options) {
    return test::message_of([&] { Loader(Context(), counted_set(5), options); });
  };
  LoaderOptions options;
  SECTION("batch size") {
    options.batch_size = 0;
    CHECK_THAT(error(options), Contains("batch_size of at least 1, found 0"));
  }
  SECTION("element type") {
    options.dtype = DType::kInt32;
    CHECK_THAT(error(options), Contains("float32 or uint8, found int32"));
  }
  SECTION("no full batch") {
    options.drop_last = true;
    CHECK_THAT(error(options), Contains("one full batch of 64") && Contains("found 5 samples"));
  }
}

}  // namespace
}  // namespace halftone
