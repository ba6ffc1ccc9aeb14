#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "ann/checked_file.h"
#include "index_check_support.h"

namespace faiss_vision {
namespace {

class Damage {
public:
    explicit Damage(uint64_t seed) : engine_(seed) {}

    /// Damages the bytes in one or two of eleven ways; says which.
    std::string apply(Bytes& bytes, const Bytes& other) {
        std::string how = once(bytes, other);
        if (below(4) == 0 && !bytes.empty()) how += " and " + once(bytes, other);
        return how;
    }

    size_t below(size_t n) { return n == 0 ? 0 : engine_() % n; }

private:
    std::string once(Bytes& bytes, const Bytes& other) {
        switch (below(11)) {
        case 0:
            bytes.resize(below(bytes.size()));
            return "cut";
        case 1: case 2:
            for (size_t i = 1 + below(4); i > 0; i--) bytes[below(bytes.size())] ^= uint8_t(1 << below(8));
            return "bits";
        case 3:
            bytes[field(bytes, 4)] ^= uint8_t(1 << below(8));
            return "a bit of a field";
        case 4: case 5:
            overwrite<uint32_t>(bytes);
            return "a field of 4";
        case 6: case 7:
            overwrite<uint64_t>(bytes);
            return "a field of 8";
        case 8: {
            const size_t at = below(bytes.size()), n = 1 + below(std::min<size_t>(64, bytes.size() - at));
            if (below(2) == 0) bytes.erase(bytes.begin() + at, bytes.begin() + at + n);
            else bytes.insert(bytes.begin() + at, n, uint8_t(below(256)));
            return "length";
        }
        case 9:
            everywhere(bytes);
            return "a number everywhere";
        default: {
            const size_t n = 1 + below(std::min(bytes.size(), other.size()) / 2);
            const size_t from = below(other.size() - n), to = below(bytes.size() - n);
            if (below(2) == 0) std::copy(other.begin() + from, other.begin() + from + n, bytes.begin() + to);
            else std::swap_ranges(bytes.begin(), bytes.begin() + n, bytes.end() - n);
            return "parts";
        }
        }
    }

    /// A place to write `size` bytes to: mostly where a small number lies, as lengths and settings are.
    size_t field(const Bytes& bytes, size_t size) {
        if (bytes.size() <= size) return 0;
        for (int tries = 0; tries < 200 && below(8) != 0; tries++) {
            const size_t at = below(tries % 2 == 0 ? bytes.size() - size : std::min<size_t>(bytes.size() - size, 400));
            uint32_t value;
            std::memcpy(&value, bytes.data() + at, sizeof value);
            if (value < 100000 || value == ~uint32_t{0}) return at;
        }
        return below(bytes.size() - size);
    }

    template <class T>
    T another(T old) {
        const auto two = [](int power) { return uint64_t{1} << power; };
        const uint64_t values[] = {0, 1, 2, 3, ~uint64_t{0}, two(16), two(31), two(31) - 1, two(32), two(40), two(62), two(63), two(63) - 1,
                                   old + 1, old - 1, uint64_t{old} * 2, old / 2, below(64), below(1000), 0x7fc00000, 0x7f800000, 0x7f000000};
        return T(values[below(std::size(values))]);
    }

    template <class T>
    void overwrite(Bytes& bytes) {
        if (bytes.size() <= sizeof(T)) return;
        const size_t at = field(bytes, sizeof(T));
        T value;
        std::memcpy(&value, bytes.data() + at, sizeof value);
        value = another(value);
        std::memcpy(bytes.data() + at, &value, sizeof value);
    }

    /// One number in all the places that hold it, so that they still agree: a count of vectors, lists or dimensions.
    void everywhere(Bytes& bytes) {
        if (bytes.size() <= sizeof(uint32_t)) return;
        uint32_t old, value;
        std::memcpy(&old, bytes.data() + field(bytes, sizeof old), sizeof old);
        value = below(2) == 0 ? old + uint32_t(below(5)) - 2 : another(old);
        if (old == 0) return;
        for (size_t at = 0; at + sizeof value <= bytes.size(); at++) {
            uint32_t here;
            std::memcpy(&here, bytes.data() + at, sizeof here);
            if (here == old) std::memcpy(bytes.data() + at, &value, sizeof value);
        }
    }

