#include "addon/arguments.h"

#include <cmath>
#include <limits>

#include "error.h"

namespace faiss_vision {
namespace {

const char* typedArrayName(napi_typedarray_type type) {
    switch (type) {
        case napi_int8_array: return "an Int8Array";
        case napi_uint8_array: return "a Uint8Array";
        case napi_uint8_clamped_array: return "a Uint8ClampedArray";
        case napi_int16_array: return "an Int16Array";
        case napi_uint16_array: return "a Uint16Array";
        case napi_int32_array: return "an Int32Array";
        case napi_uint32_array: return "a Uint32Array";
        case napi_float32_array: return "a Float32Array";
        case napi_float64_array: return "a Float64Array";
        case napi_bigint64_array: return "a BigInt64Array";
        case napi_biguint64_array: return "a BigUint64Array";
        default: return "a typed array";
    }
}

bool detached(const Napi::TypedArray& array) {
    bool result = false;
    napi_is_detached_arraybuffer(array.Env(), array.ArrayBuffer(), &result);
    return result;
}

void refuseDetached(const Napi::TypedArray& array, const std::string& name) {
    if (detached(array)) throw Error("ERR_DETACHED", "`" + name + "` must still have its memory: its buffer was detached or transferred");
}

Error invalidId(const std::string& name, int64_t max, const std::string& came) {
    return Error("ERR_INVALID_ID", "`" + name + "` must be whole numbers from 0 to 2^" + (max == kMaxSafeInteger ? "53" : "63") + " - 1, got " + came);
}

/// The length of an array that is to hold whole vectors.
void requireVectors(size_t length, const std::string& name, size_t width, const std::string& unit) {
    if (length == 0) {
        throw Error("ERR_EMPTY_INPUT", "`" + name + "` must hold at least one vector of " + std::to_string(width) + " " + unit + ", got none");
    }
    if (length % width != 0) {
        throw Error("ERR_DIMENSION_MISMATCH", "`" + name + "` must hold vectors of " + std::to_string(width) + " " + unit + ", got " +
                                                  std::to_string(length) + " " + unit + ", which is no multiple of it");
    }
}

} // namespace

std::string describe(Napi::Value value) {
    switch (value.Type()) {
        case napi_undefined: return "undefined";
        case napi_null: return "null";
        case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
        case napi_number:
            return value.ToString().Utf8Value(); // as JavaScript writes it
        case napi_bigint: return value.ToString().Utf8Value() + "n";
        case napi_string: {
            const std::string string = value.As<Napi::String>().Utf8Value();
            return string.size() <= 60 ? "'" + string + "'" : "a string of " + std::to_string(string.size()) + " bytes";
        }
        case napi_symbol: return "a symbol";
        case napi_function: return "a function";
        default: break;
    }
    if (value.IsTypedArray()) {
        const auto array = value.As<Napi::TypedArray>();
        return std::string(typedArrayName(array.TypedArrayType())) + " of " + std::to_string(array.ElementLength());
    }
    if (value.IsArray()) return "an array of " + std::to_string(value.As<Napi::Array>().Length());
    if (value.IsArrayBuffer()) return "an ArrayBuffer";
    if (value.IsPromise()) return "a promise";
    return "an object";
}

void refuse(const std::string& name, const std::string& expected, Napi::Value came) {
    throw Error("ERR_INVALID_ARGUMENT", "`" + name + "` must be " + expected + ", got " + describe(came));
}

int64_t integerArgument(Napi::Value value, const std::string& name, int64_t min, int64_t max) {
    if (value.IsNumber()) {
        const double number = value.As<Napi::Number>().DoubleValue();
        if (std::floor(number) == number && number >= double(min) && number <= double(max)) return int64_t(number);
    } else if (value.IsBigInt()) {
        bool lossless;
        const int64_t number = value.As<Napi::BigInt>().Int64Value(&lossless);
        if (lossless && number >= min && number <= max) return number;
    }
    refuse(name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max), value);
}

double numberArgument(Napi::Value value, const std::string& name) {
    if (value.IsNumber()) {
        const double number = value.As<Napi::Number>().DoubleValue();
        if (std::isfinite(number)) return number;
    }
    refuse(name, "a finite number", value);
}

