/* Calls every function as a careless host might, and as a careful one does.
 * Arguments: tokenizer folder, UNet, concept file, ONNX Runtime library that is none. */
#include "infusion.h"

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

static void init(const char *no_library) {
  infusion_init_options options = {0};
  CHECK(infusion_onnxruntime_version() == NULL);
  REFUSED(INFUSION_INVALID_ARGUMENT, "sizeof", infusion_init(&options));
  options.struct_size = sizeof options;
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

static void concept(const char *model, const char *file) {
  int64_t dims[2] = {-1, -1};
  size_t count = 0, i, numbers = 0;
  float *delta = calloc(100000, sizeof *delta);
  REFUSED(INFUSION_INVALID_ARGUMENT, "model: is NULL", infusion_concept_matrix(NULL, file, delta, &count, dims));
  REFUSED(INFUSION_INVALID_ARGUMENT, "path: is NULL", infusion_concept_matrix(model, NULL, delta, &count, dims));
  REFUSED(INFUSION_INVALID_ARGUMENT, "dims: is NULL", infusion_concept_matrix(model, file, delta, &count, NULL));
  REFUSED(INFUSION_INVALID_ARGUMENT, "room for 0", infusion_concept_matrix(model, file, delta, &count, dims));
  REFUSED(INFUSION_NOT_FOUND, "/nowhere", infusion_concept_matrix(model, "/nowhere", delta, &count, dims));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_concept_matrix(file, file, delta, &count, dims));
  REFUSED(INFUSION_INVALID_FILE, "", infusion_concept_matrix(model, model, delta, &count, dims));
  CHECK(dims[0] == -1 && count == 0);
  count = 100000;
  FINE(infusion_concept_matrix(model, file, delta, &count, dims));
  CHECK(dims[0] >= 1 && dims[1] > 1 && count == (size_t)(dims[0] * dims[1]));
  for (i = 0; i < count; i++) numbers += delta[i] != 0.0f;
  CHECK(numbers > count / 2);
  free(delta);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  statuses_and_versions();
  init(argv[4]);
  tokenizer(argv[1]);
  concept(argv[2], argv[3]);
  printf("%d failures\n", failures);
  return failures != 0;
}
