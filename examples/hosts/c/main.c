/* A C host on the level WHOLE: one picture with a concept, progress on the way.
 *
 *     host MODEL CONCEPT NAME PROMPT SEED STEPS GUIDANCE SIZE OUTPUT.png
 *
 * MODEL is a pipeline's folder, NAME what PROMPT marks the concept by: "a photo of a <ball>". */
#include <infusion.h>

#include <stdio.h>
#include <stdlib.h>

/* Says what is wrong, and whether anything is. */
static int failed(infusion_status *status) {
  if (status == NULL) return 0;
  fprintf(stderr, "error %d: %s\n", (int)infusion_status_code(status), infusion_status_text(status));
  infusion_status_free(status);
  return 1;
}

static int32_t progress(void *user, const infusion_report *report) {
  int *steps = user;
  if (report->stage == INFUSION_STAGE_STEPS && report->step > 0) ++*steps;
  return INFUSION_GO_ON;
}

int main(int argc, char **argv) {
  infusion_pipeline pipeline = 0;
  infusion_pictures pictures = 0;
  infusion_concept_use use = {0};
  infusion_generate_options options = {0};
  int steps = 0, wrong;
  if (argc != 10) {
    fprintf(stderr, "usage: %s MODEL CONCEPT NAME PROMPT SEED STEPS GUIDANCE SIZE OUTPUT.png\n", argv[0]);
    return 2;
  }
  use.struct_size = sizeof use;
  use.name = argv[3];
  use.weight = 1;
  options.struct_size = sizeof options;
  options.concepts = &use;
  options.concepts_count = 1;
  options.prompt = argv[4];
  options.seed = strtoull(argv[5], NULL, 10);
  options.num_inference_steps = (uint32_t)atoi(argv[6]);
  options.guidance_scale = atof(argv[7]);
  options.width = options.height = (uint32_t)atoi(argv[8]);
  options.progress = progress;
  options.progress_user = &steps;

  wrong = failed(infusion_init(NULL)) || failed(infusion_concept_load(argv[2], &use.handle)) ||
          failed(infusion_pipeline_open(argv[1], NULL, &pipeline)) ||
          failed(infusion_generate(pipeline, &options, &pictures)) ||
          failed(infusion_pictures_save(pictures, 0, argv[9], 1));
  if (!wrong) printf("%d steps on ONNX Runtime %s\n", steps, infusion_onnxruntime_version());

  infusion_pictures_free(pictures);
  infusion_pipeline_free(pipeline);
  infusion_concept_free(use.handle);
  return wrong;
}
