#include <cmath>
#include <iostream>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include "error.h"
#include "vision/area_resampler.h"
#include "vision/box_chip.h"
#include "vision/depth_estimation.h"
#include "vision/device_depth.h"
#include "vision/device_mtcnn.h"
#include "vision/device_pictures.h"
#include "vision/face_chip.h"
#include "vision/face_recognizer_factory.h"
#include "vision/mtcnn.h"
#include "vision_support.h"

// What is cut out of pictures on a device, against what the CPU's own code cuts.

using namespace faiss_vision;
using test::codeOf;

namespace {

/// A GPU where this build can use one, else torch's CPU. Never ended, as CUDA may end before it would be.
const Device& device() {
    static const auto& opened = *new const std::shared_ptr<const Device>([] {
        try {
            return Device::open("cuda", Precision::Fp32);
        } catch (const Error& none) {
            std::cout << "on the processor: " << none.what() << "\n";
            return std::make_shared<const Device>(at::kCPU, at::kFloat);
        }
    }());
    return *opened;
}

/// A picture with edges in every direction, not only noise.
std::vector<uint8_t> picture(int width, int height, int channels = 3) {
    std::vector<uint8_t> pixels = test::noise("picture", height, width, channels);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width * channels; x++) pixels[size_t(y) * width * channels + x] = uint8_t((pixels[size_t(y) * width * channels + x] + x * 3 + y * 5) / 3);
    }
    return pixels;
}

std::vector<float> numbers(const at::Tensor& tensor) {
    const at::Tensor whole = tensor.to(at::kFloat).cpu().contiguous();
    return {whole.data_ptr<float>(), whole.data_ptr<float>() + whole.numel()};
}

std::vector<float> resampled(const RgbPixels& pixels, AreaResampler::Rectangle part, int width, int height) {
    const AreaResampler resampler(pixels, part, width, height);
    std::vector<float> row(size_t{3} * width + kernels::kSlack), all;
    std::vector<uint32_t> sums;
    for (int y = 0; y < height; y++) {
        resampler.row(y, 1, 0, sums, row.data());
        all.insert(all.end(), row.begin(), row.begin() + 3 * width);
    }
    return all;
}

Detection faceAt(const Landmarks& landmarks, const Box& box) { return {box, landmarks, landmarks}; }

Landmarks turned(double size, double angle, double x, double y) {
    Landmarks result = meanFace(150);
    for (auto& point : result) {
        const double u = (point[0] - 75) * size / 150, v = (point[1] - 75) * size / 150;
        point = {float(x + u * std::cos(angle) - v * std::sin(angle)), float(y + u * std::sin(angle) + v * std::cos(angle))};
    }
    return result;
}

} // namespace

TEST(DevicePictures, scaleAsTheProcessorDoes) {
    const std::vector<uint8_t> first = picture(131, 97), second = picture(40, 61);
    device().run([&] {
        const DevicePictures pictures(device(), {test::rgb(first, 131, 97), test::rgb(second, 40, 61)});
        for (const auto& [width, height] : {std::pair{131, 97}, std::pair{93, 69}, std::pair{12, 9}, std::pair{200, 150}, std::pair{1, 1}}) {
            EXPECT_EQ(numbers(pictures.scaled(0, width, height)), resampled(RgbPixels(test::rgb(first, 131, 97)), {0, 0, 131, 97}, width, height));
            EXPECT_EQ(numbers(pictures.scaled(1, width, height)), resampled(RgbPixels(test::rgb(second, 40, 61)), {0, 0, 40, 61}, width, height));
        }
    });
}

