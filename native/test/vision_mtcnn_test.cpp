#include <cstdio>
#include <thread>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "vision/mtcnn.h"
#include "vision_support.h"

using namespace faiss_vision;
using test::codeOf;

namespace {

const Safetensors& weights() {
    static const Safetensors file(test::model("mtcnn"));
    return file;
}

/// The networks once more, in torch's own operations.
struct Reference {
    at::Tensor get(const std::string& name, at::IntArrayRef shape) const { return weights().tensor(name, shape); }

    at::Tensor conv(const at::Tensor& x, const std::string& net, int number, int64_t out, int64_t size) const {
        const std::string n = std::to_string(number);
        const at::Tensor y = at::conv2d(x, get(net + ".conv" + n + ".weight", {out, x.size(1), size, size}),
                                        get(net + ".conv" + n + ".bias", {out}));
        return at::prelu(y, get(net + ".prelu" + n + ".weight", {out}));
    }
    at::Tensor dense(const at::Tensor& x, const std::string& name, int64_t out) const {
        return at::linear(x, get(name + ".weight", {out, x.size(1)}), get(name + ".bias", {out}));
    }
    at::Tensor pool(const at::Tensor& x, int64_t size) const { return at::max_pool2d(x, size, 2, 0, 1, true); }
    at::Tensor flat(const at::Tensor& x) const { return x.permute({0, 3, 2, 1}).reshape({x.size(0), -1}); }

    /// Scores and offsets, 1 + 4 channels.
    at::Tensor pnet(at::Tensor x) const {
        x = conv(conv(pool(conv(x, "pnet", 1, 10, 3), 2), "pnet", 2, 16, 3), "pnet", 3, 32, 3);
        const auto head = [&](const std::string& name, int64_t out) {
            return at::conv2d(x, get(name + ".weight", {out, 32, 1, 1}), get(name + ".bias", {out}));
        };
        return at::cat({at::softmax(head("pnet.conv4_1", 2), 1).slice(1, 1), head("pnet.conv4_2", 4)}, 1);
    }
    /// Score, offsets and landmarks of each crop.
    at::Tensor rnet(at::Tensor x) const {
        x = conv(pool(conv(pool(conv(x, "rnet", 1, 28, 3), 3), "rnet", 2, 48, 3), 3), "rnet", 3, 64, 2);
        x = at::prelu(dense(flat(x), "rnet.dense4", 128), get("rnet.prelu4.weight", {128}));
        return at::cat(
            {at::softmax(dense(x, "rnet.dense5_1", 2), 1).slice(1, 1), dense(x, "rnet.dense5_2", 4), at::zeros({x.size(0), 10})},
            1);
    }
    at::Tensor onet(at::Tensor x) const {
        x = pool(conv(pool(conv(pool(conv(x, "onet", 1, 32, 3), 3), "onet", 2, 64, 3), 3), "onet", 3, 64, 3), 2);
        x = at::prelu(dense(flat(conv(x, "onet", 4, 128, 2)), "onet.dense5", 256), get("onet.prelu5.weight", {256}));
        return at::cat({at::softmax(dense(x, "onet.dense6_1", 2), 1).slice(1, 1), dense(x, "onet.dense6_2", 4),
                        dense(x, "onet.dense6_3", 10)},
                       1);
    }
};

std::vector<float> crops(int count, int side) {
    std::vector<float> values = test::seeded("crops", size_t(count) * side * side * 3);
    for (float& value : values) value = value * 2 - 1;
    return values;
}

void expectSame(const std::vector<CropAnswer>& found, const at::Tensor& expected) {
    ASSERT_EQ(int64_t(found.size()), expected.size(0));
    for (size_t i = 0; i < found.size(); i++) {
        const float* values = expected.data_ptr<float>() + 15 * i;
        EXPECT_NEAR(found[i].score, values[0], 1e-5);
        for (size_t k = 0; k < 4; k++) EXPECT_NEAR(found[i].offsets[k], values[1 + k], 1e-5);
        for (size_t k = 0; k < 10; k++) EXPECT_NEAR(found[i].landmarks[k], values[5 + k], 1e-5);
    }
}

template <class Net>
void compareCrops(at::Tensor (Reference::*reference)(at::Tensor) const) {
    for (const int count : {1, 5, 12}) {
        std::vector<float> values = crops(count, Net::kSide);
        const at::Tensor input =
            at::from_blob(values.data(), {count, Net::kSide, Net::kSide, 3}).permute({0, 3, 1, 2}).contiguous();
        Workspace workspace;
        expectSame(Net(weights()).forward(values.data(), count, workspace), (Reference().*reference)(input).contiguous());
    }
}

constexpr int kWidth = 400, kHeight = 260;

/// Two people on grey.
std::vector<uint8_t> twoPeople() {
    std::vector<uint8_t> canvas(size_t{kWidth} * kHeight * 3, 128);
    test::lay(test::chip("obama.jpg"), 30, 40, canvas, kWidth);
    test::lay(test::chip("biden.jpg"), 230, 70, canvas, kWidth);
    return canvas;
}

std::vector<Detection> detect(const Mtcnn& mtcnn, const Image& image) {
    const RgbPixels picture(image);
    return mtcnn.detect({&picture}).front();
}

void expectEqual(const std::vector<Detection>& a, const std::vector<Detection>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); i++) {
        EXPECT_EQ(a[i].box.x1, b[i].box.x1);
        EXPECT_EQ(a[i].box.y2, b[i].box.y2);
        EXPECT_EQ(a[i].box.score, b[i].box.score);
        EXPECT_EQ(a[i].landmarks, b[i].landmarks);
    }
}

} // namespace

