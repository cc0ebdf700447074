/*
 * infusion.h - Infusion for ONNX: personalised pictures inside your own program.
 *
 * Four ways to use it, from the smallest change of a host to the largest:
 *
 *   STEP     A host that calls session.Run on a Stable Diffusion v1.x UNet in a loop calls
 *            infusion_unet_run() there instead. It keeps its own scheduler, guidance, text
 *            encoder and VAE, and says which rows carry which concept.
 *   GRAPH    infusion_model_*: patched graphs as files or bytes, for hosts that go on running
 *            their own sessions. The `shared` graph takes the UNet's place: fed alike it is the
 *            original, fed infusion.mask and infusion.delta as well it draws the concept.
 *   WHOLE    infusion_generate() makes pictures of a prompt, infusion_train() concepts of pictures.
 *   CONCEPT  infusion_concept_*: files of a few kilobytes, loaded once and used by any of these.
 *
 * STATUS
 *   Every call that can fail returns an infusion_status *: NULL means success,
 *   anything else is an error that the caller frees with infusion_status_free().
 *   Output arguments are written on success only. No call ever ends the process:
 *   panics inside the library come back as INFUSION_PANIC.
 *
 * HANDLES AND OWNERSHIP
 *   Handles (infusion_tokenizer, infusion_concept, infusion_unet, infusion_model,
 *   infusion_pipeline, infusion_pictures, infusion_buffer) are tokens, not addresses: never
 *   dereference them. Each is made by one call and released by its ..._free. A handle that was
 *   freed, or belongs to another kind of object, is refused with INFUSION_INVALID_HANDLE
 *   wherever it is used; freeing 0 or a handle that was freed does nothing.
 *   Objects stay alive until the calls that use them have returned, also when
 *   another thread frees the handle meanwhile; a concept lives on in the UNets that it was set in.
 *   Pointers passed in are read during the call only. Pointers handed out belong to the
 *   handle that they came from, and live as long as it. Texts are UTF-8 and end in NUL.
 *
 * THREADS
 *   Every function may be called from every thread, also on one handle, without locks of the
 *   host's. Runs of one infusion_unet or infusion_pipeline take turns where they need the same
 *   graph. Concepts may be set, weighed and removed while others run: every call sees the
 *   concepts as they were when it began. The calls of one picture (infusion_row.image) must
 *   come one after the other, as its steps do.
 *   Callbacks run on the thread that called, inside of the call. They may call any function of
 *   this library, but must not throw, longjmp, or wait for another call on the same picture.
 *
 * STRUCTS
 *   Every struct opens with struct_size, which the caller sets to sizeof(the struct); a field that
 *   is all zero bits means the default that is stated beside it. In an array of structs all have
 *   the struct_size of the first.
 *
 * ONNX RUNTIME
 *   The library never ships ONNX Runtime. infusion_init() decides which copy is
 *   used: the host's own (pass OrtGetApiBase()), one at a path, or one found by
 *   searching, where a copy already in the process comes first. Of a copy that the host uses,
 *   nothing global is changed: not its logging, telemetry or thread pools. (ONNX Runtime keeps
 *   one environment a process, made by whoever comes first: hosts with settings of their own
 *   make theirs before infusion_init().)
 *
 * VERSIONS
 *   INFUSION_ABI_VERSION grows whenever a signature or a struct changes; new
 *   functions alone do not change it.
 */
#ifndef INFUSION_H
#define INFUSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INFUSION_ABI_VERSION 1u

#if defined(_WIN32) && !defined(INFUSION_STATIC)
#define INFUSION_API __declspec(dllimport)
#else
#define INFUSION_API
#endif

/* ------------------------------------------------------------------ status */

typedef struct infusion_status infusion_status;

typedef enum infusion_code {
  INFUSION_OK = 0,
  INFUSION_INVALID_ARGUMENT = 1, /* NULL, wrong type, rank, size or option       */
  INFUSION_INVALID_HANDLE = 2,   /* freed, never made, or of another kind        */
  INFUSION_NOT_FOUND = 3,        /* file, concept or token that is not there     */
  INFUSION_INVALID_FILE = 4,     /* model, concept or picture that is not usable */
  INFUSION_WRONG_MODEL = 5,      /* a concept learned on another base model      */
  INFUSION_RUNTIME = 6,          /* ONNX Runtime missing, too old, or failing    */
  INFUSION_CANCELLED = 7,        /* a callback asked for it                      */
  INFUSION_PANIC = 9,            /* a defect of this library; please report it   */
  INFUSION_FAILED = 10           /* anything else: the text says what            */
} infusion_code;

