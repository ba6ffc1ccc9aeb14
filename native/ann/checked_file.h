#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <faiss/impl/io.h>

namespace faiss_vision {

/// How many bytes FAISS writes.
class CountingWriter : public faiss::IOWriter {
public:
    size_t operator()(const void*, size_t size, size_t count) override {
        bytes += size * count;
        return count;
    }
    size_t bytes = 0;
};

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

    /// The same in memory, with the same trailer. `writeIndex` is called twice: first to count the bytes.
    static std::vector<uint8_t> toBytes(const std::vector<uint8_t>& extra, const std::function<void(faiss::IOWriter&)>& writeIndex);

    /// Whether a file without the trailer is refused, or taken as one that FAISS itself or faiss-node wrote: then nothing
    /// of it is checked yet (see checkIndexBytes). A file of ours that was cut has lost its trailer and becomes such a
    /// one, with an index that is not whole or something left over behind it.
    enum class Foreign { Refused, Allowed };

    /// Reads the whole file and checks it. Throws ERR_FILE_NOT_FOUND, ERR_FILE_READ or ERR_INDEX_CORRUPT.
    /// It is read rather than mapped: what was checked is then what FAISS parses, whatever happens to the file
    /// meanwhile, and a file that another process cuts short is an error instead of a SIGBUS.
    explicit CheckedFile(const std::string& path, Foreign foreign = Foreign::Refused);
    /// The same over bytes in memory; `name` starts the messages.
    CheckedFile(std::vector<uint8_t> bytes, const std::string& name, Foreign foreign);
    CheckedFile(const CheckedFile&) = delete;
    CheckedFile& operator=(const CheckedFile&) = delete;

    /// Where in the index a block of bytes lies, and where it is to be: `room` makes memory for the first so many bytes of it and
    /// gives its beginning; `arrived` is told how many are there, in pieces, while more are being read. `rest` is given what comes
    /// behind the block, once everything is read and found right.
    struct Block {
        size_t begin;
        size_t bytes;
        std::function<uint8_t*(size_t bytes)> room;
        std::function<void(size_t bytes)> arrived;
        std::function<void(const std::vector<uint8_t>& rest)> rest;
    };
    /// Reads a file with the trailer whose index is a short header, such a block and little more, straight to its place: in the time
    /// of reading it, which taking it all in before FAISS parses it multiplies. Nothing of it may be used before this returns.
    /// @param find  told the index's first bytes, 128 at the most, and its size; gives the block, or nothing where there is none
    /// @return false where there is no trailer or no block; then nothing was read
    /// Throws as the constructor does.
    static bool readBlock(const std::string& path, const std::function<std::optional<Block>(const uint8_t* head, size_t bytes, uint64_t size)>& find);

    /// Whether the bytes were checked by a trailer of ours.
    bool hasTrailer() const { return hasTrailer_; }
    /// FAISS's part, valid as long as this object.
    const uint8_t* indexData() const { return bytes_.data(); }
    size_t indexSize() const { return indexBytes_; }
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
    Reader reader() const { return Reader(bytes_.data(), indexBytes_); }

private:
    std::vector<uint8_t> bytes_;
    bool hasTrailer_ = false;
    size_t indexBytes_ = 0;
    std::vector<uint8_t> extra_;
};

} // namespace faiss_vision
