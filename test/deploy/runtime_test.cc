// Program files: whole ones come back, all others are refused. What the engine computes is tested
// in chains_test and verify_test.
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>

#include "deploy/runtime/program_file.h"
#include "deploy/runtime/session.h"
#include "test/tensor/temp_folder.h"

using namespace halftone::runtime;
namespace integer = halftone::integer;

namespace {

Value value(const std::string& name, int32_t h, int32_t w, int32_t c) {
  Value v;
  v.name = name;
  v.shape.height = h, v.shape.width = w, v.shape.channels = c;
  return v;
}

// 4 x 4 bytes - a table that halves - 3 x 3 convolution to two channels - logits of all pixels.
Program small() {
  Program p;
  p.network = "small";
  p.values = {value("image", 4, 4, 1), value("half", 4, 4, 1), value("conv", 2, 2, 2),
              value("fc", 1, 1, 3)};
  p.values[3].is_float = true;
  Op table;
  table.name = "half";
  table.inputs = {0}, table.output = 1;
  for (int v = 0; v < 256; ++v) table.table.push_back(static_cast<uint8_t>(v / 2));
  Op conv;
  conv.kind = OpKind::kConvolution;
  conv.name = "conv";
  conv.inputs = {1}, conv.output = 2;
  conv.window.kernel_h = conv.window.kernel_w = 3;
  conv.weights = {1, -1, 2, 0, {0xff, 0x01, 0x00}};  // nine times +1, nine times -1
  conv.channels = {{false, false, false, 1, 0.125f}, {false, true, false, 0, 0.125f}};
  Op fc;
  fc.kind = OpKind::kConvolution;
  fc.name = "fc";
  fc.inputs = {2}, fc.output = 3;
  fc.window.kernel_h = fc.window.kernel_w = 2;
  fc.weights.packed.assign(24, 129);  // 1
  fc.channels.assign(3, {false, false, false, 0, 1.0f});
  fc.channels[2].bias = 5;
  fc.low = -1e30f, fc.high = 1e30f;
  p.ops = {table, conv, fc};
  return p;
}

std::string message(const std::string& bytes) {
  try {
    program_from_bytes(bytes.data(), bytes.size(), "x.halftone");
  } catch (const ProgramError& e) {
    return e.what();
  }
  return "";
}

// A header that fits the body.
std::string with_body(const Program& p) { return to_bytes(p); }

}  // namespace

TEST_CASE("a program comes back from its bytes and computes by hand") {
  const std::string bytes = to_bytes(small());
  const Program p = program_from_bytes(bytes.data(), bytes.size());
  REQUIRE(to_bytes(p) == bytes);
  std::vector<uint8_t> image(16, 10);  // 5 after the table
  for (const integer::Body& body : integer::bodies()) {
    INFO(body.name);
    Session session(std::make_shared<const Program>(p), {body, 1, true});
    const std::vector<float> logits = session.run(image.data(), image.size());
    // (45 + 1) / 8 = 5.75 -> 6; the negated channel: 45 / 8 = 5.625 -> 6; 8 codes of 6.
    REQUIRE(session.codes(1)[3] == 5);
    for (int i = 0; i < 8; ++i) REQUIRE(session.codes(2)[i] == 6);
    REQUIRE(logits == std::vector<float>{48, 48, 53});
    REQUIRE(index_of_largest(logits) == 2);
  }
}

TEST_CASE("equal logits: the lowest index wins") { REQUIRE(index_of_largest({1, 3, 3, 2}) == 1); }

TEST_CASE("an image of another size is refused") {
  Session session(std::make_shared<const Program>(small()));
  const std::vector<uint8_t> image(17);
  REQUIRE_THROWS_WITH(session.run(image.data(), 17),
                      Catch::Contains("4 x 4 pixels") && Catch::Contains("16 bytes, not 17"));
}

TEST_CASE("a file that was cut is refused at every length") {
  const std::string bytes = to_bytes(small());
  for (size_t n = 0; n < bytes.size(); ++n) {
    INFO(n);
    REQUIRE(message(bytes.substr(0, n)).find("x.halftone: ") == 0);
  }
  REQUIRE(message(bytes.substr(0, bytes.size() - 1)).find("it was cut") != std::string::npos);
  REQUIRE(message(bytes + "z").find("something was added") != std::string::npos);
}

