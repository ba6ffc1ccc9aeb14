#include <gtest/gtest.h>

#include "vision/face_recognizer_factory.h"
#include "vision_support.h"

using namespace faiss_vision;
using test::codeOf;

namespace {

FaceRecognizerFactory::Options options() {
    FaceRecognizerFactory::Options result;
    result.weights = test::model("resnet128");
    result.detectorWeights = test::model("mtcnn");
    return result;
}

double distance(const Face& a, const Face& b) {
    double sum = 0;
    for (size_t i = 0; i < a.getFeaturesData().size(); i++) sum += std::pow(a.getFeaturesData()[i] - b.getFeaturesData()[i], 2);
    return std::sqrt(sum);
}

/// A golden chip on a grey canvas.
std::vector<uint8_t> canvas(const std::string& photo) {
    std::vector<uint8_t> pixels(size_t{250} * 250 * 3, 128);
    test::lay(test::chip(photo), 50, 50, pixels, 250);
    return pixels;
}

} // namespace

TEST(FaceRecognizerFactory, knowsItsModels) {
    EXPECT_EQ(FaceRecognizerFactory().names(), (std::vector<std::string>{"facenet", "resnet128"}));
    std::string message;
    EXPECT_EQ(codeOf([] { FaceRecognizerFactory().create("resnet129", options()); }, &message), "ERR_UNKNOWN_MODEL");
    EXPECT_NE(message.find("resnet128"), std::string::npos) << message;
    EXPECT_NE(message.find("\"resnet129\""), std::string::npos) << message;
}

TEST(FaceRecognizerFactory, wrongWeightsAreRefused) {
    std::string message;
    FaceRecognizerFactory::Options swapped = options();
    std::swap(swapped.weights, swapped.detectorWeights);
    EXPECT_EQ(codeOf([&] { FaceRecognizerFactory().create("resnet128", swapped); }, &message), "ERR_WEIGHTS_MISMATCH");
    EXPECT_NE(message.find("\"mtcnn\""), std::string::npos) << message;
    EXPECT_NE(message.find("\"resnet128\""), std::string::npos) << message;

    FaceRecognizerFactory::Options missing = options();
    missing.weights = "/nowhere/resnet128.safetensors";
    EXPECT_EQ(codeOf([&] { FaceRecognizerFactory().create("resnet128", missing); }), "ERR_WEIGHTS_NOT_FOUND");
}

TEST(FaceRecognition, describesItself) {
    const auto recognition = FaceRecognizerFactory().create("resnet128", options());
    EXPECT_EQ(recognition->dimension(), 128);
    EXPECT_EQ(recognition->chipSize(), 150);
    EXPECT_FLOAT_EQ(recognition->threshold(), 0.6f);
    EXPECT_EQ(recognition->metric(), Metric::Euclidean);
}

TEST(FaceRecognition, tellsPeopleApart) {
    const auto recognition = FaceRecognizerFactory().create("resnet128", options());
    const std::vector<uint8_t> first = canvas("obama.jpg"), second = canvas("obama3.jpg"), other = canvas("biden.jpg");
    ASSERT_TRUE(recognition->initDetection(test::rgb(first, 250, 250), test::rgb(other, 250, 250)))
        << recognition->getErrorString();
    std::vector<Face> a, again, b, c;
    ASSERT_TRUE(recognition->getFaces(test::rgb(first, 250, 250), a));
    ASSERT_TRUE(recognition->getFaces(test::rgb(first, 250, 250), again));
    ASSERT_TRUE(recognition->getFaces(test::rgb(second, 250, 250), b));
    ASSERT_TRUE(recognition->getFaces(test::rgb(other, 250, 250), c));
    ASSERT_EQ(a.size(), 1u);
    ASSERT_EQ(b.size(), 1u);
    ASSERT_EQ(c.size(), 1u);
    EXPECT_EQ(a[0].getFeaturesData(), again[0].getFeaturesData());
    EXPECT_EQ(a[0].getFeaturesData().size(), 128u);
    EXPECT_GT(a[0].box.x, 50);
    EXPECT_LT(a[0].box.x + a[0].box.width, 200);
    EXPECT_LT(distance(a[0], b[0]), recognition->threshold());
    EXPECT_GT(distance(a[0], c[0]), recognition->threshold());
    EXPECT_GT(distance(b[0], c[0]), recognition->threshold());
}

TEST(FaceRecognition, aPictureWithoutAFaceIsNoError) {
    const auto recognition = FaceRecognizerFactory().create("resnet128", options());
    const std::vector<uint8_t> plain(size_t{120} * 90 * 3, 60);
    std::vector<Face> faces;
    EXPECT_TRUE(recognition->getFaces(test::rgb(plain, 120, 90), faces));
    EXPECT_TRUE(faces.empty());
    EXPECT_TRUE(recognition->getFaces(test::rgb(plain, 1, 1), faces));
    EXPECT_EQ(recognition->getErrorCode(), ErrorCode::None);
    EXPECT_EQ(recognition->getErrorString(), "");
}

TEST(FaceRecognition, aFailingCallSaysWhyAndChangesNothing) {
    const auto recognition = FaceRecognizerFactory().create("resnet128", options());
    const std::vector<uint8_t> pixels = canvas("obama.jpg");
    const Image good = test::rgb(pixels, 250, 250);
    std::vector<Face> faces;
    ASSERT_TRUE(recognition->getFaces(good, faces));
    ASSERT_EQ(faces.size(), 1u);

    Image huge = good;
    huge.width = huge.height = 20'000;
    huge.stride = 60'000;
    EXPECT_FALSE(recognition->getFaces(huge, faces));
    EXPECT_EQ(recognition->getErrorCode(), ErrorCode::ImageTooLarge);
    EXPECT_STREQ(errorName(recognition->getErrorCode()), "ERR_IMAGE_TOO_LARGE");
    EXPECT_NE(recognition->getErrorString().find("20000 x 20000"), std::string::npos) << recognition->getErrorString();
    EXPECT_EQ(faces.size(), 1u);

    Image wrong = good;
    wrong.channels = 2;
    EXPECT_FALSE(recognition->getFaces(wrong, faces));
    EXPECT_STREQ(errorName(recognition->getErrorCode()), "ERR_INVALID_ARGUMENT");
    EXPECT_FALSE(recognition->initDetection(good, wrong));
    EXPECT_STREQ(errorName(recognition->getErrorCode()), "ERR_INVALID_ARGUMENT");
    EXPECT_FALSE(recognition->embed(nullptr, 1, nullptr));
    EXPECT_STREQ(errorName(recognition->getErrorCode()), "ERR_INVALID_ARGUMENT");

    EXPECT_TRUE(recognition->getFaces(good, faces)); // and works on
    EXPECT_EQ(recognition->getErrorCode(), ErrorCode::None);
    EXPECT_EQ(recognition->getErrorString(), "");
}

TEST(FaceRecognition, embedsChips) {
    const auto recognition = FaceRecognizerFactory().create("resnet128", options());
    std::vector<uint8_t> chips = test::chip("obama.jpg");
    const std::vector<uint8_t> more = test::chip("biden.jpg");
    chips.insert(chips.end(), more.begin(), more.end());
    std::vector<float> features(256), second(128);
    ASSERT_TRUE(recognition->embed(chips.data(), 2, features.data()));
    ASSERT_TRUE(recognition->embed(more.data(), 1, second.data()));
    EXPECT_TRUE(std::equal(second.begin(), second.end(), features.begin() + 128));
    EXPECT_TRUE(recognition->embed(nullptr, 0, nullptr));
}