/* INFUSION_OK for NULL. */
INFUSION_API infusion_code infusion_status_code(const infusion_status *status);
/* What was wrong, where, and what to do. Lives as long as the status; "" for NULL. */
INFUSION_API const char *infusion_status_text(const infusion_status *status);
INFUSION_API void infusion_status_free(infusion_status *status);

/* ---------------------------------------------------------------- versions */

/* This library, e.g. "0.1.0". Static. */
INFUSION_API const char *infusion_version(void);
/* INFUSION_ABI_VERSION as the library was built; compare before anything else. */
INFUSION_API uint32_t infusion_abi_version(void);
/* The ONNX Runtime in use, e.g. "1.32.0"; NULL before infusion_init(). Static. */
INFUSION_API const char *infusion_onnxruntime_version(void);

/* -------------------------------------------------------------------- init */

typedef struct infusion_init_options {
  uint32_t struct_size;
  /* The host's `const OrtApiBase *` (what OrtGetApiBase() returns), or NULL. */
  const void *ort_api_base;
  /* A library to load when ort_api_base is NULL; NULL searches. */
  const char *onnxruntime_path;
} infusion_init_options;

/*
 * Chooses the ONNX Runtime. Must come before any call that runs a model; later
 * calls succeed if they name the same copy or none. NULL is the same as all zeros.
 * Errors: INFUSION_RUNTIME when no library is found (the text lists every place
 * that was tried) or it is older than needed (the text names both versions).
 */
INFUSION_API infusion_status *infusion_init(const infusion_init_options *options);

/* ----------------------------------------------------------------- buffers */

/* Bytes or a text that the library made: JSON, a graph, a concept file. */
typedef struct infusion_buffer_token *infusion_buffer;

/* The bytes, followed by a NUL that does not count; NULL for a handle that is not live. */
INFUSION_API const void *infusion_buffer_data(infusion_buffer buffer);
/* How many; 0 for a handle that is not live. */
INFUSION_API size_t infusion_buffer_size(infusion_buffer buffer);
INFUSION_API void infusion_buffer_free(infusion_buffer buffer);

/* ----------------------------------------------------------------- tensors */

typedef enum infusion_type {
  INFUSION_FLOAT32 = 1,
  INFUSION_FLOAT16 = 2,
  INFUSION_FLOAT64 = 3,
  INFUSION_INT32 = 4,
  INFUSION_INT64 = 5
} infusion_type;

/* A tensor of the host's: dense, row-major. */
typedef struct infusion_tensor {
  uint32_t struct_size;
  infusion_type type;
  void *data;          /* aligned as its type needs; written where the tensor is an output only */
  size_t size;         /* bytes at data; at least what type and dims need */
  const int64_t *dims; /* rank numbers; NULL is allowed for rank 0 */
  size_t rank;
} infusion_tensor;

/* --------------------------------------------------------------- tokenizer */

/* CLIP's byte-pair encoding from a folder with vocab.json and merges.txt. */
typedef struct infusion_tokenizer_token *infusion_tokenizer;

INFUSION_API infusion_status *infusion_tokenizer_create(const char *folder, infusion_tokenizer *out);
/*
 * The 77 token ids of `text`, start and end included, padded as the model wants; a text
 * that is too long is cut.
 * *count is the room at ids on the way in and the ids written on the way out.
 */
INFUSION_API infusion_status *infusion_tokenizer_encode(infusion_tokenizer tokenizer, const char *text, int64_t *ids,
                                                        size_t *count);
/*
 * Where the tokens of `phrase` stand in `ids`: every occurrence, every token of it.
 * *positions_count is the room at positions on the way in, what was written on the way out.
 * Errors: INFUSION_NOT_FOUND names the phrase.
 */
INFUSION_API infusion_status *infusion_tokenizer_find(infusion_tokenizer tokenizer, const char *phrase,
                                                      const int64_t *ids, size_t count, size_t *positions,
                                                      size_t *positions_count);
INFUSION_API void infusion_tokenizer_free(infusion_tokenizer tokenizer);

/* ---------------------------------------------------------------- concepts */

