#include "vision/device_mtcnn.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/nonzero.h>

namespace faiss_vision {
namespace {

constexpr int64_t kCanvasPixels = int64_t{1} << 21; // of levels that go through the first network together: some 400 bytes for each
constexpr int64_t kSmallCrops = 1024, kCrops = 256; // through the second and the third
constexpr int64_t kRecorded = 64;                   // crops: more keep a GPU busy without a recording

at::Tensor pool(const at::Tensor& maps, int64_t window) { return at::max_pool2d(maps, window, 2, 0, 1, /*ceil_mode=*/true); }

} // namespace

/// Names are those of the state dicts: "<net>.<layer>.weight", ...
struct DeviceMtcnn::Loader {
    const Safetensors& weights;
    const std::shared_ptr<const Device>& device;

    DeviceConvolution convolution(const std::string& net, const std::string& number, int64_t in, int64_t out, int64_t size) const {
        const std::string layer = net + ".conv" + number;
        return DeviceConvolution(*device, weights.tensor(layer + ".weight", {out, in, size, size}), bias(layer, out), slope(net, number, out));
    }
    /// The dense layer behind the last map, of 3 x 3 x channels. The trained order is column, row, channel.
    DeviceConvolution dense(const std::string& net, const std::string& number, int64_t channels, int64_t out) const {
        const std::string layer = net + ".dense" + number;
        return DeviceConvolution(*device, weights.tensor(layer + ".weight", {out, 9 * channels}).view({out, 3, 3, channels}).permute({0, 3, 2, 1}),
                                 bias(layer, out), slope(net, number, out));
    }
    DeviceConvolution heads(const std::string& layer, int64_t in, bool convolutional, bool landmarks) const {
        std::vector<at::Tensor> matrices, biases;
        const auto add = [&](const std::string& suffix, int64_t out) {
            const std::string name = layer + suffix;
            const at::Tensor matrix = convolutional ? weights.tensor(name + ".weight", {out, in, 1, 1}) : weights.tensor(name + ".weight", {out, in});
            matrices.push_back(matrix.reshape({out, in, 1, 1}));
            biases.push_back(bias(name, out));
        };
        add("_1", 2);
        add("_2", 4);
        if (landmarks) add("_3", 10);
        return DeviceConvolution(*device, at::cat(matrices), at::cat(biases), {}, DeviceConvolution::Activation::None, {});
    }
    FirstLayer firstLayer() const {
        FirstLayer layer;
        const auto copy = [](const at::Tensor& numbers, float* to) {
            const at::Tensor whole = numbers.to(at::kFloat).contiguous();
            std::copy_n(whole.data_ptr<float>(), whole.numel(), to);
        };
        copy(weights.tensor("pnet.conv1.weight", {FirstLayer::kMaps, 3, 3, 3}).permute({0, 2, 3, 1}), layer.weights[0]);
        copy(bias("pnet.conv1", FirstLayer::kMaps), layer.bias);
        copy(slope("pnet", "1", FirstLayer::kMaps), layer.slopes);
        return layer;
    }
    CropNet rnet() const {
        return {{convolution("rnet", "1", 3, 28, 3), convolution("rnet", "2", 28, 48, 3), convolution("rnet", "3", 48, 64, 2)},
                {3, 3, 0}, dense("rnet", "4", 64, 128), heads("rnet.dense5", 128, false, false)};
    }
    CropNet onet() const {
        return {{convolution("onet", "1", 3, 32, 3), convolution("onet", "2", 32, 64, 3), convolution("onet", "3", 64, 64, 3), convolution("onet", "4", 64, 128, 2)},
                {3, 3, 2, 0}, dense("onet", "5", 128, 256), heads("onet.dense6", 256, false, true)};
    }

private:
    at::Tensor bias(const std::string& layer, int64_t out) const { return weights.tensor(layer + ".bias", {out}); }
    at::Tensor slope(const std::string& net, const std::string& number, int64_t out) const {
        return weights.tensor(net + ".prelu" + number + ".weight", {out});
    }
};

at::Tensor DeviceMtcnn::CropNet::forward(const at::Tensor& crops) const {
    at::Tensor x = crops;
    for (size_t i = 0; i < convolutions.size(); i++) {
        x = convolutions[i](x);
        if (pools[i] != 0) x = pool(x, pools[i]);
    }
    return heads(dense(x)).flatten(1);
}

DeviceMtcnn::DeviceMtcnn(const Safetensors& weights, const MtcnnOptions& options, const std::shared_ptr<const Device>& device)
    : DeviceMtcnn((weights.requireModel("mtcnn"), Loader{weights, device}), options.checked()) {}

DeviceMtcnn::DeviceMtcnn(const Loader& load, const MtcnnOptions& options)
    : device_(load.device),
      options_(options),
      firstLayer_(load.firstLayer()),
      pnet1_(load.convolution("pnet", "1", 3, 10, 3)),
      pnet2_(load.convolution("pnet", "2", 10, 16, 3)),
      pnet3_(load.convolution("pnet", "3", 16, 32, 3)),
      pnet4_(load.heads("pnet.conv4", 32, true, false)),
      rnet_(load.rnet()),
      onet_(load.onet()),
      refine_(device_, [this](const at::Tensor& crops) { return scored(rnet_.forward(input(crops))); }, kSmallCrops, kRecorded),
      decide_(device_, [this](const at::Tensor& crops) { return scored(onet_.forward(input(crops))); }, kCrops, kRecorded) {}

at::Tensor DeviceMtcnn::input(const at::Tensor& pixels) const { return channelsLast(pixels.mul(1 / 128.0f).sub(127.5f / 128)).to(device_->type()); }

at::Tensor DeviceMtcnn::scored(const at::Tensor& answers) const {
    const at::Tensor wide = answers.to(at::kFloat);
    return at::cat({wide.narrow(1, 1, 1).sub(wide.narrow(1, 0, 1)).sigmoid_(), wide.narrow(1, 2, wide.size(1) - 2)}, 1);
}

std::vector<std::vector<Detection>> DeviceMtcnn::detect(const DevicePictures& pictures, const std::vector<double>& minFaceSizes) {
    std::vector<MtcnnCascade::Size> sizes;
    for (size_t i = 0; i < pictures.count(); i++) sizes.push_back(pictures.size(i));
    const MtcnnCascade cascade{[&](Levels& levels) { scan(pictures, levels); }, [&](Crops& crops) { look(refine_, RNet::kSide, pictures, crops); },
                               [&](Crops& crops) { look(decide_, ONet::kSide, pictures, crops); }};
    return cascade.detect(sizes, minFaceSizes, options_);
}

/// Levels side by side on one canvas: the first network then runs once for all of them, and its kernels, which are started one by
/// one, are not many times as many as levels. Corners are even, so that its pool's windows are each level's own.
struct DeviceMtcnn::Canvas {
    explicit Canvas(const std::vector<MtcnnCascade::Level*>& levels) {
        const auto even = [](int length) { return (length + 1) / 2 * 2; };
        double area = 0;
        int widest = 0;
        for (const MtcnnCascade::Level* const level : levels) {
            order.push_back(order.size());
            area += double(even(level->width)) * even(level->height);
            widest = std::max(widest, even(level->width));
            tiles.push_back({level->picture, level->width, level->height, 0, 0});
        }
        // Of few shapes: for a new one cuDNN thinks for longer than it computes, on each thread anew.
        const auto stepped = [](int length, int step) { return (length + step - 1) / step * step; };
        while (width < kUsualWidth && (width < widest || 2.0 * width * width < area)) width *= 2;
        const int step = width / 8;
        if (width < widest) width = stepped(widest, kUsualWidth / 2);
        // The highest first, in rows from left to right.
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tiles[a].height > tiles[b].height; });
        int x = 0, y = 0;
        for (const size_t i : order) {
            if (x + even(tiles[i].width) > width) x = 0, y = height;
            tiles[i].x = x, tiles[i].y = y;
            x += even(tiles[i].width);
            height = std::max(height, y + even(tiles[i].height));
        }
        height = stepped(height, step);
    }

    /// The first layer's maps, 1 x channels x (height - 2) x (width - 2), in which the pool finds each level's own maximum: where its
    /// last window in a row or a column has one place only, the next one becomes a copy of it.
    at::Tensor padded(const Device& device, const at::Tensor& maps) const {
        const int64_t columns = width - 2;
        std::vector<int64_t> below, right;
        for (const DevicePictures::Tile& tile : tiles) {
            const int64_t corner = tile.y * columns + tile.x, high = tile.height - 2, wide = tile.width - 2;
            for (int64_t x = 0; high % 2 == 1 && x < wide; x++) below.push_back(corner + high * columns + x);
            for (int64_t y = 0; wide % 2 == 1 && y < high + high % 2; y++) right.push_back(corner + y * columns + wide);
        }
        const at::Tensor places = maps.permute({0, 2, 3, 1}).reshape({-1, maps.size(1)});
        const auto copy = [&](const std::vector<int64_t>& to, int64_t back) {
            if (to.empty()) return;
            const at::Tensor index = device.up(to, {int64_t(to.size())});
            places.index_copy_(0, index, places.index_select(0, index.sub(back)));
        };
        copy(below, columns);
        copy(right, 1);
        return channelsLast(places.view({1, maps.size(2), columns, maps.size(1)}));
    }

    /// Which level a cell of the last layer's map belongs to, and where in it; tiles.size() for one that no level has.
    size_t levelAt(int& x, int& y) const {
        // The last one that begins neither below nor to the right of it.
        const auto row = std::partition_point(order.begin(), order.end(), [&](size_t i) { return tiles[i].y / 2 <= y; });
        if (row == order.begin()) return tiles.size();
        const int top = tiles[*(row - 1)].y;
        const auto next = std::partition_point(order.begin(), row, [&](size_t i) { return tiles[i].y < top || tiles[i].x / 2 <= x; });
        const DevicePictures::Tile& tile = tiles[*(next - 1)]; // of that row, as its first one stands at 0
        const int column = x - tile.x / 2, line = y - tile.y / 2;
        if (column >= PNet::gridSize(tile.width) || line >= PNet::gridSize(tile.height)) return tiles.size();
        x = column, y = line;
        return *(next - 1);
    }

    int width = 256, height = 0;
    std::vector<DevicePictures::Tile> tiles;
    std::vector<size_t> order; // of the tiles, row by row, in each from left to right

