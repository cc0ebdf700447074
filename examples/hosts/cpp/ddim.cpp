#include "ddim.hpp"

#include <cmath>

namespace {
constexpr int TRAINED = 1000;
constexpr double FIRST_BETA = 0.00085, LAST_BETA = 0.012;
constexpr int OFFSET = 1;
}  // namespace

Ddim::Ddim(int steps) {
  double product = 1;
  for (int t = 0; t < TRAINED; ++t) {
    const double root = std::sqrt(FIRST_BETA) + (std::sqrt(LAST_BETA) - std::sqrt(FIRST_BETA)) * t / (TRAINED - 1);
    product *= 1 - root * root;
    alphas_.push_back(product);
  }
  for (int i = steps - 1; i >= 0; --i) timesteps_.push_back(i * (TRAINED / steps) + OFFSET);
}

std::vector<float> Ddim::step(int index, const float *x, const std::vector<float> &noise) const {
  const std::int64_t now = timesteps_[static_cast<std::size_t>(index)];
  const std::int64_t then = now - TRAINED / static_cast<std::int64_t>(timesteps_.size());
  const double a = alpha(now), b = alpha(then);
  std::vector<float> next(noise.size());
  for (std::size_t i = 0; i < next.size(); ++i) {
    const double clean = (x[i] - std::sqrt(1 - a) * noise[i]) / std::sqrt(a);
    next[i] = static_cast<float>(std::sqrt(b) * clean + std::sqrt(1 - b) * noise[i]);
  }
  return next;
}
