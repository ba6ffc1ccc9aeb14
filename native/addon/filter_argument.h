#pragma once

#include <napi.h>

#include "ann/basic_index.h"

namespace faiss_vision {

/// What a search is asked besides its vectors and k.
/// @param params  undefined, or an object of FAISS's parameter names and numbers
/// @param filter  undefined, { keep: ids } or { leaveOut: ids }, where ids are a list, { from, to } or a bitmap
SearchOptions searchOptions(Napi::Value params, Napi::Value filter);

} // namespace faiss_vision
