// Whole files as bytes, and where to look for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace halftone {

// The file's content; unpacked when the name ends in ".gz". Errors name the file: missing or
// unreadable, not gzip, cut short, checksum wrong, bytes after the end.
std::vector<uint8_t> read_file_bytes(const std::string& path);

// Where a set may lie: `data_dir` and `data_dir/SET`; without a data_dir, $HALFTONE_DATA/SET,
// $HALFTONE_DATA and the cache folder of tools/get_data (${XDG_CACHE_HOME:-~/.cache}/halftone/SET).
std::vector<std::string> data_folders(const std::string& set, const std::string& data_dir);

// The first of folders x names that is a file, or "".
std::string find_file(const std::vector<std::string>& folders,
                      const std::vector<std::string>& names);

// "a, b or c"
std::string one_of(const std::vector<std::string>& names);

}  // namespace halftone
