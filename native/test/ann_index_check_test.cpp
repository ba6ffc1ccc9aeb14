#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

#include "ann/checked_file.h"
#include "index_check_support.h"

namespace faiss_vision {
namespace {

const Family& family(const std::string& name) {
    for (const Family& f : Families::all()) {
        if (f.name == name) return f;
    }
    throw std::invalid_argument(name);
}

TEST_F(IndexCheck, TakesEveryFamilyAsFaissWritesItAndAfterUse) {
    for (const Family& f : Families::all()) {
        SCOPED_TRACE(f.name);
        watch("using " + f.name);
        std::string message;
        EXPECT_EQ(refusal(f.bytes, f.kind, &message), "none") << message;
        const Loaded loaded = load(f.bytes, f.kind);
        if (loaded.floats) use(*loaded.floats);
        else use(*loaded.binary);
        EXPECT_EQ(refusal(save(loaded), f.kind, &message), "none") << message;
    }
}

TEST_F(IndexCheck, RefusesEveryCutOfEveryFamily) {
    for (const Family& f : Families::all()) {
        SCOPED_TRACE(f.name);
        watch("cutting " + f.name);
        const size_t size = f.bytes.size();
        const size_t step = std::max<size_t>(1, size / 1000);
        size_t taken = 0;
        for (size_t cut = 0; cut < size; cut += cut < 300 || size - cut < 300 ? 1 : step) {
            // In memory of its own, so that a sanitizer sees a byte that is read behind it.
            if (refusal(Bytes(f.bytes.begin(), f.bytes.begin() + cut), f.kind) == "none") taken++;
        }
        EXPECT_EQ(taken, 0u);
        Bytes longer = f.bytes;
        longer.push_back(0);
        EXPECT_EQ(refusal(longer, f.kind), "ERR_INDEX_CORRUPT");
    }
}

TEST_F(IndexCheck, SaysWhatDoesNotFit) {
    std::string message;
    Bytes bytes = family("Flat").bytes;
    const int64_t one = kVectors + 1;
    std::memcpy(bytes.data() + 8, &one, sizeof one); // fourcc, d, ntotal
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_EQ(message, "bytes is damaged or no index: codes: 19264 bytes expected for 301 vectors of 64, got 19200");

    bytes = family("Flat").bytes;
    std::memcpy(bytes.data(), "Ix??", 4);
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_EQ(message, "bytes cannot be loaded: it holds no index type that FAISS 1.7.3 knows: \"Ix??\"");
    EXPECT_EQ(refusal({1, 2, 3, 4, 5}, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_NE(message.find("0x04030201"), std::string::npos) << message;
    EXPECT_EQ(refusal({}, IndexKind::Float), "ERR_INDEX_CORRUPT");
    EXPECT_EQ(refusal(family("BFlat").bytes, IndexKind::Float), "ERR_INDEX_UNSUPPORTED");
    EXPECT_EQ(refusal(family("Flat").bytes, IndexKind::Binary), "ERR_INDEX_UNSUPPORTED");

    bytes = family("IVF8,Flat").bytes;
    const auto lists = std::search(bytes.begin(), bytes.end(), "ilar", "ilar" + 4);
    ASSERT_NE(lists, bytes.end());
    std::memcpy(&*lists, "ilod", 4);
    EXPECT_EQ(refusal(bytes, IndexKind::Float, &message), "ERR_INDEX_UNSUPPORTED");
    EXPECT_NE(message.find("another file"), std::string::npos) << message;
}

TEST_F(IndexCheck, RefusesANestWithoutEnd) {
    // Each level is an IDMap header whose index is the next.
    Pieces nest;
    for (int i = 0; i < 100000; i++) {
        nest.text("IxMp").value<int32_t>(4).value<int64_t>(0).value<int64_t>(0).value<int64_t>(0).value<uint8_t>(1).value<int32_t>(1);
    }
    EXPECT_EQ(refusal(nest.bytes(), IndexKind::Float), "ERR_INDEX_CORRUPT");
}

TEST_F(IndexCheck, RefusesAFewBytesThatMeanMuchMemory) {
    const auto header = [](Pieces& out, const char* fourcc, int64_t ntotal, bool trained) -> Pieces& {
        return out.text(fourcc).value<int32_t>(4).value<int64_t>(ntotal).value<int64_t>(0).value<int64_t>(0).value<uint8_t>(trained)
            .value<int32_t>(1);
    };
    Pieces lists; // 2^30 lists, none of them with a vector
    header(lists, "IwFl", 0, false).value<uint64_t>(1 << 30).value<uint64_t>(1);
    header(lists, "IxF2", 0, true).value<uint64_t>(0);
    lists.value<uint8_t>(0).value<uint64_t>(0).text("ilar").value<uint64_t>(1 << 30).value<uint64_t>(16).text("sprs").value<uint64_t>(0);
    std::string message;
    EXPECT_EQ(refusal(lists.bytes(), IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_NE(message.find("would make FAISS take"), std::string::npos) << message;

    Pieces table; // a table of 2^16 x 2^16 between the codes of a PQ
    header(table, "IHNp", 0, true);
    const double probability = 1;
    const int32_t links[] = {0, 16};
    const uint64_t offset = 0;
    table.vector(&probability, 1).vector(links, 2).value<uint64_t>(0).vector(&offset, 1).value<uint64_t>(0);
    table.value<int32_t>(-1).value<int32_t>(-1).value<int32_t>(40).value<int32_t>(16).value<int32_t>(1);
    const std::vector<float> centroids(4 << 16);
    header(table, "IxPq", 0, true).value<uint64_t>(4).value<uint64_t>(1).value<uint64_t>(16).vector(centroids.data(), centroids.size());
    table.value<uint64_t>(0).value<int32_t>(0).value<uint8_t>(0).value<int32_t>(0);
    EXPECT_EQ(refusal(table.bytes(), IndexKind::Float, &message), "ERR_INDEX_CORRUPT");
    EXPECT_NE(message.find("would make FAISS take"), std::string::npos) << message;
}

TEST_F(IndexCheck, TellsTheSizeOfTheTablesThatCanBeLeftOut) {
    const Family& f = family("IVF8,PQ4x4");
    EXPECT_EQ(checkIndexBytes(f.bytes.data(), f.bytes.size(), f.kind, "bytes").tableBytes, 8u * 4 * 16 * sizeof(float));
    const auto tableOf = [&](int flags) {
        const Loaded loaded = load(f.bytes, f.kind, flags);
        return dynamic_cast<faiss::IndexIVFPQ&>(*loaded.floats).precomputed_table.size() * sizeof(float);
    };
    EXPECT_EQ(tableOf(0), 8u * 4 * 16 * sizeof(float));
    EXPECT_EQ(tableOf(faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE), 0u);
}

TEST(CheckedFileInMemory, ReadsWhatItWroteAndTellsOursFromForeign) {
    const Family& f = family("IVF8,Flat");
    const Bytes extra{1, 2, 3};
    int calls = 0;
    const Bytes bytes = CheckedFile::toBytes(extra, [&](faiss::IOWriter& writer) {
        calls++;
        writer(f.bytes.data(), 1, f.bytes.size());
    });
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(bytes.capacity(), bytes.size());
    const CheckedFile ours(bytes, "bytes", CheckedFile::Foreign::Allowed);
    EXPECT_TRUE(ours.hasTrailer());
    EXPECT_EQ(ours.extra(), extra);
    EXPECT_EQ(Bytes(ours.indexData(), ours.indexData() + ours.indexSize()), f.bytes);

    const CheckedFile foreign(f.bytes, "bytes", CheckedFile::Foreign::Allowed);
    EXPECT_FALSE(foreign.hasTrailer());
    EXPECT_EQ(foreign.indexSize(), f.bytes.size());
    EXPECT_THROW(CheckedFile(f.bytes, "bytes", CheckedFile::Foreign::Refused), Error);

    const std::string path = testing::TempDir() + "index_check_" + std::to_string(::getpid());
    CheckedFile::write(path, extra, [&](faiss::IOWriter& writer) { writer(f.bytes.data(), 1, f.bytes.size()); });
    EXPECT_EQ(CheckedFile(path).indexSize(), f.bytes.size());
    {
        std::ifstream file(path, std::ios::binary);
        EXPECT_EQ(Bytes(std::istreambuf_iterator<char>(file), {}), bytes);
    }
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(f.bytes.data()), f.bytes.size());
    EXPECT_FALSE(CheckedFile(path, CheckedFile::Foreign::Allowed).hasTrailer());
    std::remove(path.c_str());
}

} // namespace
} // namespace faiss_vision
