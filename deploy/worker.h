// A program beside this one, spoken to through its standard input and output. Inside //deploy only.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace halftone {

class Worker {
 public:
  // words: the program, looked for in $PATH, and its arguments. Its standard error is this one's.
  explicit Worker(const std::vector<std::string>& words);
  ~Worker();  // closes its input and waits for its end
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // All throw Error when it has ended: `what` of 127 says that the program is not there.
  void send(const void* data, size_t bytes);
  void send(const std::string& text) { send(text.data(), text.size()); }
  std::string line();  // without its end
  void receive(void* data, size_t bytes);

 private:
  [[noreturn]] void ended();

  std::string program_;
  pid_t process_ = -1;
  int socket_ = -1;
};

}  // namespace halftone
