// A file that appears under its name whole or not at all.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace halftone {

// Writes PATH.tmp-PID in the folder of PATH; commit() syncs it, renames it to PATH and syncs the
// folder. Without commit (an error, an exception) the temporary file is removed and PATH is as it
// was. Throws Error when the folder is missing or unwritable, the disk is full, or PATH is
// something other than a regular file.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  void write_through(const char* data, size_t bytes);
  void flush();
  void sync_folder() const;
  [[noreturn]] void fail(const char* action, int error) const;

  std::string path_, temporary_, buffer_;
  int fd_ = -1;
};

// Whether a file is called as the temporary one of an AtomicFile: a killed process leaves it.
bool is_temporary_name(const std::string& name);

// The whole of it at once.
void write_file_atomically(const std::string& path, std::string_view contents);

}  // namespace halftone
