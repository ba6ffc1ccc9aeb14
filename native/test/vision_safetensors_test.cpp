#include <cstdlib>
#include <filesystem>

#include <unistd.h>

#include <gtest/gtest.h>

#include "vision/safetensors.h"
#include "vision_support.h"

using namespace faiss_vision;
using test::codeOf;

namespace {

/// A file that goes when the test ends.
class File {
public:
    explicit File(const std::string& bytes) {
        path_ = (std::filesystem::temp_directory_path() / "faiss-vision-test-XXXXXX").string();
        const int descriptor = ::mkstemp(path_.data());
        if (descriptor < 0) throw std::runtime_error("no temporary file");
        ::close(descriptor);
        std::ofstream(path_, std::ios::binary) << bytes;
    }
    ~File() { std::filesystem::remove(path_); }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

std::string bytesOf(uint64_t value) {
    std::string bytes;
    for (int i = 0; i < 8; i++) bytes.push_back(char(value >> (8 * i)));
    return bytes;
}

std::string file(const std::string& header, const std::string& data) { return bytesOf(header.size()) + header + data; }

std::string floats(std::initializer_list<float> values) {
    return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float));
}

const std::string kHeader =
    R"({"__metadata__":{"model":"small","format":"faiss-vision"},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}} )";
const std::string kData = floats({1, 2, 3, 4, 5});

std::string open(const std::string& bytes) {
    const File written(bytes);
    return codeOf([&] { Safetensors weights(written.path()); });
}

} // namespace

TEST(Safetensors, readsTensorsAndMetadata) {
    const File written(file(kHeader, kData));
    const Safetensors weights(written.path());
    EXPECT_EQ(weights.metadata("model"), "small");
    EXPECT_EQ(weights.metadata("nothing"), "");
    const at::Tensor a = weights.tensor("a", {2, 2});
    EXPECT_EQ(a.data_ptr<float>()[0], 1);
    EXPECT_EQ(a.data_ptr<float>()[3], 4);
    EXPECT_EQ(weights.tensor("b", {1}).data_ptr<float>()[0], 5);
}

TEST(Safetensors, aTensorOutlivesTheFileObject) {
    const File written(file(kHeader, kData));
    at::Tensor a;
    {
        const Safetensors weights(written.path());
        a = weights.tensor("a", {2, 2});
    }
    EXPECT_EQ(a.data_ptr<float>()[1], 2);
}

TEST(Safetensors, readsUnalignedData) {
    std::string header = kHeader;
    while ((8 + header.size()) % 4 != 1) header += ' ';
    const File written(file(header, kData));
    EXPECT_EQ(Safetensors(written.path()).tensor("a", {2, 2}).data_ptr<float>()[2], 3);
}

TEST(Safetensors, aMissingFileIsNamed) {
    std::string message;
    EXPECT_EQ(codeOf([] { Safetensors weights("/nowhere/mtcnn.safetensors"); }, &message), "ERR_WEIGHTS_NOT_FOUND");
    EXPECT_NE(message.find("/nowhere/mtcnn.safetensors"), std::string::npos) << message;
    EXPECT_EQ(codeOf([] { Safetensors weights(std::filesystem::temp_directory_path().string()); }), "ERR_WEIGHTS_NOT_FOUND");
}

TEST(Safetensors, everyCutIsNoticed) {
    const std::string whole = file(kHeader, kData);
    for (size_t size = 0; size < whole.size(); size++)
        EXPECT_EQ(open(whole.substr(0, size)), "ERR_WEIGHTS_CORRUPT") << size << " bytes";
    EXPECT_EQ(open(whole), "");
    EXPECT_EQ(open(whole + "x"), "ERR_WEIGHTS_CORRUPT");
}

