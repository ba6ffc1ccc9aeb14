#include "ann/id_filter.h"

#include <algorithm>
#include <utility>

namespace faiss_vision {

IdFilter IdFilter::list(const std::vector<int64_t>& ids, bool keep) {
    const int64_t largest = ids.empty() ? -1 : *std::max_element(ids.begin(), ids.end());
    // A bitmap answers at once; it is used while it is no larger than the list itself.
    if (largest >= 0 && uint64_t(largest) / 64 <= ids.size()) {
        IdFilter filter(Kind::Bitmap, keep);
        filter.bits_.resize(largest / 8 + 1);
        for (const int64_t id : ids) {
            if (id >= 0) filter.bits_[id / 8] |= uint8_t(1u << (id % 8));
        }
        return filter;
    }
    IdFilter filter(Kind::Sorted, keep);
    filter.sorted_ = ids;
    std::sort(filter.sorted_.begin(), filter.sorted_.end());
    return filter;
}

IdFilter IdFilter::range(int64_t from, int64_t to, bool keep) {
    IdFilter filter(Kind::Range, keep);
    filter.from_ = from;
    filter.to_ = to;
    return filter;
}

IdFilter IdFilter::bitmap(std::vector<uint8_t> bits, bool keep) {
    IdFilter filter(Kind::Bitmap, keep);
    filter.bits_ = std::move(bits);
    return filter;
}

bool IdFilter::listed(int64_t id) const {
    switch (kind_) {
        case Kind::Range: return from_ <= id && id < to_;
        case Kind::Bitmap: return id >= 0 && uint64_t(id) / 8 < bits_.size() && (bits_[id / 8] >> (id % 8) & 1) != 0;
        default: return std::binary_search(sorted_.begin(), sorted_.end(), id);
    }
}

} // namespace faiss_vision
