#include "ann/flat_file.h"

#include <cstring>
#include <optional>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <faiss/IndexIDMap.h>
#include <faiss/impl/io.h>

#include "ann/checked_file.h"
#include "error.h"

namespace faiss_vision {
namespace {

/// What FAISS writes of every index first (faiss/impl/index_write.cpp, write_index_header).
struct Header {
    static constexpr size_t kBytes = 4 + 4 + 8 + 8 + 8 + 1 + 4;
    uint32_t kind;
    int32_t dimension, metric;
    int64_t size;
    uint8_t trained;

    explicit Header(const uint8_t* from) {
        const auto take = [&](auto& value) {
            std::memcpy(&value, from, sizeof value);
            from += sizeof value;
        };
        int64_t unused;
        take(kind), take(dimension), take(size), take(unused), take(unused), take(trained), take(metric);
    }
    bool like(const Header& other) const { return dimension == other.dimension && metric == other.metric && size == other.size && trained == other.trained; }
};

uint64_t countAt(const uint8_t* from) {
    uint64_t count;
    std::memcpy(&count, from, sizeof count);
    return count;
}

} // namespace

std::unique_ptr<faiss::Index> loadFlat(const std::string& path, Exact exact) {
    std::unique_ptr<BoundedFlat> index;
    std::unique_ptr<faiss::IndexIDMap> map;
    const bool found = CheckedFile::readBlock(path, [&](const uint8_t* head, size_t bytes, uint64_t size) -> std::optional<CheckedFile::Block> {
        // Anything that does not fit is for those who say what is wrong with it.
        if (bytes < 2 * Header::kBytes + sizeof(uint64_t)) return std::nullopt;
        const Header outer(head);
        const bool mapped = outer.kind == faiss::fourcc("IxMp");
        const Header header(mapped ? head + Header::kBytes : head);
        const size_t begin = (mapped ? 2 : 1) * Header::kBytes + sizeof(uint64_t);
        const uint64_t numbers = countAt(head + begin - sizeof(uint64_t)), behind = size - begin;
        const bool l2 = header.kind == faiss::fourcc("IxF2") && header.metric == faiss::METRIC_L2;
        const bool product = header.kind == faiss::fourcc("IxFI") && header.metric == faiss::METRIC_INNER_PRODUCT;
        if ((!l2 && !product) || (mapped && !outer.like(header)) || header.dimension < 1 || header.size < 0 || header.trained != 1 || size < begin ||
            numbers > behind / sizeof(float) || uint64_t(header.size) > numbers / uint64_t(header.dimension) ||
            uint64_t(header.size) * uint64_t(header.dimension) != numbers) {
            return std::nullopt;
        }
        const size_t block = size_t(numbers) * sizeof(float), idBytes = sizeof(uint64_t) + size_t(header.size) * sizeof(int64_t);
        if (behind - block != (mapped ? idBytes : 0)) return std::nullopt;
        index = std::make_unique<BoundedFlat>(header.dimension, faiss::MetricType(header.metric), exact);
        index->codes.reserve(block + block / 16); // so that the first vectors to be added do not move all others
#ifdef __linux__
        constexpr uintptr_t kPage = 4096;
        const uintptr_t first = (reinterpret_cast<uintptr_t>(index->codes.data()) + kPage - 1) / kPage * kPage;
        if (block > (4 << 20)) ::madvise(reinterpret_cast<void*>(first), block - kPage, MADV_HUGEPAGE); // far fewer page faults
#endif
        const auto room = [flat = index.get()](size_t wanted) {
            if (flat->codes.size() < wanted) flat->codes.resize(wanted); // within what is reserved: nothing moves
            return flat->codes.data();
        };
        const auto arrived = [flat = index.get()](size_t bytesThere) {
            flat->ntotal = int64_t(bytesThere / flat->code_size);
            flat->catchUp();
        };
        const auto rest = [&, mapped, count = header.size](const std::vector<uint8_t>& ids) {
            if (!mapped) return;
            if (countAt(ids.data()) != uint64_t(count)) throw Error("ERR_INDEX_CORRUPT", path + " has another number of ids than of vectors");
            map = std::make_unique<faiss::IndexIDMap>(); // its constructor wants an empty index, so it is filled by hand
            map->d = index->d;
            map->metric_type = index->metric_type;
            map->ntotal = index->ntotal;
            map->is_trained = true;
            map->id_map.resize(size_t(count));
            if (count > 0) std::memcpy(map->id_map.data(), ids.data() + sizeof(uint64_t), size_t(count) * sizeof(int64_t));
        };
        return CheckedFile::Block{begin, block, room, arrived, rest};
    });
    if (!found) return nullptr;
    if (map == nullptr) return index;
    map->index = index.release();
    map->own_fields = true;
    return map;
}

} // namespace faiss_vision
