/* Calls every function as a careless host might, and as a careful one does.
 * Arguments: tokenizer folder, pipeline folder, concept file, ONNX Runtime library that is none, folder to write to. */
#include "infusion.h"

#include <math.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void expect(int line, infusion_status *status, infusion_code code, const char *part) {
  infusion_code found = infusion_status_code(status);
  const char *text = infusion_status_text(status);
  if (found != code || strstr(text, part) == NULL) {
    printf("line %d: expected code %d and a text with '%s', found %d: %s\n", line, code, part, found, text);
    failures++;
  }
  infusion_status_free(status);
}

static void check(int line, int truth) {
  if (!truth) {
    printf("line %d: does not hold\n", line);
    failures++;
  }
}

#define REFUSED(code, part, call) expect(__LINE__, call, code, part)
#define FINE(call) expect(__LINE__, call, INFUSION_OK, "")
#define CHECK(truth) check(__LINE__, truth)

static void statuses_and_versions(void) {
  CHECK(infusion_status_code(NULL) == INFUSION_OK);
  CHECK(strcmp(infusion_status_text(NULL), "") == 0);
  infusion_status_free(NULL);
  CHECK(infusion_abi_version() == INFUSION_ABI_VERSION);
  CHECK(infusion_version()[0] == '0' && infusion_version()[1] == '.');
}

/* What onnxruntime_c_api.h declares as OrtApiBase. */
typedef struct api_base {
  const void *(*get_api)(uint32_t version);
  const char *(*version)(void);
} api_base;

static const void *no_api(uint32_t version) { return (void)version, (const void *)NULL; }
static const char *old_version(void) { return "1.15.1"; }
static const char *newer_version(void) { return "1.99.0"; }

static void init(const char *no_library) {
  infusion_init_options options = {0};
  const api_base old = {no_api, old_version}, broken = {no_api, newer_version};
  CHECK(infusion_onnxruntime_version() == NULL);
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_init(&options));
  options.struct_size = sizeof options;
  options.ort_api_base = &old;
  REFUSED(INFUSION_RUNTIME, "1.15.1", infusion_init(&options));
  REFUSED(INFUSION_RUNTIME, "1.17", infusion_init(&options));
  options.ort_api_base = &broken;
  REFUSED(INFUSION_RUNTIME, "1.99.0", infusion_init(&options));
  options.ort_api_base = NULL;
  options.onnxruntime_path = "\xff";
  REFUSED(INFUSION_INVALID_ARGUMENT, "UTF-8", infusion_init(&options));
  options.onnxruntime_path = no_library;
  REFUSED(INFUSION_RUNTIME, no_library, infusion_init(&options));
  FINE(infusion_init(NULL));
  FINE(infusion_init(NULL));
  CHECK(infusion_onnxruntime_version()[0] == '1');
  REFUSED(INFUSION_RUNTIME, "already loaded", infusion_init(&options));
  options.onnxruntime_path = NULL;
  FINE(infusion_init(&options));
  options.ort_api_base = &old;
  REFUSED(INFUSION_RUNTIME, "already", infusion_init(&options));
}

