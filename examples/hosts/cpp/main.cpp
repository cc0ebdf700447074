// A C++ host on the level STEP: text encoder, scheduler, guidance and VAE are its own, on its own ONNX Runtime,
// which it shares with the plug-in. infusion::Unet::run() stands where its session's Run() was.
//
//     host shared|separate MODEL CONCEPT WORD PROMPT NOISE STEPS GUIDANCE SIZE OUTPUT.ppm
//
// WORD is the word of PROMPT that stands for the concept; NOISE a file of float32 latents [1, 4, SIZE/8, SIZE/8].
#include "ddim.hpp"

#include <infusion.hpp>
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr float VAE_SCALE = 0.18215F;

using Dims = std::vector<std::int64_t>;

struct Output {
  std::vector<float> numbers;
  Dims dims;
};

// A session with one input and one output that counts.
class Network {
 public:
  Network(Ort::Env &env, const std::string &file) : session_(env, file.c_str(), Ort::SessionOptions()) {}

  ONNXTensorElementDataType input_type() const {
    return session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetElementType();
  }

  template <class T>
  Output run(std::vector<T> input, const Dims &dims) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeCPU);
    const auto tensor = Ort::Value::CreateTensor<T>(memory, input.data(), input.size(), dims.data(), dims.size());
    const auto in = session_.GetInputNameAllocated(0, allocator_), out = session_.GetOutputNameAllocated(0, allocator_);
    const char *inputs[] = {in.get()}, *outputs[] = {out.get()};
    const std::vector<Ort::Value> results = session_.Run(Ort::RunOptions(), inputs, &tensor, 1, outputs, 1);
    const auto shape = results.front().GetTensorTypeAndShapeInfo();
    const float *numbers = results.front().GetTensorData<float>();
    return {{numbers, numbers + shape.GetElementCount()}, shape.GetShape()};
  }

 private:
  Ort::Session session_;
  Ort::AllocatorWithDefaultOptions allocator_;
};

// The hidden states of the empty prompt, then the prompt's: [2, 77, C]. Exports take int32 or int64 ids.
Output encode(Network &encoder, const std::vector<std::int64_t> &nothing, const std::vector<std::int64_t> &prompt) {
  std::vector<std::int64_t> ids(nothing);
  ids.insert(ids.end(), prompt.begin(), prompt.end());
  const Dims dims = {2, static_cast<std::int64_t>(prompt.size())};
  if (encoder.input_type() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64) return encoder.run(ids, dims);
  return encoder.run(std::vector<std::int32_t>(ids.begin(), ids.end()), dims);
}

// Unconditional row first, as this host feeds them: [2, ...] to [1, ...].
std::vector<float> guided(const float *noise, std::size_t size, float scale) {
  std::vector<float> combined(size);
  for (std::size_t i = 0; i < size; ++i) combined[i] = noise[i] + scale * (noise[size + i] - noise[i]);
  return combined;
}

std::vector<float> read_noise(const std::string &file, std::size_t count) {
  std::vector<float> noise(count);
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char *>(noise.data()), static_cast<std::streamsize>(count * sizeof(float)));
  if (!stream) throw std::runtime_error(file + ": does not hold " + std::to_string(count) + " numbers");
  return noise;
}

// [1, 3, height, width] from -1 to 1.
void write_ppm(const std::string &file, const Output &picture) {
  const auto height = static_cast<std::size_t>(picture.dims[2]), width = static_cast<std::size_t>(picture.dims[3]);
  std::ofstream stream(file, std::ios::binary);
  stream << "P6\n" << width << ' ' << height << "\n255\n";
  for (std::size_t pixel = 0; pixel < height * width; ++pixel) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const float value = picture.numbers[channel * height * width + pixel] / 2 + 0.5F;
      stream.put(static_cast<char>(std::lround(std::clamp(value, 0.0F, 1.0F) * 255)));
    }
  }
  if (!stream) throw std::runtime_error(file + ": cannot be written");
}

// How many copies of ONNX Runtime this process has loaded: with a plug-in that shares the host's, one.
std::size_t copies_of_onnxruntime() {
  std::set<std::string> files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto path = line.find('/');
    if (path != std::string::npos && line.find("libonnxruntime.so") != std::string::npos) files.insert(line.substr(path));
  }
  return files.size();
}

void draw(char **arguments) {
  const bool separate = std::string(arguments[1]) == "separate";
  const std::string model = arguments[2], word = arguments[4];
  const Ddim scheduler(std::stoi(arguments[7]));
  const float scale = std::stof(arguments[8]);
  const std::int64_t size = std::stoi(arguments[9]) / 8;
  const Dims one = {1, 4, size, size}, two = {2, 4, size, size};
  const auto count = static_cast<std::size_t>(4 * size * size);

  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "host");
  infusion::init(OrtGetApiBase());

  const infusion::Tokenizer tokenizer(model + "/tokenizer");
  const auto nothing = tokenizer.encode(""), prompt = tokenizer.encode(arguments[5]);
  Network encoder(env, model + "/text_encoder/model.onnx"), decoder(env, model + "/vae_decoder/model.onnx");
  const Output context = encode(encoder, nothing, prompt);

  infusion::UnetOptions options;
  options.tokenizer = &tokenizer;
  if (separate) {
    options.scheduler = [&](const infusion_foundation &foundation) {
      const auto noise = guided(foundation.noise, count, scale);
      const auto next = scheduler.step(static_cast<int>(foundation.index), foundation.sample, noise);
      std::copy(next.begin(), next.end(), foundation.next);
    };
  }
  const infusion::Unet unet(model + "/unet/model.onnx", options);
  unet.set_concept(word, infusion::Concept(arguments[3]), 1, word);

  infusion::Step step;
  step.steps = static_cast<std::uint32_t>(scheduler.timesteps().size());
  step.rows = {{INFUSION_ROLE_UNCONDITIONAL, 0, {}, {}}, {INFUSION_ROLE_CONDITIONAL, 0, prompt, {}}};

  std::vector<float> latents = read_noise(arguments[6], count), rows(2 * count), noise(2 * count);
  for (std::uint32_t index = 0; index < step.steps; ++index) {
    std::copy(latents.begin(), latents.end(), rows.begin());
    std::copy(latents.begin(), latents.end(), rows.begin() + static_cast<std::ptrdiff_t>(count));
    const std::int64_t timestep = scheduler.timesteps()[index];
    step.index = index;
    unet.run(step, {rows, two}, infusion::Tensor(timestep), {context.numbers, context.dims}, {noise, two});
    latents = scheduler.step(static_cast<int>(index), latents.data(), guided(noise.data(), count, scale));
  }

  for (float &latent : latents) latent /= VAE_SCALE;
  write_ppm(arguments[10], decoder.run(latents, one));

  const std::string own = Ort::GetVersionString();
  if (infusion::onnxruntime_version() != own || copies_of_onnxruntime() != 1) {
    throw std::runtime_error("the plug-in uses an ONNX Runtime of its own, " + infusion::onnxruntime_version());
  }
  std::cout << step.steps << " steps on the host's ONNX Runtime " << own << '\n';
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 11) {
    std::fprintf(stderr, "usage: %s shared|separate MODEL CONCEPT WORD PROMPT NOISE STEPS GUIDANCE SIZE OUTPUT.ppm\n",
                 argv[0]);
    return 2;
  }
  try {
    draw(argv);
    return 0;
  } catch (const infusion::Error &error) {
    std::fprintf(stderr, "error %d: %s\n", static_cast<int>(error.code()), error.what());
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  return 1;
}
