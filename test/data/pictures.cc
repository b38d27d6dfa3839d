#include "test/data/pictures.h"

#include <cstdio>
#include <cstdlib>
// jpeglib.h needs size_t and FILE.
#include <jpeglib.h>
#include <png.h>

namespace halftone::test {
namespace {

J_COLOR_SPACE space_of(int channels) {
  if (channels == 1) return JCS_GRAYSCALE;
  return channels == 3 ? JCS_RGB : JCS_CMYK;
}

void append(png_structp writer, png_bytep data, size_t size) {
  auto* bytes = static_cast<Bytes*>(png_get_io_ptr(writer));
  bytes->insert(bytes->end(), data, data + size);
}

void set_palette(png_structp writer, png_infop info, const PngOptions& options) {
  if (options.palette.empty()) return;
  png_set_PLTE(writer, info, reinterpret_cast<png_const_colorp>(options.palette.data()),
               static_cast<int>(options.palette.size() / 3));
  png_set_tRNS(writer, info, options.palette_alpha.data(),
               static_cast<int>(options.palette_alpha.size()), nullptr);
}

}  // namespace

Bytes jpeg(int height, int width, int channels, const Bytes& samples, bool progressive) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_height = static_cast<JDIMENSION>(height);
  info.image_width = static_cast<JDIMENSION>(width);
  info.input_components = channels;
  info.in_color_space = space_of(channels);
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<uint8_t*>(samples.data()) + info.next_scanline * width * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes bytes(memory, memory + size);
  std::free(memory);
  return bytes;
}

Bytes png(int height, int width, const PngOptions& options, const std::vector<Bytes>& rows) {
  png_structp writer = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(writer);
  Bytes bytes;
  png_set_write_fn(writer, &bytes, append, nullptr);
  png_set_IHDR(writer, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height),
               options.bit_depth, options.color_type,
               options.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  set_palette(writer, info, options);
  std::vector<png_bytep> pointers;
  for (const Bytes& row : rows) pointers.push_back(const_cast<png_bytep>(row.data()));
  png_set_rows(writer, info, pointers.data());
  png_write_png(writer, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&writer, &info);
  return bytes;
}

Bytes plain_png(int height, int width, uint8_t red, uint8_t green, uint8_t blue) {
  Bytes row;
  for (int x = 0; x < width; ++x) row.insert(row.end(), {red, green, blue});
  return png(height, width, {PNG_COLOR_TYPE_RGB},
             std::vector<Bytes>(static_cast<size_t>(height), row));
}

}  // namespace halftone::test
