#include "ann/checked_file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "error.h"

namespace faiss_vision {
namespace {

constexpr char kMagic[8] = {'F', 'V', 'I', 'N', 'D', 'E', 'X', '1'};

struct Trailer {
    uint64_t indexBytes;
    uint64_t extraBytes;
    uint64_t checksum;
    char magic[8];
};
static_assert(sizeof(Trailer) == 32, "the trailer is read and written as it lies in memory");

class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() { if (fd_ >= 0) ::close(fd_); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

private:
    int fd_;
};

Error failed(const char* code, const std::string& path, const char* what, int error) {
    return Error(code, std::string("could not ") + what + " " + path + ": " + std::strerror(error));
}

void writeAll(int fd, const std::string& path, const uint8_t* from, size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = ::write(fd, from, std::min(bytes, size_t{1} << 30));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw failed("ERR_FILE_WRITE", path, "write", errno);
        from += n;
        bytes -= n;
    }
}

struct FreeState {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

class HashingWriter : public faiss::IOWriter {
public:
    using Sink = std::function<void(const uint8_t* from, size_t bytes)>;

    HashingWriter(const std::string& path, Sink sink)
        : sink_(std::move(sink)), state_(XXH3_createState()), buffer_(1 << 16) {
        name = path;
        XXH3_64bits_reset(state_.get());
    }

    size_t operator()(const void* from, size_t size, size_t count) override {
        put(from, size * count);
        return count;
    }

    void put(const void* from, size_t bytes) {
        XXH3_64bits_update(state_.get(), from, bytes);
        putUnhashed(from, bytes);
    }

    void putUnhashed(const void* from, size_t bytes) {
        written_ += bytes;
        if (used_ + bytes > buffer_.size()) flush();
        if (bytes >= buffer_.size()) return sink_(static_cast<const uint8_t*>(from), bytes);
        if (bytes > 0) std::memcpy(buffer_.data() + used_, from, bytes); // an empty vector has no address
        used_ += bytes;
    }

    void flush() {
        sink_(buffer_.data(), used_);
        used_ = 0;
    }

    uint64_t checksum() const { return XXH3_64bits_digest(state_.get()); }
    uint64_t written() const { return written_; }

private:
    Sink sink_;
    std::unique_ptr<XXH3_state_t, FreeState> state_;
    std::vector<uint8_t> buffer_; // FAISS writes some fields four bytes at a time
    size_t used_ = 0;
    uint64_t written_ = 0;
};

void writeWithTrailer(HashingWriter& writer, const std::vector<uint8_t>& extra, const std::function<void(faiss::IOWriter&)>& writeIndex) {
    writeIndex(writer);
    Trailer trailer{};
    trailer.indexBytes = writer.written();
    trailer.extraBytes = extra.size();
    writer.put(extra.data(), extra.size());
    writer.put(&trailer, offsetof(Trailer, checksum));
    trailer.checksum = writer.checksum();
    std::memcpy(trailer.magic, kMagic, sizeof kMagic);
    writer.putUnhashed(&trailer.checksum, sizeof trailer - offsetof(Trailer, checksum));
    writer.flush();
}

// Removes the temporary file unless it got its final name.
class Temporary {
public:
    explicit Temporary(const std::string& path) {
        static std::atomic<unsigned> counter{0}; // two saves of one process to one path must not share a name
        name_ = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    }
    ~Temporary() { if (!renamed_) ::unlink(name_.c_str()); }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;

    const char* name() const { return name_.c_str(); }
    void renameTo(const std::string& path) {
        if (::rename(name(), path.c_str()) != 0) throw failed("ERR_FILE_WRITE", path, "rename the new file to", errno);
        renamed_ = true;
    }

private:
    std::string name_;
    bool renamed_ = false;
};

class InputFile {
public:
    explicit InputFile(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (file_.get() < 0) throw failed(errno == ENOENT ? "ERR_FILE_NOT_FOUND" : "ERR_FILE_READ", path, "open", errno);
        struct stat status;
        if (::fstat(file_.get(), &status) != 0) throw failed("ERR_FILE_READ", path, "read", errno);
        if (!S_ISREG(status.st_mode)) throw Error("ERR_FILE_READ", "could not read " + path + ": not a regular file");
        size_ = size_t(status.st_size);
    }
    size_t size() const { return size_; }
    void read(size_t at, uint8_t* to, size_t bytes) const {
        while (bytes > 0) {
            const ssize_t n = ::pread(file_.get(), to, std::min(bytes, size_t{1} << 30), off_t(at));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) throw failed("ERR_FILE_READ", path_, "read", errno);
            if (n == 0) throw Error("ERR_FILE_READ", "could not read " + path_ + ": it became shorter meanwhile");
            at += size_t(n), to += n, bytes -= size_t(n);
        }
    }

private:
    const std::string path_;
    const Descriptor file_;
    size_t size_ = 0;
};

std::vector<uint8_t> readFile(const std::string& path) {
    const InputFile file(path);
    std::vector<uint8_t> bytes(file.size());
    file.read(0, bytes.data(), bytes.size());
    return bytes;
}

Error corrupt(const std::string& name, const std::string& why) { return Error("ERR_INDEX_CORRUPT", name + " " + why); }

bool ours(const Trailer& trailer) { return std::memcmp(trailer.magic, kMagic, sizeof kMagic) == 0; }

void checkLengths(const Trailer& trailer, size_t size, const std::string& name) {
    const uint64_t content = size - sizeof trailer;
    if (trailer.indexBytes > content || trailer.extraBytes != content - trailer.indexBytes) {
        throw corrupt(name, "was changed: its lengths do not add up to its size of " + std::to_string(size) + " bytes");
    }
}

constexpr const char* kWrongChecksum = "was changed: its checksum does not fit";

} // namespace

