// Recomputes every golden case and compares it with a file of NNI's numbers.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>

#include "tensor/atomic_file.h"
#include "tensor/error.h"
#include "test/golden/golden.h"

namespace halftone::golden {
namespace {

struct Request {
  std::string file, dump;
  double multiplier = Inputs().multiplier;
};

// Python's json writes NaN, Infinity and -Infinity bare; here they are the strings that the cases
// hold.
std::string quote_specials(const std::string& text) {
  static const std::regex specials(R"(("(?:[^"\\]|\\.)*")|(-?)(?:(NaN)|(Infinity)))");
  std::string quoted;
  auto rest = text.cbegin();
  for (std::sregex_iterator m(text.begin(), text.end(), specials), end; m != end; ++m) {
    quoted.append(rest, (*m)[0].first);
    rest = (*m)[0].second;
    const bool string = (*m)[1].matched;
    quoted += string ? m->str() : "\"" + (*m)[2].str() + ((*m)[3].matched ? "nan" : "inf") + "\"";
  }
  return quoted.append(rest, text.cend());
}

Json read(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw HALFTONE_ERROR("golden_check").at(path).what_happened("the file cannot be read");
  std::stringstream text;
  text << in.rdbuf();
  Json file = Json::parse(quote_specials(text.str()), nullptr, false);
  if (!file.is_object()) {
    throw HALFTONE_ERROR("golden_check")
        .at(path)
        .expected("a JSON object of cases, as test/golden/nni_golden.json")
        .found(file.is_discarded() ? "text that is not JSON" : file.type_name());
  }
  return file;
}

void print(const Case& c, const Verdict& v) {
  std::string ulp = v.numbers == 0             ? "-"
                    : v.largest_ulp > 99999999 ? ">1e8"
                                               : std::to_string(v.largest_ulp);
  std::cout << fmt::format("{:<8} {:>7} {:>9} {:>6} {:>8}   {}   {}\n", c.id, v.numbers, ulp,
                           v.ours, v.checked, v.passed ? "pass" : "FAIL", c.what);
  for (const std::string& f : v.failures) std::cout << "           differs  " << f << "\n";
  for (const std::string& n : v.notes) std::cout << "           note  " << n << "\n";
}

Verdict failed(const std::string& why) {
  Verdict v;
  v.passed = false;
  v.failures.push_back(why);
  return v;
}

// One case that cannot run does not keep the others from running.
Verdict judge(const Case& c, const Json& file, const Inputs& inputs) {
  if (!file.contains(c.id)) return failed("the file has no such case");
  try {
    return compare(c, inputs, c.run(inputs), file[c.id]);
  } catch (const std::exception& e) {
    return failed(e.what());
  }
}

// Returns the number of failed cases.
int check(const Request& request) {
  const Json file = read(request.file);
  const Inputs inputs{request.multiplier};
  int failed = 0;
  std::cout << fmt::format("{:<8} {:>7} {:>9} {:>6} {:>8}\n", "case", "numbers", "max ulp", "N",
                           "N proved");
  for (const Case& c : cases()) {
    const Verdict v = judge(c, file, inputs);
    print(c, v);
    failed += v.passed ? 0 : 1;
  }
  for (const auto& [id, value] : file.items()) {
    const bool known = std::any_of(cases().begin(), cases().end(),
                                   [&key = id](const Case& c) { return c.id == key; });
    if (known) continue;
    std::cout << fmt::format("{:<8} no such case here\n", id);
    ++failed;
  }
  std::cout << fmt::format("{} cases, {} failed\n", cases().size(), failed);
  return failed;
}

void dump(const Request& request) {
  Json all = Json::object();
  for (const Case& c : cases()) all[c.id] = c.run(Inputs{request.multiplier});
  write_file_atomically(request.dump, all.dump(1) + "\n");
}

const char* const kAbout =
    "Recomputes the golden cases of NNI 2.10 with this library and compares them with FILE,\n"
    "a JSON file in the form of test/golden/nni_golden.json. Per case: how many numbers were\n"
    "compared and their largest difference in units in the last place; where NNI's number comes\n"
    "from a bug (N), our value and why it differs, and how many of ours were compared with plain\n"
    "loops that share no code with the library (all, or the case fails).\n"
    "Exits with 1 when a case fails.";

int run(int argc, char** argv) {
  CLI::App app(kAbout, "golden_check");
  Request request;
  app.add_option("FILE", request.file, "the expected numbers");
  app.add_option("--multiplier", request.multiplier,
                 "of the input formula lo + (hi - lo) * frac((i + 1) * MULTIPLIER * k); FILE must "
                 "have been made with the same")
      ->capture_default_str();
  app.add_option("--dump", request.dump,
                 "write our numbers to this file; the expected ones are not read for that");
  CLI11_PARSE(app, argc, argv);
  if (request.file.empty() && request.dump.empty()) {
    std::cerr << "golden_check: give a FILE to compare with, or --dump OUT.json\n";
    return 2;
  }
  if (!request.dump.empty()) dump(request);
  return request.file.empty() || check(request) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace halftone::golden

int main(int argc, char** argv) {
  // `bazel run` starts programs elsewhere: paths are meant from where the user stands.
  const char* here = std::getenv("BUILD_WORKING_DIRECTORY");
  if (here != nullptr) std::filesystem::current_path(here);
  try {
    return halftone::golden::run(argc, argv);
  } catch (const halftone::Error& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
