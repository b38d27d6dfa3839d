#include "train/choose_device.h"

#include <cstdio>

#include "tensor/error.h"

namespace halftone {
namespace {

Device cuda(int index) {
  const std::string reason = cuda_unusable_reason();
  if (reason.empty()) return {DeviceType::kCuda, index};
  throw HALFTONE_ERROR("--device")
      .expected("a CUDA device")
      .found(reason)
      .fix("--device cpu, or --device auto to take what there is");
}

Device whatever_there_is() {
  const std::string reason = cuda_unusable_reason();
  if (reason.empty()) return {DeviceType::kCuda, 0};
  std::fprintf(stderr, "halftone: running on the CPU: %s\n", reason.c_str());
  return {};
}

}  // namespace

Device choose_device(const std::string& words) {
  if (words == "cpu") return {};
  if (words == "auto") return whatever_there_is();
  if (words == "cuda") return cuda(0);
  const bool numbered = words.rfind("cuda:", 0) == 0 && words.size() > 5 && words.size() < 9 &&
                        words.find_first_not_of("0123456789", 5) == std::string::npos;
  if (numbered) return cuda(std::stoi(words.substr(5)));
  throw HALFTONE_ERROR("--device").expected("cpu, cuda, cuda:N or auto").found(words);
}

}  // namespace halftone
