#include "vision/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <tuple>

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <nlohmann/json.hpp>

#include "error.h"

namespace faiss_vision {
namespace {

using nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr size_t kMaxHeaderBytes = size_t{16} << 20; // a header has a few hundred bytes per tensor
constexpr int kMaxDepth = 4;                         // file, tensor, list of numbers: 3 are enough

/// Bytes of one element, 0 for a type the format does not know.
size_t elementSize(const std::string& type) {
    static const std::map<std::string, size_t> sizes = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                                        {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                                                        {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};
    const auto found = sizes.find(type);
    return found == sizes.end() ? 0 : found->second;
}

std::string show(at::IntArrayRef shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
}

/// A list of whole numbers >= 0, or nothing where the JSON is anything else.
bool readSizes(const json& value, std::vector<int64_t>& sizes) {
    if (!value.is_array()) return false;
    for (const json& item : value) {
        if (!item.is_number_unsigned() || item.get<uint64_t>() > uint64_t(INT64_MAX)) return false;
        sizes.push_back(item.get<int64_t>());
    }
    return true;
}

/// Bytes of a tensor, or false where the product does not fit.
bool byteCount(const std::vector<int64_t>& shape, size_t elementBytes, uint64_t& bytes) {
    bytes = elementBytes;
    for (const int64_t size : shape) {
        if (__builtin_mul_overflow(bytes, uint64_t(size), &bytes)) return false;
    }
    return true;
}

} // namespace

class Safetensors::Mapping {
public:
    explicit Mapping(const std::string& path) {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe would wait for its writer
        if (file < 0) notFound(path, std::strerror(errno));
        struct stat info{};
        const bool known = ::fstat(file, &info) == 0;
        if (!known || !S_ISREG(info.st_mode)) {
            ::close(file);
            notFound(path, "it is not a file");
        }
        size_ = size_t(info.st_size);
        void* address = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
        const int failure = errno;
        ::close(file);
        if (address == MAP_FAILED) notFound(path, std::strerror(failure));
        data_ = static_cast<const uint8_t*>(address);
    }
    ~Mapping() {
        if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
#ifdef __GLIBC__
        ::malloc_trim(0); // weights were read, and laid out anew by way of memory that glibc would keep: a tenth of their size
#endif
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;

    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

private:
    [[noreturn]] static void notFound(const std::string& path, const std::string& why) {
        throw Error("ERR_WEIGHTS_NOT_FOUND", "weights: \"" + path + "\" cannot be read: " + why);
    }

    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

Safetensors::Safetensors(const std::string& path) : path_(path), mapping_(std::make_shared<Mapping>(path)) { readHeader(); }

void Safetensors::corrupt(const std::string& what) const {
    throw Error("ERR_WEIGHTS_CORRUPT", "weights: \"" + path_ + "\" is not a whole safetensors file: " + what);
}

void Safetensors::mismatch(const std::string& what) const {
    throw Error("ERR_WEIGHTS_MISMATCH", "weights: \"" + path_ + "\" holds another model: " + what);
}

void Safetensors::readHeader() {
    const uint8_t* bytes = mapping_->data();
    const size_t size = mapping_->size();
    if (size < kLengthBytes) corrupt("expected a header length of 8 bytes, the file has " + std::to_string(size));
    uint64_t length = 0;
    for (size_t i = 0; i < kLengthBytes; i++) length |= uint64_t{bytes[i]} << (8 * i);
    if (length > size - kLengthBytes || length > kMaxHeaderBytes) {
        corrupt("the header says " + std::to_string(length) + " bytes, the file has " + std::to_string(size - kLengthBytes) +
                " after it");
    }

    const auto limitDepth = [this](int depth, json::parse_event_t, json&) {
        if (depth > kMaxDepth) corrupt("the header is nested too deeply");
        return true;
    };
    const char* text = reinterpret_cast<const char*>(bytes) + kLengthBytes;
    const json header = json::parse(text, text + length, limitDepth, /*allow_exceptions=*/false);
    if (!header.is_object()) corrupt("the header is not a JSON object");

    const size_t dataBegin = kLengthBytes + size_t(length);
    const size_t dataSize = size - dataBegin;
    for (const auto& [name, value] : header.items()) {
        if (!value.is_object()) corrupt(name + " is not a JSON object");
        if (name == "__metadata__") {
            for (const auto& [key, item] : value.items()) {
                if (!item.is_string()) corrupt("__metadata__ is not an object of strings");
                metadata_[key] = item.get<std::string>();
            }
            continue;
        }
        Entry entry;
        std::vector<int64_t> offsets;
        const auto type = value.find("dtype"), shape = value.find("shape"), position = value.find("data_offsets");
        if (type == value.end() || !type->is_string() || elementSize(type->get<std::string>()) == 0) {
            corrupt("tensor " + name + " has no known dtype");
        }
        entry.type = type->get<std::string>();
        if (shape == value.end() || !readSizes(*shape, entry.shape)) corrupt("tensor " + name + " has no shape");
        if (position == value.end() || !readSizes(*position, offsets) || offsets.size() != 2) {
            corrupt("tensor " + name + " has no data_offsets");
        }
        const uint64_t begin = uint64_t(offsets[0]), end = uint64_t(offsets[1]);
        if (begin > end || end > dataSize) {
            corrupt("tensor " + name + " lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                    " of the data, which have " + std::to_string(dataSize));
        }
        uint64_t expected = 0;
        if (!byteCount(entry.shape, elementSize(entry.type), expected) || expected != end - begin) {
            corrupt("tensor " + name + " of type " + entry.type + " and shape " + show(entry.shape) + " does not fit its " +
                    std::to_string(end - begin) + " bytes");
        }
        entry.begin = dataBegin + size_t(begin);
        entry.end = dataBegin + size_t(end);
        entries_[name] = std::move(entry);
    }

    // The format allows neither gaps nor overlaps; so a name that stands twice is noticed too.
    std::vector<const Entry*> order;
    for (const auto& [name, entry] : entries_) order.push_back(&entry);
    std::sort(order.begin(), order.end(),
              [](const Entry* a, const Entry* b) { return std::tie(a->begin, a->end) < std::tie(b->begin, b->end); });
    size_t covered = dataBegin;
    for (const Entry* entry : order) {
        if (entry->begin != covered) corrupt("the tensors overlap or leave a gap");
        covered = entry->end;
    }
    if (covered != size)
        corrupt("the tensors cover " + std::to_string(covered - dataBegin) + " bytes, the data have " + std::to_string(dataSize));
}

std::string Safetensors::metadata(const std::string& key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? std::string() : found->second;
}

void Safetensors::requireModel(const std::string& model) const {
    const std::string found = metadata("model");
    if (!found.empty() && found != model) mismatch("its metadata say \"" + found + "\", expected \"" + model + "\"");
}

at::Tensor Safetensors::tensor(const std::string& name, at::IntArrayRef shape) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) mismatch("tensor " + name + " " + show(shape) + " is missing");
    const Entry& entry = found->second;
    if (entry.type != "F32" || shape != at::IntArrayRef(entry.shape)) {
        mismatch("tensor " + name + " is " + entry.type + " " + show(entry.shape) + ", expected F32 " + show(shape));
    }

    const uint8_t* bytes = mapping_->data() + entry.begin;
    at::Tensor tensor;
    if (reinterpret_cast<uintptr_t>(bytes) % alignof(float) == 0) {
        const auto keep = [mapping = mapping_](void*) {};
        tensor = at::from_blob(const_cast<uint8_t*>(bytes), shape, keep, at::TensorOptions(at::kFloat));
    } else { // allowed by the format, though no writer of note leaves its data unaligned
        tensor = at::empty(shape, at::TensorOptions(at::kFloat));
        std::memcpy(tensor.data_ptr<float>(), bytes, entry.end - entry.begin);
    }
    const float* values = tensor.data_ptr<float>();
    if (!std::all_of(values, values + tensor.numel(), [](float value) { return std::isfinite(value); })) {
        corrupt("tensor " + name + " holds a number that is not finite");
    }
    return tensor;
}

} // namespace faiss_vision
