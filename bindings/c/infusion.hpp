/*
 * infusion.hpp - infusion.h for C++17: objects that free themselves, exceptions, vectors. Header-only.
 *
 *     infusion::init(OrtGetApiBase());                       // share the host's ONNX Runtime
 *     infusion::Pipeline pipeline("models/demo");
 *     infusion::GenerateOptions options;
 *     options.prompt = "a photo of a <ball> in the snow";
 *     options.concepts.push_back({"ball", infusion::Concept("ball.safetensors")});
 *     pipeline.generate(options).save(0, "ball.png");
 *
 * ERRORS     Every call that fails throws infusion::Error: code() says of what kind, what() what was wrong,
 *            where, and what to do. An exception that a callback throws passes through the library and
 *            comes out of the call that called back, as it was.
 * OWNERSHIP  Objects own their handle, can be moved and not copied, and are freed once. One that was moved
 *            from is empty: used, it throws with INFUSION_INVALID_HANDLE. get() lends the handle to infusion.h.
 * VIEWS      Span<T> and Tensor point to memory of the caller's, which must outlive the call they are given to.
 * THREADS    As infusion.h says: every const or non-const member may be called from every thread, except moving
 *            and destroying. Callbacks run on the thread that called.
 * TEXTS      UTF-8 everywhere, paths too. Where infusion.h takes NULL for a default, an empty string means it.
 *
 * Structs that callbacks receive (infusion_foundation, infusion_report) are those of infusion.h.
 */
#ifndef INFUSION_HPP
#define INFUSION_HPP

#include "infusion.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace infusion {

/* What a call of the library failed with. */
class Error : public std::runtime_error {
 public:
  Error(infusion_code code, const std::string &text) : std::runtime_error(text), code_(code) {}
  infusion_code code() const noexcept { return code_; }

 private:
  infusion_code code_;
};

/* A view of `size` numbers at `data`: C++20's std::span, as far as it is needed here. */
template <class T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}
  /* A vector, a std::array, a std::string, another span: what has data() and size(). */
  template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
  constexpr Span(C &container) noexcept : data_(container.data()), size_(container.size()) {}
  template <class C, class = std::enable_if_t<std::is_const_v<T> &&
                                              std::is_convertible_v<decltype(std::declval<const C &>().data()), T *>>>
  constexpr Span(const C &container) noexcept : data_(container.data()), size_(container.size()) {}

  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T *begin() const noexcept { return data_; }
  constexpr T *end() const noexcept { return data_ + size_; }
  constexpr T &operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

namespace detail {

/* What a callback threw during the call that this thread is in. */
inline std::exception_ptr &thrown() noexcept {
  thread_local std::exception_ptr exception;
  return exception;
}

/* Throws what `status` says, or what a callback threw meanwhile. */
inline void check(infusion_status *status) {
  struct Free {
    void operator()(infusion_status *failed) const noexcept { infusion_status_free(failed); }
  };
  const std::unique_ptr<infusion_status, Free> held(status);
  if (std::exception_ptr exception = std::exchange(thrown(), nullptr)) std::rethrow_exception(exception);
  if (status == nullptr) return;
  throw Error(infusion_status_code(status), infusion_status_text(status));
}

/* Runs a callback of the host's; `failed` is what the library is told where it throws. */
template <class F>
int32_t guarded(int32_t failed, F &&call) noexcept {
  try {
    return call();
  } catch (...) {
    thrown() = std::current_exception();
    return failed;
  }
}

template <class T>
T sized() noexcept {
  T value{};
  value.struct_size = static_cast<uint32_t>(sizeof(T));
  return value;
}

/* NULL for an empty text: the default. */
inline const char *optional(const std::string &text) noexcept { return text.empty() ? nullptr : text.c_str(); }

/* NULL for no numbers. */
template <class C>
auto *optional_data(const C &values) noexcept {
  return values.empty() ? nullptr : values.data();
}

/* A handle that is freed once. */
template <class T, void (*FREE)(T)>
class Handle {
 public:
  Handle() noexcept = default;
  explicit Handle(T handle) noexcept : handle_(handle) {}
  Handle(Handle &&other) noexcept : handle_(std::exchange(other.handle_, T{})) {}
  Handle &operator=(Handle &&other) noexcept {
    if (this != &other) FREE(std::exchange(handle_, std::exchange(other.handle_, T{})));
    return *this;
  }
  ~Handle() { FREE(handle_); }

