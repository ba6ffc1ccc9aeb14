#include "vision/jpeg_scan.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

// Sections and names are those of ITU-T T.81. Codes are read, not what they stand for, so this takes a fraction of decoding's time.

namespace faiss_vision {
namespace {

constexpr size_t kColours = 3, kBlock = 64;

/// What a code stands for: how many bits it and the number behind it take, and how many numbers of a block they are.
struct Step {
    uint8_t bits = 0; // 0 for no code
    uint8_t numbers = 0;
};
constexpr uint8_t kRest = 2 * kBlock; // all zeros to the end of the block

/// F.1.2.1 to F.1.2.2: of a symbol behind a code of that length, for AC; for DC all but its bits are without meaning.
Step stepOf(size_t length, uint8_t symbol) {
    const uint8_t zeros = symbol >> 4, size = symbol & 15;
    return {uint8_t(length + size), size == 0 && zeros != 15 ? kRest : uint8_t(zeros + 1)};
}

/// F.2.2.3, with a table for the short codes.
class Codes {
public:
    /// B.2.4.2: how many codes of each length, and what they stand for. Returns how many bytes that is, 0 where they are no table.
    size_t read(const uint8_t* table, size_t bytes) {
        if (bytes < kLongest) return 0;
        size_t count = 0;
        for (size_t length = 1; length <= kLongest; length++) count += table[length - 1];
        if (count > symbols_.size() || kLongest + count > bytes) return 0;
        std::copy_n(table + kLongest, count, symbols_.begin());
        short_.fill({});
        uint32_t code = 0, first = 0;
        for (uint32_t length = 1; length <= kLongest; length++, code <<= 1) {
            const uint32_t some = table[length - 1];
            if (code + some > 1u << length) return 0;
            begin_[length] = int32_t(first) - int32_t(code);
            for (uint32_t i = 0; i < some && length <= kShort; i++) {
                const uint32_t shift = kShort - length;
                std::fill_n(short_.begin() + ((code + i) << shift), size_t{1} << shift, stepOf(length, symbols_[first + i]));
            }
            code += some, first += some;
            end_[length] = code;
        }
        return kLongest + count;
    }

    /// What the first of 16 bits stand for.
    Step find(uint32_t bits) const {
        if (const Step found = short_[bits >> (kLongest - kShort)]; found.bits != 0) return found;
        for (uint32_t length = kShort + 1; length <= kLongest; length++) {
            const uint32_t code = bits >> (kLongest - length);
            if (code < end_[length]) return stepOf(length, symbols_[size_t(begin_[length] + int32_t(code))]);
        }
        return {};
    }

private:
    static constexpr uint32_t kLongest = 16, kShort = 10;

    std::array<Step, 1 << kShort> short_{};
    std::array<uint8_t, 256> symbols_{};
    std::array<int32_t, kLongest + 1> begin_{}; // of a length: the place of its first symbol, less its first code
    std::array<uint32_t, kLongest + 1> end_{};  // the code after its last
};

struct Colour {
    uint8_t id = 0;
    uint8_t table = 0; // of quantization
    int blocks = 0; // in a unit
    const Codes* dc = nullptr;
    const Codes* ac = nullptr;
};

struct Head {
    std::array<Colour, kColours> colours;
    std::array<Codes, 8> codes; // four for DC, four for AC
    size_t units = 0;           // MCUs
    size_t interval = 0;        // of them between two restarts; 0: no restarts
    std::array<bool, 4> tables{}; // of quantization, which are there
};

/// B.2.2. Returns false for what is not known here.
bool readFrame(const uint8_t* frame, size_t bytes, Head& head) {
    if (head.units != 0 || bytes != 6 + 3 * kColours || frame[0] != 8 || frame[5] != kColours) return false;
    const size_t height = size_t(frame[1]) << 8 | frame[2], width = size_t(frame[3]) << 8 | frame[4];
    size_t wide = 0, high = 0;
    for (size_t i = 0; i < kColours; i++) {
        const uint8_t* const colour = frame + 6 + 3 * i;
        const size_t across = colour[1] >> 4, down = colour[1] & 15;
        if (across < 1 || across > 4 || down < 1 || down > 4 || colour[2] >= head.tables.size()) return false;
        head.colours[i].id = colour[0], head.colours[i].blocks = int(across * down), head.colours[i].table = colour[2];
        wide = std::max(wide, 8 * across), high = std::max(high, 8 * down);
    }
    head.units = ((width + wide - 1) / wide) * ((height + high - 1) / high);
    return head.units != 0;
}

bool readCodes(const uint8_t* tables, size_t bytes, Head& head) {
    while (bytes > 0) {
        const uint8_t which = *tables;
        if ((which & ~0x13) != 0) return false;
        const size_t read = head.codes[size_t(4 * (which >> 4) + (which & 3))].read(tables + 1, bytes - 1);
        if (read == 0) return false;
        tables += 1 + read, bytes -= 1 + read;
    }
    return true;
}

/// B.2.4.1: which there are; a decoder that has none might take those of the picture before.
bool readTables(const uint8_t* tables, size_t bytes, Head& head) {
    while (bytes > 0) {
        const uint8_t which = *tables;
        const size_t some = 1 + kBlock * (which >> 4 == 0 ? 1 : 2);
        if ((which & ~0x13) != 0 || bytes < some) return false;
        head.tables[which & 3] = true;
        tables += some, bytes -= some;
    }
    return true;
}

/// B.2.3
bool readScan(const uint8_t* scan, size_t bytes, Head& head) {
    if (head.units == 0 || bytes != 4 + 2 * kColours || scan[0] != kColours) return false;
    for (size_t i = 0; i < kColours; i++) {
        const uint8_t* const colour = scan + 1 + 2 * i;
        if (colour[0] != head.colours[i].id || (colour[1] & ~0x33) != 0 || !head.tables[head.colours[i].table]) return false;
        head.colours[i].dc = &head.codes[colour[1] >> 4];
        head.colours[i].ac = &head.codes[4 + (colour[1] & 3)];
    }
    return true;
}

/// Bits of an interval, with zeros behind them: a block of 64 may begin in the last of them.
class Bits {
public:
    void begin() { bytes_.clear(), at_ = 0; }
    void add(const uint8_t* data, size_t bytes) { bytes_.insert(bytes_.end(), data, data + bytes); }
    void end() {
        end_ = 8 * bytes_.size();
        bytes_.resize(bytes_.size() + kBlock * 4);
    }