TEST(DevicePictures, layScaledOnesSideBySide) {
    const std::vector<uint8_t> first = picture(131, 97), second = picture(40, 61);
    device().run([&] {
        DevicePictures pictures(device(), {test::rgb(first, 131, 97), test::rgb(second, 40, 61)});
        pictures.look(0, 30, 20, 90, 60);
        const std::vector<DevicePictures::Tile> tiles = {{0, 45, 31, 0, 0}, {1, 13, 20, 50, 2}, {0, 91, 61, 4, 40}, {1, 1, 1, 127, 127}};
        at::Tensor expected = at::zeros({128, 128, 3});
        for (const auto& [source, width, height, x, y] : tiles) expected.narrow(0, y, height).narrow(1, x, width).copy_(pictures.scaled(source, width, height));
        EXPECT_EQ(numbers(pictures.canvas(tiles, 128, 128)), numbers(expected));
    });
}

namespace {

/// As DevicePictures has them, behind the sums of others, and running over.
std::vector<int32_t> sumsOf(const std::vector<uint8_t>& pixels, int width, int height, int64_t before) {
    const int64_t step = width + 1;
    std::vector<int32_t> sums(size_t(3 * (before + step * (height + 1))));
    for (int64_t y = 0; y <= height; y++) {
        for (int64_t x = 0; x <= width; x++) {
            for (int64_t c = 0; c < 3; c++) {
                const auto at = [&](int64_t y, int64_t x) { return uint32_t(sums[size_t(3 * (before + y * step + x) + c)]); };
                uint32_t sum = 0xfffffff0u;
                if (y > 0 && x > 0) sum = at(y - 1, x) + at(y, x - 1) - at(y - 1, x - 1) + pixels[size_t(3 * ((y - 1) * width + x - 1) + c)];
                sums[size_t(3 * (before + y * step + x) + c)] = int32_t(sum);
            }
        }
    }
    return sums;
}

} // namespace

// What each thread of a GPU does, one after the other.
TEST(DevicePictures, areCutByAGpuAsByTorch) {
    const int width = 131, height = 97;
    const std::vector<uint8_t> pixels = picture(width, height);
    const int64_t step = width + 1, before = 7;
    const std::vector<int32_t> sums = sumsOf(pixels, width, height, before);
    device().run([&] {
        DevicePictures pictures(device(), {test::rgb(pixels, width, height)});
        for (const auto& [x, y, w, h] : {std::array{0, 0, width, height}, std::array{30, 20, 90, 60}, std::array{130, 96, 1, 1}}) {
            pictures.look(0, x, y, w, h);
            for (const auto& [columns, rows] : {std::pair{131, 97}, std::pair{93, 69}, std::pair{12, 9}, std::pair{200, 150}, std::pair{1, 1}}) {
                at::Tensor canvas = at::zeros({160, 210, 3});
                const Cut cut{before + y * step + x, step, w, h, columns, rows, 2 * 210 + 6};
                for (int64_t i = 0; i < int64_t{columns} * rows; i++) cutOnto(canvas.data_ptr<float>(), 210, sums.data(), cut, i);
                EXPECT_EQ(numbers(canvas), numbers(pictures.canvas({{0, columns, rows, 6, 2}}, 210, 160)));
            }
        }
    });
}

TEST(DevicePictures, cropAsTheProcessorDoes) {
    const std::vector<uint8_t> first = picture(131, 97), second = picture(40, 61);
    const RgbPixels pixels[2] = {RgbPixels(test::rgb(first, 131, 97)), RgbPixels(test::rgb(second, 40, 61))};
    std::vector<MtcnnCascade::Crop> crops = {{0, {}, {0, 0, 131, 97}, {}}, {1, {}, {3, 7, 30, 31}, {}}, {0, {}, {100, 90, 31, 7}, {}}, {1, {}, {39, 60, 1, 1}, {}}};
    device().run([&] {
        DevicePictures pictures(device(), {test::rgb(first, 131, 97), test::rgb(second, 40, 61)});
        std::vector<float> expected;
        for (const auto& crop : crops) {
            const std::vector<float> one = resampled(pixels[crop.picture], crop.pixels, 24, 24);
            expected.insert(expected.end(), one.begin(), one.end());
        }
        EXPECT_EQ(numbers(pictures.crops(crops.data(), int64_t(crops.size()), 24)), expected);
        // Of a part of the first, counted from its corner.
        pictures.look(0, 30, 20, 90, 60);
        EXPECT_EQ(numbers(pictures.crops(std::vector<MtcnnCascade::Crop>{{0, {}, {5, 6, 40, 41}, {}}}.data(), 1, 48)), resampled(pixels[0], {35, 26, 40, 41}, 48, 48));
        EXPECT_EQ(numbers(pictures.scaled(0, 45, 30)), resampled(pixels[0], {30, 20, 90, 60}, 45, 30));
    });
}