TEST(PNet, answersAsTorchDoesWhateverThePieces) {
    const PNet pnet(weights());
    for (const auto& [width, height] : std::vector<std::pair<int, int>>{{12, 12}, {13, 12}, {25, 26}, {40, 31}, {57, 90}, {300, 105}}) {
        const std::vector<uint8_t> bytes = test::noise("level", height, width);
        const RgbPixels picture(test::rgb(bytes, width, height));
        const AreaResampler level(picture, {0, 0, width, height}, width, height);
        const at::Tensor input = at::from_blob(const_cast<uint8_t*>(bytes.data()), {1, height, width, 3}, at::kByte)
                                     .permute({0, 3, 1, 2})
                                     .to(at::kFloat);
        const at::Tensor expected = Reference().pnet((input.contiguous() - 127.5) * 0.0078125)[0];
        const int rows = PNet::gridSize(height), columns = PNet::gridSize(width);
        ASSERT_EQ(expected.size(1), rows);
        ASSERT_EQ(expected.size(2), columns);

        Workspace workspace;
        const int middle = rows / 2 / PNet::kSquare * PNet::kSquare;
        std::vector<Candidate> found = pnet.scan(level, 0, middle, 0.5, 1e-9, workspace);
        const std::vector<Candidate> rest = pnet.scan(level, middle, rows, 0.5, 1e-9, workspace);
        found.insert(found.end(), rest.begin(), rest.end());
        ASSERT_EQ(found.size(), size_t(rows * columns));
        for (int y = 0; y < rows; y++) {
            for (int x = 0; x < columns; x++) {
                const Candidate& candidate = found[size_t(y * columns + x)];
                EXPECT_NEAR(candidate.box.score, expected[0][y][x].item<float>(), 1e-5);
                for (int k = 0; k < 4; k++) EXPECT_NEAR(candidate.offsets[size_t(k)], expected[1 + k][y][x].item<float>(), 1e-5);
                EXPECT_EQ(candidate.box.x1, 2 * (2 * x + 1));
                EXPECT_EQ(candidate.box.y2, 2 * (2 * y + 12));
            }
        }
    }
}