/* What a word looks like: the residual of every cross-attention layer, of a few kilobytes. */
typedef struct infusion_concept_token *infusion_concept;

INFUSION_API infusion_status *infusion_concept_load(const char *path, infusion_concept *out);
/* The same from the bytes of a file; `name` stands for it in messages, NULL for none. */
INFUSION_API infusion_status *infusion_concept_load_memory(const void *bytes, size_t size, const char *name,
                                                           infusion_concept *out);
/*
 * JSON: {"word", "class", "tokens", "parameters", "precision", "base_model_hash", "training",
 * "layers": [{"module_path", "width"}]}.
 */
INFUSION_API infusion_status *infusion_concept_describe(infusion_concept handle, infusion_buffer *json);
/* Writes a concept file. precision: "f32", "f16" (NULL), "i8" or "i4". overwrite: 0 refuses an existing file. */
INFUSION_API infusion_status *infusion_concept_save(infusion_concept handle, const char *path, const char *precision,
                                                    int32_t overwrite);
/* The bytes of such a file. */
INFUSION_API infusion_status *infusion_concept_encode(infusion_concept handle, const char *precision,
                                                      infusion_buffer *bytes);
/* UNets that it was set in keep it. */
INFUSION_API void infusion_concept_free(infusion_concept handle);

/*
 * What a host with its own session feeds as infusion.delta: *delta becomes [tokens, D]
 * float32, row-major, for the UNet at `model` (the exported file). *count is the room at
 * delta on the way in and the numbers written on the way out; dims become {tokens, D}.
 * delta NULL asks for the size: only *count and dims are written.
 * Errors: INFUSION_WRONG_MODEL where the concept's layers are not this model's.
 */
INFUSION_API infusion_status *infusion_concept_matrix(const char *model, const char *path, float *delta, size_t *count,
                                                      int64_t dims[2]);

/* -------------------------------------------------------------- graph level */

/* Inputs and outputs that the patched graphs have beside the source's. */
#define INFUSION_INPUT_MASK "infusion.mask"             /* [B,L,S]: optional input of dual and shared       */
#define INFUSION_INPUT_DELTA "infusion.delta"           /* [S,D]: optional input of dual and shared         */
#define INFUSION_INPUT_ROWS "infusion.rows"             /* int64 [R]: optional input of shared              */
#define INFUSION_OUTPUT_FOUNDATION "infusion.foundation" /* shared: F's prediction, beside C's               */

typedef enum infusion_variant {
  INFUSION_VARIANT_F = 0,      /* the foundation stream; maps and values as further outputs   */
  INFUSION_VARIANT_C = 1,      /* the customised stream; maps and values as further inputs    */
  INFUSION_VARIANT_DUAL = 2,   /* both, each on its own latents: 2B rows                      */
  INFUSION_VARIANT_SHARED = 3, /* both on the same latents; fed alike, it is the source       */
  INFUSION_VARIANT_TRAIN = 4   /* loss and gradient of the residual                           */
} infusion_variant;

/* An exported UNet that graphs are made of. */
typedef struct infusion_model_token *infusion_model;

/* Reads the export at `path`; its weights stay in its files. */
INFUSION_API infusion_status *infusion_model_open(const char *path, infusion_model *out);
/*
 * Reads an export from memory, which is copied. `path` is the file that it would be, beside
 * which its external data lies; NULL where it has none.
 */
INFUSION_API infusion_status *infusion_model_open_memory(const void *bytes, size_t size, const char *path,
                                                         infusion_model *out);
/*
 * JSON: the manifest ("version", "source", "float_type", "context", "base_model_hash", "layers":
 * [{"index", "module_path", "heads", "width", "probs", "dialect"}]) and, for each graph that can
 * be made, "graphs": {"f": {"inputs": [{"name", "type", "dims", "optional"}], "outputs": […]}, …};
 * "refused" gives the reasons of the others.
 */
INFUSION_API infusion_status *infusion_model_describe(infusion_model model, infusion_buffer *json);
/* One graph as the bytes of an .onnx file, weights included. Above 2 GB: use infusion_model_save(). */
INFUSION_API infusion_status *infusion_model_graph(infusion_model model, infusion_variant variant,
                                                   infusion_buffer *onnx);