TEST(DevicePictures, takeEveryKindOfPixel) {
    for (const auto& [channels, order] : {std::pair{1, PixelOrder::RGB}, std::pair{3, PixelOrder::BGR}, std::pair{4, PixelOrder::RGB}, std::pair{4, PixelOrder::BGR}}) {
        const std::vector<uint8_t> pixels = picture(50, 33, channels);
        const Image image{pixels.data(), 50 - 4, 33, channels, order, size_t(50) * size_t(channels)}; // rows longer than the picture
        device().run([&] {
            const DevicePictures pictures(device(), {image});
            EXPECT_EQ(numbers(pictures.scaled(0, 46, 33)), resampled(RgbPixels(image), {0, 0, 46, 33}, 46, 33)) << channels;
        });
    }
    const std::vector<uint8_t> pixels(12);
    const Image wrong{pixels.data(), 2, 2, 2, PixelOrder::RGB, 4};
    EXPECT_EQ(codeOf([&] { device().run([&] { DevicePictures(device(), {wrong}); }); }), "ERR_INVALID_ARGUMENT");
}

TEST(DevicePictures, cutFaceChipsAsTheProcessorDoes) {
    const std::vector<uint8_t> pixels = picture(640, 480), small = picture(60, 50);
    const std::vector<Image> images = {test::rgb(pixels, 640, 480), test::rgb(small, 60, 50)};
    std::vector<Detection> faces;
    for (const auto& [size, angle, x, y] : {std::tuple{150.0, 0.0, 320.0, 240.0}, std::tuple{420.0, 0.3, 300.0, 250.0}, std::tuple{60.0, -1.2, 100.0, 400.0},
                                            std::tuple{300.0, 2.0, 20.0, 470.0}, std::tuple{900.0, 0.1, 500.0, 100.0}}) {
        faces.push_back(faceAt(turned(size, angle, x, y), {}));
    }
    const Detection inSmall = faceAt(turned(40, 0.2, 30, 25), {});
    std::vector<DevicePictures::Found> found{{1, &inSmall}};
    for (const Detection& face : faces) found.push_back({0, &face});
    device().run([&] {
        const std::vector<float> chips = numbers(DevicePictures(device(), images).faceChips(found, 150));
        size_t different = 0;
        std::vector<uint8_t> chip(150 * 150 * 3);
        for (size_t i = 0; i < found.size(); i++) {
            cutFaceChip(RgbPixels(images[found[i].picture]), found[i].face->visibleLandmarks, 150, chip.data());
            for (size_t k = 0; k < chip.size(); k++) {
                const float difference = std::abs(chips[i * chip.size() + k] - float(chip[k]));
                EXPECT_LE(difference, 1);
                different += difference != 0;
            }
        }
        EXPECT_LE(different, found.size() * chip.size() / 10000); // where a sum lies on the border between two bytes

        // What each thread of a GPU does, one after the other.
        const std::vector<int32_t> sums = sumsOf(pixels, 640, 480, 11);
        for (size_t i = 1; i < found.size(); i++) {
            const ChipCut cut = chipCut(found[i].face->visibleLandmarks, 11, 640, 480, 150);
            std::vector<float> own(150 * 150 * 3);
            for (int64_t k = 0; k < 150 * 150; k++) chipPixel(sums.data(), cut, k, 150, own.data());
            EXPECT_EQ(own, std::vector<float>(chips.begin() + ptrdiff_t(i * own.size()), chips.begin() + ptrdiff_t((i + 1) * own.size())));
        }
    });
}

