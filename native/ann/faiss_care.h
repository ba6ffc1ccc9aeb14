#pragma once

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

// What FAISS 1.7.3 leaves undone or does not survive, by type.

/// The index within its wrappers (IDMap, PreTransform, Refine) that codes the vectors.
faiss::Index& innermost(faiss::Index& index);
const faiss::Index& innermost(const faiss::Index& index);

/// After reading a file: tables that FAISS does not fill, what it would never free, and direct maps, which it keeps true for
/// some ways of adding and removing only (ids are looked up without them here).
void mendLoaded(faiss::Index& index);
void mendLoaded(faiss::IndexBinary& index);

/// What reset() and merge_from() leave behind in the index that is empty now.
void finishEmptying(faiss::Index& index);
void finishEmptying(faiss::IndexBinary& index);

/// Throws ERR_UNSUPPORTED for an index, made or loaded, that would end the process when it is used.
void checkUsable(const faiss::Index& index);

/// Throws ERR_UNSUPPORTED where FAISS would lose what it writes.
void checkWritable(const faiss::Index& index);
void checkWritable(const faiss::IndexBinary& index);

/// Whether finite numbers so large that distances overflow make it read or write elsewhere.
bool dreadsLargeNumbers(const faiss::Index& index);

/// Whether it reads up to eight bytes behind a vector.
bool readsBehind(const faiss::IndexBinary& index);

} // namespace faiss_vision