typedef struct infusion_save_options {
  uint32_t struct_size;
  /* e.g. "f,c,shared"; NULL: all that can be made. */
  const char *variants;
  /* 0: the graphs refer to the source's weights, which are linked or copied once if need be. */
  int32_t self_contained;
  /* 0: only files that an earlier call wrote are replaced. */
  int32_t overwrite;
} infusion_save_options;

/*
 * Writes <stem>.f.onnx … and <stem>.infusion.json into `folder` (NULL: the source's), all or
 * none. options may be NULL; *manifest becomes the manifest's JSON unless `manifest` is NULL.
 */
INFUSION_API infusion_status *infusion_model_save(infusion_model model, const char *folder,
                                                  const infusion_save_options *options, infusion_buffer *manifest);
/* As infusion_concept_matrix(), for objects that are loaded already. */
INFUSION_API infusion_status *infusion_model_delta(infusion_model model, infusion_concept handle, float *delta,
                                                   size_t *count, int64_t dims[2]);
INFUSION_API void infusion_model_free(infusion_model model);

/* --------------------------------------------------------------- step level */

/* Which latents the foundation stream F, which gives the attention maps, is evaluated on. */
typedef enum infusion_mode {
  INFUSION_MODE_AUTO = 0, /* infusion_unet_run: separate with a scheduler callback, else shared;
                             infusion_unet_run2 and infusion_generate: separate */
  INFUSION_MODE_SEPARATE = 1,  /* its own, from the same start noise: F's picture is the ordinary one */
  INFUSION_MODE_SHARED = 2 /* C's; rows without a concept are then run once */
} infusion_mode;

/* Which graphs compute the streams; the noise is the same to rounding. */
typedef enum infusion_graphs {
  INFUSION_GRAPHS_AUTO = 0, /* what suits model, mode and provider                   */
  INFUSION_GRAPHS_TWO = 1,  /* f, then c                                             */
  INFUSION_GRAPHS_ONE = 2   /* dual or shared, as the mode is                        */
} infusion_graphs;

/* What a row of the batch is. */
typedef enum infusion_role {
  INFUSION_ROLE_UNCONDITIONAL = 0, /* the negative prompt: never carries a concept        */
  INFUSION_ROLE_CONDITIONAL = 1,   /* the prompt                                          */
  INFUSION_ROLE_OTHER = 2          /* any further row of a picture, e.g. a weighed prompt */
} infusion_role;

/* Where a concept's tokens are in a row's prompt. */
typedef struct infusion_mark {
  uint32_t struct_size;
  /* Times the concept's weight; 1 is all of it. 0 is refused: leave the mark out. */
  float strength;
  /* The concept, as named in infusion_unet_set_concept(). */
  const char *concept_name;
  /*
   * Rows of encoder_hidden_states, as infusion_tokenizer_find() gives them. A concept of T
   * tokens goes to each T of them in turn; one of a single token goes to all.
   */
  const size_t *positions;
  size_t positions_count;
} infusion_mark;

/* One row of the batch. */
typedef struct infusion_row {
  uint32_t struct_size;
  infusion_role role;
  /* Rows of one picture share it; any number that tells the pictures under way apart. */
  uint64_t image;
  /* Where concepts go, stated; or NULL and 0. */
  const infusion_mark *marks;
  size_t marks_count;
  /*
   * Or the ids that the row's prompt was encoded from: every concept set goes where its phrase
   * occurs in them. Needs infusion_unet_options.tokenizer. NULL and 0: only `marks` count.
   */
  const int64_t *ids;
  size_t ids_count;
} infusion_row;

/* A further input of the export, by its name: timestep_cond, ControlNet residuals. */
typedef struct infusion_input {
  uint32_t struct_size;
  const char *name;
  const infusion_tensor *tensor; /* float; a row for each row of the batch */
} infusion_input;

/* What a call is about, beside its tensors. */
typedef struct infusion_step {
  uint32_t struct_size;
  /*
   * Which evaluation of the picture this is: it grows with every evaluation (a scheduler of
   * second order takes two a step), and is the same in all calls of one evaluation. One that is
   * not above the last begins the picture anew.
   */
  uint32_t index;
  /* Evaluations in all: after index steps - 1, what is kept of the picture is dropped. 0: not known. */
  uint32_t steps;
  /* Rows that a picture has over all calls of one evaluation; 0: they are all in this call. */
  uint32_t rows_per_image;
  /* One for each row of sample, in its order. May be NULL and 0 while no concept is set. */
  const infusion_row *rows;
  size_t rows_count;
  const infusion_input *inputs;
  size_t inputs_count;
} infusion_step;