TEST(DevicePictures, cutBoxChipsAsTheProcessorDoes) {
    const std::vector<uint8_t> pixels = picture(640, 480), small = picture(60, 50);
    const std::vector<Image> images = {test::rgb(pixels, 640, 480), test::rgb(small, 60, 50)};
    const std::vector<Detection> faces = {faceAt({}, {100.5f, 50.2f, 300.7f, 333.1f, 1}), faceAt({}, {-20, -30, 90, 80, 1}), faceAt({}, {600, 400, 700, 560, 1}),
                                          faceAt({}, {10, 10, 14, 90, 1}), faceAt({}, {0, 0, 640, 480, 1}), faceAt({}, {700, 500, 720, 520, 1})};
    const Detection inSmall = faceAt({}, {5, 5, 40, 44, 1});
    std::vector<DevicePictures::Found> found{{1, &inSmall}};
    for (const Detection& face : faces) found.push_back({0, &face});
    for (const int margin : {0, 40}) {
        device().run([&] {
            const at::Tensor chips = DevicePictures(device(), images).boxChips(found, 160, margin).cpu().contiguous();
            std::vector<uint8_t> chip(160 * 160 * 3);
            for (size_t i = 0; i < found.size(); i++) {
                cutBoxChip(RgbPixels(images[found[i].picture]), found[i].face->box, 160, margin, chip.data());
                EXPECT_TRUE(std::equal(chip.begin(), chip.end(), chips.data_ptr<uint8_t>() + i * chip.size())) << i << ", margin " << margin;
            }
        });
    }
}

TEST(DeviceDepth, scalesAsTheProcessorDoes) {
    for (const auto& [width, height] : {std::pair{640, 480}, std::pair{304, 228}, std::pair{100, 70}, std::pair{1000, 90}, std::pair{90, 1000}, std::pair{1, 1}}) {
        const std::vector<uint8_t> pixels = picture(width, height);
        Image image = test::rgb(pixels, width, height);
        image.order = PixelOrder::BGR;
        std::vector<float> expected;
        DepthEstimation::scale(image, expected);
        device().run([&] {
            const std::vector<float> found = numbers(DeviceDepth::scaled(DevicePictures(device(), {image}), 0));
            ASSERT_EQ(found.size(), expected.size());
            float worst = 0;
            for (size_t i = 0; i < found.size(); i++) worst = std::max(worst, std::abs(found[i] - expected[i]));
            EXPECT_LE(worst, 1e-4f) << width << " x " << height;
        });
    }
}

namespace {

/// Pictures of all kinds of sizes: with faces, with noise between them, and far longer than wide.
struct Album {
    Album() {
        for (const auto& [width, height] : {std::pair{301, 222}, std::pair{180, 211}, std::pair{97, 400}, std::pair{23, 35}, std::pair{250, 170}, std::pair{13, 12}}) {
            pixels.push_back(picture(width, height));
            if (width > 160 && height > 160) test::lay(test::chip(width % 2 == 0 ? "obama.jpg" : "biden.jpg"), 9, 12, pixels.back(), width);
            images.push_back({test::rgb(pixels.back(), width, height)});
        }
    }
    std::vector<std::vector<uint8_t>> pixels;
    std::vector<Image> images;
};

} // namespace

