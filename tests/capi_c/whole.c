/* Generates a picture with a concept and learns one, as a host without a loop of its own does.
 * Arguments: pipeline folder, concept file, folder of photographs, folder to write to. */
#include "support.h"

#include <string.h>

/* What a callback saw, and when it has had enough. */
typedef struct watch {
  int stages[5];
  unsigned steps;
  unsigned stop_after;
  infusion_answer answer;
  double loss;
  infusion_stage stop_at; /* 0: at none */
} watch;

static int32_t progress(void *user, const infusion_report *report) {
  watch *seen = user;
  CHECK(report->struct_size == sizeof *report);
  seen->stages[report->stage]++;
  if (seen->stop_at != 0 && report->stage == seen->stop_at) return INFUSION_CANCEL;
  if (report->stage != INFUSION_STAGE_STEPS || report->step == seen->steps) return INFUSION_GO_ON;
  CHECK(report->step == seen->steps + 1 && report->step <= report->steps);
  if (report->latents != NULL) CHECK(report->latents_dims[1] == 4 && report->latents[0] == report->latents[0]);
  seen->steps = report->step;
  seen->loss = report->loss;
  return seen->steps == seen->stop_after ? seen->answer : INFUSION_GO_ON;
}

static void expect_cancelled(infusion_status *status) {
  CHECK(infusion_status_code(status) == INFUSION_CANCELLED);
  infusion_status_free(status);
}

static void draw(infusion_pipeline pipeline, infusion_concept concept, const char *folder) {
  infusion_concept_use use = {sizeof use, 1.0f, "ball", concept};
  infusion_generate_options options = {0};
  infusion_picture picture = {0};
  infusion_pictures pictures = NULL;
  watch seen = {{0}, 0, 0, INFUSION_GO_ON, 0.0, INFUSION_STAGE_TEXT};
  char path[4096];
  options.struct_size = sizeof options;
  options.prompt = "a photo of a <ball> in the snow";
  options.num_inference_steps = 4;
  options.width = options.height = 64;
  options.seed = 7;
  options.foundation = 1;
  options.force = 1;
  options.concepts = &use;
  options.concepts_count = 1;
  options.progress = progress;
  options.progress_user = &seen;
  FINE(infusion_generate(pipeline, &options, &pictures));
  CHECK(seen.steps == 4 && seen.stages[INFUSION_STAGE_TEXT] == 1 && seen.stages[INFUSION_STAGE_DECODE] == 1);
  CHECK(infusion_pictures_count(pictures) == 2);
  picture.struct_size = sizeof picture;
  FINE(infusion_pictures_get(pictures, 0, &picture));
  CHECK(picture.width == 64 && picture.height == 64 && picture.size == 64 * 64 * 3 && picture.seed == 7);
  CHECK(!picture.foundation && picture.rgb != NULL);
  FINE(infusion_pictures_get(pictures, 1, &picture));
  CHECK(picture.foundation);
  snprintf(path, sizeof path, "%s/infused.png", folder);
  FINE(infusion_pictures_save(pictures, 0, path, 0));
  snprintf(path, sizeof path, "%s/foundation.png", folder);
  FINE(infusion_pictures_save(pictures, 1, path, 0));
  infusion_pictures_free(pictures);

  memset(&seen, 0, sizeof seen);
  seen.stop_after = 2;
  seen.answer = INFUSION_CANCEL;
  expect_cancelled(infusion_generate(pipeline, &options, &pictures));
  CHECK(seen.steps == 2);

  memset(&seen, 0, sizeof seen);
  seen.stop_at = INFUSION_STAGE_LOAD;
  expect_cancelled(infusion_generate(pipeline, &options, &pictures));
  CHECK(seen.stages[INFUSION_STAGE_LOAD] == 1 && seen.stages[INFUSION_STAGE_STEPS] == 0);
}

static void learn(infusion_pipeline pipeline, const char *photographs, const char *folder) {
  const char *prompts[] = {"a photo of a <ball> on the grass"};
  infusion_subject subject = {sizeof subject, "ball", "ball"};
  infusion_photos photos = {sizeof photos, photographs, NULL, NULL};
  infusion_train_options options = {0};
  infusion_concept learned = NULL;
  watch seen = {{0}, 0, 0, INFUSION_GO_ON, 0.0, INFUSION_STAGE_TEXT};
  size_t count = 1;
  char checkpoint[4096], path[4096];
  snprintf(checkpoint, sizeof checkpoint, "%s/learned.checkpoint", folder);
  snprintf(path, sizeof path, "%s/learned.safetensors", folder);
  options.struct_size = sizeof options;
  options.steps = 4;
  options.batch = 2;
  options.size = 64;
  options.seed = 3;
  options.subjects = &subject;
  options.subjects_count = 1;
  options.photos = &photos;
  options.photos_count = 1;
  options.prompts = prompts;
  options.prompts_count = 1;
  options.checkpoint = checkpoint;
  options.progress = progress;
  options.progress_user = &seen;
  seen.stop_after = 2;
  seen.answer = INFUSION_CANCEL;
  expect_cancelled(infusion_train(pipeline, &options, &learned, &count));
  CHECK(seen.steps == 2 && learned == NULL);
  options.resume = 1;
  seen.stop_after = 0;
  FINE(infusion_train(pipeline, &options, &learned, &count));
  CHECK(seen.steps == 4 && seen.loss > 0.0 && count == 1);
  FINE(infusion_concept_save(learned, path, "f32", 0));
  infusion_concept_free(learned);
}

int main(int argc, char **argv) {
  infusion_pipeline pipeline = NULL;
  infusion_concept concept = NULL;
  infusion_buffer json = NULL;
  if (argc != 5) return 2;
  FINE(infusion_init(NULL));
  FINE(infusion_pipeline_open(argv[1], NULL, &pipeline));
  FINE(infusion_pipeline_describe(pipeline, &json));
  CHECK(strstr(infusion_buffer_data(json), "\"ddim\"") != NULL);
  infusion_buffer_free(json);
  FINE(infusion_concept_load(argv[2], &concept));
  draw(pipeline, concept, argv[4]);
  learn(pipeline, argv[3], argv[4]);
  infusion_concept_free(concept);
  infusion_pipeline_free(pipeline);
  printf("done\n");
  return 0;
}
