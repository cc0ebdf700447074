/* Steps, swaps, loads and frees for long, from several threads: memory must stay flat, and no call may fail but
 * with the error that its race allows. Prints one line of numbers for each part.
 * Arguments: UNet, concept file, steps, load/free cycles, threads, calls of each thread. */
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define TOKENS 77
#define WIDTH 32
#define LATENTS (4 * 8 * 8)

static const char *unet_path, *concept_path;
static const int64_t latents_dims[] = {1, 4, 8, 8}, context_dims[] = {1, TOKENS, WIDTH}, one[] = {1};
static const size_t positions[] = {5};
static float sample_numbers[LATENTS], context_numbers[TOKENS * WIDTH];
static int64_t timestep_number[] = {501};

/* Kilobytes of the process in memory. */
static long resident(void) {
  long pages = 0, all = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%ld %ld", &all, &pages) == 2);
  fclose(file);
  return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int32_t stay(void *user, const infusion_foundation *foundation) {
  size_t count = (size_t)(foundation->channels * foundation->height * foundation->width);
  (void)user;
  memcpy(foundation->next, foundation->sample, count * sizeof(float));
  return 0;
}

static infusion_unet opened(infusion_mode mode) {
  infusion_unet_options options = {0};
  infusion_unet unet = NULL;
  infusion_concept concept = NULL;
  options.struct_size = sizeof options;
  options.mode = mode;
  options.threads = 1;
  options.scheduler = stay;
  FINE(infusion_unet_open(unet_path, &options, &unet));
  FINE(infusion_concept_load(concept_path, &concept));
  FINE(infusion_unet_set_concept(unet, "ball", concept, 1.0f, NULL, 1));
  infusion_concept_free(concept);
  return unet;
}

static infusion_status *run(infusion_unet unet, uint64_t image, uint32_t index, uint32_t steps, float *noise) {
  infusion_tensor sample = {sizeof sample, INFUSION_FLOAT32, sample_numbers, sizeof sample_numbers, latents_dims, 4};
  infusion_tensor states = {sizeof states, INFUSION_FLOAT32, context_numbers, sizeof context_numbers, context_dims, 3};
  infusion_tensor timestep = {sizeof timestep, INFUSION_INT64, timestep_number, sizeof timestep_number, one, 1};
  infusion_tensor out = {sizeof out, INFUSION_FLOAT32, noise, LATENTS * sizeof *noise, latents_dims, 4};
  infusion_mark mark = {sizeof mark, 1.0f, "ball", positions, 1};
  infusion_row row = {sizeof row, INFUSION_ROLE_CONDITIONAL, image, &mark, 1, NULL, 0};
  infusion_step step = {sizeof step, index, steps, 0, &row, 1, NULL, 0};
  return infusion_unet_run(unet, &step, &sample, &timestep, &states, &out);
}

/* Pictures of 50 evaluations each, every one with an id of its own. */
static void steps(infusion_mode mode, const char *name, long count) {
  infusion_unet unet = opened(mode);
  float noise[LATENTS];
  long done, before = 0;
  for (done = 0; done < count; done++) {
    if (done == count / 10) before = resident();
    FINE(run(unet, (uint64_t)(done / 50), (uint32_t)(done % 50), 50, noise));
  }
  printf("steps %s: %ld, %ld kB more after the first tenth\n", name, count, resident() - before);
  infusion_unet_free(unet);
}

static void cycles(long count) {
  float noise[LATENTS];
  long done, before = 0;
  for (done = 0; done < count; done++) {
    infusion_unet unet;
    infusion_model model = NULL;
    infusion_buffer json = NULL;
    if (done == count / 10) before = resident();
    unet = opened(INFUSION_MODE_SHARED);
    FINE(run(unet, 0, 0, 0, noise));
    FINE(infusion_unet_describe(unet, &json));
    infusion_buffer_free(json);
    infusion_unet_free(unet);
    FINE(infusion_model_open(unet_path, &model));
    infusion_model_free(model);
  }
  printf("cycles: %ld, %ld kB more after the first tenth\n", count, resident() - before);
}

typedef struct worker {
  infusion_unet unet;
  long calls;
  unsigned number;
} worker;

/* Runs while others swap: what is drawn is F's noise or C's, never a mixture. */
static float plain_noise[LATENTS], concept_noise[LATENTS];

static int is(const float *noise, const float *expected) {
  int i, same = 1;
  for (i = 0; i < LATENTS; i++) same &= fabsf(noise[i] - expected[i]) <= 1e-4f;
  return same;
}

static void *runs(void *argument) {
  worker *own = argument;
  float noise[LATENTS];
  long call;
  for (call = 0; call < own->calls; call++) {
    infusion_status *status = run(own->unet, own->number, 0, 0, noise);
    if (status != NULL) {
      CHECK(infusion_status_code(status) == INFUSION_NOT_FOUND); /* taken out at that moment */
      infusion_status_free(status);
    } else {
      CHECK(is(noise, plain_noise) || is(noise, concept_noise));
    }
  }
  return NULL;
}

static void *swaps(void *argument) {
  worker *own = argument;
  long call;
  for (call = 0; call < own->calls; call++) {
    infusion_concept concept = NULL;
    infusion_status *status;
    FINE(infusion_concept_load(concept_path, &concept));
    FINE(infusion_unet_set_concept(own->unet, "ball", concept, 1.0f, NULL, 1));
    infusion_concept_free(concept);
    status = infusion_unet_set_weight(own->unet, "ball", call % 2 == 0 ? 0.0f : 1.0f);
    infusion_status_free(status);
    status = call % 4 == 0 ? infusion_unet_remove_concept(own->unet, "ball") : NULL;
    infusion_status_free(status);
  }
  return NULL;
}

/* Makes and frees UNets of its own, and frees handles that it never made. */
static void *frees(void *argument) {
  worker *own = argument;
  float noise[LATENTS];
  long call;
  for (call = 0; call < own->calls / 10 + 1; call++) {
    infusion_unet unet = opened(INFUSION_MODE_SEPARATE);
    FINE(run(unet, own->number, 0, 1, noise));
    infusion_unet_free(unet);
    infusion_unet_free(unet);
    infusion_unet_free((infusion_unet)((uintptr_t)unet + 1));
  }
  return NULL;
}

static void threads(long count, long calls) {
  void *(*const kinds[])(void *) = {runs, runs, swaps, frees};
  pthread_t *all = calloc((size_t)count, sizeof *all);
  worker *workers = calloc((size_t)count, sizeof *workers);
  infusion_unet shared = opened(INFUSION_MODE_SHARED);
  long thread, before;
  FINE(run(shared, 0, 0, 0, concept_noise));
  FINE(infusion_unet_set_weight(shared, "ball", 0.0f));
  FINE(run(shared, 0, 0, 0, plain_noise));
  CHECK(!is(plain_noise, concept_noise));
  before = resident();
  for (thread = 0; thread < count; thread++) {
    workers[thread].unet = shared;
    workers[thread].calls = calls;
    workers[thread].number = (unsigned)thread;
    CHECK(pthread_create(&all[thread], NULL, kinds[thread % 4], &workers[thread]) == 0);
  }
  for (thread = 0; thread < count; thread++) CHECK(pthread_join(all[thread], NULL) == 0);
  printf("threads: %ld with %ld calls each, %ld kB more\n", count, calls, resident() - before);
  infusion_unet_free(shared);
  free(all);
  free(workers);
}

static void *runs_until_freed(void *argument) {
  worker *own = argument;
  float noise[LATENTS];
  infusion_status *status;
  do {
    status = run(own->unet, own->number, 0, 0, noise);
    if (status != NULL) CHECK(infusion_status_code(status) == INFUSION_INVALID_HANDLE);
  } while (status == NULL);
  infusion_status_free(status);
  return NULL;
}

/* What is under way ends well, and what comes later is refused. */
static void freed_while_running(void) {
  pthread_t all[4];
  worker own = {opened(INFUSION_MODE_SHARED), 0, 0};
  int thread;
  for (thread = 0; thread < 4; thread++) CHECK(pthread_create(&all[thread], NULL, runs_until_freed, &own) == 0);
  usleep(20000);
  infusion_unet_free(own.unet);
  for (thread = 0; thread < 4; thread++) CHECK(pthread_join(all[thread], NULL) == 0);
  printf("freed while running\n");
}

int main(int argc, char **argv) {
  int i;
  if (argc != 7) return 2;
  unet_path = argv[1];
  concept_path = argv[2];
  for (i = 0; i < LATENTS; i++) sample_numbers[i] = sinf((float)i);
  for (i = 0; i < TOKENS * WIDTH; i++) context_numbers[i] = cosf((float)i);
  FINE(infusion_init(NULL));
  steps(INFUSION_MODE_SHARED, "shared", atol(argv[3]));
  steps(INFUSION_MODE_SEPARATE, "separate", atol(argv[3]));
  cycles(atol(argv[4]));
  threads(atol(argv[5]), atol(argv[6]));
  freed_while_running();
  return 0;
}