// What each thread of a GPU does, one after the other, and on a GPU the kernel, for levels of even and odd sides, the smallest too.
TEST(DevicePictures, firstLayerIsConvolutionPreluAndPool) {
    const std::vector<uint8_t> pixels = picture(131, 97);
    FirstLayer layer;
    const std::vector<float> random = test::seeded("first layer", sizeof(layer) / sizeof(float));
    std::transform(random.begin(), random.end(), layer.weights[0], [](float number) { return number - 0.5f; }); // bias and slopes follow
    const at::Tensor weights = at::from_blob(layer.weights, {10, 3, 3, 3}).permute({0, 3, 1, 2}).to(at::kDouble);
    const at::Tensor bias = at::from_blob(layer.bias, {10}).to(at::kDouble), slopes = at::from_blob(layer.slopes, {10}).to(at::kDouble);
    const std::vector<DevicePictures::Tile> tiles = {{0, 131, 97, 0, 0}, {0, 93, 68, 132, 0}, {0, 24, 13, 0, 98}, {0, 12, 12, 24, 98}};
    device().run([&] {
        const DevicePictures pictures(device(), {test::rgb(pixels, 131, 97)});
        for (const auto& [source, width, height, x, y] : tiles) {
            const at::Tensor level = pictures.scaled(source, width, height).cpu();
            const at::Tensor input = level.to(at::kDouble).div(128).sub(127.5 / 128).permute({2, 0, 1}).unsqueeze(0);
            const at::Tensor expected = at::max_pool2d(at::prelu(at::conv2d(input, weights, bias), slopes), 2, 2, 0, 1, true);
            const int64_t columns = FirstLayer::places(width), rows = FirstLayer::places(height);
            ASSERT_EQ(expected.size(3), columns);
            ASSERT_EQ(expected.size(2), rows);
            const at::Tensor inputs = level.mul(1 / 128.0f).sub(127.5f / 128).contiguous(), found = at::empty({rows, columns, 10});
            for (int64_t row = 0; row < rows; row++) {
                for (int64_t column = 0; column < columns; column++) {
                    layer.at(inputs.data_ptr<float>() + (2 * row * width + 2 * column) * 3, 3 * width, 2 * column + 3 < width, 2 * row + 3 < height,
                             found.data_ptr<float>() + (row * columns + column) * 10);
                }
            }
            EXPECT_LT(found.permute({2, 0, 1}).to(at::kDouble).sub(expected[0]).abs().max().item<double>(), 1e-5);
            if (!device().place().is_cuda()) continue;
            const at::Tensor all = pictures.firstLayer(tiles, 256, 128, layer).cpu();
            const at::Tensor own = all[0].narrow(1, y / 2, rows).narrow(2, x / 2, columns);
            EXPECT_LT(own.to(at::kDouble).sub(expected[0]).abs().max().item<double>(), 1e-5) << width << " x " << height;
        }
    });
}

TEST(DeviceMtcnn, findsWhatTheProcessorFinds) {
    const Album album;
    MtcnnOptions options;
    options.thresholds = {0.1, 0.01, 0.01}; // what is at edges of levels counts too
    const Safetensors weights(test::model("mtcnn"));
    std::vector<RgbPixels> pixels;
    for (const Image& image : album.images) pixels.emplace_back(image);
    std::vector<const RgbPixels*> pointers;
    for (const RgbPixels& picture : pixels) pointers.push_back(&picture);
    const auto expected = Mtcnn(weights, options).detect(pointers);
    const auto cpu = std::make_shared<const Device>(at::kCPU, at::kFloat);
    cpu->run([&] {
        const DevicePictures pictures(*cpu, album.images);
        const auto found = DeviceMtcnn(weights, options, cpu).detect(pictures, std::vector<double>(album.images.size()));
        size_t total = 0;
        for (size_t i = 0; i < expected.size(); i++) {
            ASSERT_EQ(found[i].size(), expected[i].size()) << i;
            total += found[i].size();
            for (size_t k = 0; k < expected[i].size(); k++) {
                EXPECT_NEAR(found[i][k].box.x1, expected[i][k].box.x1, 0.02) << i << ", " << k;
                EXPECT_NEAR(found[i][k].box.y2, expected[i][k].box.y2, 0.02) << i << ", " << k;
            }
        }
        EXPECT_GT(total, 50u);
    });
}

