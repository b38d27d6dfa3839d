#include "tensor/error.h"

namespace halftone {
namespace {

thread_local std::string_view t_path;

// what() is one line whatever the parts hold.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

void append(std::string* text, const char* separator, const std::string& part) {
  if (part.empty()) return;
  if (!text->empty()) *text += separator;
  *text += part;
}

}  // namespace

Error::Error(std::string_view op, const char* file, int line)
    : op_(op),
      module_path_(ErrorScope::current()),
      source_(std::string(file) + ":" + std::to_string(line)) {
  compose();
}

Error& Error::set(std::string* field, std::string text) {
  *field = std::move(text);
  compose();
  return *this;
}

Error& Error::what_happened(std::string text) { return set(&what_, std::move(text)); }
Error& Error::expected(std::string text) { return set(&expected_, std::move(text)); }
Error& Error::found(std::string text) { return set(&found_, std::move(text)); }
Error& Error::fix(std::string text) { return set(&fix_, std::move(text)); }
Error& Error::at(std::string location) { return set(&at_, std::move(location)); }

Error& Error::inside(std::string outer) {
  if (outer.empty()) return *this;
  return set(&at_, at_.empty() ? std::move(outer) : outer + ", " + at_);
}

void Error::compose() {
  std::string difference;
  if (!expected_.empty()) difference = "expected " + expected_;
  if (!found_.empty()) append(&difference, ", ", "found " + found_);
  std::string body = what_;
  append(&body, "; ", difference);
  append(&body, "; ", fix_);
  std::string text = at_;
  append(&text, ": ", op_);
  append(&text, ": ", body);
  if (!module_path_.empty()) text += " [while running " + module_path_ + "]";
  text_ = one_line(text + " (" + source_ + ")");
}

ErrorScope::ErrorScope(const std::string& module_path) : previous_(t_path) { t_path = module_path; }

ErrorScope::ErrorScope(std::string&& module_path)
    : previous_(t_path), path_(std::move(module_path)) {
  t_path = path_;
}

ErrorScope::ErrorScope(std::string_view module_path) : ErrorScope(std::string(module_path)) {}
ErrorScope::ErrorScope(const char* module_path) : ErrorScope(std::string(module_path)) {}

ErrorScope::~ErrorScope() { t_path = previous_; }

std::string ErrorScope::current() { return std::string(t_path); }

}  // namespace halftone
