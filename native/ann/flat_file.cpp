#include "ann/flat_file.h"

#include <cstring>
#include <optional>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <faiss/impl/io.h>

#include "ann/checked_file.h"

namespace faiss_vision {
namespace {

/// What FAISS writes before a flat index's vectors (faiss/impl/index_write.cpp, write_index_header and WRITEXBVECTOR).
struct Header {
    static constexpr size_t kBytes = 4 + 4 + 8 + 8 + 8 + 1 + 4 + 8;
    uint32_t kind;
    int32_t dimension, metric;
    int64_t size;
    uint8_t trained;
    uint64_t numbers;

    explicit Header(const uint8_t* from) {
        const auto take = [&](auto& value) {
            std::memcpy(&value, from, sizeof value);
            from += sizeof value;
        };
        int64_t unused;
        take(kind), take(dimension), take(size), take(unused), take(unused), take(trained), take(metric), take(numbers);
    }
};

} // namespace

std::unique_ptr<BoundedFlat> loadFlat(const std::string& path, Exact exact) {
    std::unique_ptr<BoundedFlat> index;
    const bool found = CheckedFile::readBlock(path, [&](const uint8_t* head, size_t bytes, uint64_t size) -> std::optional<CheckedFile::Block> {
        if (bytes < Header::kBytes) return std::nullopt;
        const Header header(head);
        const bool l2 = header.kind == faiss::fourcc("IxF2") && header.metric == faiss::METRIC_L2;
        const bool product = header.kind == faiss::fourcc("IxFI") && header.metric == faiss::METRIC_INNER_PRODUCT;
        const uint64_t block = size - Header::kBytes;
        // Anything that does not fit is for those who say what is wrong with it.
        if ((!l2 && !product) || header.dimension < 1 || header.size < 0 || header.trained != 1 || header.numbers != block / sizeof(float) ||
            block % sizeof(float) != 0 || uint64_t(header.size) > block / sizeof(float) / uint64_t(header.dimension) ||
            uint64_t(header.size) * uint64_t(header.dimension) != header.numbers) {
            return std::nullopt;
        }
        index = std::make_unique<BoundedFlat>(header.dimension, faiss::MetricType(header.metric), exact);
        index->codes.reserve(block);
#ifdef __linux__
        constexpr uintptr_t kPage = 4096;
        const uintptr_t begin = (reinterpret_cast<uintptr_t>(index->codes.data()) + kPage - 1) / kPage * kPage;
        if (block > (4 << 20)) ::madvise(reinterpret_cast<void*>(begin), block - kPage, MADV_HUGEPAGE); // far fewer page faults
#endif
        const auto room = [flat = index.get()](size_t wanted) {
            if (flat->codes.size() < wanted) flat->codes.resize(wanted); // within what is reserved: nothing moves
            return flat->codes.data();
        };
        const auto arrived = [flat = index.get()](size_t bytesThere) {
            flat->ntotal = int64_t(bytesThere / flat->code_size);
            flat->catchUp();
        };
        return CheckedFile::Block{Header::kBytes, room, arrived};
    });
    if (!found) index.reset();
    return index;
}

} // namespace faiss_vision