void CheckedFile::write(const std::string& path, const std::vector<uint8_t>& extra,
                        const std::function<void(faiss::IOWriter&)>& writeIndex) {
    Temporary temporary(path);
    const Descriptor file(::open(temporary.name(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (file.get() < 0) throw failed("ERR_FILE_WRITE", path, "write", errno);

    HashingWriter writer(path, [&](const uint8_t* from, size_t bytes) { writeAll(file.get(), path, from, bytes); });
    writeWithTrailer(writer, extra, writeIndex);
    if (::fsync(file.get()) != 0) throw failed("ERR_FILE_WRITE", path, "sync", errno);
    temporary.renameTo(path);

    // The name itself is only on the disk once its folder is.
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || ::fsync(directory.get()) != 0) throw failed("ERR_FILE_WRITE", folder, "sync the folder", errno);
}

std::vector<uint8_t> CheckedFile::toBytes(const std::vector<uint8_t>& extra, const std::function<void(faiss::IOWriter&)>& writeIndex) {
    CountingWriter counter;
    writeIndex(counter);
    std::vector<uint8_t> bytes;
    bytes.reserve(counter.bytes + extra.size() + sizeof(Trailer));
    HashingWriter writer("bytes", [&](const uint8_t* from, size_t n) { bytes.insert(bytes.end(), from, from + n); });
    writeWithTrailer(writer, extra, writeIndex);
    return bytes;
}

CheckedFile::CheckedFile(const std::string& path, Foreign foreign) : CheckedFile(readFile(path), path, foreign) {}

CheckedFile::CheckedFile(std::vector<uint8_t> bytes, const std::string& name, Foreign foreign) : bytes_(std::move(bytes)) {
    const size_t size = bytes_.size();
    Trailer trailer{};
    if (size >= sizeof trailer) std::memcpy(&trailer, bytes_.data() + size - sizeof trailer, sizeof trailer);
    hasTrailer_ = size >= sizeof trailer && ours(trailer);
    if (!hasTrailer_) {
        if (foreign == Foreign::Allowed) {
            indexBytes_ = size;
            return;
        }
        if (size < sizeof trailer) throw corrupt(name, "is cut off or of another kind: " + std::to_string(size) + " bytes");
        throw corrupt(name, "is cut off or of another kind: its end is not one that a save writes");
    }
    checkLengths(trailer, size, name);
    const uint64_t content = size - sizeof trailer;
    if (XXH3_64bits(bytes_.data(), content + offsetof(Trailer, checksum)) != trailer.checksum) throw corrupt(name, kWrongChecksum);
    indexBytes_ = trailer.indexBytes;
    extra_.assign(bytes_.begin() + indexBytes_, bytes_.begin() + content);
}

bool CheckedFile::readBlock(const std::string& path, const std::function<std::optional<Block>(const uint8_t*, size_t, uint64_t)>& find) {
    constexpr size_t kHead = 128, kPiece = 4 << 20; // pieces that are still in the cache when they are looked at
    const InputFile file(path);
    Trailer trailer{};
    if (file.size() < sizeof trailer) return false;
    file.read(file.size() - sizeof trailer, reinterpret_cast<uint8_t*>(&trailer), sizeof trailer);
    if (!ours(trailer)) return false;
    checkLengths(trailer, file.size(), path);
    std::vector<uint8_t> head(size_t(std::min<uint64_t>(kHead, trailer.indexBytes)));
    file.read(0, head.data(), head.size());
    const std::optional<Block> block = find(head.data(), head.size(), trailer.indexBytes);
    if (!block) return false;

    const std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
    XXH3_64bits_reset(state.get());
    XXH3_64bits_update(state.get(), head.data(), block->begin);
    const size_t bytes = block->bytes, end = block->begin + bytes;
    const auto read = [&](size_t at) {
        const size_t count = std::min(kPiece, bytes - at);
        uint8_t* const to = block->room(at + count) + at;
        return std::async(std::launch::async, [&file, &block, at, to, count] { file.read(block->begin + at, to, count); });
    };
    std::future<void> reading = bytes > 0 ? read(0) : std::future<void>();
    for (size_t at = 0; at < bytes; at += kPiece) {
        reading.get();
        if (at + kPiece < bytes) reading = read(at + kPiece);
        const size_t count = std::min(kPiece, bytes - at);
        XXH3_64bits_update(state.get(), block->room(at + count) + at, count);
        block->arrived(at + count);
    }
    std::vector<uint8_t> rest(size_t(trailer.indexBytes) - end + size_t(trailer.extraBytes) + offsetof(Trailer, checksum));
    file.read(end, rest.data(), rest.size());
    XXH3_64bits_update(state.get(), rest.data(), rest.size());
    if (XXH3_64bits_digest(state.get()) != trailer.checksum) throw corrupt(path, kWrongChecksum);
    rest.resize(size_t(trailer.indexBytes) - end);
    block->rest(rest);
    return true;
}

size_t CheckedFile::Reader::operator()(void* to, size_t size, size_t count) {
    if (size == 0) return count;
    const size_t whole = std::min(count, left_ / size);
    if (whole > 0) std::memcpy(to, at_, whole * size); // an empty vector has no address
    at_ += whole * size;
    left_ -= whole * size;
    return whole;
}

} // namespace faiss_vision