TEST(PNet, findsTheWindowsOfFacesThatTorchFinds) {
    constexpr int kChip = 150;
    constexpr double kThreshold = 0.6;
    const PNet pnet(weights());
    double worst = 0;
    size_t windows = 0, faces = 0;
    for (const char* const photo : {"biden.jpg", "obama.jpg", "obama2.jpg", "obama3.jpg", "obama_partial_face.jpg", "obama_partial_face2.jpg"}) {
        const std::vector<uint8_t> bytes = test::chip(photo);
        const RgbPixels picture(test::rgb(bytes, kChip, kChip));
        for (const int size : {300, 213, kChip, 106, 75, 53, 37, 25, 18, 13}) {
            const AreaResampler level(picture, {0, 0, kChip, kChip}, size, size);
            Workspace workspace;
            std::vector<float> pixels(size_t{3} * size * size + kernels::kSlack);
            for (int y = 0; y < size; y++) level.row(y, 1 / 128.0f, -127.5f / 128, workspace.sums, pixels.data() + ptrdiff_t{3} * size * y);
            const at::Tensor input = at::from_blob(pixels.data(), {1, size, size, 3}).permute({0, 3, 1, 2}).contiguous();
            const at::Tensor expected = Reference().pnet(input)[0][0].contiguous();
            const std::vector<Candidate> found = pnet.scan(level, 0, PNet::gridSize(size), 1, 1e-9, workspace);
            ASSERT_EQ(int64_t(found.size()), expected.numel());
            for (size_t i = 0; i < found.size(); i++) {
                const float score = expected.data_ptr<float>()[i];
                worst = std::max(worst, double(std::abs(found[i].box.score - score)));
                EXPECT_EQ(found[i].box.score >= kThreshold, score >= kThreshold) << photo << " at " << size << ": window " << i;
                windows++, faces += score >= kThreshold;
            }
        }
    }
    EXPECT_LT(worst, 1e-5);
    EXPECT_GT(faces, 100u);
    std::printf("PNet on %zu windows, %zu of them faces: scores %.1e from torch's at most\n", windows, faces, worst);
}

TEST(RNet, answersAsTorchDoes) { compareCrops<RNet>(&Reference::rnet); }

TEST(ONet, answersAsTorchDoes) { compareCrops<ONet>(&Reference::onet); }

TEST(Mtcnn, findsTwoPeopleWhereTheyAre) {
    const std::vector<uint8_t> pixels = twoPeople();
    const std::vector<Detection> faces = detect(Mtcnn(weights()), test::rgb(pixels, kWidth, kHeight));
    ASSERT_EQ(faces.size(), 2u);
    for (const Detection& face : faces) {
        EXPECT_GT(face.box.score, 0.95);
        const bool left = face.box.x1 < 200;
        const float x = left ? 30 : 230, y = left ? 40 : 70;
        for (const auto& point : face.landmarks) { // inside their chip, well away from its edges
            EXPECT_GT(point[0], x + 20);
            EXPECT_LT(point[0], x + 130);
            EXPECT_GT(point[1], y + 20);
            EXPECT_LT(point[1], y + 130);
        }
        EXPECT_LT(face.landmarks[0][0], face.landmarks[1][0]); // left eye, right eye
        EXPECT_LT(face.landmarks[0][1], face.landmarks[3][1]); // eye above mouth
    }
    const auto area = [](const Box& box) { return (box.x2 - box.x1) * (box.y2 - box.y1); };
    EXPECT_GE(area(faces[0].box), area(faces[1].box));
}

TEST(Mtcnn, theOrderOfBytesDoesNotMatter) {
    const std::vector<uint8_t> pixels = twoPeople();
    const Mtcnn mtcnn(weights());
    const std::vector<Detection> faces = detect(mtcnn, test::rgb(pixels, kWidth, kHeight));
    const size_t stride = kWidth * 4 + 7;
    std::vector<uint8_t> bgra(stride * kHeight, 77);
    for (int y = 0; y < kHeight; y++) {
        for (int x = 0; x < kWidth; x++) {
            const uint8_t* from = &pixels[size_t(y * kWidth + x) * 3];
            uint8_t* to = &bgra[size_t(y) * stride + size_t{4} * x];
            to[0] = from[2], to[1] = from[1], to[2] = from[0], to[3] = 255;
        }
    }
    expectEqual(faces, detect(mtcnn, {bgra.data(), kWidth, kHeight, 4, PixelOrder::BGR, stride}));
}

