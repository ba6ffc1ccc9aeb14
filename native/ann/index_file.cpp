#include "ann/index_file.h"

#include <algorithm>
#include <type_traits>

#include <faiss/index_io.h>

#include "ann/faiss_call.h"
#include "ann/faiss_care.h"
#include "ann/gpu.h"
#include "ann/index_check.h"

namespace faiss_vision {
namespace {

class ReportingWriter : public faiss::IOWriter {
public:
    ReportingWriter(faiss::IOWriter& to, size_t total, const Progress& progress) : to_(to), total_(total), progress_(progress) {}
    size_t operator()(const void* from, size_t size, size_t count) override {
        // In pieces, since one vector of FAISS's may be most of the file.
        const auto* at = static_cast<const uint8_t*>(from);
        for (size_t left = size * count; left > 0;) {
            const size_t piece = std::min<size_t>(left, 16 << 20);
            to_(at, 1, piece);
            at += piece;
            left -= piece;
            written_ += piece;
            progress_(std::min(0.99, double(written_) / double(total_)));
        }
        return count;
    }

private:
    faiss::IOWriter& to_;
    const size_t total_;
    const Progress& progress_;
    size_t written_ = 0;
};

void write(const faiss::Index& index, faiss::IOWriter& writer) { faiss::write_index(&index, &writer); }
void write(const faiss::IndexBinary& index, faiss::IOWriter& writer) { faiss::write_index_binary(&index, &writer); }

/// The index as it is written to a file.
template <class Faiss>
class Writable {
public:
    explicit Writable(const Faiss& index) : index_(index) {}
    const Faiss& index() const { return index_; }

private:
    const Faiss& index_;
};
template <>
class Writable<faiss::Index> : public CpuForm {
public:
    using CpuForm::CpuForm;
};

} // namespace

// Sizes come out exact for every type, at the cost of looking at its fields.
template <class Faiss>
size_t writtenBytes(const Faiss& index) {
    CountingWriter counter;
    write(index, counter);
    return counter.bytes;
}

template <class Faiss>
void saveIndex(const Faiss& from, const std::string& path, const Progress& progress) {
    checkWritable(from);
    const Writable<Faiss> writable(from);
    const Faiss& index = writable.index();
    CheckedFile::write(path, {}, [&](faiss::IOWriter& writer) {
        faissCall("write", index, [&] {
            if (!progress) return write(index, writer);
            ReportingWriter reporting(writer, writtenBytes(index), progress);
            write(index, reporting);
        });
    });
    if (progress) progress(1);
}

template <class Faiss>
std::vector<uint8_t> indexToBytes(const Faiss& index) {
    checkWritable(index);
    const Writable<Faiss> writable(index);
    return CheckedFile::toBytes({}, [&](faiss::IOWriter& writer) { faissCall("write", writable.index(), [&] { write(writable.index(), writer); }); });
}

template <class Faiss>
std::unique_ptr<Faiss> parseIndex(const CheckedFile& file, const std::string& name) {
    constexpr bool floats = std::is_same_v<Faiss, faiss::Index>;
    int flags = 0;
    if (!file.hasTrailer()) {
        const IndexNeeds needs = checkIndexBytes(file.indexData(), file.indexSize(), floats ? IndexKind::Float : IndexKind::Binary, name);
        // A few bytes can ask for large tables, which only make searches faster.
        if (needs.tableBytes > file.indexSize()) flags = faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE;
    }
    auto reader = file.reader();
    try {
        std::unique_ptr<Faiss> index;
        if constexpr (floats) index.reset(faiss::read_index(&reader, flags));
        else index.reset(faiss::read_index_binary(&reader, flags));
        mendLoaded(*index);
        if constexpr (floats) checkUsable(*index);
        return index;
    } catch (const faiss::FaissException& exception) {
        throw Error("ERR_INDEX_CORRUPT", name + " cannot be read by FAISS: " + plainText(exception));
    }
}

template size_t writtenBytes(const faiss::Index&);
template size_t writtenBytes(const faiss::IndexBinary&);
template void saveIndex(const faiss::Index&, const std::string&, const Progress&);
template void saveIndex(const faiss::IndexBinary&, const std::string&, const Progress&);
template std::vector<uint8_t> indexToBytes(const faiss::Index&);
template std::vector<uint8_t> indexToBytes(const faiss::IndexBinary&);
template std::unique_ptr<faiss::Index> parseIndex(const CheckedFile&, const std::string&);
template std::unique_ptr<faiss::IndexBinary> parseIndex(const CheckedFile&, const std::string&);

} // namespace faiss_vision
