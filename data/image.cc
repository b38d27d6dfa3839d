#include "data/image.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "data/file_bytes.h"
#include "tensor/error.h"

namespace halftone {
namespace {

std::string lower_extension(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

bool is_jpeg_name(const std::string& path) {
  const std::string extension = lower_extension(path);
  return extension == ".jpg" || extension == ".jpeg";
}

}  // namespace

bool is_image_name(const std::string& path) {
  return is_jpeg_name(path) || lower_extension(path) == ".png";
}

Image empty_image(const std::string& path, int64_t height, int64_t width) {
  constexpr int64_t kMost = 178956970;
  if (height * width > kMost) {
    throw HALFTONE_ERROR("read image")
        .at(path)
        .expected("at most " + std::to_string(kMost) + " pixels")
        .found(std::to_string(height) + " x " + std::to_string(width));
  }
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height * width * 3))};
}

Image read_image(const std::string& path) {
  if (!is_image_name(path)) {
    throw HALFTONE_ERROR("read image")
        .at(path)
        .expected("a name ending in .jpg, .jpeg or .png")
        .found("'" + lower_extension(path) + "'");
  }
  const std::vector<uint8_t> bytes = read_file_bytes(path);
  return is_jpeg_name(path) ? decode_jpeg(path, bytes) : decode_png(path, bytes);
}

}  // namespace halftone
