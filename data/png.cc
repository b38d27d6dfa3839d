// libpng behind decode_png. Its errors leave by longjmp, so nothing that owns memory is made
// between setjmp and the calls that may fail.
#include <png.h>

#include <algorithm>
#include <cstring>

#include "data/image.h"
#include "tensor/error.h"

namespace halftone {
namespace {

struct Decoder {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const std::vector<uint8_t>* bytes = nullptr;
  size_t at = 0;
  std::string message;  // capacity reserved before setjmp
  Image image;
  std::vector<png_bytep> rows;
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp text) {
  auto* decoder = static_cast<Decoder*>(png_get_error_ptr(png));
  decoder->message.assign(text, std::min(std::strlen(text), decoder->message.capacity()));
  png_longjmp(png, 1);
}

// libpng's warnings concern ancillary chunks (text, colour profiles) that are not used here.
void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep target, size_t count) {
  auto* decoder = static_cast<Decoder*>(png_get_io_ptr(png));
  if (count > decoder->bytes->size() - decoder->at) png_error(png, "the file is cut short");
  std::memcpy(target, decoder->bytes->data() + decoder->at, count);
  decoder->at += count;
}

// Whatever the file holds, rows come out as 8-bit RGB; no gamma or colour profile is applied.
void start(Decoder& d) {
  png_set_read_fn(d.png, &d, on_read);
  png_read_info(d.png, d.info);
  png_set_strip_16(d.png);
  png_set_expand(d.png);
  png_set_gray_to_rgb(d.png);
  png_set_strip_alpha(d.png);
  png_set_interlace_handling(d.png);
  png_read_update_info(d.png, d.info);
}

// False when libpng gave up. `step` must not own anything.
template <class Step>
bool guarded(Decoder& d, Step step) {
  if (setjmp(png_jmpbuf(d.png))) return false;
  step();
  return true;
}

bool decode(Decoder& d, const std::string& path) {
  if (!guarded(d, [&] { start(d); })) return false;
  d.image =
      empty_image(path, png_get_image_height(d.png, d.info), png_get_image_width(d.png, d.info));
  for (int64_t y = 0; y < d.image.height; ++y) {
    d.rows.push_back(d.image.pixels.data() + y * d.image.width * 3);
  }
  return guarded(d, [&] {
    png_read_image(d.png, d.rows.data());
    png_read_end(d.png, nullptr);
  });
}

}  // namespace

Image decode_png(const std::string& path, const std::vector<uint8_t>& bytes) {
  Decoder d;
  d.message.reserve(200);
  d.bytes = &bytes;
  d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning);
  if (d.png == nullptr) throw std::bad_alloc();
  d.info = png_create_info_struct(d.png);
  if (d.info == nullptr) throw std::bad_alloc();
  if (!decode(d, path)) {
    throw HALFTONE_ERROR("read PNG")
        .at(path)
        .what_happened("cannot decode: " + d.message)
        .fix("the file is damaged, cut, or no PNG; replace or remove it");
  }
  return std::move(d.image);
}

}  // namespace halftone
