#include "addon/filter_argument.h"

#include <limits>
#include <memory>
#include <string>

#include "addon/arguments.h"

namespace faiss_vision {
namespace {

constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();

IdFilter idSet(Napi::Value value, const std::string& name, bool keep) {
    if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
        const auto bits = bytesArgument(value, name);
        return IdFilter::bitmap(std::vector<uint8_t>(bits.data(), bits.data() + bits.size()), keep);
    }
    if (value.IsObject() && !value.IsArray() && !value.IsTypedArray()) {
        const auto range = value.As<Napi::Object>();
        const int64_t from = idArgument(range.Get("from"), name + ".from", kMaxId);
        const int64_t to = idArgument(range.Get("to"), name + ".to", kMaxId);
        return IdFilter::range(from, to, keep);
    }
    return IdFilter::list(idsArgument(value, name, kMaxId), keep);
}

} // namespace

SearchOptions searchOptions(Napi::Value params, Napi::Value filter) {
    SearchOptions options;
    if (!params.IsUndefined()) {
        if (!params.IsObject()) refuse("params", "an object of parameter names and numbers", params);
        const auto object = params.As<Napi::Object>();
        const auto names = object.GetPropertyNames();
        for (uint32_t i = 0; i < names.Length(); i++) {
            const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
            options.parameters.emplace_back(name, numberArgument(object.Get(name), "params." + name));
        }
    }
    if (!filter.IsUndefined()) {
        if (!filter.IsObject()) refuse("filter", "{ keep: ids } or { leaveOut: ids }", filter);
        const auto object = filter.As<Napi::Object>();
        const Napi::Value keep = object.Get("keep");
        const Napi::Value leaveOut = object.Get("leaveOut");
        if (keep.IsUndefined() == leaveOut.IsUndefined()) refuse("filter", "{ keep: ids } or { leaveOut: ids }, one of the two", filter);
        const bool kept = !keep.IsUndefined();
        options.filter = std::make_shared<IdFilter>(idSet(kept ? keep : leaveOut, kept ? "filter.keep" : "filter.leaveOut", kept));
    }
    return options;
}

} // namespace faiss_vision
