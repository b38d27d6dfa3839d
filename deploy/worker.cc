#include "deploy/worker.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace halftone {
namespace {

constexpr int kNotFound = 127;  // of a shell

[[noreturn]] void fail(const std::string& program, const std::string& why) {
  throw HALFTONE_ERROR("verify").expected("a program that runs: " + program).found(why);
}

}  // namespace

Worker::Worker(const std::vector<std::string>& words) : program_(words.at(0)) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    fail(program_, std::strerror(errno));
  process_ = fork();
  if (process_ == 0) {  // only what is safe between fork and exec
    dup2(ends[1], 0);
    dup2(ends[1], 1);
    execvp(arguments[0], arguments.data());
    _exit(kNotFound);
  }
  const int error = errno;
  close(ends[1]);
  socket_ = ends[0];
  if (process_ > 0) return;
  close(socket_);
  fail(program_, std::strerror(error));
}

Worker::~Worker() {
  if (socket_ >= 0) close(socket_);
  if (process_ > 0) waitpid(process_, nullptr, 0);
}

void Worker::ended() {
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotFound) fail(program_, "no such program");
  fail(program_, "one that ended before its answer");
}

void Worker::send(const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::send(socket_, at, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) ended();
    at += n, bytes -= static_cast<size_t>(n);
  }
}

void Worker::receive(void* data, size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = recv(socket_, at, bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) ended();
    at += n, bytes -= static_cast<size_t>(n);
  }
}

std::string Worker::line() {
  std::string text;
  for (char c = 0; c != '\n';) {
    receive(&c, 1);
    text += c;
  }
  text.pop_back();
  return text;
}

}  // namespace halftone
