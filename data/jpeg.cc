// libjpeg behind decode_jpeg. Its error handler leaves by longjmp, so no C++ object is made between
// setjmp and the calls that may fail.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs size_t and FILE.
#include <jerror.h>
#include <jpeglib.h>

#include "data/image.h"
#include "tensor/error.h"

namespace halftone {
namespace {

struct Failure {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf out;
  char message[JMSG_LENGTH_MAX];
};

void fail(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  info->err->format_message(info, failure->message);
  std::longjmp(failure->out, 1);
}

// Warnings (level -1) mean corrupt or missing data that libjpeg would paper over with grey: an
// error here. "Extraneous bytes before marker" loses no data and is let pass, as Pillow does.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA) fail(info);
}

// round(a * b / 255) by Pillow's formula.
int scaled(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// To RGB without a colour profile, as Pillow does. Adobe's programs write CMYK inverted.
void cmyk_to_rgb(const uint8_t* cmyk, int64_t count, bool inverted, uint8_t* rgb) {
  const int flip = inverted ? 255 : 0;
  for (int64_t i = 0; i < count; ++i) {
    const int light = 255 - (cmyk[4 * i + 3] ^ flip);
    for (int c = 0; c < 3; ++c) {
      rgb[3 * i + c] = static_cast<uint8_t>(light - scaled(cmyk[4 * i + c] ^ flip, light));
    }
  }
}

struct Destroyer {
  jpeg_decompress_struct* info;
  ~Destroyer() { jpeg_destroy_decompress(info); }
};

// Plain state, made before setjmp and read after it.
struct Decoder {
  jpeg_decompress_struct info;
  Failure failure;
  Image image;
  std::vector<uint8_t> row;  // CMYK only
};

void read_header(Decoder& d, const std::vector<uint8_t>& bytes) {
  jpeg_mem_src(&d.info, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&d.info, TRUE);
  const bool four = d.info.jpeg_color_space == JCS_CMYK || d.info.jpeg_color_space == JCS_YCCK;
  d.info.out_color_space = four ? JCS_CMYK : JCS_RGB;
  d.info.dct_method = JDCT_ISLOW;
}

void read_rows(Decoder& d) {
  while (d.info.output_scanline < d.info.output_height) {
    const size_t width = d.info.output_width;
    uint8_t* rgb = d.image.pixels.data() + d.info.output_scanline * width * 3;
    const bool four = d.info.out_color_space == JCS_CMYK;
    uint8_t* row = four ? d.row.data() : rgb;
    jpeg_read_scanlines(&d.info, &row, 1);
    if (four) cmyk_to_rgb(row, static_cast<int64_t>(width), d.info.saw_Adobe_marker, rgb);
  }
  jpeg_finish_decompress(&d.info);
}

// False when libjpeg gave up; the message is in d.failure. `step` must not own anything.
template <class Step>
bool guarded(Decoder& d, Step step) {
  if (setjmp(d.failure.out)) return false;
  step();
  return true;
}

bool decode(Decoder& d, const std::string& path, const std::vector<uint8_t>& bytes) {
  if (!guarded(d, [&] { read_header(d, bytes); })) return false;
  // Before jpeg_start_decompress, which makes room for all of a progressive picture.
  d.image = empty_image(path, d.info.image_height, d.info.image_width);
  d.row.resize(static_cast<size_t>(d.image.width * 4));
  return guarded(d, [&] {
    jpeg_start_decompress(&d.info);
    read_rows(d);
  });
}

}  // namespace

Image decode_jpeg(const std::string& path, const std::vector<uint8_t>& bytes) {
  Decoder d{};
  const Destroyer destroy{&d.info};
  d.info.err = jpeg_std_error(&d.failure.base);
  d.failure.base.error_exit = fail;
  d.failure.base.emit_message = on_message;
  if (!guarded(d, [&] { jpeg_create_decompress(&d.info); }) || !decode(d, path, bytes)) {
    throw HALFTONE_ERROR("read JPEG")
        .at(path)
        .what_happened(std::string("cannot decode: ") + d.failure.message)
        .fix("the file is damaged, cut, or no JPEG; replace or remove it");
  }
  return std::move(d.image);
}

}  // namespace halftone