  /* The handle for a function of infusion.h; it stays this object's. */
  T get() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != T{}; }

 private:
  T handle_{};
};

template <class T, class F>
T made(F &&create) {
  T handle{};
  check(create(&handle));
  return handle;
}

}  // namespace detail

/* ---------------------------------------------------------------- versions, init */

/* The library's version, e.g. "0.1.0". */
inline std::string version() { return infusion_version(); }

/* The version of the ONNX Runtime in use, e.g. "1.32.0"; empty before init(). */
inline std::string onnxruntime_version() {
  const char *version = infusion_onnxruntime_version();
  return version == nullptr ? std::string() : version;
}

/* The library that is loaded has the ABI that this header was written for, or Error is thrown. */
inline void check_abi() {
  if (infusion_abi_version() == INFUSION_ABI_VERSION) return;
  throw Error(INFUSION_FAILED, "infusion " + version() + " has ABI " + std::to_string(infusion_abi_version()) +
                                   ", this program was compiled for ABI " + std::to_string(INFUSION_ABI_VERSION));
}

/* Uses the host's ONNX Runtime, given what its OrtGetApiBase() returned; nullptr: searches for one. */
inline void init(const void *ort_api_base = nullptr) {
  check_abi();
  auto options = detail::sized<infusion_init_options>();
  options.ort_api_base = ort_api_base;
  detail::check(infusion_init(&options));
}

/* Uses the ONNX Runtime library at `path`. */
inline void init_from(const std::string &path) {
  check_abi();
  auto options = detail::sized<infusion_init_options>();
  options.onnxruntime_path = path.c_str();
  detail::check(infusion_init(&options));
}

/* ---------------------------------------------------------------- buffers, tensors */

/* Bytes or a text that the library made. */
class Buffer : public detail::Handle<infusion_buffer, infusion_buffer_free> {
 public:
  using Handle::Handle;
  const std::uint8_t *data() const noexcept { return static_cast<const std::uint8_t *>(infusion_buffer_data(get())); }
  std::size_t size() const noexcept { return infusion_buffer_size(get()); }
  std::string_view text() const noexcept { return {static_cast<const char *>(infusion_buffer_data(get())), size()}; }
};

namespace detail {
template <class F>
std::string json(F &&describe) {
  return std::string(Buffer(made<infusion_buffer>(describe)).text());
}

template <class T>
constexpr infusion_type type_of() noexcept {
  using U = std::remove_cv_t<T>;
  static_assert(std::is_same_v<U, float> || std::is_same_v<U, double> || std::is_same_v<U, std::int32_t> ||
                    std::is_same_v<U, std::int64_t>,
                "tensors hold float, double, int32_t or int64_t; half floats: Tensor::half()");
  if constexpr (std::is_same_v<U, float>) return INFUSION_FLOAT32;
  if constexpr (std::is_same_v<U, double>) return INFUSION_FLOAT64;
  if constexpr (std::is_same_v<U, std::int32_t>) return INFUSION_INT32;
  return INFUSION_INT64;
}
}  // namespace detail

