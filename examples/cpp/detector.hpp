// A detector that `jaxunreg export MODEL --output FOLDER` wrote, with ONNX Runtime's C++ API and nlohmann's JSON.
//
//   Detector detector("exported");
//   Verdict found = detector(image);   // image.pixels: 8 bits, [height, width, channels], of any size
#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;
};

struct Judgement {
  double score = 0, p_value = 1, threshold = 0;
  bool is_anomalous = false;
};

struct Verdict : Judgement {
  std::string outcome;            // normal or anomalous; with a review band pass, review or reject
  std::array<int, 4> box{};       // top, left, height and width of the most anomalous place, in pixels
  std::vector<std::pair<std::string, Judgement>> named;  // of each named region
};

// A binary PGM or PPM file of 8 bits.
inline Image read_netpbm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind, word;
  std::vector<int> numbers;
  for (file >> kind; numbers.size() < 3 && file >> word;) {
    if (word[0] == '#') {
      std::getline(file, word);
    } else {
      numbers.push_back(std::stoi(word));
    }
  }
  if ((kind != "P5" && kind != "P6") || numbers.size() < 3 || numbers[2] != 255)
    throw std::runtime_error("got " + path + "; expected a binary .pgm or .ppm file of 8 bits");
  file.get();
  Image image{numbers[1], numbers[0], kind == "P6" ? 3 : 1, {}};
  image.pixels.resize(std::size_t(image.height) * image.width * image.channels);
  file.read(reinterpret_cast<char*>(image.pixels.data()), std::streamsize(image.pixels.size()));
  if (!file) throw std::runtime_error("got " + path + ", which is cut short; expected all of its pixels");
  return image;
}