/* F's prediction of one picture at one evaluation, to be followed to the next. */
typedef struct infusion_foundation {
  uint32_t struct_size;
  uint32_t index;               /* infusion_step.index */
  uint64_t image;
  size_t rows;                  /* infusion_step.rows_per_image */
  const infusion_role *roles;   /* of each row, in the order in which the calls gave them */
  const float *noise;           /* [rows, channels, height, width] */
  const float *sample;          /* what F was given: [channels, height, width] */
  float *next;                  /* to be written: what F is given at the next evaluation, as sample */
  int64_t channels, height, width;
} infusion_foundation;

/*
 * Combines F's rows and steps F as the host does with C's, scaling included, and returns 0;
 * anything else ends the call with INFUSION_CANCELLED. Hosts whose scheduler remembers earlier
 * steps keep a second one for each image.
 */
typedef int32_t (*infusion_scheduler)(void *user, const infusion_foundation *foundation);

typedef struct infusion_unet_options {
  uint32_t struct_size;
  infusion_mode mode;
  infusion_graphs graphs;
  uint32_t threads;            /* of each session; 0: the library's choice */
  int32_t low_memory;          /* not 0: less memory at the price of speed */
  const char *provider;        /* e.g. "cuda:device=0", as in --provider; NULL: cpu */
  const char *cache;           /* folder for optimised models and engines; NULL: none */
  const char *graph_folder;    /* where patched graphs go if the UNet's own folder cannot be written; NULL: nowhere */
  infusion_tokenizer tokenizer; /* for rows with ids; 0: none */
  infusion_scheduler scheduler; /* for separate streams in infusion_unet_run(); NULL: none */
  void *scheduler_user;
} infusion_unet_options;

/* A UNet with concepts, in place of the host's own session. */
typedef struct infusion_unet_token *infusion_unet;

/*
 * Opens the exported UNet at `model` (its .onnx file, one of its patched graphs, or its
 * .infusion.json), and patches it unless that was done before. Sessions are loaded when they
 * are first needed. options may be NULL.
 */
INFUSION_API infusion_status *infusion_unet_open(const char *model, const infusion_unet_options *options,
                                                 infusion_unet *out);
/*
 * JSON: {"inputs": [{"name", "type", "dims"}], "output", "layers": [{"module_path", "width"}],
 * "base_model_hash", "graphs": {"source": path, …}, "loaded": [{"graph", "provider"}]}.
 */
INFUSION_API infusion_status *infusion_unet_describe(infusion_unet unet, infusion_buffer *json);
/* Loads what the next run needs: the graphs of both streams where concepts are set, the UNet alone where none is. */
INFUSION_API infusion_status *infusion_unet_preload(infusion_unet unet);

/*
 * In place of the host's UNet call: `out` becomes the predicted noise of the customised stream C.
 * sample [B, 4, h, w] and encoder_hidden_states [B, L, C] are f32 or f16, whatever the export wants;
 * timestep is i64, i32, f32, f16 or f64 of rank 0, [1] or [B]; out is f32 or f16 with sample's dims.
 * Rows without a concept are F's; where no row of a picture has ever had one, F runs alone, at the
 * cost and with the numbers of the original UNet.
 * Separate streams need infusion_unet_options.scheduler.
 */
INFUSION_API infusion_status *infusion_unet_run(infusion_unet unet, const infusion_step *step,
                                                const infusion_tensor *sample, const infusion_tensor *timestep,
                                                const infusion_tensor *encoder_hidden_states, infusion_tensor *out);
/*
 * Separate streams whose trajectories the host keeps, both: `foundation` are F's latents, from
 * which foundation_out is predicted, `sample` C's, from which out is. Of step, only rows and
 * inputs are read; no scheduler callback is called.
 */
INFUSION_API infusion_status *infusion_unet_run2(infusion_unet unet, const infusion_step *step,
                                                 const infusion_tensor *foundation, const infusion_tensor *sample,
                                                 const infusion_tensor *timestep,
                                                 const infusion_tensor *encoder_hidden_states,
                                                 infusion_tensor *foundation_out, infusion_tensor *out);
