#pragma once

#include <cstdint>
#include <vector>

#include <faiss/impl/IDSelector.h>

namespace faiss_vision {

/// The ids that a search may find.
class IdFilter : public faiss::IDSelector {
public:
    /// Those in the list, or all others.
    static IdFilter list(const std::vector<int64_t>& ids, bool keep);
    /// Those with from <= id < to, or all others.
    static IdFilter range(int64_t from, int64_t to, bool keep);
    /// Those whose bit is set (bit id % 8 of byte id / 8), or all others.
    static IdFilter bitmap(std::vector<uint8_t> bits, bool keep);

    bool is_member(int64_t id) const override { return listed(id) == keep_; }

private:
    enum class Kind { Range, Bitmap, Sorted };
    IdFilter(Kind kind, bool keep) : kind_(kind), keep_(keep) {}
    bool listed(int64_t id) const;

    Kind kind_;
    bool keep_;
    int64_t from_ = 0, to_ = 0;
    std::vector<uint8_t> bits_;
    std::vector<int64_t> sorted_;
};

} // namespace faiss_vision
