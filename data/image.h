// Pictures from files, as 8-bit RGB.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone {

// RGB bytes, row by row.
struct Image {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;  // height * width * 3
};

// Decodes a .jpg/.jpeg/.png file, by its name's ending in either case, as Pillow's convert("RGB")
// does: grey is repeated, palettes are looked up, alpha is dropped, CMYK and YCCK are converted;
// 16 bits keep their high 8. A file that is damaged, cut, or something else is an Error that names
// it. Thread-safe.
Image read_image(const std::string& path);
bool is_image_name(const std::string& path);

// A black image; throws beyond Pillow's limit of 178,956,970 pixels (a header may lie).
Image empty_image(const std::string& path, int64_t height, int64_t width);

Image decode_jpeg(const std::string& path, const std::vector<uint8_t>& bytes);
Image decode_png(const std::string& path, const std::vector<uint8_t>& bytes);

}  // namespace halftone
