#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <faiss/impl/io.h>

namespace faiss_vision {

/// A FAISS index file with a trailer that FAISS does not read: extra bytes of ours, lengths and a checksum (XXH3)
/// over all of it. Whatever was cut or changed is refused before FAISS parses a byte.
///
/// Layout, little endian: index | extra | u64 index bytes | u64 extra bytes | u64 XXH3 of all before | "FVINDEX1"
class CheckedFile {
public:
    /// Writes a temporary file beside `path`, syncs it and renames it: the old file or the new one is there, never half.
    /// Throws ERR_FILE_WRITE with the system's reason; the temporary file is gone then.
    static void write(const std::string& path, const std::vector<uint8_t>& extra,
                      const std::function<void(faiss::IOWriter&)>& writeIndex);

    /// Maps the file and checks it. Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ or ERR_INDEX_CORRUPT.
    explicit CheckedFile(const std::string& path);
    ~CheckedFile();
    CheckedFile(const CheckedFile&) = delete;
    CheckedFile& operator=(const CheckedFile&) = delete;

    const std::vector<uint8_t>& extra() const { return extra_; }

    /// Reads FAISS's part; valid as long as this object.
    class Reader : public faiss::IOReader {
    public:
        Reader(const uint8_t* begin, size_t size) : at_(begin), left_(size) {}
        size_t operator()(void* to, size_t size, size_t count) override;

    private:
        const uint8_t* at_;
        size_t left_;
    };
    Reader reader() const { return Reader(data_, indexBytes_); }

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    size_t indexBytes_ = 0;
    std::vector<uint8_t> extra_;
};

} // namespace faiss_vision