// On a GPU each of them is a kernel or more, and starting those takes longer than they do.
TEST(DeviceMtcnn, asksForFewOperations) {
    const Album album;
    const auto cpu = std::make_shared<const Device>(at::kCPU, at::kFloat);
    cpu->run([&] {
        DeviceMtcnn detector(Safetensors(test::model("mtcnn")), {}, cpu);
        const DevicePictures pictures(*cpu, album.images);
        static int operations;
        operations = 0;
        const auto counting = at::addThreadLocalCallback(at::RecordFunctionCallback([](const at::RecordFunction&) -> std::unique_ptr<at::ObserverContext> {
                                                             operations++;
                                                             return nullptr;
                                                         }).scopes({at::RecordScope::FUNCTION}));
        detector.detect(pictures, std::vector<double>(album.images.size()));
        at::removeCallback(counting);
        std::cout << operations << " operations\n";
        EXPECT_LT(operations, 1000);
    });
}

TEST(DeviceFaceRecognition, givesWhatTheProcessorGives) {
    FaceRecognizerFactory::Options options;
    options.weights = test::model("resnet128");
    options.detectorWeights = test::model("mtcnn");
    const auto ours = FaceRecognizerFactory().create("resnet128", options);
    options.device = "torch";
    const auto theirs = FaceRecognizerFactory().create("resnet128", options);

    std::vector<uint8_t> canvas(size_t{400} * 260 * 3, 128), plain(size_t{120} * 90 * 3, 60);
    test::lay(test::chip("obama.jpg"), 30, 40, canvas, 400);
    test::lay(test::chip("biden.jpg"), 230, 70, canvas, 400);
    FaceOptions part, largest;
    part.region = {200, 40, 200, 220};
    largest.maxFaces = 1;
    const std::vector<FaceRecognition::Request> requests = {{test::rgb(canvas, 400, 260), {}}, {test::rgb(plain, 120, 90), {}}, {test::rgb(canvas, 400, 260), part},
                                                            {test::rgb(canvas, 400, 260), largest}, {test::rgb(plain, 1, 1), {}}};
    std::vector<std::vector<Face>> a, b;
    ASSERT_TRUE(ours->getFaces(requests, a)) << ours->getErrorString();
    ASSERT_TRUE(theirs->getFaces(requests, b)) << theirs->getErrorString();
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(b[0].size(), 2u);
    for (size_t i = 0; i < a.size(); i++) {
        ASSERT_EQ(a[i].size(), b[i].size()) << i;
        for (size_t k = 0; k < a[i].size(); k++) {
            EXPECT_NEAR(a[i][k].box.x, b[i][k].box.x, 1e-2);
            EXPECT_NEAR(a[i][k].box.height, b[i][k].box.height, 1e-2);
            EXPECT_NEAR(a[i][k].score, b[i][k].score, 1e-5);
            EXPECT_NEAR(a[i][k].landmarks[2][1], b[i][k].landmarks[2][1], 1e-2);
            for (size_t j = 0; j < 128; j++) EXPECT_NEAR(a[i][k].getFeaturesData()[j], b[i][k].getFeaturesData()[j], 1e-3);
        }
    }
    std::vector<uint8_t> chips = test::chip("obama.jpg");
    for (int i = 1; i < 130; i++) chips.insert(chips.end(), chips.begin(), chips.begin() + 150 * 150 * 3); // more than a batch
    std::vector<float> features(130 * 128), one(128);
    ASSERT_TRUE(theirs->embed(chips.data(), 130, features.data())) << theirs->getErrorString();
    ASSERT_TRUE(ours->embed(chips.data(), 1, one.data()));
    for (size_t j = 0; j < features.size(); j++) ASSERT_NEAR(features[j], one[j % 128], 1e-4);
    FaceOptions outside;
    outside.region = {300, 200, 200, 100};
    std::vector<Face> none;
    EXPECT_FALSE(theirs->getFaces(test::rgb(canvas, 400, 260), none, outside));
    EXPECT_EQ(theirs->getErrorCode(), ErrorCode::InvalidArgument);
}
