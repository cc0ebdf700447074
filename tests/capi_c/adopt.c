/* A host that has loaded an ONNX Runtime, and says nothing of it.
 * Arguments: the library, which no search would find. */
#include "support.h"

#include <dlfcn.h>
#include <string.h>

/* How many libraries called so the process has. */
static int runtimes(void) {
  char line[4096], last[4096] = "";
  FILE *maps = fopen("/proc/self/maps", "r");
  int count = 0;
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps) != NULL) {
    const char *path = strchr(line, '/');
    if (path == NULL || strstr(path, "libonnxruntime") == NULL || strcmp(path, last) == 0) continue;
    strcpy(last, path);
    count++;
  }
  fclose(maps);
  return count;
}

int main(int argc, char **argv) {
  infusion_init_options options = {0};
  const void *(*base)(void);
  void *library;
  if (argc != 2) return 2;
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  CHECK(library != NULL);
  FINE(infusion_init(NULL));
  CHECK(runtimes() == 1);
  *(void **)&base = dlsym(library, "OrtGetApiBase");
  options.struct_size = sizeof options;
  options.ort_api_base = base();
  FINE(infusion_init(&options)); /* the same copy */
  options.ort_api_base = NULL;
  options.onnxruntime_path = argv[1];
  FINE(infusion_init(&options));
  printf("%s\n", infusion_onnxruntime_version());
  return 0;
}