/* A view of dense, row-major numbers with dims. An input is never written to. */
class Tensor {
 public:
  template <class C, class T = std::remove_pointer_t<decltype(std::declval<C &>().data())>>
  Tensor(C &&numbers, std::vector<std::int64_t> dims)
      : Tensor(detail::type_of<T>(), const_cast<std::remove_cv_t<T> *>(numbers.data()), numbers.size() * sizeof(T),
               std::move(dims)) {}
  /* A tensor of rank 0, such as a timestep. */
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  explicit Tensor(const T &number) : Tensor(detail::type_of<T>(), const_cast<T *>(&number), sizeof(T), {}) {}
  /* IEEE half floats, two bytes each. */
  static Tensor half(Span<const std::uint16_t> numbers, std::vector<std::int64_t> dims) {
    return Tensor(INFUSION_FLOAT16, const_cast<std::uint16_t *>(numbers.data()), numbers.size() * 2, std::move(dims));
  }
  /* `bytes` at `data`, of any type. */
  Tensor(infusion_type type, void *data, std::size_t bytes, std::vector<std::int64_t> dims)
      : type_(type), data_(data), bytes_(bytes), dims_(std::move(dims)) {}

  infusion_tensor c() const noexcept {
    auto tensor = detail::sized<infusion_tensor>();
    tensor.type = type_;
    tensor.data = data_;
    tensor.size = bytes_;
    tensor.dims = detail::optional_data(dims_);
    tensor.rank = dims_.size();
    return tensor;
  }

 private:
  infusion_type type_;
  void *data_;
  std::size_t bytes_;
  std::vector<std::int64_t> dims_;
};

/* ---------------------------------------------------------------- tokenizer */

/* CLIP's byte-pair encoding from a folder with vocab.json and merges.txt. */
class Tokenizer : public detail::Handle<infusion_tokenizer, infusion_tokenizer_free> {
 public:
  explicit Tokenizer(const std::string &folder)
      : Handle(detail::made<infusion_tokenizer>([&](auto *out) { return infusion_tokenizer_create(folder.c_str(), out); })) {}

  /* The 77 token ids of `text`, start and end included; a text that is too long is cut. */
  std::vector<std::int64_t> encode(const std::string &text) const {
    std::vector<std::int64_t> ids(77);
    std::size_t count = ids.size();
    detail::check(infusion_tokenizer_encode(get(), text.c_str(), ids.data(), &count));
    ids.resize(count);
    return ids;
  }
  /* Where the tokens of `phrase` stand in `ids`: every occurrence, every token of it. */
  std::vector<std::size_t> find(const std::string &phrase, Span<const std::int64_t> ids) const {
    std::vector<std::size_t> positions(ids.size());
    std::size_t count = positions.size();
    detail::check(
        infusion_tokenizer_find(get(), phrase.c_str(), ids.data(), ids.size(), positions.data(), &count));
    positions.resize(count);
    return positions;
  }
};

/* ---------------------------------------------------------------- concepts */

/* What a word looks like, of a few kilobytes. */
class Concept : public detail::Handle<infusion_concept, infusion_concept_free> {
 public:
  explicit Concept(infusion_concept handle) noexcept : Handle(handle) {}
  /* A concept file. */
  explicit Concept(const std::string &path)
      : Handle(detail::made<infusion_concept>([&](auto *out) { return infusion_concept_load(path.c_str(), out); })) {}
  /* The bytes of one; `name` stands for it in messages. */
  static Concept from_memory(Span<const std::uint8_t> bytes, const std::string &name = {}) {
    return Concept(detail::made<infusion_concept>([&](auto *out) {
      return infusion_concept_load_memory(bytes.data(), bytes.size(), detail::optional(name), out);
    }));
  }

  /* JSON, as infusion_concept_describe() says. */
  std::string describe() const {
    return detail::json([&](auto *out) { return infusion_concept_describe(get(), out); });
  }
  /* precision: "f32", "f16", "i8" or "i4". */
  void save(const std::string &path, const std::string &precision = "f16", bool overwrite = false) const {
    detail::check(infusion_concept_save(get(), path.c_str(), precision.c_str(), overwrite));
  }
  /* The bytes of such a file. */
  Buffer encode(const std::string &precision = "f16") const {
    return Buffer(detail::made<infusion_buffer>(
        [&](auto *out) { return infusion_concept_encode(get(), precision.c_str(), out); }));
  }
};

/* ---------------------------------------------------------------- graph level */

/* What a host with its own session feeds as infusion.delta. */
struct Delta {
  std::vector<float> numbers; /* [tokens, width], row-major */
  std::int64_t tokens = 0;
  std::int64_t width = 0; /* D: the value widths of all cross-attention layers, added up */
};