TEST(Safetensors, contradictionsAreNoticed) {
    const auto tensor = [](const std::string& rest) { return file("{\"a\":{" + rest + "}}", kData); };
    const std::vector<std::string> wrong = {
        bytesOf(UINT64_MAX) + "{}",
        bytesOf(uint64_t{1} << 40) + "{}",
        file("", ""),
        file("[]", ""),
        file("{\"a\":1}", kData),
        file("{\"a\":", kData),
        file(std::string(100'000, '['), ""),
        file("{\"a\":{\"dtype\":" + std::string(50, '[') + std::string(50, ']') + "}}", kData),
        file(R"({"__metadata__":{"model":1}})", ""),
        file("\xff\xfe\xfd", kData),
        tensor(R"("shape":[5],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F31","shape":[5],"data_offsets":[0,20])"),
        tensor(R"("dtype":7,"shape":[5],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","shape":[-5],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","shape":[5.0],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","shape":[4],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","shape":[5],"data_offsets":[20,0])"),
        tensor(R"("dtype":"F32","shape":[5],"data_offsets":[0,24])"),
        tensor(R"("dtype":"F32","shape":[5],"data_offsets":[0])"),
        tensor(R"("dtype":"F32","shape":[4],"data_offsets":[4,20])"),
        tensor(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"),
        tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
        tensor(R"("dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,20])"),
        tensor(R"("dtype":"F32","shape":[5],"data_offsets":[0,18446744073709551615])"),
        file(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[3],"data_offsets":[8,20]}})",
             kData),
    };
    for (const std::string& bytes : wrong) EXPECT_EQ(open(bytes), "ERR_WEIGHTS_CORRUPT") << bytes.substr(0, 120);
}

TEST(Safetensors, changedBytesNeverCrash) {
    const std::string whole = file(kHeader, kData);
    const std::vector<float> random = test::seeded("changed bytes", 3 * 3000);
    int opened = 0;
    for (size_t i = 0; i < 3000; i++) {
        std::string bytes = whole;
        for (int change = 0; change <= int(i % 3); change++) {
            bytes[size_t(random[3 * i + change] * float(bytes.size()))] = char(random[3 * i + (change + 1) % 3] * 256);
        }
        const File written(bytes);
        const std::string code = codeOf([&] {
            const Safetensors weights(written.path());
            weights.tensor("a", {2, 2});
            opened++;
        });
        EXPECT_TRUE(code.empty() || code == "ERR_WEIGHTS_CORRUPT" || code == "ERR_WEIGHTS_MISMATCH") << code;
    }
    EXPECT_GT(opened, 0); // a change of the data alone cannot be seen
    EXPECT_LT(opened, 3000);
}

TEST(Safetensors, anotherModelIsNamed) {
    const File written(file(kHeader, kData));
    const Safetensors weights(written.path());
    std::string message;
    EXPECT_EQ(codeOf([&] { weights.requireModel("small"); }), "");
    EXPECT_EQ(codeOf([&] { weights.requireModel("large"); }, &message), "ERR_WEIGHTS_MISMATCH");
    EXPECT_NE(message.find("\"small\""), std::string::npos) << message;
    EXPECT_NE(message.find("\"large\""), std::string::npos) << message;

    EXPECT_EQ(codeOf([&] { weights.tensor("a", {4}); }, &message), "ERR_WEIGHTS_MISMATCH");
    EXPECT_NE(message.find("[2, 2]"), std::string::npos) << message;
    EXPECT_NE(message.find("[4]"), std::string::npos) << message;
    EXPECT_EQ(codeOf([&] { weights.tensor("c", {7, 8}); }, &message), "ERR_WEIGHTS_MISMATCH");
    EXPECT_NE(message.find("tensor c [7, 8]"), std::string::npos) << message;
}

TEST(Safetensors, anotherTypeIsNamed) {
    const File written(file(R"({"a":{"dtype":"I32","shape":[5],"data_offsets":[0,20]}})", kData));
    const Safetensors weights(written.path());
    std::string message;
    EXPECT_EQ(codeOf([&] { weights.tensor("a", {5}); }, &message), "ERR_WEIGHTS_MISMATCH");
    EXPECT_NE(message.find("I32"), std::string::npos) << message;
    EXPECT_EQ(codeOf([&] { weights.requireModel("any"); }), ""); // it names none
}

TEST(Safetensors, aNumberThatIsNotFiniteIsNoticed) {
    const File written(file(kHeader, floats({1, NAN, 3, 4, INFINITY})));
    const Safetensors weights(written.path());
    EXPECT_EQ(codeOf([&] { weights.tensor("a", {2, 2}); }), "ERR_WEIGHTS_CORRUPT");
    EXPECT_EQ(codeOf([&] { weights.tensor("b", {1}); }), "ERR_WEIGHTS_CORRUPT");
}
