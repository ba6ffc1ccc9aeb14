#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "vision/jpeg_scan.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

using Bytes = std::vector<uint8_t>;

class JpegScan : public ::testing::TestWithParam<const char*> {
protected:
    const Bytes file = test::readBytes(test::golden(std::string("jpeg/") + GetParam() + ".jpg"));

    /// Where the scan's data begin.
    size_t scan() const {
        size_t at = 2;
        while (file[at + 1] != 0xda) at += 2 + segment(at);
        return at + 2 + segment(at);
    }
    size_t segment(size_t at) const { return size_t(file[at + 2]) << 8 | file[at + 3]; }
};

/// Of memory of its own, so that a sanitizer sees what is read beyond it.
bool isWhole(const Bytes& bytes) {
    const Bytes exactly(bytes.begin(), bytes.end());
    return isWholeJpeg(exactly.data(), exactly.size());
}

} // namespace

TEST_P(JpegScan, isWhole) {
    ASSERT_GT(file.size(), 2000u);
    EXPECT_TRUE(isWhole(file));
    Bytes more = file;
    more.push_back(0); // behind the end is nothing of the picture
    EXPECT_TRUE(isWhole(more));
}

TEST_P(JpegScan, isCutOffAnywhere) {
    for (size_t length = 0; length < file.size() - 2; length++) {
        Bytes part(file.begin(), file.begin() + long(length));
        ASSERT_FALSE(isWhole(part)) << length;
        part.insert(part.end(), {0xff, 0xd9}); // as if that were all of it
        ASSERT_FALSE(isWhole(part)) << length;
    }
}

TEST_P(JpegScan, lacksTablesOrCodes) {
    for (const uint8_t kind : {0xdb, 0xc4}) {
        Bytes other(file.begin(), file.begin() + 2);
        size_t at = 2;
        for (; file[at + 1] != 0xda; at += 2 + segment(at)) {
            if (file[at + 1] != kind) other.insert(other.end(), file.begin() + long(at), file.begin() + long(at + 2 + segment(at)));
        }
        other.insert(other.end(), file.begin() + long(at), file.end());
        ASSERT_LT(other.size(), file.size());
        EXPECT_FALSE(isWhole(other)) << int(kind);
    }
}

TEST_P(JpegScan, holdsMoreThanThePicture) {
    Bytes more = file;
    more.insert(more.end() - 2, {0x12, 0x34});
    EXPECT_FALSE(isWhole(more));
}

TEST_P(JpegScan, damagedIsMostlySeenAndNeverReadBeyondItsEnd) {
    std::mt19937 random(7);
    size_t seen = 0;
    constexpr size_t kTries = 3000;
    for (size_t i = 0; i < kTries; i++) {
        Bytes damaged = file;
        const size_t begin = i % 3 == 0 ? 0 : scan();
        for (size_t k = 0; k < 20; k++) damaged[begin + random() % (file.size() - begin)] = uint8_t(random());
        if (i % 5 == 0) damaged.resize(random() % file.size());
        seen += isWhole(damaged) ? 0 : 1;
    }
    EXPECT_GT(seen, kTries * 9 / 10);
}

TEST(JpegRestarts, comeInTheirOrder) {
    const Bytes file = test::readBytes(test::golden("jpeg/restarts.jpg"));
    size_t found = 0;
    for (size_t i = file.size() / 2; i + 1 < file.size(); i++) {
        if (file[i] != 0xff || file[i + 1] < 0xd0 || file[i + 1] > 0xd7) continue;
        Bytes other = file;
        other[i + 1] ^= 1;
        EXPECT_FALSE(isWhole(other));
        other[i + 1] = 0xd9; // ends here
        EXPECT_FALSE(isWhole(other));
        found++;
    }
    EXPECT_GT(found, 2u);
}

INSTANTIATE_TEST_SUITE_P(Files, JpegScan, ::testing::Values("halved", "restarts", "optimised"));