    std::mt19937_64 engine_;
};

size_t fromEnvironment(const char* name, size_t otherwise) {
    const char* const value = std::getenv(name);
    return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

TEST_F(IndexCheck, TenThousandDamagesAreLoadedRightlyOrRefused) {
    // More of them, or one again: FAISS_VISION_DAMAGES counts them from FAISS_VISION_FIRST_DAMAGE on.
    const size_t count = fromEnvironment("FAISS_VISION_DAMAGES", 10000);
    const size_t first = fromEnvironment("FAISS_VISION_FIRST_DAMAGE", 0);
    const auto& families = Families::all();
    std::map<std::string, size_t> codes;
    size_t taken = 0;
    for (size_t i = first; i < first + count; i++) {
        const Family& f = families[i % families.size()];
        Damage damage(i);
        Bytes bytes = f.bytes;
        const std::string how = damage.apply(bytes, families[damage.below(families.size())].bytes);
        const std::string what = "damage " + std::to_string(i) + " of " + f.name + ": " + how;
        SCOPED_TRACE(what);
        watch(what);

        int flags = 0;
        size_t tables = 0;
        try {
            tables = checkIndexBytes(bytes.data(), bytes.size(), f.kind, "bytes").tableBytes;
        } catch (const Error& error) {
            codes[error.code()]++;
            continue;
        }
        taken++;
        if (tables > 2 * bytes.size()) flags = faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE;
        try {
            Loaded loaded;
            const Needs needs = allocated([&] { loaded = load(bytes, f.kind, flags); });
            // A few bytes may be settings alone.
            const size_t most = std::max(2 * bytes.size(), size_t{1} << (bytes.size() < 1000 ? 20 : 16));
            EXPECT_LE(needs.largest, std::max(most, f.largestNeeded));
            EXPECT_LE(needs.peak, std::max(most, f.peakNeeded + f.peakNeeded / 4));
            if (loaded.floats) use(*loaded.floats);
            else use(*loaded.binary);
            std::string message;
            EXPECT_EQ(refusal(save(loaded), f.kind, &message), "none") << message;
        } catch (const std::exception& error) {
            ADD_FAILURE() << "was not refused, and then: " << error.what();
        }
    }
    EXPECT_EQ(codes["ERR_INDEX_CORRUPT"] + codes["ERR_INDEX_UNSUPPORTED"] + taken, count);
    if (count >= 10000) {
        EXPECT_GT(taken, count / 20); // a changed float is no reason to refuse
        EXPECT_GT(codes["ERR_INDEX_CORRUPT"], count / 4);
    }
    std::cout << "of " << count << " damages " << taken << " were loaded, " << codes["ERR_INDEX_CORRUPT"] << " found and "
              << codes["ERR_INDEX_UNSUPPORTED"] << " taken for something else\n";
}

TEST_F(IndexCheck, NoDamageOfAFileOfOursIsLoaded) {
    const size_t count = fromEnvironment("FAISS_VISION_DAMAGES", 10000);
    const auto& families = Families::all();
    std::vector<Bytes> files;
    for (const Family& f : families) {
        files.push_back(CheckedFile::toBytes({7}, [&](faiss::IOWriter& writer) { writer(f.bytes.data(), 1, f.bytes.size()); }));
    }
    for (size_t i = 0; i < count; i++) {
        const Family& f = families[i % families.size()];
        Damage damage(i + 1000000);
        Bytes bytes = files[i % files.size()];
        const std::string how = damage.apply(bytes, files[damage.below(files.size())]);
        const std::string what = "damage " + std::to_string(i) + " of our " + f.name + ": " + how;
        SCOPED_TRACE(what);
        watch(what);
        // The damage changed nothing, or took out as much as is ours: nothing tells the rest from a foreign file.
        if (bytes == files[i % files.size()] || bytes.size() == f.bytes.size()) continue;
        std::string code = "none";
        try {
            const CheckedFile file(bytes, "bytes", CheckedFile::Foreign::Allowed);
            checkIndexBytes(file.indexData(), file.indexSize(), f.kind, "bytes");
        } catch (const Error& error) {
            code = error.code();
        }
        EXPECT_TRUE(code == "ERR_INDEX_CORRUPT" || code == "ERR_INDEX_UNSUPPORTED") << code;
    }
}

} // namespace
} // namespace faiss_vision