    /// F.2.2. Returns false where there is no such code, or the bits are over.
    bool skipBlock(const Colour& colour) {
        uint64_t next = load();
        Step step = colour.dc->find(uint32_t(next >> 48));
        if (step.bits == 0) return false;
        at_ += step.bits;
        const Codes& ac = *colour.ac;
        for (size_t i = 1; i < kBlock;) {
            next = load(); // of its 57 bits a code and its number take 31 at most
            step = ac.find(uint32_t(next >> 48));
            if (step.bits == 0) return false;
            at_ += step.bits, i += step.numbers;
            if (i < kBlock) {
                step = ac.find(uint32_t(next << step.bits >> 48));
                if (step.bits == 0) return false;
                at_ += step.bits, i += step.numbers;
            }
            if (i > kBlock && i <= kRest) return false; // more than a block has
        }
        return at_ <= end_;
    }
    bool atEnd() const { return end_ - at_ < 8; } // the rest of a byte is filled up

private:
    /// The next 57 bits and more, from the highest on.
    uint64_t load() const {
        uint64_t some;
        std::memcpy(&some, bytes_.data() + (at_ >> 3), sizeof some);
        some = __builtin_bswap64(some);
        return some << (at_ & 7);
    }

    std::vector<uint8_t> bytes_;
    size_t at_ = 0, end_ = 0;
};

/// F.1.2.3 and B.2.1: what lies behind the head, in intervals between which the markers RST0 to RST7 take turns.
bool isWholeScan(const uint8_t* scan, const uint8_t* end, const Head& head) {
    Bits bits;
    size_t left = head.units;
    for (uint8_t restart = 0xd0;; restart = 0xd0 | ((restart + 1) & 7)) {
        uint8_t marker = 0; // 0xff in the data has a zero behind it, which does not count
        for (bits.begin(); marker == 0;) {
            const auto* const found = static_cast<const uint8_t*>(std::memchr(scan, 0xff, size_t(end - scan)));
            if (found == nullptr || found + 1 == end) return false;
            marker = found[1];
            bits.add(scan, size_t(found - scan) + (marker == 0 ? 1 : 0));
            scan = found + 2;
        }
        bits.end();
        const size_t some = head.interval == 0 ? left : std::min(left, head.interval);
        for (size_t unit = 0; unit < some; unit++) {
            for (const Colour& colour : head.colours) {
                for (int block = 0; block < colour.blocks; block++) {
                    if (!bits.skipBlock(colour)) return false;
                }
            }
        }
        left -= some;
        if (!bits.atEnd()) return false;
        if (left == 0) return marker == 0xd9; // EOI
        if (marker != restart) return false;
    }
}

} // namespace

bool isWholeJpeg(const uint8_t* file, size_t bytes) {
    Head head;
    const uint8_t* const end = file + bytes;
    if (bytes < 4 || file[0] != 0xff || file[1] != 0xd8) return false;
    for (file += 2; end - file >= 4;) {
        const uint8_t marker = file[1];
        const size_t length = size_t(file[2]) << 8 | file[3];
        if (file[0] != 0xff || length < 2 || size_t(end - file) < 2 + length) return false;
        const uint8_t* const content = file + 4;
        const size_t some = length - 2;
        if ((marker == 0xc0 || marker == 0xc1) && !readFrame(content, some, head)) return false; // SOF0, SOF1
        if (marker == 0xc4 && !readCodes(content, some, head)) return false;                     // DHT
        if (marker == 0xdb && !readTables(content, some, head)) return false;                    // DQT
        if (marker == 0xdd) {                                                                    // DRI
            if (some != 2) return false;
            head.interval = size_t(content[0]) << 8 | content[1];
        }
        if (marker == 0xda) return readScan(content, some, head) && isWholeScan(content + some, end, head); // SOS
        file = content + some;
    }
    return false;
}

} // namespace faiss_vision