namespace detail {
/* Asks for the size first. */
template <class F>
Delta delta_by(F &&fill) {
  Delta delta;
  std::size_t count = 0;
  std::int64_t dims[2] = {0, 0};
  check(fill(nullptr, &count, dims));
  delta.numbers.resize(count);
  check(fill(delta.numbers.data(), &count, dims));
  delta.tokens = dims[0];
  delta.width = dims[1];
  return delta;
}
}  // namespace detail

/* The Δ in the file `path` for the UNet at `model`, in one call. */
inline Delta concept_matrix(const std::string &model, const std::string &path) {
  return detail::delta_by([&](float *numbers, std::size_t *count, std::int64_t *dims) {
    return infusion_concept_matrix(model.c_str(), path.c_str(), numbers, count, dims);
  });
}

/* An exported UNet that graphs are made of. */
class Model : public detail::Handle<infusion_model, infusion_model_free> {
 public:
  explicit Model(const std::string &path)
      : Handle(detail::made<infusion_model>([&](auto *out) { return infusion_model_open(path.c_str(), out); })) {}
  /* `path`: the file that the bytes would be, beside which its external data lies. */
  static Model from_memory(Span<const std::uint8_t> bytes, const std::string &path = {}) {
    return Model(detail::made<infusion_model>([&](auto *out) {
      return infusion_model_open_memory(bytes.data(), bytes.size(), detail::optional(path), out);
    }));
  }

  /* JSON, as infusion_model_describe() says. */
  std::string describe() const {
    return detail::json([&](auto *out) { return infusion_model_describe(get(), out); });
  }
  /* One graph as the bytes of an .onnx file, weights included: for a session that is made from memory. */
  Buffer graph(infusion_variant variant) const {
    return Buffer(detail::made<infusion_buffer>([&](auto *out) { return infusion_model_graph(get(), variant, out); }));
  }
  /* Writes graphs and manifest into `folder` (empty: the source's) and gives the manifest's JSON. */
  std::string save(const std::string &folder = {}, const std::string &variants = {}, bool self_contained = false,
                   bool overwrite = false) const {
    auto options = detail::sized<infusion_save_options>();
    options.variants = detail::optional(variants);
    options.self_contained = self_contained;
    options.overwrite = overwrite;
    return detail::json(
        [&](auto *out) { return infusion_model_save(get(), detail::optional(folder), &options, out); });
  }
  /* The concept's Δ for this model. */
  Delta delta(const Concept &concept_) const {
    return detail::delta_by([&](float *numbers, std::size_t *count, std::int64_t *dims) {
      return infusion_model_delta(get(), concept_.get(), numbers, count, dims);
    });
  }

 private:
  explicit Model(infusion_model handle) noexcept : Handle(handle) {}
};

/* ---------------------------------------------------------------- step level */

/* Where a concept's tokens are in a row's prompt. */
struct Mark {
  std::string concept_name; /* as in Unet::set_concept() */
  std::vector<std::size_t> positions; /* rows of encoder_hidden_states, as Tokenizer::find() gives them */
  float strength = 1;                 /* times the concept's weight */
};

/* One row of the batch. */
struct Row {
  infusion_role role = INFUSION_ROLE_CONDITIONAL;
  std::uint64_t image = 0;       /* rows of one picture share it */
  std::vector<std::int64_t> ids; /* of the row's prompt: every concept goes where its phrase occurs. Or: */
  std::vector<Mark> marks;       /* where concepts go, stated */
};

/* What a call is about, beside its tensors; infusion_step says more of each. */
struct Step {
  std::uint32_t index = 0;          /* grows with every evaluation of the picture */
  std::uint32_t steps = 0;          /* evaluations in all; 0: not known */
  std::uint32_t rows_per_image = 0; /* over all calls of one evaluation; 0: all are in this call */
  std::vector<Row> rows;            /* one for each row of the sample */
  std::vector<std::pair<std::string, Tensor>> inputs; /* further inputs of the export, by name */
};

