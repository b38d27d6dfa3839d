#include "test/fuzz/fuzz.h"

#include <stdexcept>

namespace halftone::test {

std::string mutate(std::string bytes, const std::string& telling, const Philox& random,
                   uint64_t* draw) {
  const uint64_t at = random.below((*draw)++, bytes.size());
  const uint64_t length = 1 + random.below((*draw)++, 20);
  const uint64_t pick = random.below((*draw)++, 1 << 20);
  switch (random.below((*draw)++, 6)) {
    case 0:
      bytes[at] = static_cast<char>(bytes[at] ^ 1 << pick % 8);
      break;
    case 1:
      bytes[at] = telling[pick % telling.size()];
      break;
    case 2:
      bytes.erase(at, length);
      break;
    case 3:
      bytes.insert(at, bytes.substr(pick % bytes.size(), length));
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5:
      bytes.insert(at, length, telling[pick % telling.size()]);
      break;
  }
  return bytes.empty() ? std::string(1, telling[0]) : bytes;
}

void check_message(const std::string& message) {
  if (message.empty() || message.find('\n') != std::string::npos)
    throw std::logic_error("a message of no or of several lines: " + message);
}

}  // namespace halftone::test