private:
    static constexpr int kUsualWidth = 2048; // wider for a level that is wider
};

at::Tensor DeviceMtcnn::firstLayer(const DevicePictures& pictures, const Canvas& canvas) const {
    if (device_->place().is_cuda()) return pictures.firstLayer(canvas.tiles, canvas.width, canvas.height, firstLayer_);
    const at::Tensor maps = pnet1_(input(pictures.canvas(canvas.tiles, canvas.width, canvas.height).unsqueeze(0)));
    return pool(canvas.padded(*device_, maps), 2);
}

void DeviceMtcnn::scan(const DevicePictures& pictures, Levels& levels) const {
    struct Sheet {
        Canvas canvas;
        std::vector<MtcnnCascade::Level*> levels;
        int64_t begin, columns; // its first cell among all, and those in a row of it
    };
    const int64_t most = device_->place().is_cuda() ? 2 * kCanvasPixels : kCanvasPixels; // where levels are cut out in one pass
    std::vector<at::Tensor> all; // answers for every cell of every sheet, also for those between levels: score and offsets
    std::vector<Sheet> sheets;
    int64_t cells = 0;
    for (size_t begin = 0, end = 0; begin < levels.size(); begin = end) {
        std::vector<MtcnnCascade::Level*> some;
        for (int64_t pixels = 0; end < levels.size(); end++) {
            MtcnnCascade::Level& level = levels[end];
            pixels += int64_t{level.width} * level.height;
            if (end > begin && pixels > most) break;
            some.push_back(&level);
        }
        const Canvas canvas(some);
        const at::Tensor maps = pnet4_(pnet3_(pnet2_(firstLayer(pictures, canvas))));
        all.push_back(scored(maps.permute({0, 2, 3, 1}).reshape({-1, maps.size(1)})));
        sheets.push_back({canvas, some, cells, maps.size(3)});
        cells += maps.size(2) * maps.size(3);
    }
    if (all.empty()) return;
    const at::Tensor answers = all.size() == 1 ? all.front() : at::cat(all);
    const at::Tensor enough = at::nonzero(answers.select(1, 0).ge(float(options_.thresholds[0]))).squeeze(1);
    // In one piece, since each copy back waits for the device: a double holds a place as well as a float.
    const at::Tensor found = at::cat({enough.unsqueeze(1).to(at::kDouble), answers.index_select(0, enough).to(at::kDouble)}, 1).cpu().contiguous();
    const double* row = found.data_ptr<double>();
    size_t at = 0; // in sheets, as the cells are in ascending order
    for (int64_t i = 0; i < found.size(0); i++, row += 6) {
        const int64_t place = int64_t(row[0]);
        while (at + 1 < sheets.size() && sheets[at + 1].begin <= place) at++;
        const Sheet& sheet = sheets[at];
        int x = int((place - sheet.begin) % sheet.columns), y = int((place - sheet.begin) / sheet.columns);
        const size_t which = sheet.canvas.levelAt(x, y);
        if (which == sheet.levels.size()) continue;
        MtcnnCascade::Level& level = *sheet.levels[which];
        level.candidates.push_back(PNet::candidate(x, y, level.scale, float(row[1]), {float(row[2]), float(row[3]), float(row[4]), float(row[5])}));
    }
}

void DeviceMtcnn::look(Batched& net, int side, const DevicePictures& pictures, Crops& crops) const {
    const int64_t total = int64_t(crops.size()), most = kSmallCrops;
    std::vector<at::Tensor> parts;
    for (int64_t begin = 0; begin < total; begin += most) parts.push_back(net(pictures.crops(crops.data() + begin, std::min(most, total - begin), side)));
    if (parts.empty()) return;
    const at::Tensor answers = at::cat(parts).cpu().contiguous();
    const int64_t width = answers.size(1);
    for (int64_t i = 0; i < total; i++) {
        const float* const values = answers.data_ptr<float>() + i * width;
        CropAnswer& answer = crops[size_t(i)].answer;
        answer = {values[0], {values[1], values[2], values[3], values[4]}, {}};
        if (width > 5) std::copy_n(values + 5, answer.landmarks.size(), answer.landmarks.begin());
    }
}

} // namespace faiss_vision
