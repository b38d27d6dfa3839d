// C headers, compiled as C99 with floating point and without, run what the engine runs.
#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "deploy/c_buffer.h"
#include "deploy/c_header.h"
#include "deploy/runtime/session.h"
#include "nn/zoo/zoo.h"
#include "tensor/atomic_file.h"
#include "test/deploy/deployed_net.h"
#include "test/quant/chain_net.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::test;

namespace {

// -mgeneral-regs-only: an error for every floating-point register.
const char* const kNoFloat = "-DNET_NO_FLOAT -mgeneral-regs-only";

std::string compiler() {
  const char* cc = std::getenv("CC");
  return cc != nullptr ? cc : "cc";
}

// A header of the network "net" as a shared library.
class CompiledC {
 public:
  CompiledC(const std::string& header, const std::string& flags) {
    const std::string base = folder_.path() + "/net";
    write_file_atomically(base + ".h", header);
    write_file_atomically(base + ".c",
                          "#define NET_IMPLEMENTATION\n#define NET_SELF_TEST\n"
                          "#include \"net.h\"\n");
    const std::string command = compiler() + " -std=c99 -pedantic -Wall -Wextra -Werror -O1 " +
                                "-shared -fPIC " + flags + " -o " + base + ".so " + base + ".c";
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0);
    library_ = dlopen((base + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library_ != nullptr);
  }
  ~CompiledC() {
    if (library_ != nullptr) dlclose(library_);
  }
  CompiledC(const CompiledC&) = delete;
  CompiledC& operator=(const CompiledC&) = delete;

  int self_test() const { return function<int()>("net_self_test")(); }
  int label(const uint8_t* image) const {
    return function<int(const uint8_t*)>("net_label")(image);
  }
  // The logits as they are in memory.
  std::vector<uint8_t> run(const uint8_t* image, size_t bytes) const {
    std::vector<uint8_t> result(bytes);
    function<void(const uint8_t*, void*)>("net_run")(image, result.data());
    return result;
  }

 private:
  template <class F>
  F* function(const char* name) const {
    void* address = dlsym(library_, name);
    REQUIRE(address != nullptr);
    return reinterpret_cast<F*>(address);
  }
  TempFolder folder_;
  void* library_ = nullptr;
};

std::vector<uint8_t> result_of(const runtime::Session& session, const std::vector<float>& logits) {
  const runtime::Value& v = session.program().result();
  const auto size = static_cast<size_t>(v.shape.size());
  std::vector<uint8_t> bytes(size * (v.is_float ? 4 : 1));
  const void* from = v.is_float ? static_cast<const void*>(logits.data())
                                : session.codes(session.program().ops.back().output);
  std::memcpy(bytes.data(), from, bytes.size());
  return bytes;
}

void check(const Deployed& d, const std::vector<const char*>& modes = {"", kNoFloat}) {
  const CHeader header = to_c_header(*d.program);
  for (const char* mode : modes) {
    INFO(mode);
    const CompiledC c(header.text, mode);
    REQUIRE(c.self_test() == 0);
    runtime::SessionOptions options;
    options.keeps_tensors = true;
    runtime::Session session(d.program, options);
    const int64_t size = d.data.images.numel() / d.data.size();
    for (int64_t i = 0; i < d.data.size(); ++i) {
      const uint8_t* image = d.data.images.data<uint8_t>() + i * size;
      const std::vector<float>& logits = session.run(image, static_cast<size_t>(size));
      const std::vector<uint8_t> want = result_of(session, logits);
      REQUIRE(c.run(image, want.size()) == want);
      REQUIRE(c.label(image) == runtime::index_of_largest(logits));
    }
  }
}

const char* const kLayers = R"([{"quant_types": ["weight", "input"], "quant_bits": 8,
  "op_types": ["Conv2d", "Linear"], "quant_dtype": {"weight": "int", "input": "uint"},
  "quant_scheme": {"weight": "per_channel_symmetric", "input": "per_tensor_affine"}},
  {"quant_types": ["output"], "quant_bits": 8, "op_types": ["Add", "Concat"]} MORE])";
const char* const kLastOfMobileNet = R"(, {"quant_types": ["output"], "quant_bits": 8,
  "op_names": ["features.18.2"], "quant_dtype": "uint", "quant_scheme": "per_tensor_affine"})";

struct ZooNet {
  std::shared_ptr<Module> model;
  std::unique_ptr<Quantizer> quantizer;
  Dataset data;
};