/* Drops what is kept of a picture that will not be gone on with. */
INFUSION_API infusion_status *infusion_unet_end_image(infusion_unet unet, uint64_t image);

/*
 * Adds a concept under `name` (NULL: its word), or puts it in the place of the one of that name.
 * weight: 1 is all of it. phrase: what rows with ids are searched for; NULL: the concept's class.
 * force: not 0 takes a concept that was learned on another base model.
 * The next call draws with it, on whatever thread.
 */
INFUSION_API infusion_status *infusion_unet_set_concept(infusion_unet unet, const char *name, infusion_concept handle,
                                                        float weight, const char *phrase, int32_t force);
INFUSION_API infusion_status *infusion_unet_set_weight(infusion_unet unet, const char *name, float weight);
INFUSION_API infusion_status *infusion_unet_remove_concept(infusion_unet unet, const char *name);
/* JSON: [{"name", "word", "class", "phrase", "weight", "tokens"}], in the order in which they were set. */
INFUSION_API infusion_status *infusion_unet_concepts(infusion_unet unet, infusion_buffer *json);
INFUSION_API void infusion_unet_free(infusion_unet unet);

/* -------------------------------------------------------------- whole level */

typedef struct infusion_pipeline_options {
  uint32_t struct_size;
  uint32_t threads;         /* as in infusion_unet_options */
  int32_t low_memory;       /* not 0: one model after the other */
  const char *provider;
  const char *cache;
  const char *graph_folder;
} infusion_pipeline_options;

/* A pipeline's folder: model_index.json, text_encoder/model.onnx, unet/model.onnx, …. */
typedef struct infusion_pipeline_token *infusion_pipeline;

INFUSION_API infusion_status *infusion_pipeline_open(const char *folder, const infusion_pipeline_options *options,
                                                     infusion_pipeline *out);
/* JSON: {"folder", "width", "height", "layers", "base_model_hash", "graphs", "schedulers", "loaded"}. */
INFUSION_API infusion_status *infusion_pipeline_describe(infusion_pipeline pipeline, infusion_buffer *json);
INFUSION_API void infusion_pipeline_free(infusion_pipeline pipeline);

typedef enum infusion_stage {
  INFUSION_STAGE_TEXT = 0,     /* encoding prompts                          */
  INFUSION_STAGE_PICTURES = 1, /* encoding pictures                         */
  INFUSION_STAGE_LOAD = 2,     /* loading graphs                            */
  INFUSION_STAGE_STEPS = 3,    /* a step is done, or the steps begin: step 0 */
  INFUSION_STAGE_DECODE = 4    /* decoding latents                          */
} infusion_stage;

typedef struct infusion_report {
  uint32_t struct_size;
  infusion_stage stage;
  uint32_t step;  /* steps done */
  uint32_t steps; /* in all */
  double timestep; /* generate: the model's timestep of this step */
  double loss;     /* train: the loss of this step */
  /* generate: C's latents after this step, f32 [batch, 4, height / 8, width / 8]; NULL where there are none. */
  const float *latents;
  int64_t latents_dims[4];
} infusion_report;

typedef enum infusion_answer {
  INFUSION_GO_ON = 0,
  INFUSION_CANCEL = 1, /* the call ends with INFUSION_CANCELLED */
  INFUSION_FINISH = 2  /* train: end here, with what was learned so far; elsewhere as INFUSION_CANCEL */
} infusion_answer;

/* Returns an infusion_answer. */
typedef int32_t (*infusion_progress)(void *user, const infusion_report *report);

/* A concept under the name that prompts mark it by: "a photo of a <name>". */
typedef struct infusion_concept_use {
  uint32_t struct_size;
  float weight; /* 1 is all of it */
  const char *name;
  infusion_concept handle;
} infusion_concept_use;

