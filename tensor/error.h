// The one exception of the library, and the module path that it carries.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace halftone {

// Thrown by `throw HALFTONE_ERROR("conv2d").expected(...).found(...).fix(...)`.
// what() is one line: OP: what; expected X, found Y; FIX [while running PATH] (FILE:LINE).
class Error : public std::exception {
 public:
  Error(std::string_view op, const char* file, int line);

  // Each setter returns *this as an rvalue-friendly copy target; call order does not matter.
  Error& what_happened(std::string text);  // a sentence, when expected/found do not say it
  Error& expected(std::string text);
  Error& found(std::string text);
  Error& fix(std::string text);      // what the reader can do about it
  Error& at(std::string location);   // "recipe.yaml:12", "train-images.gz", a tensor's name
  Error& inside(std::string outer);  // puts a wider place before the location: "step 7, conv1"

  const std::string& op() const { return op_; }
  const std::string& location() const { return at_; }
  const std::string& module_path() const { return module_path_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  Error& set(std::string* field, std::string text);
  void compose();
  std::string op_, what_, expected_, found_, fix_, at_, module_path_, source_, text_;
};

#define HALFTONE_ERROR(op) ::halftone::Error((op), __FILE__, __LINE__)

// While alive, names what runs on this thread: "features.3 (Conv2d 128->128)".
class ErrorScope {
 public:
  // Refers to the caller's string, which must outlive the scope and not change: no allocation.
  explicit ErrorScope(const std::string& module_path);
  // These keep their own copy.
  explicit ErrorScope(std::string&& module_path);
  explicit ErrorScope(std::string_view module_path);
  explicit ErrorScope(const char* module_path);
  ~ErrorScope();
  ErrorScope(const ErrorScope&) = delete;
  ErrorScope& operator=(const ErrorScope&) = delete;

  // Innermost path on this thread, "" outside every scope.
  static std::string current();

 private:
  std::string_view previous_;
  std::string path_;
};

}  // namespace halftone