void quantize(const Context& c, ZooNet& z, const Shape& chw, const std::string& more = "") {
  z.data = random_images(c, chw, 3, 10);
  z.quantizer = make_quantizer("QAT_Quantizer", *z.model, replace(kLayers, "MORE", more), nullptr,
                               Tensor::zeros(c, {1, chw[1], chw[2], chw[0]}));
  z.quantizer->compress();
  warm(*z.model, *z.quantizer, z.data);
}

ZooNet zoo_net(const std::string& name, const Shape& chw) {
  const Context c(Net::options(2));
  ZooNet z;
  z.model = make_model(name, c).module;
  quantize(c, z, chw, name == "mobilenet_v2" ? kLastOfMobileNet : "");
  return z;
}

}  // namespace

TEST_CASE("LeNet-5, ResNet-20 and MobileNetV2 as C headers give the engine's codes") {
  const ZooNet lenet = zoo_net("lenet5", {1, 28, 28});
  check(deploy(*lenet.quantizer, lenet.data));
  for (const char* name : {"resnet20", "mobilenet_v2"}) {
    INFO(name);
    const ZooNet z = zoo_net(name, {3, 32, 32});
    check(deploy(*z.quantizer, z.data), {""});
  }
}

TEST_CASE("chains of every kind as C headers give the engine's codes") {
  std::vector<Case> all = cases();
  for (const Case& c : learned_cases()) all.push_back(c);
  for (const Case& c : zero_point_cases()) {
    if (c.grid == Case::Grid::kAffine) all.push_back(c);
  }
  int n = 0;
  for (const Case& c : all) {
    if (c.linear) continue;
    INFO(c.name);
    Net net(c);
    const Dataset data = random_images(net.context, {c.conv.in_channels, 7, 9}, 5, 3);
    warm(*net.model, *net.quantizer, data);
    const Deployed d = deploy(*net.quantizer, data);
    check(d, {++n % 2 == 0 ? "" : kNoFloat});
  }
  REQUIRE(n > 20);
}

TEST_CASE("a concatenation as a C header gives the engine's codes") {
  const Context c(Net::options(2));
  ZooNet z;
  auto net = make<Sequential>(c);
  net->append("conv1", make<Conv2d>(c, Conv2dArgs{3, 4, 3}))
      .append("relu1", make_relu(c))
      .append("fork", make<Fork>(c))
      .append("conv2", make<Conv2d>(c, Conv2dArgs{8, 3, 3}));
  z.model = net;
  quantize(c, z, {3, 9, 8});
  check(deploy(*z.quantizer, z.data));
}

TEST_CASE("the self-test of a C header names the first operation that differs") {
  const ZooNet z = zoo_net("lenet5", {1, 28, 28});
  const Deployed d = deploy(*z.quantizer, z.data);
  std::string text = to_c_header(*d.program).text;
  const std::string bias = "net_bias_3[";
  const size_t at = text.find("{\n  ", text.find(bias)) + 4;
  text.insert(at, "100000 + ");
  REQUIRE(CompiledC(text, "").self_test() == 4);
}

TEST_CASE("tensors that live together do not share a buffer") {
  for (const char* name : {"resnet20", "mobilenet_v2"}) {
    INFO(name);
    const ZooNet z = zoo_net(name, {3, 32, 32});
    const Deployed d = deploy(*z.quantizer, z.data);
    const runtime::Program& p = *d.program;
    const BufferPlan plan = plan_buffer(p);
    int64_t all = 0, largest = 0;
    for (size_t i = 0; i < p.ops.size(); ++i) {
      const int32_t out = p.ops[i].output;
      if (p.values[out].is_float) continue;
      const int64_t begin = plan.offset[out], end = begin + p.values[out].shape.size();
      all += end - begin;
      largest = std::max(largest, end - begin);
      REQUIRE(end <= plan.bytes);
      for (int32_t v = 1; v < out; ++v) {
        bool read = false;  // at this operation or behind it
        for (size_t k = i; k < p.ops.size(); ++k)
          read = read || std::count(p.ops[k].inputs.begin(), p.ops[k].inputs.end(), v) > 0;
        const int64_t from = plan.offset[v], to = from + p.values[v].shape.size();
        REQUIRE((!read || end <= from || to <= begin));
      }
    }
    REQUIRE(plan.bytes < all / 4);
    REQUIRE(plan.bytes >= 2 * largest);
  }
}