static void tokenizer(const char *folder) {
  infusion_tokenizer tokenizer = NULL, second = NULL;
  int64_t ids[77];
  size_t positions[77];
  size_t count = 77, found = 77;
  REFUSED(INFUSION_INVALID_ARGUMENT, "folder: is NULL", infusion_tokenizer_create(NULL, &tokenizer));
  REFUSED(INFUSION_INVALID_ARGUMENT, "out: is NULL", infusion_tokenizer_create(folder, NULL));
  REFUSED(INFUSION_INVALID_FILE, "/nowhere", infusion_tokenizer_create("/nowhere", &tokenizer));
  CHECK(tokenizer == NULL);
  FINE(infusion_tokenizer_create(folder, &tokenizer));

  REFUSED(INFUSION_INVALID_ARGUMENT, "text: is NULL", infusion_tokenizer_encode(tokenizer, NULL, ids, &count));
  REFUSED(INFUSION_INVALID_ARGUMENT, "ids: is NULL", infusion_tokenizer_encode(tokenizer, "ball", NULL, &count));
  REFUSED(INFUSION_INVALID_ARGUMENT, "count: is NULL", infusion_tokenizer_encode(tokenizer, "ball", ids, NULL));
  count = 76;
  REFUSED(INFUSION_INVALID_ARGUMENT, "room for 76", infusion_tokenizer_encode(tokenizer, "ball", ids, &count));
  count = 77;
  FINE(infusion_tokenizer_encode(tokenizer, "a ball and a ball", ids, &count));
  CHECK(count == 77);

  REFUSED(INFUSION_NOT_FOUND, "snow", infusion_tokenizer_find(tokenizer, "snow", ids, 77, positions, &found));
  REFUSED(INFUSION_INVALID_ARGUMENT, "no tokens", infusion_tokenizer_find(tokenizer, "", ids, 77, positions, &found));
  REFUSED(INFUSION_INVALID_ARGUMENT, "ids", infusion_tokenizer_find(tokenizer, "a", NULL, 77, positions, &found));
  REFUSED(INFUSION_INVALID_ARGUMENT, "ids", infusion_tokenizer_find(tokenizer, "a", ids, SIZE_MAX, positions, &found));
  found = 1;
  REFUSED(INFUSION_INVALID_ARGUMENT, "2 are needed",
          infusion_tokenizer_find(tokenizer, "ball", ids, 77, positions, &found));
  found = 77;
  FINE(infusion_tokenizer_find(tokenizer, "ball", ids, 77, positions, &found));
  CHECK(found == 2 && positions[0] == 2 && positions[1] == 5);

  infusion_tokenizer_free(NULL);
  infusion_tokenizer_free((infusion_tokenizer)(size_t)0x1234);
  infusion_tokenizer_free(tokenizer);
  infusion_tokenizer_free(tokenizer);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_tokenizer", infusion_tokenizer_encode(tokenizer, "ball", ids, &count));
  FINE(infusion_tokenizer_create(folder, &second));
  REFUSED(INFUSION_INVALID_HANDLE, "freed", infusion_tokenizer_encode(tokenizer, "ball", ids, &count));
  REFUSED(INFUSION_INVALID_HANDLE, "live", infusion_tokenizer_encode((infusion_tokenizer)ids, "ball", ids, &count));
  FINE(infusion_tokenizer_encode(second, "ball", ids, &count));
  infusion_tokenizer_free(second);
}

static void concept_matrix(const char *model, const char *file) {
  int64_t dims[2] = {-1, -1};
  size_t count = 0, i, numbers = 0;
  float *delta = calloc(100000, sizeof *delta);
  REFUSED(INFUSION_INVALID_ARGUMENT, "model: is NULL", infusion_concept_matrix(NULL, file, delta, &count, dims));
  REFUSED(INFUSION_INVALID_ARGUMENT, "path: is NULL", infusion_concept_matrix(model, NULL, delta, &count, dims));
  REFUSED(INFUSION_INVALID_ARGUMENT, "dims: is NULL", infusion_concept_matrix(model, file, delta, &count, NULL));
  REFUSED(INFUSION_INVALID_ARGUMENT, "room for 0", infusion_concept_matrix(model, file, delta, &count, dims));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_concept_matrix(model, "/nowhere", delta, &count, dims));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_concept_matrix("/nowhere", file, delta, &count, dims));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_concept_matrix(file, file, delta, &count, dims));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_concept_matrix(model, model, delta, &count, dims));
  CHECK(dims[0] == -1 && count == 0);
  FINE(infusion_concept_matrix(model, file, NULL, &count, dims));
  CHECK(dims[0] >= 1 && dims[1] > 1 && count == (size_t)(dims[0] * dims[1]) && count <= 100000);
  FINE(infusion_concept_matrix(model, file, delta, &count, dims));
  CHECK(dims[0] >= 1 && dims[1] > 1 && count == (size_t)(dims[0] * dims[1]));
  for (i = 0; i < count; i++) numbers += delta[i] != 0.0f;
  CHECK(numbers > count / 2);
  free(delta);
}

