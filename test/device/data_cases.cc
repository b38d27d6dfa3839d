// Batches that a device makes of a set that lies there: the CPU's, value for value.
#include "data/loader.h"
#include "test/device/both.h"
#include "test/device/device_under_test.h"

using namespace halftone;
using halftone::test::Both;

namespace {

std::shared_ptr<const Dataset> colours(const Context& context) {
  DatasetOptions options;
  options.limit = 11;
  return std::make_shared<const Dataset>(
      load_dataset(context, "generated-colour", Split::kTrain, options));
}

void check_same_batches(const Both& b, const LoaderOptions& options, bool made_there) {
  const auto set = colours(b.home());
  Loader here(b.home(), set, options), there(b.device(), set, options);
  for (int i = 0; i < 7; ++i) {  // more than two epochs
    const Batch want = here.next();
    Batch got = i % 2 == 0 ? there.next() : there.next_unmade();
    REQUIRE((got.gather == nullptr) == (i % 2 == 0 || !made_there));
    got.make();
    REQUIRE(got.images.context() == b.device());
    REQUIRE(got.labels.to_vector<int64_t>() == want.labels.to_vector<int64_t>());
    REQUIRE(got.epoch == want.epoch);
    REQUIRE(got.index == want.index);
    REQUIRE(got.last_of_epoch == want.last_of_epoch);
    if (options.dtype == DType::kUInt8) {
      REQUIRE(got.images.to_vector<uint8_t>() == want.images.to_vector<uint8_t>());
    } else {
      REQUIRE(got.images.to_vector<float>() == want.images.to_vector<float>());
    }
  }
  REQUIRE(there.state().epoch == here.state().epoch);
  here.seek({5, 1}), there.seek({5, 1});
  REQUIRE(there.next().labels.to_vector<int64_t>() == here.next().labels.to_vector<int64_t>());
}

}  // namespace

TEST_CASE("a loader's batches on a device") {
  NEED_DEVICE();
  const Both b;
  LoaderOptions options;
  options.batch_size = 4;
  options.seed = 9;
  check_same_batches(b, options, true);
  options.augmentation.pad = 3, options.augmentation.flip = true;
  check_same_batches(b, options, true);
  options.dtype = DType::kUInt8;  // made by the host, and copied
  check_same_batches(b, options, false);
  options.dtype = DType::kFloat32, options.drop_last = true;
  options.augmentation.edit = [](const Philox&, int64_t, uint8_t* pixels) { pixels[0] = 7; };
  check_same_batches(b, options, false);
}
