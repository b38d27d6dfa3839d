#include "train/choose_device.h"

#include <cstdio>

#include "tensor/error.h"

namespace halftone {
namespace {

// What keeps networks from running on a GPU.
struct Obstacle {
  std::string device = cuda_unusable_reason();
  std::string library = device.empty() ? cuda_missing_library() : "";
  std::string text() const { return device + library; }  // one of them, or ""
};

Device cuda(int index) {
  const Obstacle obstacle;
  if (obstacle.text().empty()) return {DeviceType::kCuda, index};
  throw HALFTONE_ERROR("--device")
      .expected(obstacle.device.empty() ? "a CUDA device with cuDNN and cuBLASLt" : "a CUDA device")
      .found(obstacle.text())
      .fix("--device cpu, or --device auto to take what there is");
}

Device whatever_there_is() {
  const std::string reason = Obstacle().text();
  if (reason.empty()) return {DeviceType::kCuda, 0};
  std::fprintf(stderr, "halftone: running on the CPU: %s\n", reason.c_str());
  return {};
}

DeviceMath math_of(const std::string& word) {
  if (word == "float32") return DeviceMath::kFloat32;
  if (word == "tf32") return DeviceMath::kTf32;
  if (word == "bfloat16") return DeviceMath::kBFloat16;
  throw HALFTONE_ERROR("--math").expected("float32, tf32 or bfloat16").found(word);
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

DeviceChoice choose_device(const std::string& words, const std::string& math) {
  if (math.empty()) return choose_device(words);
  const DeviceMath wanted = math_of(math);
  const Device device = choose_device(words);
  if (device.type == DeviceType::kCuda || wanted == DeviceMath::kFloat32) return {device, wanted};
  if (words != "auto") {
    throw HALFTONE_ERROR("--math")
        .expected("a GPU: on the CPU the recipe says what is multiplied")
        .found(math)
        .fix("--device cuda, or --set compute=bf16");
  }
  std::fprintf(stderr, "halftone: --math %s is left out: it is for a GPU\n", math.c_str());
  return device;
}

}  // namespace halftone
