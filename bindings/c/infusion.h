/*
 * infusion.h - Infusion for ONNX: personalised pictures inside your own program.
 *
 * A host that runs a Stable Diffusion v1.x UNet through ONNX Runtime loads the
 * `shared` or `dual` graph in its place, and feeds it concept files of a few
 * kilobytes: infusion.delta comes from infusion_concept_matrix(), and
 * infusion.mask is 1 where infusion_tokenizer_find() says.
 *
 * STATUS
 *   Every call that can fail returns an infusion_status *: NULL means success,
 *   anything else is an error that the caller frees with infusion_status_free().
 *   Output arguments are written on success only. No call ever ends the process:
 *   panics inside the library come back as INFUSION_PANIC.
 *
 * HANDLES AND OWNERSHIP
 *   infusion_tokenizer is a token, not an address: never dereference it. It is made by
 *   ..._create and released by ..._free. A handle that was freed, or belongs to
 *   another kind of object, is refused with INFUSION_INVALID_HANDLE wherever it is
 *   used; freeing 0 does nothing.
 *   Objects stay alive until the calls that use them have returned, also when
 *   another thread frees the handle meanwhile.
 *   Pointers passed in are read during the call only. Texts are UTF-8 and end in NUL.
 *
 * THREADS
 *   Every function may be called from every thread, also on one handle.
 *
 * ONNX RUNTIME
 *   The library never ships ONNX Runtime. infusion_init() decides which copy is
 *   used: the host's own (pass OrtGetApiBase()), one at a path, or one found by
 *   searching, where a copy already in the process comes first. Its telemetry events
 *   are switched off, also for a host that shares the copy.
 *
 * VERSIONS
 *   INFUSION_ABI_VERSION grows whenever a signature or a struct changes; new
 *   functions alone do not change it. Structs open with struct_size, which the
 *   caller sets to sizeof(the struct).
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

/*
 * What a host with its own session feeds as infusion.delta: *delta becomes [tokens, D]
 * float32, row-major, for the UNet at `model` (the exported file). *count is the room at
 * delta on the way in and the numbers written on the way out; dims become {tokens, D}.
 * Errors: INFUSION_WRONG_MODEL where the concept's layers are not this model's.
 */
INFUSION_API infusion_status *infusion_concept_matrix(const char *model, const char *path, float *delta, size_t *count,
                                                      int64_t dims[2]);

#ifdef __cplusplus
}
#endif

#endif /* INFUSION_H */