namespace detail {

/* A Step as infusion.h wants it; the Step must outlive it. */
class StepView {
 public:
  explicit StepView(const Step &step) : step_(sized<infusion_step>()) {
    std::size_t marks = 0;
    for (const Row &row : step.rows) marks += row.marks.size();
    marks_.reserve(marks); /* rows point into it */
    for (const Row &row : step.rows) add(row);
    tensors_.reserve(step.inputs.size()); /* inputs point into it */
    for (const auto &[name, tensor] : step.inputs) {
      tensors_.push_back(tensor.c());
      auto input = sized<infusion_input>();
      input.name = name.c_str();
      input.tensor = &tensors_.back();
      inputs_.push_back(input);
    }
    step_.index = step.index;
    step_.steps = step.steps;
    step_.rows_per_image = step.rows_per_image;
    step_.rows = optional_data(rows_);
    step_.rows_count = rows_.size();
    step_.inputs = optional_data(inputs_);
    step_.inputs_count = inputs_.size();
  }
  StepView(const StepView &) = delete;
  StepView &operator=(const StepView &) = delete;

  const infusion_step *c() const noexcept { return &step_; }

 private:
  void add(const Row &row) {
    const std::size_t first = marks_.size();
    for (const Mark &mark : row.marks) {
      auto one = sized<infusion_mark>();
      one.strength = mark.strength;
      one.concept_name = mark.concept_name.c_str();
      one.positions = optional_data(mark.positions);
      one.positions_count = mark.positions.size();
      marks_.push_back(one);
    }
    auto one = sized<infusion_row>();
    one.role = row.role;
    one.image = row.image;
    one.marks = row.marks.empty() ? nullptr : marks_.data() + first;
    one.marks_count = row.marks.size();
    one.ids = optional_data(row.ids);
    one.ids_count = row.ids.size();
    rows_.push_back(one);
  }

  infusion_step step_;
  std::vector<infusion_row> rows_;
  std::vector<infusion_mark> marks_;
  std::vector<infusion_tensor> tensors_;
  std::vector<infusion_input> inputs_;
};

}  // namespace detail

/* Steps F as the host steps C: reads foundation.noise, writes foundation.next. */
using Scheduler = std::function<void(const infusion_foundation &foundation)>;

struct UnetOptions {
  infusion_mode mode = INFUSION_MODE_AUTO;
  infusion_graphs graphs = INFUSION_GRAPHS_AUTO;
  std::uint32_t threads = 0; /* of each session; 0: the library's choice */
  bool low_memory = false;
  std::string provider;     /* e.g. "cuda:device=0"; empty: cpu */
  std::string cache;        /* folder for optimised models and engines; empty: none */
  std::string graph_folder; /* where patched graphs go if the UNet's own folder cannot be written */
  const Tokenizer *tokenizer = nullptr; /* for rows with ids */
  Scheduler scheduler;                  /* for separate streams in run(); called by several threads if those run */
};

/* A UNet with concepts, in place of the host's own session. */
class Unet : public detail::Handle<infusion_unet, infusion_unet_free> {
 public:
  /* The exported UNet at `model`: its .onnx file, one of its patched graphs, or its .infusion.json. */
  explicit Unet(const std::string &model, UnetOptions options = {}) {
    auto c = detail::sized<infusion_unet_options>();
    c.mode = options.mode;
    c.graphs = options.graphs;
    c.threads = options.threads;
    c.low_memory = options.low_memory;
    c.provider = detail::optional(options.provider);
    c.cache = detail::optional(options.cache);
    c.graph_folder = detail::optional(options.graph_folder);
    c.tokenizer = options.tokenizer == nullptr ? nullptr : options.tokenizer->get();
    if (options.scheduler) {
      scheduler_ = std::make_unique<Scheduler>(std::move(options.scheduler));
      c.scheduler = &Unet::step_foundation;
      c.scheduler_user = scheduler_.get();
    }
    Handle::operator=(
        Handle(detail::made<infusion_unet>([&](auto *out) { return infusion_unet_open(model.c_str(), &c, out); })));
  }