TEST_CASE("every flipped bit is noticed") {
  const std::string bytes = to_bytes(small());
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string wrong = bytes;
    wrong[bit / 8] = static_cast<char>(wrong[bit / 8] ^ (1 << bit % 8));
    INFO(bit);
    REQUIRE_FALSE(message(wrong).empty());
  }
}

TEST_CASE("a newer version and another kind of file say what they are") {
  std::string bytes = to_bytes(small());
  bytes[8] = 3;
  REQUIRE(message(bytes).find("it has version 3, this library reads up to version 2") !=
          std::string::npos);
  REQUIRE(message("{\"a\": 1}............................").find("no program of Halftone") !=
          std::string::npos);
  REQUIRE_THROWS_WITH(load_program("/nowhere/x.halftone"), Catch::Contains("cannot be opened"));
}

TEST_CASE("only weights with zero points need version 2, and they compute by hand") {
  REQUIRE(to_bytes(small())[8] == 1);
  Program p = small();
  Op& fc = p.ops[2];
  fc.weights.low = 0;
  fc.weights.packed.assign(24, 129);
  fc.weights.zero_points = {0, 255, 128};  // 129, -126, 1
  fc.channels[1].negated = true;           // 126
  const std::string bytes = to_bytes(p);
  REQUIRE(bytes[8] == 2);
  const Program read = program_from_bytes(bytes.data(), bytes.size());
  REQUIRE(to_bytes(read) == bytes);
  const NarrowWeights narrow = narrow_weights(read.ops[2], 24);
  REQUIRE(narrow.offsets == std::vector<int32_t>{128, 128, 0});
  REQUIRE((narrow.codes[0] == 1 && narrow.codes[8] == -2 && narrow.codes[16] == 1));
  const std::vector<uint8_t> image(16, 10);  // 8 codes of 6 before the last layer
  for (const integer::Body& body : integer::bodies()) {
    Session session(std::make_shared<const Program>(read), {body, 1, true});
    REQUIRE(session.run(image.data(), image.size()) ==
            std::vector<float>{48 * 129, 48 * 126, 48 + 5});
  }
  for (size_t n = 0; n < bytes.size(); ++n) REQUIRE_FALSE(message(bytes.substr(0, n)).empty());
}

TEST_CASE("a program in a file") {
  const halftone::test::TempFolder folder;
  const std::string path = folder.path() + "/small.halftone";
  std::ofstream(path, std::ios::binary) << to_bytes(small());
  REQUIRE(to_bytes(load_program(path)) == to_bytes(small()));
}

