#include "data/cifar.h"

#include "data/cifar_names.h"
#include "data/file_bytes.h"

namespace halftone {
namespace {

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;

struct Layout {
  std::string folder;   // inside the archive
  int64_t label_bytes;  // before the pixels of a record
  int64_t label_at;     // which of them counts
  int64_t records;      // in each file
  int64_t record() const { return label_bytes + kPixels; }
};

std::string locate(const Dataset& set, const std::string& data_dir, const std::string& folder,
                   const std::string& file) {
  std::vector<std::string> folders;
  for (const std::string& base : data_folders(set.name, data_dir)) {
    folders.push_back(base);
    folders.push_back(base + "/" + folder);
  }
  const std::string path = find_file(folders, {file, file + ".gz"});
  if (path.empty()) {
    throw HALFTONE_ERROR("load " + set.name)
        .expected(file + " in " + one_of(folders))
        .found("no such file")
        .fix("fetch the files with: tools/get_data " + set.name +
             (data_dir.empty() ? "" : " " + data_dir));
  }
  return path;
}

void check_size(const std::string& path, int64_t bytes, const Layout& layout) {
  const int64_t record = layout.record();
  if (bytes == layout.records * record) return;
  throw HALFTONE_ERROR("load CIFAR")
      .at(path)
      .expected(std::to_string(layout.records) + " records of " + std::to_string(record) + " bytes")
      .found(std::to_string(bytes) + " bytes: " + std::to_string(bytes / record) + " records and " +
             std::to_string(bytes % record) + " bytes")
      .fix("the file is cut or of another set; fetch it again");
}

// Planes to interleaved pixels.
void interleave(const uint8_t* planes, uint8_t* pixels) {
  for (int64_t i = 0; i < kPlane; ++i) {
    for (int64_t c = 0; c < 3; ++c) pixels[3 * i + c] = planes[c * kPlane + i];
  }
}

int64_t checked_label(const Dataset& set, const std::string& path, int64_t label, int64_t record) {
  if (label < set.num_classes()) return label;
  throw HALFTONE_ERROR("load CIFAR")
      .at(path)
      .expected("labels 0 to " + std::to_string(set.num_classes() - 1))
      .found(std::to_string(label) + " in record " + std::to_string(record))
      .fix("the file is damaged or of another set; fetch it again");
}

// Reads the files one after the other into a set whose name, classes and statistics are known.
Dataset load_files(const Context& context, Dataset set, const std::string& data_dir,
                   const Layout& layout, const std::vector<std::string>& files) {
  std::vector<std::string> paths;
  for (const std::string& f : files) paths.push_back(locate(set, data_dir, layout.folder, f));
  std::vector<uint8_t> pixels;
  for (const std::string& path : paths) {
    const std::vector<uint8_t> bytes = read_file_bytes(path);
    check_size(path, static_cast<int64_t>(bytes.size()), layout);
    const size_t before = pixels.size();
    pixels.resize(before + static_cast<size_t>(layout.records * kPixels));
    for (int64_t i = 0; i < layout.records; ++i) {
      const uint8_t* record = bytes.data() + i * layout.record();
      set.labels.push_back(checked_label(set, path, record[layout.label_at], i));
      interleave(record + layout.label_bytes,
                 pixels.data() + before + static_cast<size_t>(i * kPixels));
    }
  }
  set.images = Tensor::from(context, {set.size(), kSide, kSide, 3}, pixels);
  return set;
}

}  // namespace

Dataset load_cifar10(const Context& context, Split split, const std::string& data_dir) {
  Dataset set;
  set.name = "cifar10";
  set.split = split;
  set.classes = cifar10_classes();
  set.mean = {0.4914f, 0.4822f, 0.4465f};
  set.stddev = {0.2470f, 0.2435f, 0.2616f};
  std::vector<std::string> files = {"test_batch.bin"};
  if (split == Split::kTrain) {
    files.clear();
    for (int i = 1; i <= 5; ++i) files.push_back("data_batch_" + std::to_string(i) + ".bin");
  }
  return load_files(context, std::move(set), data_dir, {"cifar-10-batches-bin", 1, 0, 10000},
                    files);
}

Dataset load_cifar100(const Context& context, Split split, const std::string& data_dir,
                      bool coarse) {
  Dataset set;
  set.name = "cifar100";
  set.split = split;
  set.classes = coarse ? cifar100_coarse_classes() : cifar100_classes();
  set.mean = {0.5071f, 0.4865f, 0.4409f};
  set.stddev = {0.2673f, 0.2564f, 0.2762f};
  const int64_t records = split == Split::kTrain ? 50000 : 10000;
  const Layout layout = {"cifar-100-binary", 2, coarse ? 0 : 1, records};
  return load_files(context, std::move(set), data_dir, layout, {name_of(split) + ".bin"});
}

}  // namespace halftone