static char *joined(const char *folder, const char *name) {
  char *path = malloc(strlen(folder) + strlen(name) + 2);
  sprintf(path, "%s/%s", folder, name);
  return path;
}

static infusion_concept concepts(const char *file, const char *folder) {
  infusion_concept concept = NULL, copy = NULL;
  infusion_buffer buffer = NULL;
  char *path = joined(folder, "copy.safetensors");
  REFUSED(INFUSION_INVALID_ARGUMENT, "path: is NULL", infusion_concept_load(NULL, &concept));
  REFUSED(INFUSION_INVALID_ARGUMENT, "out: is NULL", infusion_concept_load(file, NULL));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_concept_load("/nowhere", &concept));
  REFUSED(INFUSION_INVALID_FILE, "shelf", infusion_concept_load_memory("no concept", 10, "shelf", &concept));
  REFUSED(INFUSION_INVALID_ARGUMENT, "bytes: is NULL", infusion_concept_load_memory(NULL, 10, NULL, &concept));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_concept_load_memory(NULL, 0, NULL, &concept));
  CHECK(concept == NULL);
  FINE(infusion_concept_load(file, &concept));
  REFUSED(INFUSION_INVALID_ARGUMENT, "json: is NULL", infusion_concept_describe(concept, NULL));
  FINE(infusion_concept_describe(concept, &buffer));
  CHECK(strstr(infusion_buffer_data(buffer), "\"word\"") != NULL);
  CHECK(infusion_buffer_size(buffer) == strlen(infusion_buffer_data(buffer)));
  infusion_buffer_free(buffer);
  infusion_buffer_free(buffer);
  CHECK(infusion_buffer_data(buffer) == NULL && infusion_buffer_size(buffer) == 0);
  CHECK(infusion_buffer_data(NULL) == NULL && infusion_buffer_size((infusion_buffer)concept) == 0);

  REFUSED(INFUSION_INVALID_ARGUMENT, "i3", infusion_concept_encode(concept, "i3", &buffer));
  FINE(infusion_concept_encode(concept, "f32", &buffer));
  FINE(infusion_concept_load_memory(infusion_buffer_data(buffer), infusion_buffer_size(buffer), NULL, &copy));
  infusion_buffer_free(buffer);
  REFUSED(INFUSION_INVALID_ARGUMENT, "path: is NULL", infusion_concept_save(copy, NULL, NULL, 0));
  FINE(infusion_concept_save(copy, path, NULL, 0));
  REFUSED(INFUSION_FAILED, "exists", infusion_concept_save(copy, path, NULL, 0));
  FINE(infusion_concept_save(copy, path, "i4", 1));
  infusion_concept_free(copy);
  infusion_concept_free(copy);
  infusion_concept_free(NULL);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_concept", infusion_concept_describe(copy, &buffer));
  free(path);
  return concept;
}

static void models(const char *path, const char *folder, infusion_concept concept) {
  infusion_model model = NULL;
  infusion_buffer buffer = NULL;
  infusion_save_options options = {0};
  int64_t dims[2];
  size_t count = 0;
  float number;
  REFUSED(INFUSION_INVALID_ARGUMENT, "path: is NULL", infusion_model_open(NULL, &model));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_model_open("/nowhere", &model));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_model_open_memory("no model", 8, NULL, &model));
  FINE(infusion_model_open(path, &model));
  REFUSED(INFUSION_INVALID_ARGUMENT, "variant", infusion_model_graph(model, (infusion_variant)5, &buffer));
  REFUSED(INFUSION_INVALID_ARGUMENT, "onnx: is NULL", infusion_model_graph(model, INFUSION_VARIANT_F, NULL));
  REFUSED(INFUSION_INVALID_ARGUMENT, "room for 0", infusion_model_delta(model, concept, &number, &count, dims));
  REFUSED(INFUSION_INVALID_HANDLE, "concept", infusion_model_delta(model, NULL, &number, &count, dims));
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_model_save(model, folder, &options, NULL));
  options.struct_size = sizeof options;
  options.variants = "f,g";
  REFUSED(INFUSION_INVALID_ARGUMENT, "'g'", infusion_model_save(model, folder, &options, NULL));
  options.variants = "shared";
  FINE(infusion_model_save(model, folder, &options, &buffer));
  CHECK(strstr(infusion_buffer_data(buffer), "model.shared.onnx") != NULL);
  infusion_buffer_free(buffer);
  infusion_model_free(model);
  infusion_model_free(model);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_model", infusion_model_describe(model, &buffer));
}