  /* JSON, as infusion_unet_describe() says. */
  std::string describe() const {
    return detail::json([&](auto *out) { return infusion_unet_describe(get(), out); });
  }
  /* Loads the sessions that run() would load at its first calls. */
  void preload() const { detail::check(infusion_unet_preload(get())); }

  /* In place of the host's UNet call: `out` becomes the predicted noise of the customised stream. */
  void run(const Step &step, const Tensor &sample, const Tensor &timestep, const Tensor &encoder_hidden_states,
           const Tensor &out) const {
    const detail::StepView view(step);
    const infusion_tensor x = sample.c(), t = timestep.c(), context = encoder_hidden_states.c();
    infusion_tensor noise = out.c();
    detail::check(infusion_unet_run(get(), view.c(), &x, &t, &context, &noise));
  }
  /* Separate streams whose trajectories the host keeps, both. */
  void run2(const Step &step, const Tensor &foundation, const Tensor &sample, const Tensor &timestep,
            const Tensor &encoder_hidden_states, const Tensor &foundation_out, const Tensor &out) const {
    const detail::StepView view(step);
    const infusion_tensor f = foundation.c(), x = sample.c(), t = timestep.c(), context = encoder_hidden_states.c();
    infusion_tensor f_noise = foundation_out.c(), noise = out.c();
    detail::check(infusion_unet_run2(get(), view.c(), &f, &x, &t, &context, &f_noise, &noise));
  }
  /* Drops what is kept of a picture that will not be gone on with. */
  void end_image(std::uint64_t image) const { detail::check(infusion_unet_end_image(get(), image)); }

  /* Adds or replaces the concept of that name (empty: its word); the next call draws with it, on whatever thread.
   * phrase: what rows with ids are searched for (empty: the concept's class). */
  void set_concept(const std::string &name, const Concept &concept_, float weight = 1, const std::string &phrase = {},
                   bool force = false) const {
    detail::check(infusion_unet_set_concept(get(), detail::optional(name), concept_.get(), weight,
                                            detail::optional(phrase), force));
  }
  void set_weight(const std::string &name, float weight) const {
    detail::check(infusion_unet_set_weight(get(), name.c_str(), weight));
  }
  void remove_concept(const std::string &name) const {
    detail::check(infusion_unet_remove_concept(get(), name.c_str()));
  }
  /* JSON, as infusion_unet_concepts() says. */
  std::string concepts() const {
    return detail::json([&](auto *out) { return infusion_unet_concepts(get(), out); });
  }

 private:
  static int32_t step_foundation(void *user, const infusion_foundation *foundation) noexcept {
    return detail::guarded(1, [&] {
      (*static_cast<const Scheduler *>(user))(*foundation);
      return 0;
    });
  }

  std::unique_ptr<Scheduler> scheduler_; /* its address is the library's */
};

/* ---------------------------------------------------------------- whole level */

/* Called on the way; what it returns goes on, cancels (Error with INFUSION_CANCELLED) or finishes. */
using Progress = std::function<infusion_answer(const infusion_report &report)>;

/* A concept under the name that prompts mark it by. */
struct ConceptUse {
  std::string name;
  std::shared_ptr<const Concept> handle;
  float weight = 1;

  ConceptUse(std::string as, Concept concept_, float times = 1)
      : ConceptUse(std::move(as), std::make_shared<const Concept>(std::move(concept_)), times) {}
  ConceptUse(std::string as, std::shared_ptr<const Concept> concept_, float times = 1)
      : name(std::move(as)), handle(std::move(concept_)), weight(times) {}
};