std::string stringArgument(Napi::Value value, const std::string& name) {
    if (!value.IsString()) refuse(name, "a string", value);
    const std::string string = value.As<Napi::String>().Utf8Value();
    if (string.find('\0') != std::string::npos) refuse(name, "a string without a null character", value);
    return string;
}

size_t wordArgument(Napi::Value value, const std::string& name, const std::vector<std::string>& words) {
    std::string expected;
    const std::string word = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
    for (size_t i = 0; i < words.size(); i++) {
        if (word == words[i]) return i;
        expected += (i == 0 ? "'" : i + 1 == words.size() ? " or '" : ", '") + words[i] + "'";
    }
    refuse(name, expected, value);
}

Input<float> vectorsArgument(Napi::Value value, const std::string& name, int dimension) {
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
        refuse(name, "a Float32Array", value);
    }
    const auto array = value.As<Napi::Float32Array>();
    refuseDetached(array, name);
    const size_t length = array.ElementLength();
    requireVectors(length, name, dimension, "numbers");
    return Input<float>(array.Data(), length, array);
}

std::shared_ptr<const HeldVectors> deviceVectorsArgument(Napi::Value value, const std::string& name, int dimension) {
    const napi_type_tag tag{kDeviceVectorsTag[0], kDeviceVectorsTag[1]};
    bool ours = false;
    if (!value.IsExternal() || napi_check_object_type_tag(value.Env(), value, &tag, &ours) != napi_ok || !ours) return nullptr;
    const DeviceVectors& vectors = *value.As<Napi::External<const DeviceVectors>>().Data();
    if (vectors.dimension != dimension) {
        throw Error("ERR_DIMENSION_MISMATCH", "`" + name + "` must hold vectors of " + std::to_string(dimension) + " numbers, got vectors of " +
                                                  std::to_string(vectors.dimension));
    }
    return std::make_shared<const HeldVectors>(vectors);
}

Input<uint8_t> bitsArgument(Napi::Value value, const std::string& name, int width) {
    Input<uint8_t> bytes = bytesArgument(value, name);
    requireVectors(bytes.size(), name, width, "bytes");
    return bytes;
}

Input<uint8_t> bytesArgument(Napi::Value value, const std::string& name) {
    if (value.IsTypedArray()) {
        const auto array = value.As<Napi::TypedArray>();
        if (array.TypedArrayType() == napi_uint8_array || array.TypedArrayType() == napi_uint8_clamped_array) {
            refuseDetached(array, name);
            return Input<uint8_t>(array.As<Napi::Uint8Array>().Data(), array.ElementLength(), array);
        }
    }
    refuse(name, "a Uint8Array", value);
}

int64_t idArgument(Napi::Value value, const std::string& name, int64_t max) {
    if (value.IsNumber()) {
        const double number = value.As<Napi::Number>().DoubleValue();
        if (number >= 0 && number <= double(kMaxSafeInteger) && std::floor(number) == number) return int64_t(number);
    } else if (value.IsBigInt()) {
        bool lossless;
        const int64_t id = value.As<Napi::BigInt>().Int64Value(&lossless);
        if (lossless && id >= 0 && id <= max) return id;
    }
    throw invalidId(name, max, describe(value));
}

std::vector<int64_t> idsArgument(Napi::Value value, const std::string& name, int64_t max) {
    std::vector<int64_t> ids;
    if (value.IsNumber() || value.IsBigInt()) {
        ids.push_back(idArgument(value, name, max));
    } else if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_bigint64_array) {
        const auto array = value.As<Napi::BigInt64Array>();
        refuseDetached(array, name);
        ids.assign(array.Data(), array.Data() + array.ElementLength());
        for (const int64_t id : ids) {
            if (id < 0 || id > max) throw invalidId(name, max, std::to_string(id) + "n");
        }
    } else if (value.IsArray()) {
        const auto array = value.As<Napi::Array>();
        ids.reserve(array.Length());
        for (uint32_t i = 0; i < array.Length(); i++) {
            const Napi::HandleScope scope(value.Env());
            ids.push_back(idArgument(array.Get(i), name, max));
        }
    } else {
        refuse(name, "a number, a bigint, an array of them or a BigInt64Array", value);
    }
    return ids;
}

} // namespace faiss_vision
