#include "vision/device_pictures.h"

#include <algorithm>
#include <cstring>

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "error.h"
#include "vision/jpeg_scan.h"

#ifdef FAISS_VISION_CUDA
#include "vision/cuda/kernels.h"
#endif

namespace faiss_vision {
namespace {

constexpr int64_t kChipNumbers = int64_t{1} << 26; // of half-scaled pixels at once: bounds the memory of large faces

/// Rows without what may lie between them.
void copyRows(const Image& image, uint8_t* to) {
    const size_t row = size_t(image.width) * image.channels;
    at::parallel_for(0, image.height, 1 + (1 << 20) / int64_t(row), [&](int64_t begin, int64_t end) {
        if (image.stride == row) return void(std::memcpy(to + size_t(begin) * row, image.data + size_t(begin) * row, size_t(end - begin) * row));
        for (int64_t y = begin; y < end; y++) std::memcpy(to + size_t(y) * row, image.data + size_t(y) * image.stride, row);
    });
}

/// n x channels bytes to n x 3, as RgbPixels converts them.
at::Tensor toRgb(const at::Tensor& bytes, const Image& image) {
    if (image.channels == 1) return bytes.expand({bytes.size(0), 3});
    const at::Tensor colour = image.channels == 3 ? bytes : bytes.narrow(1, 0, 3), rgb = image.order == PixelOrder::BGR ? colour.flip(1) : colour;
    if (image.channels == 3) return rgb;
    const at::Tensor alpha = bytes.narrow(1, 3, 1).to(at::kInt);
    return rgb.to(at::kInt).mul(alpha).add(alpha.neg().add(255).mul(255)).add(127).div(255, "trunc").to(at::kByte);
}

/// Edges of the windows that a side of `in` is averaged over to give `out`: floor(i * in / out) and ceil((i + 1) * in / out).
struct Edges {
    at::Tensor begin, end;