class Detector {
 public:
  explicit Detector(const std::string& folder, int threads = 0) : environment_(ORT_LOGGING_LEVEL_ERROR, "jaxunreg") {
    std::ifstream file(folder + "/exported.json");
    if (!file) throw std::runtime_error("got " + folder + "; expected a folder of `jaxunreg export`");
    about_ = nlohmann::json::parse(file);
    if (about_.at("format") != 1 || about_.at("program_format") != "onnx")
      throw std::runtime_error("got " + folder + " of another format; expected format 1 with ONNX programs");
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);  // 0 stands for as many as there are cores
    for (const auto& [name, program] : about_.at("programs").items())
      sessions_[name] = std::make_unique<Ort::Session>(
          environment_, (folder + "/" + program.get<std::string>()).c_str(), options);
    if (!about_.at("ignored").is_null()) ignored_ = read_netpbm(folder + "/" + about_["ignored"].get<std::string>());
    for (const auto& region : about_.at("named_regions"))
      regions_.push_back(read_netpbm(folder + "/" + region.at("mask").get<std::string>()));
  }

  Verdict operator()(const Image& given) {
    Image image = with_channels(given, about_.at("channels"));
    if (std::min(image.height, image.width) < about_.at("smallest_image").get<int>())
      throw std::runtime_error("got an image that is too small; expected what the detector was made of");
    const auto ignored = laid_over(ignored_, image);
    for (std::size_t k = 0; k < image.pixels.size(); ++k)  // gray, so that nothing of them reaches a score
      if (ignored[k / image.channels]) image.pixels[k] = 128;
    const Map map = about_.at("space") == "features" ? of_features(image) : of_patches(image);
    const auto counted = not_in(ignored, image, map);
    Verdict verdict;
    static_cast<Judgement&>(verdict) = judged(some(map.values, counted), about_);
    for (std::size_t k = 0; k < regions_.size(); ++k) {
      const auto& region = about_["named_regions"][k];
      const auto of_region = inside(regions_[k], image, map, counted);
      verdict.named.emplace_back(region.at("name"), judged(some(map.values, of_region), region));
      verdict.is_anomalous = verdict.is_anomalous || verdict.named.back().second.is_anomalous;
    }
    std::size_t worst = 0;
    float highest = -std::numeric_limits<float>::infinity();
    for (std::size_t k = 0; k < counted.size(); ++k)
      if (counted[k] && map.values[k] > highest) highest = map.values[worst = k];
    const Axis &rows = map.rows, &columns = map.columns;
    const std::size_t row = worst / columns.starts.size(), column = worst % columns.starts.size();
    verdict.box = {rows.starts[row], columns.starts[column], rows.length, columns.length};
    verdict.outcome = outcome(verdict);
    return verdict;
  }

 private:
  // Along an axis, where the box of each place begins, the length of a box, and the middle of each place, in pixels.
  struct Axis {
    std::vector<int> starts;
    int length;
    std::vector<double> middles;
  };

  // The score of each place, row by row.
  struct Map {
    std::vector<float> values;
    Axis rows, columns;
  };

  // ------------------------------------------------------------------ features: resized, in tiles where it is large

  Map of_features(const Image& image) {
    const int height = about_.at("working_size")[0], width = about_.at("working_size")[1], channels = image.channels;
    std::vector<float> pixels(image.pixels.begin(), image.pixels.end());
    pixels = resized(pixels, 1, image.height, height, image.width * channels);
    pixels = resized(pixels, height, image.width, width, channels);
    for (float& value : pixels) value /= 255.0f;
    const int rows = about_.at("map")[0], columns = about_.at("map")[1], features = about_.at("map")[2];
    const int tall = about_.at("tile")[0], wide = about_.at("tile")[1];
    std::vector<float> map(std::size_t(rows) * columns * features);
    std::vector<float> tile(std::size_t(tall) * wide * channels);
    for (const auto& one : about_.at("tiles")) {
      const std::vector<int> t = one;  // top, left, row, column, rows, columns, rows and columns to skip
      for (int y = 0; y < tall; ++y)
        std::copy_n(&pixels[(std::size_t(t[0] + y) * width + t[1]) * channels], wide * channels,
                    &tile[std::size_t(y) * wide * channels]);
      auto outputs = run("network", tile, {1, tall, wide, channels});
      const float* seen = outputs[0].GetTensorData<float>();
      const auto seen_columns = outputs[0].GetTensorTypeAndShapeInfo().GetShape()[2];
      for (int y = 0; y < t[4]; ++y)
        std::copy_n(seen + ((t[6] + y) * seen_columns + t[7]) * features, t[5] * features,
                    &map[(std::size_t(t[2] + y) * columns + t[3]) * features]);
    }
    auto outputs = run("density", map, {rows, columns, features});
    const float* values = outputs[0].GetTensorData<float>();
    return {{values, values + std::size_t(rows) * columns}, boxes(rows, image.height), boxes(columns, image.width)};
  }

  // Linear interpolation with antialiasing along the middle of three axes, [outer, before, inner].
  static std::vector<float> resized(const std::vector<float>& x, int outer, int before, int after, int inner) {
    if (before == after) return x;
    const double scale = double(before) / after, reach = std::max(scale, 1.0);
    std::vector<float> y(std::size_t(outer) * after * inner);
    std::vector<double> weights, sums(inner);
    for (int k = 0; k < after; ++k) {
      const double center = (k + 0.5) * scale;
      const int start = std::max(0, int(center - reach + 0.5)), stop = std::min(before, int(center + reach + 0.5));
      double total = 0;
      weights.clear();
      for (int i = start; i < stop; ++i) {
        weights.push_back(std::max(0.0, 1.0 - std::abs((i + 0.5 - center) / reach)));
        total += weights.back();
      }
      for (int o = 0; o < outer; ++o) {
        std::fill(sums.begin(), sums.end(), 0.0);
        for (int i = start; i < stop; ++i) {
          const float* row = &x[(std::size_t(o) * before + i) * inner];
          const double weight = weights[i - start] / total;
          for (int c = 0; c < inner; ++c) sums[c] += weight * row[c];
        }
        std::copy(sums.begin(), sums.end(), &y[(std::size_t(o) * after + k) * inner]);
      }
    }
    return y;
  }

  Axis boxes(int places, int pixels) const {
    const int wide = about_.at("places_a_box");
    Axis axis{{}, std::min(pixels, (wide * pixels + places - 1) / places), {}};
    for (int k = 0; k < places; ++k) {
      axis.middles.push_back((k + 0.5) * pixels / places);
      const double start = std::nearbyint(axis.middles.back() - axis.length / 2.0);
      axis.starts.push_back(std::clamp(int(start), 0, pixels - axis.length));
    }
    return axis;
  }

  // ------------------------------------------------------------------------------------------- pixels: patch by patch

  Map of_patches(const Image& image) {
    const int side = about_.at("patch"), count = about_.at("patches_a_call"), channels = image.channels;
    const Axis rows = starts(image.height, side), columns = starts(image.width, side);
    const auto &tops = rows.starts, &lefts = columns.starts;
    const std::size_t size = std::size_t(side) * side * channels, total = tops.size() * lefts.size();
    std::vector<float> values, patches;
    for (std::size_t begin = 0; begin < total; begin += count) {
      patches.assign(size * count, 0.0f);
      const std::size_t end = std::min(total, begin + count);
      for (std::size_t k = begin; k < end; ++k) {
        const int top = tops[k / lefts.size()], left = lefts[k % lefts.size()];
        for (int y = 0; y < side; ++y)
          for (int x = 0; x < side * channels; ++x)
            patches[(k - begin) * size + std::size_t(y) * side * channels + x] =
                image.pixels[(std::size_t(top + y) * image.width + left) * channels + x] / 255.0f;
      }
      auto outputs = run("patches", patches, {count, side, side, channels});
      const float* scores = outputs[0].GetTensorData<float>();
      values.insert(values.end(), scores, scores + (end - begin));
    }
    return {values, rows, columns};
  }

  // Where patches begin along an axis; the last one ends with the image.
  Axis starts(int length, int side) const {
    Axis axis{{}, side, {}};
    for (int start = 0; start <= length - side; start += about_.at("stride").get<int>()) axis.starts.push_back(start);
    if (axis.starts.back() != length - side) axis.starts.push_back(length - side);
    for (int start : axis.starts) axis.middles.push_back(start + side / 2.0);
    return axis;
  }

  // ----------------------------------------------------------------------------------------------------------- verdict

  static Judgement judged(std::vector<float> values, const nlohmann::json& test) {
    if (values.empty()) throw std::runtime_error("got an image where no place counts; expected one at least");
    const std::size_t top = std::min(values.size(), test.at("top_k").get<std::size_t>());
    std::partial_sort(values.begin(), values.begin() + top, values.end(), std::greater<>());
    Judgement found;
    for (std::size_t k = 0; k < top; ++k) found.score += values[k] / double(top);
    const auto& held_out = test.at("held_out");
    const auto above =
        std::count_if(held_out.begin(), held_out.end(), [&](const auto& one) { return one >= found.score; });
    found.p_value = double(1 + above) / double(held_out.size() + 1);
    found.threshold = test.at("threshold");
    found.is_anomalous = found.score > found.threshold;
    return found;
  }

  std::string outcome(const Verdict& verdict) const {
    const auto& review = about_.at("review_threshold");
    if (review.is_null()) return verdict.is_anomalous ? "anomalous" : "normal";
    if (verdict.is_anomalous) return "reject";
    return verdict.score > review.get<double>() ? "review" : "pass";
  }

  static std::vector<float> some(const std::vector<float>& values, const std::vector<bool>& counted) {
    std::vector<float> kept;
    for (std::size_t k = 0; k < values.size(); ++k)
      if (counted[k]) kept.push_back(values[k]);
    return kept;
  }

  // ------------------------------------------------------------------------------------------------------------- masks

  // Whether a pixel of the image overlaps a marked pixel of a mask, whose sides have the same ratio; none of no mask.
  static std::vector<bool> laid_over(const Image& mask, const Image& image) {
    if (mask.pixels.empty()) return std::vector<bool>(std::size_t(image.height) * image.width);
    if (std::abs(double(mask.height) * image.width / (double(mask.width) * image.height) - 1.0) > 0.02)
      throw std::runtime_error("got an image whose sides have another ratio than a mask; expected the same");
    std::vector<bool> marked(std::size_t(image.height) * image.width);
    auto range = [](long k, long have, long want) {
      return std::pair(k * have / want, ((k + 1) * have + want - 1) / want);
    };
    for (int y = 0; y < image.height; ++y)
      for (int x = 0; x < image.width; ++x) {
        const auto [top, bottom] = range(y, mask.height, image.height);
        const auto [left, right] = range(x, mask.width, image.width);
        for (long row = top; row < bottom; ++row)
          for (long column = left; column < right; ++column)
            if (mask.pixels[row * mask.width + column]) marked[std::size_t(y) * image.width + x] = true;
      }
    return marked;
  }

  // Whether no marked pixel lies in the box around the middle of each place.
  static std::vector<bool> not_in(const std::vector<bool>& marked, const Image& image, const Map& map) {
    auto range = [](const Axis& axis, std::size_t k, int whole) {
      const double first = std::floor(axis.middles[k] - axis.length / 2.0);
      const double last = std::ceil(axis.middles[k] + axis.length / 2.0);
      return std::pair(std::clamp(int(first), 0, whole), std::clamp(int(last), 0, whole));
    };
    std::vector<bool> counted;
    for (std::size_t row = 0; row < map.rows.middles.size(); ++row)
      for (std::size_t column = 0; column < map.columns.middles.size(); ++column) {
        const auto [top, bottom] = range(map.rows, row, image.height);
        const auto [left, right] = range(map.columns, column, image.width);
        bool clear = true;
        for (int y = top; y < bottom; ++y)
          for (int x = left; x < right; ++x) clear = clear && !marked[std::size_t(y) * image.width + x];
        counted.push_back(clear);
      }
    return counted;
  }

  // Whether the middle of each place that counts lies in a region.
  static std::vector<bool> inside(const Image& mask, const Image& image, const Map& map, std::vector<bool> counted) {
    const auto marked = laid_over(mask, image);
    std::size_t k = 0;
    for (double y : map.rows.middles)
      for (double x : map.columns.middles) {
        counted[k] = counted[k] && marked[std::size_t(y) * image.width + std::size_t(x)];
        ++k;
      }
    return counted;
  }

  // ----------------------------------------------------------------------------------------------------- image and run

  static Image with_channels(const Image& image, int channels) {
    if (image.channels == channels) return image;
    Image result{image.height, image.width, channels, {}};
    for (std::size_t k = 0; k < image.pixels.size(); k += image.channels) {
      const std::uint8_t* p = &image.pixels[k];
      if (channels == 3) {
        result.pixels.insert(result.pixels.end(), 3, *p);
      } else {  // ITU-R BT.601
        result.pixels.push_back(std::uint8_t((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768u) >> 16));
      }
    }
    return result;
  }

  std::vector<Ort::Value> run(const std::string& program, std::vector<float>& values, std::vector<std::int64_t> shape) {
    Ort::Session& session = *sessions_.at(program);
    Ort::AllocatorWithDefaultOptions allocator;
    const auto input = session.GetInputNameAllocated(0, allocator);
    const auto output = session.GetOutputNameAllocated(0, allocator);
    const char* inputs[] = {input.get()};
    const char* outputs[] = {output.get()};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    auto tensor = Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size());
    return session.Run(Ort::RunOptions{}, inputs, &tensor, 1, outputs, 1);
  }

  Ort::Env environment_;
  nlohmann::json about_;
  std::map<std::string, std::unique_ptr<Ort::Session>> sessions_;
  Image ignored_;
  std::vector<Image> regions_;
};
