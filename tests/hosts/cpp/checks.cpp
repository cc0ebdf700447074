// What infusion.hpp must do, on the tiny pipeline: checks MODEL CONCEPT PHOTOS. Ends with "0 failures".
#include <infusion.hpp>

#include <array>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <type_traits>

namespace {

int failures = 0;

void check(bool truth, const std::string &what) {
  if (truth) return;
  std::cout << "does not hold: " << what << '\n';
  ++failures;
}

template <class F>
void refused(infusion_code code, const std::string &part, F &&call) {
  try {
    call();
    check(false, "refused with '" + part + "'");
  } catch (const infusion::Error &error) {
    const bool right = error.code() == code && std::string(error.what()).find(part) != std::string::npos;
    check(right, "'" + part + "', found " + std::to_string(error.code()) + ": " + error.what());
  }
}

template <class T>
constexpr bool MOVES_ONLY = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                            !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(MOVES_ONLY<infusion::Buffer> && MOVES_ONLY<infusion::Tokenizer> && MOVES_ONLY<infusion::Concept>);
static_assert(MOVES_ONLY<infusion::Model> && MOVES_ONLY<infusion::Unet> && MOVES_ONLY<infusion::Pipeline>);
static_assert(MOVES_ONLY<infusion::Pictures>);
static_assert(!std::is_convertible_v<std::vector<double> &, infusion::Span<float>>);
static_assert(!std::is_convertible_v<const std::vector<float> &, infusion::Span<float>>);

struct HostsOwn : std::runtime_error {
  using runtime_error::runtime_error;
};

std::vector<std::uint8_t> bytes_of(const std::string &file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void objects(const std::string &model, const std::string &file) {
  refused(INFUSION_NOT_FOUND, "/nowhere", [] { infusion::Concept("/nowhere"); });
  const std::array<std::uint8_t, 3> few = {1, 2, 3};
  refused(INFUSION_INVALID_FILE, "three", [&] { infusion::Concept::from_memory(few, "three bytes"); });

  infusion::Tokenizer tokenizer(model + "/tokenizer");
  const auto ids = tokenizer.encode("a ball and a ball");
  check(ids.size() == 77 && tokenizer.find("ball", ids).size() == 2, "the ball is found twice");
  infusion::Tokenizer taken = std::move(tokenizer);
  check(taken && !tokenizer, "what was moved from is empty");
  refused(INFUSION_INVALID_HANDLE, "infusion_tokenizer", [&] { tokenizer.encode("late"); });
  taken = infusion::Tokenizer(model + "/tokenizer");
  check(taken.encode("a ball and a ball") == ids, "an object may be given another");

  const infusion::Concept concept_(file);
  const infusion::Buffer encoded = concept_.encode("f32");
  const auto again = infusion::Concept::from_memory({encoded.data(), encoded.size()});
  check(again.describe().find("\"layers\"") != std::string::npos, "a description with layers");

  const std::string unet = model + "/unet/model.onnx";
  const infusion::Model exported(unet);
  const auto delta = exported.delta(concept_), direct = infusion::concept_matrix(unet, file);
  check(delta.tokens == 1 && delta.numbers.size() == static_cast<std::size_t>(delta.width), "[1, D]");
  check(delta.numbers == direct.numbers, "both ways to the same numbers");
  check(exported.graph(INFUSION_VARIANT_SHARED).size() > 1000, "a graph as bytes");
  const std::string folder = model + "/graphs", copy = folder + "/ball.safetensors";
  check(exported.save(folder, "shared").find("base_model_hash") != std::string::npos, "a manifest");
  check(!bytes_of(folder + "/model.shared.onnx").empty(), "a graph as a file");
  concept_.save(copy, "i4");
  refused(INFUSION_FAILED, "exists", [&] { concept_.save(copy); });
  const auto whole = bytes_of(unet);
  check(infusion::Model::from_memory(whole).describe().find("infusion.delta") != std::string::npos, "a model from memory");
}

void steps(const std::string &model, const std::string &file) {
  infusion::Tokenizer tokenizer(model + "/tokenizer");
  const auto ids = tokenizer.encode("a photo of a ball in the snow");
  std::vector<float> sample(2 * 4 * 8 * 8), context(2 * 77 * 32), plain(sample.size()), drawn(sample.size());
  for (std::size_t i = 0; i < sample.size(); ++i) sample[i] = std::sin(static_cast<float>(i % 256));
  for (std::size_t i = 0; i < context.size(); ++i) context[i] = std::cos(static_cast<float>(3 * i));
  const std::int64_t timestep = 500;
  const auto run = [&](const infusion::Unet &unet, const infusion::Step &step, std::vector<float> &noise) {
    unet.run(step, {sample, {2, 4, 8, 8}}, infusion::Tensor(timestep), {context, {2, 77, 32}}, {noise, {2, 4, 8, 8}});
  };
  infusion::Step step;
  step.rows = {{INFUSION_ROLE_UNCONDITIONAL, 0, {}, {}}, {INFUSION_ROLE_CONDITIONAL, 0, ids, {}}};

  infusion::UnetOptions options;
  options.tokenizer = &tokenizer;
  infusion::Unet unet(model + "/unet/model.onnx", options);
  run(unet, step, plain);
  unet.set_concept("ball", infusion::Concept(file), 1, "ball");
  run(unet, step, drawn);
  check(std::equal(plain.begin(), plain.begin() + 256, drawn.begin(), [](float a, float b) { return std::fabs(a - b) < 1e-4F; }),
        "the unconditional row stays");
  check(!std::equal(plain.begin() + 256, plain.end(), drawn.begin() + 256), "the prompt's row changes");
  const auto same = [](const std::vector<float> &left, const std::vector<float> &right) {
    return std::equal(left.begin(), left.end(), right.begin(), [](float a, float b) { return std::fabs(a - b) < 1e-4F; });
  };
  std::vector<float> foundation(sample.size()), customised(sample.size());
  unet.run2(step, {sample, {2, 4, 8, 8}}, {sample, {2, 4, 8, 8}}, infusion::Tensor(500.0), {context, {2, 77, 32}},
            {foundation, {2, 4, 8, 8}}, {customised, {2, 4, 8, 8}});
  check(same(foundation, plain) && same(customised, drawn), "both predictions, at a timestep of another type");
  unet.set_weight("ball", 0);
  run(unet, step, customised);
  check(same(customised, plain), "weight 0 is no concept");
  unet.set_weight("ball", 1);
  unet.preload();
  check(unet.describe().find("\"shared\"") != std::string::npos, "a description with the graph that was loaded");
  check(unet.concepts().find("\"ball\"") != std::string::npos, "a list with the ball");
  step.inputs.emplace_back("timestep_cond", infusion::Tensor(sample, {2, 256}));
  refused(INFUSION_INVALID_ARGUMENT, "timestep_cond", [&] { run(unet, step, drawn); });
  step.inputs.clear();
  step.rows[1] = {INFUSION_ROLE_CONDITIONAL, 0, {}, {{"cat", {5}, 1}}};
  refused(INFUSION_NOT_FOUND, "cat", [&] { run(unet, step, drawn); });

  unet.end_image(0);
  unet.remove_concept("ball");
  refused(INFUSION_NOT_FOUND, "ball", [&] { unet.set_weight("ball", 1); });

  options.mode = INFUSION_MODE_SEPARATE;
  options.scheduler = [](const infusion_foundation &) { throw HostsOwn("the scheduler's"); };
  const infusion::Unet separate(model + "/unet/model.onnx", options);
  separate.set_concept("ball", infusion::Concept(file), 1, "ball");
  step.rows[1] = {INFUSION_ROLE_CONDITIONAL, 0, ids, {}};
  step.steps = 2;
  try {
    run(separate, step, drawn);
    check(false, "a scheduler's exception passes through");
  } catch (const HostsOwn &own) {
    check(std::string(own.what()) == "the scheduler's", "as it was");
  }
}

void pictures(const std::string &model, const std::string &file) {
  const infusion::Pipeline pipeline(model);
  infusion::GenerateOptions options;
  options.prompt = "a photo of a <ball> in the snow";
  options.concepts.push_back({"ball", infusion::Concept(file)});
  options.width = options.height = 64;
  options.num_inference_steps = 2;
  options.foundation = true;
  int reports = 0;
  options.progress = [&](const infusion_report &report) {
    reports += report.stage == INFUSION_STAGE_STEPS && report.step > 0;
    return INFUSION_GO_ON;
  };
  const auto made = pipeline.generate(options);
  check(reports == 2, "a report for each step");
  check(made.size() == 2 && !made[0].foundation && made[1].foundation, "C's picture, then F's");
  check(made[0].rgb.size() == 64 * 64 * 3, "3 bytes a pixel");
  refused(INFUSION_INVALID_ARGUMENT, "2", [&] { made[2]; });

  options.progress = [](const infusion_report &) { return INFUSION_CANCEL; };
  refused(INFUSION_CANCELLED, "", [&] { pipeline.generate(options); });
  options.progress = [](const infusion_report &) -> infusion_answer { throw HostsOwn("the observer's"); };
  try {
    pipeline.generate(options);
    check(false, "an observer's exception passes through");
  } catch (const HostsOwn &own) {
    check(std::string(own.what()) == "the observer's", "as it was");
  }
  options.progress = nullptr;
  check(pipeline.generate(options).size() == 2, "the pipeline is whole after an exception");
}

void training(const std::string &model, const std::string &photographs) {
  const infusion::Pipeline pipeline(model);
  check(pipeline.describe().find("\"ddim\"") != std::string::npos, "the schedulers");
  infusion::TrainOptions options;
  options.subjects.push_back({"ball", "ball"});
  options.photos.push_back({photographs, "ball", ""});
  options.prompts = {"a photo of a <ball>", "a <ball> in the snow"};
  options.steps = 4;
  options.batch = 1;
  options.size = 64;
  options.memory = "low";
  int steps = 0;
  options.progress = [&](const infusion_report &report) {
    return report.stage == INFUSION_STAGE_STEPS && report.loss > 0 && ++steps == 2 ? INFUSION_FINISH : INFUSION_GO_ON;
  };
  const auto learned = pipeline.train(options);
  check(steps == 2 && learned.size() == 1, "what was learned in two steps");
  check(learned.at(0).describe().find("\"ball\"") != std::string::npos, "of a ball");
  options.photos[0].folder = "/nowhere";
  refused(INFUSION_NOT_FOUND, "/nowhere", [&] { pipeline.train(options); });
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  infusion::init();
  check(!infusion::onnxruntime_version().empty(), "a version of ONNX Runtime");
  objects(argv[1], argv[2]);
  steps(argv[1], argv[2]);
  pictures(argv[1], argv[2]);
  training(argv[1], argv[3]);
  std::cout << failures << " failures\n";
  return failures != 0;
}