/* The defaults are the paper's, and those of `infusion generate`. */
typedef struct infusion_generate_options {
  uint32_t struct_size;
  uint32_t width, height;         /* pixels; 0: what the model was trained for */
  uint32_t num_inference_steps;   /* 0: 50 */
  uint32_t batch;                 /* pictures, of seeds seed, seed + 1, …; 0: 1 */
  infusion_mode mode;
  infusion_graphs graphs;
  int32_t foundation;             /* not 0: F's pictures are wanted, too */
  int32_t force;                  /* not 0: take concepts of other base models */
  uint64_t seed;
  double guidance_scale;          /* 0: 8; 1 switches guidance off */
  double start, end;              /* fractions of the steps between which the concept is drawn; end 0: 1 */
  const char *prompt;             /* "a photo of a <ball> in the snow" */
  const char *negative_prompt;    /* NULL: "" */
  const char *scheduler;          /* NULL: "ddim"; see infusion_pipeline_describe() */
  const infusion_concept_use *concepts;
  size_t concepts_count;
  const float *layer_scales;      /* a factor for each cross-attention layer; NULL: all 1 */
  size_t layer_scales_count;
  const float *noise;             /* start noise [batch, 4, height / 8, width / 8]; NULL: the seeds' */
  size_t noise_count;
  const uint8_t *init_rgb;        /* img2img: the picture to start from, 3 bytes a pixel; NULL: none */
  uint32_t init_width, init_height;
  double strength;                /* img2img: share of the steps that are run; 0: 0.8 */
  infusion_progress progress;     /* NULL: none */
  void *progress_user;
} infusion_generate_options;

/* The pictures of one call. */
typedef struct infusion_pictures_token *infusion_pictures;

typedef struct infusion_picture {
  uint32_t struct_size;
  uint32_t width, height;
  int32_t foundation; /* 1: F's, the ordinary picture; 0: C's (or F's, where the prompt marks no concept) */
  uint64_t seed;
  const uint8_t *rgb; /* width * height * 3 bytes, rows from the top; live as long as the infusion_pictures */
  size_t size;
} infusion_picture;

INFUSION_API infusion_status *infusion_generate(infusion_pipeline pipeline, const infusion_generate_options *options,
                                                infusion_pictures *out);
/* 0 for a handle that is not live. C's pictures come first, then F's. */
INFUSION_API size_t infusion_pictures_count(infusion_pictures pictures);
/* Fills *out, whose struct_size the caller has set. */
INFUSION_API infusion_status *infusion_pictures_get(infusion_pictures pictures, size_t index, infusion_picture *out);
/* As PNG, with the settings in it. overwrite: 0 refuses an existing file. */
INFUSION_API infusion_status *infusion_pictures_save(infusion_pictures pictures, size_t index, const char *path,
                                                     int32_t overwrite);
INFUSION_API void infusion_pictures_free(infusion_pictures pictures);

/* A concept to learn. */
typedef struct infusion_subject {
  uint32_t struct_size;
  const char *name;       /* as prompts mark it */
  const char *class_word; /* the word that stands for it, e.g. "ball" */
} infusion_subject;

/* A folder of photographs. */
typedef struct infusion_photos {
  uint32_t struct_size;
  const char *folder;
  const char *subject; /* whom they show; NULL: they go with every prompt */
  const char *masks;   /* a folder with a picture of the same name for each, white where it counts; NULL: none */
} infusion_photos;

/* The defaults are the paper's, and those of `infusion train`. */
typedef struct infusion_train_options {
  uint32_t struct_size;
  uint32_t steps;          /* 0: 400 */
  uint32_t batch;          /* 0: 4 */
  uint32_t micro_batch;    /* rows at once; 0: the whole batch */
  uint32_t size;           /* pixels a side; 0: what the model was trained for */
  int32_t flip;            /* not 0: mirror images, too */
  int32_t resume;          /* not 0: go on from `checkpoint` */
  uint32_t checkpoint_every; /* steps; 0: 50. Only where `checkpoint` is given */
  uint64_t seed;
  double learning_rate;    /* 0: 0.01 */
  const char *memory;      /* "low", "balanced" (NULL) or "fast" */
  const char *checkpoint;  /* a file that outlives a cancelled or killed training; NULL: none */
  const infusion_subject *subjects;
  size_t subjects_count;
  const infusion_photos *photos;
  size_t photos_count;
  const char *const *prompts;
  size_t prompts_count;
  infusion_progress progress; /* NULL: none */
  void *progress_user;
} infusion_train_options;

/*
 * Learns a concept for each subject. *count is the room at concepts on the way in, and what was
 * written on the way out. A training that was cancelled writes its checkpoint, if it has one.
 */
INFUSION_API infusion_status *infusion_train(infusion_pipeline pipeline, const infusion_train_options *options,
                                             infusion_concept *concepts, size_t *count);

#ifdef __cplusplus
}
#endif

#endif /* INFUSION_H */
