// Prints a JSON line for each image, as `python jaxunreg_runner.py` does:
//
//   inspect exported part.ppm other.pgm
//
// The exit code is 0 if all are normal, 3 if one is anomalous, and 1 after an error.
#include <iostream>

#include "detector.hpp"

int main(int count, char** words) try {
  if (count < 3) throw std::runtime_error("got no image; expected: inspect FOLDER IMAGE.ppm ...");
  Detector detector(words[1], 1);
  int code = 0;
  for (int k = 2; k < count; ++k) {
    const Verdict found = detector(read_netpbm(words[k]));
    nlohmann::ordered_json row = {
        {"path", words[k]},           {"score", found.score},     {"p_value", found.p_value},
        {"threshold", found.threshold}, {"verdict", found.outcome}, {"top", found.box[0]},
        {"left", found.box[1]},       {"height", found.box[2]},   {"width", found.box[3]},
    };
    for (const auto& [name, region] : found.named)
      row["regions"].push_back({{"name", name},
                                {"score", region.score},
                                {"p_value", region.p_value},
                                {"threshold", region.threshold},
                                {"is_anomalous", region.is_anomalous}});
    std::cout << row.dump() << std::endl;
    if (found.is_anomalous) code = 3;
  }
  return code;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << std::endl;
  return 1;
}