/* As infusion_generate_options, whose defaults these are. */
struct GenerateOptions {
  std::string prompt; /* "a photo of a <ball> in the snow" */
  std::string negative_prompt;
  std::vector<ConceptUse> concepts;
  std::string scheduler = "ddim";
  std::uint32_t width = 0, height = 0; /* pixels; 0: what the model was trained for */
  std::uint32_t num_inference_steps = 50;
  std::uint32_t batch = 1;
  std::uint64_t seed = 0;
  double guidance_scale = 8;
  double start = 0, end = 1; /* fractions of the steps between which the concept is drawn */
  infusion_mode mode = INFUSION_MODE_AUTO;
  infusion_graphs graphs = INFUSION_GRAPHS_AUTO;
  bool foundation = false; /* F's pictures are wanted, too */
  bool force = false;      /* take concepts of other base models */
  std::vector<float> layer_scales;
  std::vector<float> noise;            /* start noise [batch, 4, height / 8, width / 8] */
  std::vector<std::uint8_t> init_rgb;  /* img2img: the picture to start from */
  std::uint32_t init_width = 0, init_height = 0;
  double strength = 0.8; /* img2img: share of the steps that are run */
  Progress progress;
};

/* One picture; the bytes live as long as the Pictures. */
struct Picture {
  std::uint32_t width, height;
  bool foundation;
  std::uint64_t seed;
  Span<const std::uint8_t> rgb; /* 3 bytes a pixel, rows from the top */
};

/* The pictures of one call: C's first, then F's. */
class Pictures : public detail::Handle<infusion_pictures, infusion_pictures_free> {
 public:
  using Handle::Handle;
  std::size_t size() const noexcept { return infusion_pictures_count(get()); }
  Picture operator[](std::size_t index) const {
    auto picture = detail::sized<infusion_picture>();
    detail::check(infusion_pictures_get(get(), index, &picture));
    return {picture.width, picture.height, picture.foundation != 0, picture.seed, {picture.rgb, picture.size}};
  }
  /* As PNG, with the settings in it. */
  void save(std::size_t index, const std::string &path, bool overwrite = false) const {
    detail::check(infusion_pictures_save(get(), index, path.c_str(), overwrite));
  }
};

struct Subject {
  std::string name;       /* as prompts mark it */
  std::string class_word; /* the word that stands for it, e.g. "ball" */
};

struct Photos {
  std::string folder;
  std::string subject; /* whom they show; empty: they go with every prompt */
  std::string masks;   /* folder with a picture of the same name for each; empty: none */
};

/* As infusion_train_options, whose defaults these are. */
struct TrainOptions {
  std::vector<Subject> subjects;
  std::vector<Photos> photos;
  std::vector<std::string> prompts; /* "a photo of a <ball>" */
  std::uint32_t steps = 400, batch = 4;
  std::uint32_t micro_batch = 0; /* rows at once; 0: the whole batch */
  std::uint32_t size = 0;        /* pixels a side; 0: what the model was trained for */
  double learning_rate = 0.01;
  std::uint64_t seed = 0;
  bool flip = false;
  std::string memory; /* "low", "balanced" or "fast" */
  std::string checkpoint;
  std::uint32_t checkpoint_every = 50;
  bool resume = false;
  Progress progress;
};

struct PipelineOptions {
  std::uint32_t threads = 0;
  bool low_memory = false; /* one model after the other */
  std::string provider, cache, graph_folder;
};

/* A pipeline's folder: model_index.json, text_encoder/model.onnx, unet/model.onnx, …. */
class Pipeline : public detail::Handle<infusion_pipeline, infusion_pipeline_free> {
 public:
  explicit Pipeline(const std::string &folder, const PipelineOptions &options = {})
      : Handle(detail::made<infusion_pipeline>([&](auto *out) {
          auto c = detail::sized<infusion_pipeline_options>();
          c.threads = options.threads;
          c.low_memory = options.low_memory;
          c.provider = detail::optional(options.provider);
          c.cache = detail::optional(options.cache);
          c.graph_folder = detail::optional(options.graph_folder);
          return infusion_pipeline_open(folder.c_str(), &c, out);
        })) {}

  /* JSON, as infusion_pipeline_describe() says. */
  std::string describe() const {
    return detail::json([&](auto *out) { return infusion_pipeline_describe(get(), out); });
  }