TEST_CASE("what cannot run is refused, although the checksum fits") {
  const auto refused = [](const char* why, const std::function<void(Program&)>& change) {
    Program p = small();
    change(p);
    INFO(why << "; " << message(with_body(p)));
    REQUIRE(message(with_body(p)).find(why) != std::string::npos);
  };
  refused("it reads a tensor that is not there yet", [](Program& p) { p.ops[0].inputs = {1}; });
  refused("it reads a tensor that is not there yet", [](Program& p) { p.ops[1].inputs = {-1}; });
  refused("its input is no bytes", [](Program& p) { p.values[0].high = 0; });
  refused("not in order", [](Program& p) { p.ops[1].output = 1; });
  refused("no input", [](Program& p) { p.ops[1].inputs.clear(); });
  refused("number of its inputs", [](Program& p) { p.ops[1].inputs = {0, 1}; });
  refused("not one tensor for each", [](Program& p) { p.values.pop_back(); });
  refused("extent is out of bounds", [](Program& p) { p.values[0].shape.height = 0; });
  refused("extent is out of bounds", [](Program& p) { p.values[0].shape.width = 1 << 20; });
  refused("its table has a wrong size", [](Program& p) { p.ops[0].table.resize(255); });
  refused("its table leaves the codes", [](Program& p) { p.values[1].high = 100; });
  refused("it does not fit its input", [](Program& p) { p.ops[1].window.stride_h = 2; });
  refused("window's extent", [](Program& p) { p.ops[1].window.kernel_h = 1 << 30; });
  refused("window's extent", [](Program& p) { p.ops[1].window.dilation_w = 0; });
  refused("its groups", [](Program& p) { p.ops[1].groups = 2; });
  refused("its groups", [](Program& p) { p.ops[1].groups = 0; });
  refused("neither 1, 2, 4 nor 8 bits", [](Program& p) { p.ops[1].weights.bits = 3; });
  refused("wrong number of weights", [](Program& p) { p.ops[1].weights.packed.pop_back(); });
  refused("does not fit in int8", [](Program& p) {
    p.ops[1].weights.shift = 7;
    p.ops[1].weights.low = 1;
  });
  const auto zeros = [](Program& p) -> Weights& {
    p.ops[2].weights.low = 0;
    p.ops[2].weights.zero_points = {1, 2, 3};
    return p.ops[2].weights;
  };
  refused("not one per channel", [&](Program& p) { zeros(p).zero_points.pop_back(); });
  refused("not one per channel", [&](Program& p) { zeros(p).low = -1; });
  refused("not one per channel", [&](Program& p) { zeros(p).step = 2; });
  refused("does not fit in int8", [&](Program& p) { zeros(p).shift = 1; });
  refused("a multiplier is not finite", [](Program& p) { p.ops[1].channels[0].multiplier = NAN; });
  refused("a bias is too large", [](Program& p) { p.ops[1].channels[0].bias = INT32_MIN; });
  refused("constants for other channels", [](Program& p) { p.ops[1].channels.pop_back(); });
  refused("bounds are no codes", [](Program& p) { p.ops[1].high = 256; });
  refused("bounds are no codes", [](Program& p) { p.ops[1].low = 0.5f; });
  refused("its padding is no code", [](Program& p) { p.ops[1].pad_code = 256; });
  refused("makes floats in the middle", [](Program& p) { p.values[1].is_float = true; });
  refused("control characters", [](Program& p) { p.ops[1].name = "conv\n2"; });
  refused("control characters", [](Program& p) { p.values[1].name += '\0'; });
  refused("control characters", [](Program& p) { p.network = "\x7f"; });
  refused("a scale is not positive", [](Program& p) { p.values[1].scale = 0; });
  refused("does not know the operation",
          [](Program& p) { p.ops[0].kind = static_cast<OpKind>(99); });
}

namespace {

// Bytes of `pixels` x 65536 channels to one logit, all weights 127.
Program wide(int32_t pixels) {
  Program p;
  p.values = {value("image", 1, pixels, 65536), value("same", 1, pixels, 65536),
              value("fc", 1, 1, 1)};
  p.values[2].is_float = true;
  Op table;
  table.name = "same";
  table.inputs = {0}, table.output = 1;
  for (int v = 0; v < 256; ++v) table.table.push_back(static_cast<uint8_t>(v));
  Op fc;
  fc.kind = OpKind::kConvolution;
  fc.name = "fc";
  fc.inputs = {1}, fc.output = 2;
  fc.window.kernel_w = pixels;
  fc.weights.packed.assign(static_cast<size_t>(pixels) * 65536, 255);  // 127
  fc.channels.assign(1, {false, false, false, 0, 1.0f});
  p.ops = {table, fc};
  return p;
}

}  // namespace

TEST_CASE("sums that could leave int32 are refused") {
  Program p = wide(1);
  REQUIRE_NOTHROW(check_program(p));  // 65536 * 127 * 255 < 2^31
  p.ops[1].channels[0].bias = 1 << 30;
  REQUIRE_THROWS_WITH(check_program(p), Catch::Contains("an accumulator may leave int32"));
}

TEST_CASE("pooled sums are bounded as the engine adds them, without the zero point") {
  Program p = wide(2);
  p.values[1].zero_point = p.ops[1].pad_code = 128;
  REQUIRE_NOTHROW(check_program(p));  // 2 * 65536 * 127 * 128 < 2^31
  p.ops[1].pools = true;
  p.ops[1].unpooled = p.values[2].shape;
  REQUIRE_THROWS_WITH(check_program(p), Catch::Contains("a pooled sum of codes may leave int32"));
}

TEST_CASE("a row of more weights than memory could hold is refused before it is read") {
  Program p = wide(1);
  p.ops[1].window.kernel_h = p.ops[1].window.kernel_w = 4095;
  p.ops[1].window.pad_h = p.ops[1].window.pad_w = 2047;
  REQUIRE_THROWS_WITH(check_program(p), Catch::Contains("too many weights"));
}