#define TENSOR(kind, numbers, shape) \
  { sizeof(infusion_tensor), kind, numbers, sizeof(numbers), shape, sizeof(shape) / sizeof *shape }

static int32_t gives_up(void *user, const infusion_foundation *foundation) {
  CHECK(foundation->rows == 1 && foundation->roles[0] == INFUSION_ROLE_CONDITIONAL);
  ++*(int *)user;
  return 1;
}

static int32_t writes_nothing(void *user, const infusion_foundation *foundation) {
  (void)user, (void)foundation;
  return 0;
}

static void unets(const char *path, infusion_concept concept) {
  static float numbers[4 * 8 * 8], context[77 * 32], noise[4 * 8 * 8];
  static const int64_t latents[] = {1, 4, 8, 8}, tokens[] = {1, 77, 32}, one[] = {1};
  int64_t time[] = {981};
  const size_t positions[] = {5};
  infusion_tensor sample = TENSOR(INFUSION_FLOAT32, numbers, latents), states = TENSOR(INFUSION_FLOAT32, context, tokens);
  infusion_tensor timestep = TENSOR(INFUSION_INT64, time, one), out = TENSOR(INFUSION_FLOAT32, noise, latents);
  infusion_mark mark = {sizeof mark, 1.0f, "ball", positions, 1};
  infusion_row row = {sizeof row, INFUSION_ROLE_CONDITIONAL, 0, &mark, 1, NULL, 0};
  infusion_step step = {sizeof step, 0, 0, 0, &row, 1, NULL, 0};
  infusion_unet_options options = {0};
  infusion_unet unet = NULL, second = NULL;
  infusion_buffer buffer = NULL;
  int calls = 0;
  size_t i;
  for (i = 0; i < 4 * 8 * 8; i++) numbers[i] = sinf((float)i);
  for (i = 0; i < 77 * 32; i++) context[i] = cosf((float)i);

  REFUSED(INFUSION_INVALID_ARGUMENT, "model: is NULL", infusion_unet_open(NULL, NULL, &unet));
  REFUSED(INFUSION_INVALID_ARGUMENT, "out: is NULL", infusion_unet_open(path, NULL, NULL));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_unet_open("/nowhere", NULL, &unet));
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_unet_open(path, &options, &unet));
  options.struct_size = sizeof options;
  options.mode = (infusion_mode)7;
  REFUSED(INFUSION_INVALID_ARGUMENT, "mode", infusion_unet_open(path, &options, &unet));
  options.mode = INFUSION_MODE_AUTO;
  options.provider = "magic";
  REFUSED(INFUSION_INVALID_ARGUMENT, "magic", infusion_unet_open(path, &options, &unet));
  options.provider = "cpu";
  options.tokenizer = (infusion_tokenizer)concept;
  REFUSED(INFUSION_INVALID_HANDLE, "tokenizer", infusion_unet_open(path, &options, &unet));
  options.tokenizer = NULL;
  CHECK(unet == NULL);
  FINE(infusion_unet_open(path, &options, &unet));

  REFUSED(INFUSION_INVALID_HANDLE, "concept", infusion_unet_set_concept(unet, "ball", NULL, 1.0f, NULL, 1));
  REFUSED(INFUSION_INVALID_ARGUMENT, "weight", infusion_unet_set_concept(unet, "ball", concept, NAN, NULL, 1));
  REFUSED(INFUSION_WRONG_MODEL, "learned on", infusion_unet_set_concept(unet, "ball", concept, 1.0f, NULL, 0));
  REFUSED(INFUSION_NOT_FOUND, "'ball'", infusion_unet_set_weight(unet, "ball", 1.0f));
  FINE(infusion_unet_set_concept(unet, "ball", concept, 1.0f, NULL, 1));
  REFUSED(INFUSION_INVALID_ARGUMENT, "name: is NULL", infusion_unet_set_weight(unet, NULL, 1.0f));
  FINE(infusion_unet_concepts(unet, &buffer));
  CHECK(strstr(infusion_buffer_data(buffer), "\"ball\"") != NULL);
  infusion_buffer_free(buffer);
  FINE(infusion_unet_preload(unet));
  FINE(infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  CHECK(noise[0] != 0.0f && noise[0] == noise[0]);

  REFUSED(INFUSION_INVALID_ARGUMENT, "rows", infusion_unet_run(unet, NULL, &sample, &timestep, &states, &out));
  REFUSED(INFUSION_INVALID_ARGUMENT, "sample: is NULL", infusion_unet_run(unet, &step, NULL, &timestep, &states, &out));
  REFUSED(INFUSION_INVALID_ARGUMENT, "timestep: is NULL", infusion_unet_run(unet, &step, &sample, NULL, &states, &out));
  REFUSED(INFUSION_INVALID_ARGUMENT, "encoder_hidden_states: is NULL",
          infusion_unet_run(unet, &step, &sample, &timestep, NULL, &out));
  REFUSED(INFUSION_INVALID_ARGUMENT, "out: is NULL", infusion_unet_run(unet, &step, &sample, &timestep, &states, NULL));
  out.size -= 1;
  REFUSED(INFUSION_INVALID_ARGUMENT, "out: size", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  out.size += 1;
  sample.rank = 3;
  REFUSED(INFUSION_INVALID_ARGUMENT, "rank 3", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  sample.rank = 4;
  sample.dims = NULL;
  REFUSED(INFUSION_INVALID_ARGUMENT, "dims are NULL", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  sample.dims = latents;
  timestep.type = INFUSION_FLOAT16;
  FINE(infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  timestep.type = INFUSION_INT64;
  out.type = INFUSION_INT64;
  out.size *= 2;
  REFUSED(INFUSION_INVALID_ARGUMENT, "int64", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  out.type = INFUSION_FLOAT32;
  out.size /= 2;
  mark.concept_name = NULL;
  REFUSED(INFUSION_INVALID_ARGUMENT, "concept_name", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  mark.concept_name = "cup";
  REFUSED(INFUSION_NOT_FOUND, "'cup'", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  mark.concept_name = "ball";
  row.struct_size = 4;
  REFUSED(INFUSION_INVALID_ARGUMENT, "rows: struct_size", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  row.struct_size = sizeof row;
  REFUSED(INFUSION_INVALID_ARGUMENT, "foundation_out: is NULL",
          infusion_unet_run2(unet, &step, &sample, &sample, &timestep, &states, NULL, &out));

  options.scheduler = gives_up;
  options.scheduler_user = &calls;
  FINE(infusion_unet_open(path, &options, &second));
  FINE(infusion_unet_set_concept(second, "ball", concept, 1.0f, NULL, 1));
  REFUSED(INFUSION_CANCELLED, "scheduler", infusion_unet_run(second, &step, &sample, &timestep, &states, &out));
  CHECK(calls == 1);
  infusion_unet_free(second);
  options.scheduler = writes_nothing;
  FINE(infusion_unet_open(path, &options, &second));
  FINE(infusion_unet_set_concept(second, "ball", concept, 1.0f, NULL, 1));
  REFUSED(INFUSION_INVALID_ARGUMENT, "scheduler", infusion_unet_run(second, &step, &sample, &timestep, &states, &out));
  infusion_unet_free(second);
  options.mode = INFUSION_MODE_SEPARATE;
  options.scheduler = NULL;
  FINE(infusion_unet_open(path, &options, &second));
  FINE(infusion_unet_set_concept(second, "ball", concept, 1.0f, NULL, 1));
  infusion_concept_free(concept);
  REFUSED(INFUSION_INVALID_ARGUMENT, "scheduler", infusion_unet_run(second, &step, &sample, &timestep, &states, &out));
  infusion_unet_free(second);

  FINE(infusion_unet_end_image(unet, 12));
  FINE(infusion_unet_remove_concept(unet, "ball"));
  FINE(infusion_unet_run(unet, NULL, &sample, &timestep, &states, &out));
  infusion_unet_free(unet);
  infusion_unet_free(unet);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_unet", infusion_unet_run(unet, &step, &sample, &timestep, &states, &out));
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_unet", infusion_unet_preload(unet));
}

static void pipelines(const char *folder) {
  infusion_pipeline pipeline = NULL;
  infusion_pipeline_options opening = {0};
  infusion_generate_options options = {0};
  infusion_train_options training = {0};
  infusion_pictures pictures = NULL;
  infusion_concept learned = NULL;
  infusion_picture picture = {0};
  size_t count = 1;
  REFUSED(INFUSION_INVALID_ARGUMENT, "folder: is NULL", infusion_pipeline_open(NULL, NULL, &pipeline));
  REFUSED(INFUSION_INVALID_FILE, "/nowhere", infusion_pipeline_open("/nowhere", NULL, &pipeline));
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_pipeline_open(folder, &opening, &pipeline));
  FINE(infusion_pipeline_open(folder, NULL, &pipeline));
  REFUSED(INFUSION_INVALID_ARGUMENT, "options: is NULL", infusion_generate(pipeline, NULL, &pictures));
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_generate(pipeline, &options, &pictures));
  options.struct_size = sizeof options;
  REFUSED(INFUSION_INVALID_ARGUMENT, "prompt: is NULL", infusion_generate(pipeline, &options, &pictures));
  options.prompt = "a <ball>";
  REFUSED(INFUSION_NOT_FOUND, "<ball>", infusion_generate(pipeline, &options, &pictures));
  options.prompt = "a ball";
  options.width = 12;
  REFUSED(INFUSION_INVALID_ARGUMENT, "width 12", infusion_generate(pipeline, &options, &pictures));
  options.width = options.height = 64;
  options.scheduler = "magic";
  REFUSED(INFUSION_INVALID_ARGUMENT, "magic", infusion_generate(pipeline, &options, &pictures));
  options.scheduler = NULL;
  options.num_inference_steps = 1;
  FINE(infusion_generate(pipeline, &options, &pictures));
  CHECK(infusion_pictures_count(pictures) == 1 && infusion_pictures_count(NULL) == 0);
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_pictures_get(pictures, 0, &picture));
  picture.struct_size = sizeof picture;
  REFUSED(INFUSION_INVALID_ARGUMENT, "index", infusion_pictures_get(pictures, 1, &picture));
  REFUSED(INFUSION_FAILED, "/nowhere", infusion_pictures_save(pictures, 0, "/nowhere/a.png", 0));
  infusion_pictures_free(pictures);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_pictures", infusion_pictures_get(pictures, 0, &picture));

  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_train(pipeline, &training, &learned, &count));
  training.struct_size = sizeof training;
  REFUSED(INFUSION_INVALID_ARGUMENT, "concepts", infusion_train(pipeline, &training, &learned, &count));
  training.memory = "huge";
  REFUSED(INFUSION_INVALID_ARGUMENT, "huge", infusion_train(pipeline, &training, &learned, &count));
  training.memory = NULL;
  training.resume = 1;
  REFUSED(INFUSION_INVALID_ARGUMENT, "checkpoint", infusion_train(pipeline, &training, &learned, &count));
  infusion_pipeline_free(pipeline);
  REFUSED(INFUSION_INVALID_HANDLE, "infusion_pipeline", infusion_generate(pipeline, &options, &pictures));
  CHECK(learned == NULL);
}

int main(int argc, char **argv) {
  char *unet;
  infusion_concept concept;
  if (argc != 6) return 2;
  unet = joined(argv[2], "unet/model.onnx");
  statuses_and_versions();
  init(argv[4]);
  tokenizer(argv[1]);
  concept_matrix(unet, argv[3]);
  concept = concepts(argv[3], argv[5]);
  models(unet, argv[5], concept);
  unets(unet, concept);
  pipelines(argv[2]);
  free(unet);
  printf("%d failures\n", failures);
  return failures != 0;
}
