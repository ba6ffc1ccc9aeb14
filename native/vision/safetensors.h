#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace faiss_vision {

/// A file in the safetensors format (https://github.com/huggingface/safetensors, "Format"), mapped into memory, never written.
/// Throws ERR_WEIGHTS_NOT_FOUND where no file can be read, and ERR_WEIGHTS_CORRUPT where it is empty, cut or contradicts itself.
class Safetensors {
public:
    explicit Safetensors(const std::string& path);

    const std::string& path() const { return path_; }

    /// A value of the file's `__metadata__`, empty where there is none.
    std::string metadata(const std::string& key) const;

    /// Throws ERR_WEIGHTS_MISMATCH where the metadata names another model. A file that names none is judged by its tensors.
    void requireModel(const std::string& model) const;

    /// A float32 tensor: a view of the mapping, which lives as long as the view. It must not be written to.
    /// Throws ERR_WEIGHTS_MISMATCH where it is missing or has another shape or type, ERR_WEIGHTS_CORRUPT where a number is not finite.
    at::Tensor tensor(const std::string& name, at::IntArrayRef shape) const;

private:
    class Mapping;
    struct Entry {
        std::string type; // as in the header: F32, ...
        std::vector<int64_t> shape;
        size_t begin, end; // bytes of the mapping
    };
    void readHeader();
    [[noreturn]] void corrupt(const std::string& what) const;
    [[noreturn]] void mismatch(const std::string& what) const;

    std::string path_;
    std::shared_ptr<const Mapping> mapping_;
    std::map<std::string, Entry> entries_;
    std::map<std::string, std::string> metadata_;
};

} // namespace faiss_vision
