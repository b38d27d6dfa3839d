// --device, with stand-ins for what a machine has.
#include "train/choose_device.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>

#include "test/tensor/temp_folder.h"

using namespace halftone;
using Catch::Contains;

namespace {

std::string nothing() { return ""; }
std::string no_driver() { return "no NVIDIA driver"; }
std::string no_cudnn() { return "cuda: expected the library libcudnn.so.9, found it nowhere"; }
std::unique_ptr<DeviceRuntime> no_device(int) { return nullptr; }

// What work() writes to standard error.
template <class Work>
std::string said(const Work& work) {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/said";
  std::fflush(stderr);
  const int before = ::dup(2);
  REQUIRE(std::freopen(path.c_str(), "w", stderr) != nullptr);
  work();
  std::fflush(stderr);
  ::dup2(before, 2);
  ::close(before);
  std::string text(4096, '\0');
  std::FILE* file = std::fopen(path.c_str(), "r");
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

}  // namespace

TEST_CASE("auto takes a GPU that can be used, with its libraries") {
  register_cuda({nothing, no_device, nothing});
  REQUIRE(choose_device("auto").type == DeviceType::kCuda);
  REQUIRE(choose_device("cuda:1").index == 1);
}

TEST_CASE("auto takes the CPU where no driver, or a library is missing, and says why") {
  for (const auto& [support, reason] :
       {std::make_pair(CudaSupport{no_driver, no_device, nothing}, "no NVIDIA driver"),
        std::make_pair(CudaSupport{nothing, no_device, no_cudnn}, "the library libcudnn.so.9")}) {
    register_cuda(support);
    Device device{DeviceType::kCuda, 0};
    REQUIRE_THAT(said([&] { device = choose_device("auto"); }),
                 Contains("running on the CPU: ") && Contains(reason));
    REQUIRE(device.type == DeviceType::kCpu);
    REQUIRE_THROWS_WITH(choose_device("cuda"), Contains("--device") && Contains(reason));
  }
}
