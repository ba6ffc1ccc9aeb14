#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ann/gpu.h"

namespace faiss_vision {

/// An index that FAISS keeps elsewhere, and that stays whole whatever fails. FAISS's own is half changed after a change that
/// failed: here it is then read back as far as it counted before, and made anew of that. Where it cannot be placed again it waits
/// on the CPU, which answers; where it cannot even be read, nothing is asked of it before it can. Knows no GPU, so that it is
/// tested without one. One call at a time.
class MovedIndex : public GpuIndex {
protected:
    using GpuIndex::GpuIndex;

    /// How much of what is elsewhere counts: vectors in all, and in each list of each part where there are lists.
    struct Extent {
        int64_t total = 0;
        std::vector<std::vector<int>> lists;
    };

    virtual std::unique_ptr<faiss::Index> place(const faiss::Index& cpu) const = 0;
    /// What counts of `placed`, which may be on the CPU, as an index on the CPU; all of it without an extent.
    virtual std::unique_ptr<faiss::Index> read(faiss::Index& placed, const Extent* extent) const = 0;
    virtual Extent extentOf(faiss::Index& placed) const = 0;
    /// Ends what a training that failed has left, so that the next one learns from the beginning.
    virtual void forget(faiss::Index& placed) const = 0;

    /// The first time.
    void moveThere(const faiss::Index& cpu) {
        placed_ = place(cpu);
        adopt();
    }

    /// In a whole state, which may be on the CPU. Throws what reading it back throws.
    faiss::Index& placed() const {
        if (owed_) {
            auto cpu = read(*placed_, &*owed_);
            owed_.reset();
            replaceBy(std::move(cpu));
        }
        return *placed_;
    }
    /// Whether it is where it belongs, and whole: it then stays there until the next change fails.
    bool settled() const { return !waiting_ && !owed_; }

    /// @param change  is called with what is elsewhere and its extent
    template <class Change>
    void changing(const Change& change) {
        placed();
        if (waiting_) replaceBy(std::move(placed_));
        const Extent before = extentOf(*placed_);
        try {
            change(*placed_, before);
        } catch (...) {
            ntotal = before.total;
            // The first error is the one to tell. Where mending fails too, the next call tries it again.
            try {
                if (is_trained) {
                    owed_ = before;
                    placed();
                } else {
                    forget(*placed_);
                }
            } catch (const std::exception&) {
            }
            throw;
        }
        adopt();
    }

    /// Returns whether it could be placed again.
    bool replaceBy(std::unique_ptr<faiss::Index> cpu) const {
        placed_.reset(); // for both at once there may be no room
        try {
            placed_ = place(*cpu);
            waiting_ = false;
        } catch (const std::exception&) {
            placed_ = std::move(cpu);
            waiting_ = true;
        }
        return !waiting_;
    }

    /// With nothing in it any more: before what it lies in ends.
    void leave() { placed_.reset(); }

private:
    void adopt() {
        ntotal = placed_->ntotal;
        is_trained = placed_->is_trained;
    }

    // To the outside the same whichever of them is how: a search, too, may have to mend it first.
    mutable std::unique_ptr<faiss::Index> placed_;
    mutable bool waiting_ = false;
    mutable std::optional<Extent> owed_; // a change failed, and this much of placed_ counts
};

} // namespace faiss_vision