TEST(Mtcnn, theSamePictureGivesTheSameFacesAlsoBesideOthers) {
    const std::vector<uint8_t> people = twoPeople(), noisy = test::noise("beside", 200, 300);
    const Mtcnn mtcnn(weights());
    const RgbPixels a(test::rgb(people, kWidth, kHeight)), b(test::rgb(noisy, 300, 200));
    const std::vector<Detection> alone = mtcnn.detect({&a}).front();
    expectEqual(alone, mtcnn.detect({&a}).front());
    const std::vector<std::vector<Detection>> together = mtcnn.detect({&b, &a, &b, &a});
    ASSERT_EQ(together.size(), 4u);
    expectEqual(alone, together[1]);
    expectEqual(alone, together[3]);
    expectEqual(together[0], together[2]);
    EXPECT_TRUE(mtcnn.detect({}).empty());
}

TEST(Mtcnn, twoObjectsWorkInTwoThreads) {
    const std::vector<uint8_t> pixels = twoPeople();
    const std::vector<Detection> expected = detect(Mtcnn(weights()), test::rgb(pixels, kWidth, kHeight));
    std::vector<std::vector<Detection>> found(2);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < 2; i++) {
        threads.emplace_back([&, i] {
            const Mtcnn mtcnn(weights());
            for (int repeat = 0; repeat < 3; repeat++) found[i] = detect(mtcnn, test::rgb(pixels, kWidth, kHeight));
        });
    }
    for (std::thread& thread : threads) thread.join();
    expectEqual(expected, found[0]);
    expectEqual(expected, found[1]);
}

TEST(Mtcnn, tinyAndOddPicturesHaveNoFaces) {
    const Mtcnn mtcnn(weights());
    for (const auto& [width, height] :
         std::vector<std::pair<int, int>>{{1, 1}, {1, 5000}, {11, 11}, {19, 400}, {20, 20}, {3, 3}, {30'000, 2}}) {
        const std::vector<uint8_t> pixels(size_t(width) * height * 3, 200);
        EXPECT_TRUE(detect(mtcnn, test::rgb(pixels, width, height)).empty()) << width << " x " << height;
    }
    const std::vector<uint8_t> strip = test::noise("strip", 21, 5000);
    detect(mtcnn, test::rgb(strip, 5000, 21)); // long and noisy: whatever it finds, it returns
}

TEST(Mtcnn, noiseAtLowThresholdsIsSurvived) {
    const std::vector<uint8_t> pixels = test::noise("noise", 32, 40);
    MtcnnOptions options;
    options.thresholds = {0.05, 0.001, 0.001};
    for (const double size : {6.0, 12.0, 20.0, 32.0, 1000.0}) {
        options.minFaceSize = size;
        for (const Detection& face : detect(Mtcnn(weights(), options), test::rgb(pixels, 40, 32))) {
            EXPECT_TRUE(std::isfinite(face.box.x1) && std::isfinite(face.box.y2) && face.box.score > 0);
        }
    }
}

TEST(Mtcnn, aLargerSmallestFaceFindsOnlyLargerFaces) {
    const std::vector<uint8_t> pixels = twoPeople();
    MtcnnOptions options;
    options.minFaceSize = 60;
    EXPECT_EQ(detect(Mtcnn(weights(), options), test::rgb(pixels, kWidth, kHeight)).size(), 2u);
    options.minFaceSize = kHeight + 1; // no face of that size fits in
    EXPECT_EQ(detect(Mtcnn(weights(), options), test::rgb(pixels, kWidth, kHeight)).size(), 0u);
}

TEST(Mtcnn, wrongOptionsAreNamed) {
    for (const double size : {0.0, -20.0, 5.9, double(NAN), double(INFINITY)}) {
        MtcnnOptions options;
        options.minFaceSize = size;
        std::string message;
        EXPECT_EQ(codeOf([&] { Mtcnn mtcnn(weights(), options); }, &message), "ERR_INVALID_ARGUMENT") << size;
        EXPECT_NE(message.find("minFaceSize"), std::string::npos);
    }
    for (const double threshold : {0.0, 1.0, -1.0, 2.0, double(NAN)}) {
        MtcnnOptions options;
        options.thresholds[1] = threshold;
        EXPECT_EQ(codeOf([&] { Mtcnn mtcnn(weights(), options); }), "ERR_INVALID_ARGUMENT") << threshold;
    }
}
