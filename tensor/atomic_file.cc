#include "tensor/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "tensor/error.h"

namespace halftone {
namespace {

constexpr size_t kBufferBytes = 1 << 18;
constexpr const char* kTemporary = ".tmp-";  // between a file's name and the process

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string advice(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "create the folder " + folder_of(path) + " first";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder that you may write to";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space or write elsewhere; nothing half-written is left behind";
    default:
      return "";
  }
}

// Renaming over /dev/null or a folder would do harm or fail late.
void check_target(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0 || S_ISREG(info.st_mode)) return;
  throw HALFTONE_ERROR("write file")
      .at(path)
      .expected("a regular file or a free name")
      .found(S_ISDIR(info.st_mode) ? "a folder" : "a special file");
}

}  // namespace

bool is_temporary_name(const std::string& name) {
  const size_t at = name.rfind(kTemporary);
  if (at == std::string::npos || at == 0) return false;
  const std::string process = name.substr(at + std::strlen(kTemporary));
  return !process.empty() && process.find_first_not_of("0123456789") == std::string::npos;
}

AtomicFile::AtomicFile(const std::string& path)
    : path_(path), temporary_(path + kTemporary + std::to_string(::getpid())) {
  if (path.empty() || path.back() == '/') {
    throw HALFTONE_ERROR("write file").expected("a file name").found("\"" + path + "\"");
  }
  check_target(path);
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("cannot create it", errno);
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  if (buffer_.size() + bytes > kBufferBytes) flush();
  if (bytes >= kBufferBytes) {
    write_through(from, bytes);
  } else {
    buffer_.append(from, bytes);
  }
}

void AtomicFile::commit() {
  flush();
  if (::fsync(fd_) != 0) fail("cannot sync it", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot rename it", errno);
  // From here on there is no temporary file to remove; close after fsync loses nothing.
  ::close(fd_);
  fd_ = -1;
  sync_folder();
}

void AtomicFile::write_through(const char* data, size_t bytes) {
  if (fd_ < 0) throw HALFTONE_ERROR("write file").at(path_).what_happened("already committed");
  while (bytes > 0) {
    const ssize_t written = ::write(fd_, data, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("cannot write it", errno);
    }
    data += written;
    bytes -= static_cast<size_t>(written);
  }
}

void AtomicFile::flush() {
  write_through(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void AtomicFile::sync_folder() const {
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // a folder that may be written but not listed: nothing to sync by
  const int error = ::fsync(folder) == 0 ? 0 : errno;
  ::close(folder);
  // EINVAL: a file system without folder sync.
  if (error != 0 && error != EINVAL) fail("cannot sync its folder", error);
}

void AtomicFile::fail(const char* action, int error) const {
  throw HALFTONE_ERROR("write file")
      .at(path_)
      .what_happened(action)
      .found(std::generic_category().message(error))
      .fix(advice(error, path_));
}

void write_file_atomically(const std::string& path, std::string_view contents) {
  AtomicFile file(path);
  file.write(contents);
  file.commit();
}

}  // namespace halftone
