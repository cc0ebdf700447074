/* What the programs of this folder share. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include "infusion.h"

#include <stdio.h>
#include <stdlib.h>

/* Ends the program with the text of an error. */
static void fine(int line, infusion_status *status) {
  if (status == NULL) return;
  fprintf(stderr, "line %d: error %d: %s\n", line, infusion_status_code(status), infusion_status_text(status));
  exit(1);
}

#define FINE(call) fine(__LINE__, call)
#define CHECK(truth) \
  do { \
    if (!(truth)) { \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #truth); \
      exit(1); \
    } \
  } while (0)

#endif