    /// @param places   i, whole numbers
    /// @param in, out  numbers or tensors
    template <class In, class Out>
    Edges(const at::Tensor& places, const In& in, const Out& out) : begin(places.mul(in).div(out, "floor")), end(places.add(1).mul(in).add(out).sub(1).div(out, "floor")) {}
};

} // namespace

Places::Places(const Device& device, const std::vector<std::pair<int, int>>& sizes) {
    std::vector<int64_t> begins, ends, widths;
    int64_t total = 0;
    for (const auto& [width, height] : sizes) {
        begins.push_back(total);
        ends.push_back(total += int64_t{width} * height);
        widths.push_back(width);
    }
    const int64_t n = int64_t(sizes.size());
    const at::Tensor all = at::arange(total, device.options(at::kLong));
    grid = at::searchsorted(device.up(ends, {n}), all, /*out_int32=*/false, /*right=*/true);
    const at::Tensor own = all.sub(device.up(begins, {n}).index_select(0, grid)), width = device.up(widths, {n}).index_select(0, grid);
    row = own.div(width, "floor");
    column = own.sub(row.mul(width));
}

DevicePictures::DevicePictures(const Device& device, const std::vector<Image>& images, JpegDecoder* decoder) : device_(device) {
    int64_t bytes = 0, pixels = 0, sums = 0;
    for (const Image& image : images) {
        checkImage(image, decoder != nullptr);
        places_.push_back({pixels, sums, image.width, image.height, 0, 0, image.width, image.height});
        const int64_t count = int64_t{image.width} * image.height;
        if (image.jpeg == 0) bytes += count * image.channels;
        pixels += count;
        sums += int64_t{image.width + 1} * (image.height + 1);
    }
    pixels_ = at::empty({pixels, 3}, device.options(at::kByte));
    std::vector<JpegDecoder::File> files;
    const at::Tensor staged = device.staging(bytes);
    uint8_t* to = staged.data_ptr<uint8_t>();
    for (size_t i = 0; i < images.size(); i++) {
        const Image& image = images[i];
        if (image.jpeg != 0) {
            files.push_back({image.data, image.jpeg, image.width, image.height, pixels_.data_ptr<uint8_t>() + 3 * places_[i].pixels});
            continue;
        }
        copyRows(image, to);
        to += size_t(image.width) * image.height * image.channels;
    }
    if (!files.empty()) decoder->decode(files);
    std::vector<char> whole(files.size());
    at::parallel_for(0, int64_t(files.size()), 1, [&](int64_t begin, int64_t end) { // while it decodes
        for (int64_t i = begin; i < end; i++) whole[size_t(i)] = isWholeJpeg(files[size_t(i)].data, files[size_t(i)].bytes);
    });
    if (std::count(whole.begin(), whole.end(), 0) > 0) {
        throw Error("ERR_IMAGE_DECODE", "expected a whole baseline JPEG file, got a part of one or another");
    }
    const at::Tensor up = device.up(staged);
    int64_t at = 0;
    for (size_t i = 0; i < images.size(); i++) {
        const Image& image = images[i];
        if (image.jpeg != 0) continue;
        const int64_t count = int64_t{image.width} * image.height;
        pixels_.narrow(0, places_[i].pixels, count).copy_(toRgb(up.narrow(0, at, count * image.channels).view({count, image.channels}), image));
        at += count * image.channels;
    }

    sums_ = at::empty({sums, 3}, device.options(at::kInt));
#ifdef FAISS_VISION_CUDA
    if (sums_.is_cuda()) {
        std::vector<int64_t> table;
        int64_t highest = 0, widest = 0;
        for (const Place& place : places_) {
            table.insert(table.end(), {place.pixels, place.sums, place.wholeWidth, place.wholeHeight});
            highest = std::max<int64_t>(highest, place.wholeHeight), widest = std::max<int64_t>(widest, place.wholeWidth);
        }
        cuda::addUp(pixels_, device.up(table, {int64_t(places_.size()), 4}), highest, widest, sums_);
        return;
    }
#endif
    for (const Place& place : places_) {
        const int64_t height = place.wholeHeight, width = place.wholeWidth;
        const at::Tensor whole = sums_.narrow(0, place.sums, (height + 1) * (width + 1)).view({height + 1, width + 1, 3});
        whole.select(0, 0).zero_();
        whole.select(1, 0).zero_();
        const at::Tensor rgb = pixels_.narrow(0, place.pixels, height * width).view({height, width, 3});
        // A GPU adds up along rows of memory far quicker than across them, so the picture is turned for the second time.
        const at::Tensor alongRows = at::cumsum(rgb.permute({2, 0, 1}), 2, at::kInt);
        whole.narrow(0, 1, height).narrow(1, 1, width).copy_(at::cumsum(alongRows.transpose(1, 2), 2, at::kInt).permute({2, 1, 0}));
    }
}

void DevicePictures::look(size_t picture, int x, int y, int width, int height) {
    Place& place = places_[picture];
    place.x = x, place.y = y, place.width = width, place.height = height;
}

at::Tensor DevicePictures::scaled(size_t picture, int width, int height) const {
    const Place& place = places_[picture];
#ifdef FAISS_VISION_CUDA
    if (sums_.is_cuda()) {
        const std::vector<Cut> cuts = {cutOf(place, {place.x, place.y, place.width, place.height}, width, height, 0)};
        return cut(up(cuts), cuts, height, width);
    }
#endif
    const at::TensorOptions whole = device_.options(at::kLong);
    const Edges rows(at::arange(height, whole), place.height, height), columns(at::arange(width, whole), place.width, width);
    const at::Tensor sums = sums_.narrow(0, place.sums, int64_t{place.wholeHeight + 1} * (place.wholeWidth + 1)).view({place.wholeHeight + 1, place.wholeWidth + 1, 3});
    const at::Tensor bands = sums.index_select(0, rows.end.add(place.y)).sub_(sums.index_select(0, rows.begin.add(place.y)));
    const at::Tensor means = bands.index_select(1, columns.end.add(place.x)).sub_(bands.index_select(1, columns.begin.add(place.x)));
    // The CPU's own order: 1 / columns times 1 / rows, then times the sum.
    const at::Tensor high = rows.end.sub(rows.begin).to(at::kFloat).reciprocal(), wide = columns.end.sub(columns.begin).to(at::kFloat).reciprocal();
    return means.to(at::kFloat).mul_(wide.view({1, width, 1}).mul(high.view({height, 1, 1})));
}

/// Means over windows whose edges are places in sums_ (rows times the picture's step; columns), which broadcast: ... x 3.
at::Tensor DevicePictures::windows(const at::Tensor& above, const at::Tensor& below, const at::Tensor& left, const at::Tensor& right) const {
    const at::Tensor first = below.add(right);
    std::vector<int64_t> shape = first.sizes().vec();
    shape.push_back(3);
    const auto at = [&](const at::Tensor& place) { return sums_.index_select(0, place.flatten()); };
    return at(first).sub_(at(above.add(right))).sub_(at(below.add(left))).add_(at(above.add(left))).view(shape);
}

Cut DevicePictures::cutOf(const Place& place, const AreaResampler::Rectangle& part, int columns, int rows, int64_t to) {
    const int64_t step = place.wholeWidth + 1;
    return {place.sums + part.y * step + part.x, step, part.width, part.height, columns, rows, to};
}

/// n x 7 whole numbers.
at::Tensor DevicePictures::up(const std::vector<Cut>& cuts) const {
    std::vector<int64_t> numbers;
    for (const Cut& cut : cuts) numbers.insert(numbers.end(), {cut.corner, cut.step, cut.width, cut.height, cut.columns, cut.rows, cut.to});
    return device_.up(numbers, {int64_t(cuts.size()), 7});
}

#ifdef FAISS_VISION_CUDA
at::Tensor DevicePictures::cut(const at::Tensor& table, const std::vector<Cut>& cuts, int64_t height, int64_t width) const {
    const at::Tensor canvas = at::zeros({height, width, 3}, device_.options(at::kFloat));
    int64_t most = 0;
    for (const Cut& cut : cuts) most = std::max(most, cut.columns * cut.rows);
    cuda::cut(sums_, table, most, canvas);
    return canvas;
}
#endif

std::vector<Cut> DevicePictures::cutsOf(const std::vector<Tile>& tiles, int width) const {
    std::vector<Cut> cuts;
    for (const Tile& tile : tiles) {
        const Place& place = places_[tile.picture];
        cuts.push_back(cutOf(place, {place.x, place.y, place.width, place.height}, tile.width, tile.height, int64_t{tile.y} * width + tile.x));
    }
    return cuts;
}

at::Tensor DevicePictures::firstLayer(const std::vector<Tile>& tiles, int width, int height, const FirstLayer& layer) const {
    const at::Tensor maps = at::zeros({1, height / 2 - 1, width / 2 - 1, FirstLayer::kMaps}, device_.options(device_.type()));
#ifdef FAISS_VISION_CUDA
    cuda::firstLayer(sums_, cutsOf(tiles, width), width, layer, device_, maps);
#else
    (void)tiles, (void)layer;
#endif
    return maps.permute({0, 3, 1, 2});
}

at::Tensor DevicePictures::canvas(const std::vector<Tile>& tiles, int width, int height) const {
    const std::vector<Cut> cuts = cutsOf(tiles, width);
    std::vector<std::pair<int, int>> sizes;
    for (const Tile& tile : tiles) sizes.emplace_back(tile.width, tile.height);
    const at::Tensor table = up(cuts);
#ifdef FAISS_VISION_CUDA
    if (sums_.is_cuda()) return cut(table, cuts, height, width);
#endif
    const Places places(device_, sizes);
    const auto of = [&](int64_t i) { return table.select(1, i).index_select(0, places.grid); };
    const Edges rows(places.row, of(3), of(5)), columns(places.column, of(2), of(4));
    const at::Tensor corner = of(0), step = of(1);
    const auto down = [&](const at::Tensor& edge) { return edge.mul(step).add_(corner); };
    const at::Tensor sums = windows(down(rows.begin), down(rows.end), columns.begin, columns.end);
    const at::Tensor high = rows.end.sub(rows.begin).to(at::kFloat).reciprocal_(), wide = columns.end.sub(columns.begin).to(at::kFloat).reciprocal_();
    const at::Tensor pixels = at::zeros({int64_t{height} * width, 3}, device_.options(at::kFloat));
    pixels.index_copy_(0, places.row.mul(width).add_(places.column).add_(of(6)), sums.to(at::kFloat).mul_(wide.mul_(high).unsqueeze(1)));
    return pixels.view({height, width, 3});
}

at::Tensor DevicePictures::crops(const MtcnnCascade::Crop* crops, int64_t n, int side) const {
    std::vector<Cut> cuts;
    for (const MtcnnCascade::Crop* crop = crops; crop < crops + n; crop++) {
        const Place& place = places_[crop->picture];
        const auto& [x, y, width, height] = crop->pixels;
        cuts.push_back(cutOf(place, {place.x + x, place.y + y, width, height}, side, side, int64_t(cuts.size()) * side * side));
    }
    const at::Tensor table = up(cuts);
#ifdef FAISS_VISION_CUDA
    if (sums_.is_cuda()) return cut(table, cuts, n * side, side).view({n, side, side, 3}); // one below the other
#endif
    const at::Tensor places = at::arange(side, device_.options(at::kLong));
    const auto column = [&](int64_t i) { return table.narrow(1, i, 1); };
    const Edges rows(places, column(3), side), columns(places, column(2), side);
    const auto down = [&](const at::Tensor& edge) { return edge.mul(column(1)).add(column(0)).view({n, side, 1}); };
    const auto across = [&](const at::Tensor& edge) { return edge.view({n, 1, side}); };
    const at::Tensor sums = windows(down(rows.begin), down(rows.end), across(columns.begin), across(columns.end));
    const at::Tensor high = rows.end.sub(rows.begin).to(at::kFloat).reciprocal().view({n, side, 1, 1}), wide = columns.end.sub(columns.begin).to(at::kFloat).reciprocal().view({n, 1, side, 1});
    return sums.to(at::kFloat).mul_(wide.mul(high));
}

ChipCut chipCut(const Landmarks& face, int64_t sums, int width, int height, int size) {
    const Similarity to = Similarity::fit(meanFace(size), face);
    const ChipGrid grid(width, height, to, size);
    const int64_t step = width + 1;
    return {to.a, to.b, to.x0, to.y0, double(grid.left), double(grid.top), grid.scaleX, grid.scaleY,
            sums + grid.top * step + grid.left, step, grid.sourceWidth, grid.sourceHeight, grid.width, grid.height};
}

at::Tensor DevicePictures::faceChips(const std::vector<Found>& faces, int size) const {
    const int64_t n = int64_t(faces.size());
    std::vector<int64_t> bits;
    for (const auto& [picture, face] : faces) {
        const Place& place = places_[picture];
        const ChipCut cut = chipCut(face->visibleLandmarks, place.sums, place.wholeWidth, place.wholeHeight, size);
        bits.resize(bits.size() + sizeof(cut) / sizeof(int64_t));
        std::memcpy(bits.data() + bits.size() - sizeof(cut) / sizeof(int64_t), &cut, sizeof(cut));
    }
    const at::Tensor table = device_.up(bits, {n, int64_t(sizeof(ChipCut) / sizeof(int64_t))});
#ifdef FAISS_VISION_CUDA
    if (sums_.is_cuda()) {
        const at::Tensor chips = at::empty({n, size, size, 3}, device_.options(at::kFloat));
        cuda::cutChips(sums_, table, chips);
        return chips;
    }
#endif
    const at::Tensor exact = table.narrow(1, 0, 8).contiguous().view(at::kDouble), whole = table.narrow(1, 8, 6);
    const auto number = [&](int64_t i) { return exact.select(1, i).view({n, 1, 1}); };
    const auto count = [&](int64_t i) { return whole.select(1, i).view({n, 1, 1}); };
    const at::Tensor places = at::arange(size, device_.options(at::kDouble)), u = places.view({1, 1, size}), v = places.view({1, size, 1});

    // As Surroundings::sample counts: squares from 1 on, inside a frame of black ones.
    const auto inGrid = [&](const at::Tensor& picture, int64_t corner, int64_t scale, int64_t squares) {
        const at::Tensor place = picture.sub(number(corner)).add(0.5).mul(number(scale)).add(0.5);
        return at::minimum(place.clamp_min(0.0), count(squares).to(at::kDouble).add(0.999)).to(at::kFloat);
    };
    const at::Tensor x = inGrid(number(0).mul(u).sub(number(1).mul(v)).add(number(2)), 4, 6, 4);
    const at::Tensor y = inGrid(number(1).mul(u).add(number(0).mul(v)).add(number(3)), 5, 7, 5);
    const at::Tensor column = x.to(at::kLong), line = y.to(at::kLong);
    const at::Tensor right = x.sub(column.to(at::kFloat)).unsqueeze(3), below = y.sub(line.to(at::kFloat)).unsqueeze(3);
    const auto square = [&](const at::Tensor& across, const at::Tensor& down) {
        const at::Tensor black = across.lt(1).logical_or_(across.gt(count(4))).logical_or_(down.lt(1)).logical_or_(down.gt(count(5)));
        const auto inside = [](const at::Tensor& place, const at::Tensor& squares) { return at::minimum(place.sub(1).clamp_min(0), squares.sub(1)); };
        const Edges columns(inside(across, count(4)), count(2), count(4)), rows(inside(down, count(5)), count(3), count(5));
        const auto row = [&](const at::Tensor& edge) { return edge.mul(count(1)).add(count(0)); };
        const at::Tensor sums = windows(row(rows.begin), row(rows.end), columns.begin, columns.end).to(at::kFloat);
        const at::Tensor weight = columns.end.sub(columns.begin).to(at::kFloat).reciprocal().mul(rows.end.sub(rows.begin).to(at::kFloat).reciprocal());
        return sums.mul_(weight.masked_fill(black, 0).unsqueeze(3));
    };
    const auto between = [](const at::Tensor& from, const at::Tensor& to, const at::Tensor& share) { return to.sub(from).mul_(share).add_(from); };
    const at::Tensor above = between(square(column, line), square(column.add(1), line), right);
    const at::Tensor under = between(square(column, line.add(1)), square(column.add(1), line.add(1)), right);
    return between(above, under, below).add_(0.5).floor_();
}

at::Tensor DevicePictures::boxChips(const std::vector<Found>& faces, int size, int margin) const {
    std::vector<BoxCut> cuts;
    for (const auto& [picture, face] : faces) cuts.emplace_back(places_[picture].wholeWidth, places_[picture].wholeHeight, face->box, size, margin);
    std::vector<at::Tensor> parts;
    for (size_t begin = 0, end = 0; begin < faces.size(); begin = end) {
        int64_t highest = 0;
        for (; end < faces.size(); end++) {
            highest = std::max<int64_t>(highest, cuts[end].height);
            if (end > begin && int64_t(end + 1 - begin) * highest * size * 3 > kChipNumbers) break;
        }
        parts.push_back(boxChipsOf(faces.data() + begin, {cuts.begin() + ptrdiff_t(begin), cuts.begin() + ptrdiff_t(end)}, size));
    }
    return parts.size() == 1 ? parts.front() : at::cat(parts);
}

at::Tensor DevicePictures::boxChipsOf(const Found* faces, const std::vector<BoxCut>& cuts, int size) const {
    constexpr int kBits = BoxWeights::kBits;
    // For each side: which pixel each sum begins with, the last one, and weights, all as many as the widest has.
    struct Side {
        std::vector<int64_t> begins, lasts;
        std::vector<int> weights;
        int64_t taps = 1;
    };
    const auto side = [&](int BoxCut::*length) {
        Side result;
        std::vector<BoxWeights> all;
        for (const BoxCut& cut : cuts) {
            all.emplace_back(cut.*length, size);
            for (int i = 0; i < size; i++) result.taps = std::max<int64_t>(result.taps, all.back().span(i).end - all.back().span(i).begin);
        }
        for (size_t k = 0; k < cuts.size(); k++) {
            result.lasts.push_back(cuts[k].*length - 1);
            for (int i = 0; i < size; i++) {
                const BoxWeights::Span& span = all[k].span(i);
                result.begins.push_back(span.begin);
                result.weights.insert(result.weights.end(), all[k].of(span), all[k].of(span) + (span.end - span.begin));
                result.weights.resize(result.begins.size() * size_t(result.taps));
            }
        }
        return result;
    };
    const Side columns = side(&BoxCut::width), rows = side(&BoxCut::height);
    const int64_t n = int64_t(cuts.size());
    int64_t highest = 0;
    std::vector<int64_t> corners, steps;
    for (size_t i = 0; i < cuts.size(); i++) {
        const BoxCut& cut = cuts[i];
        const Place& place = places_[faces[i].picture];
        highest = std::max<int64_t>(highest, cut.height);
        corners.push_back(place.pixels + int64_t{cut.top} * place.wholeWidth + cut.left);
        steps.push_back(place.wholeWidth);
    }
    const auto finished = [](const at::Tensor& sums) { return at::bitwise_right_shift(sums, kBits).clamp_(0, 255); };

    const at::Tensor lastColumns = device_.up(columns.lasts, {n, 1, 1}), lastRows = device_.up(rows.lasts, {n, 1});
    const at::Tensor lines = at::minimum(at::arange(highest, device_.options(at::kLong)).view({1, highest}), lastRows);
    const at::Tensor firsts = lines.mul(device_.up(steps, {n, 1})).add(device_.up(corners, {n, 1})).view({n, highest, 1});
    const at::Tensor beginColumns = device_.up(columns.begins, {n, 1, size}), columnWeights = device_.up(columns.weights, {n, 1, size, columns.taps});
    at::Tensor narrow = at::full({n, highest, size, 3}, 1 << (kBits - 1), device_.options(at::kInt));
    for (int64_t tap = 0; tap < columns.taps; tap++) {
        const at::Tensor places = firsts.add(at::minimum(beginColumns.add(tap), lastColumns));
        narrow.add_(pixels_.index_select(0, places.flatten()).view({n, highest, size, 3}).to(at::kInt).mul_(columnWeights.select(3, tap).unsqueeze(3)));
    }
    narrow = finished(narrow).view({n * highest, int64_t{3} * size});

    const at::Tensor beginRows = device_.up(rows.begins, {n, size}), rowWeights = device_.up(rows.weights, {n, size, rows.taps});
    const at::Tensor offsets = at::arange(n, device_.options(at::kLong)).mul(highest).view({n, 1});
    const at::Tensor chips = at::full({n * size, int64_t{3} * size}, 1 << (kBits - 1), device_.options(at::kInt));
    for (int64_t tap = 0; tap < rows.taps; tap++) {
        const at::Tensor places = offsets.add(at::minimum(beginRows.add(tap), lastRows));
        chips.add_(narrow.index_select(0, places.flatten()).mul_(rowWeights.select(2, tap).reshape({n * size, 1})));
    }
    return finished(chips).to(at::kByte).view({n, size, size, 3});
}

} // namespace faiss_vision