  Pictures generate(const GenerateOptions &options) const {
    std::vector<infusion_concept_use> uses;
    for (const ConceptUse &use : options.concepts) {
      auto one = detail::sized<infusion_concept_use>();
      one.weight = use.weight;
      one.name = use.name.c_str();
      one.handle = use.handle == nullptr ? nullptr : use.handle->get();
      uses.push_back(one);
    }
    auto c = detail::sized<infusion_generate_options>();
    c.prompt = options.prompt.c_str();
    c.negative_prompt = options.negative_prompt.c_str();
    c.concepts = detail::optional_data(uses);
    c.concepts_count = uses.size();
    c.scheduler = detail::optional(options.scheduler);
    c.width = options.width;
    c.height = options.height;
    c.num_inference_steps = options.num_inference_steps;
    c.batch = options.batch;
    c.seed = options.seed;
    c.guidance_scale = options.guidance_scale;
    c.start = options.start;
    c.end = options.end;
    c.mode = options.mode;
    c.graphs = options.graphs;
    c.foundation = options.foundation;
    c.force = options.force;
    c.layer_scales = detail::optional_data(options.layer_scales);
    c.layer_scales_count = options.layer_scales.size();
    c.noise = detail::optional_data(options.noise);
    c.noise_count = options.noise.size();
    c.init_rgb = detail::optional_data(options.init_rgb);
    c.init_width = options.init_width;
    c.init_height = options.init_height;
    c.strength = options.strength;
    set_progress(c, options.progress);
    return Pictures(
        detail::made<infusion_pictures>([&](auto *out) { return infusion_generate(get(), &c, out); }));
  }

  /* A concept for each subject, in their order. */
  std::vector<Concept> train(const TrainOptions &options) const {
    std::vector<infusion_subject> subjects;
    for (const Subject &subject : options.subjects) {
      auto one = detail::sized<infusion_subject>();
      one.name = subject.name.c_str();
      one.class_word = subject.class_word.c_str();
      subjects.push_back(one);
    }
    std::vector<infusion_photos> photos;
    for (const Photos &folder : options.photos) {
      auto one = detail::sized<infusion_photos>();
      one.folder = folder.folder.c_str();
      one.subject = detail::optional(folder.subject);
      one.masks = detail::optional(folder.masks);
      photos.push_back(one);
    }
    std::vector<const char *> prompts;
    for (const std::string &prompt : options.prompts) prompts.push_back(prompt.c_str());
    auto c = detail::sized<infusion_train_options>();
    c.subjects = detail::optional_data(subjects);
    c.subjects_count = subjects.size();
    c.photos = detail::optional_data(photos);
    c.photos_count = photos.size();
    c.prompts = detail::optional_data(prompts);
    c.prompts_count = prompts.size();
    c.steps = options.steps;
    c.batch = options.batch;
    c.micro_batch = options.micro_batch;
    c.size = options.size;
    c.learning_rate = options.learning_rate;
    c.seed = options.seed;
    c.flip = options.flip;
    c.memory = detail::optional(options.memory);
    c.checkpoint = detail::optional(options.checkpoint);
    c.checkpoint_every = options.checkpoint_every;
    c.resume = options.resume;
    set_progress(c, options.progress);

    std::vector<infusion_concept> handles(subjects.size());
    std::size_t count = handles.size();
    detail::check(infusion_train(get(), &c, handles.data(), &count));
    std::vector<Concept> concepts;
    concepts.reserve(count);
    for (std::size_t index = 0; index < count; ++index) concepts.emplace_back(handles[index]);
    return concepts;
  }

 private:
  static int32_t report(void *user, const infusion_report *report) noexcept {
    return detail::guarded(INFUSION_CANCEL, [&] {
      return static_cast<int32_t>((*static_cast<const Progress *>(user))(*report));
    });
  }
  template <class C>
  static void set_progress(C &options, const Progress &progress) noexcept {
    if (!progress) return;
    options.progress = &Pipeline::report;
    options.progress_user = const_cast<Progress *>(&progress);
  }
};

}  // namespace infusion

#endif /* INFUSION_HPP */
