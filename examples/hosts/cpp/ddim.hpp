// A host's own DDIM scheduler (Song et al., "Denoising Diffusion Implicit Models", eq. 12 with sigma = 0), with
// Stable Diffusion's noise schedule: betas linear in their square roots, steps spaced evenly from 1.
#pragma once

#include <cstdint>
#include <vector>

class Ddim {
 public:
  explicit Ddim(int steps);

  // From the noisiest to the cleanest.
  const std::vector<std::int64_t> &timesteps() const { return timesteps_; }

  // The latents of the next timestep: x at `index`, with `noise` predicted for it.
  std::vector<float> step(int index, const float *x, const std::vector<float> &noise) const;

 private:
  double alpha(std::int64_t timestep) const { return alphas_[static_cast<std::size_t>(timestep < 0 ? 0 : timestep)]; }

  std::vector<double> alphas_;  // products of 1 - beta
  std::vector<std::int64_t> timesteps_;
};
