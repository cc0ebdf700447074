/* Counts what a program copies between its memory and the card's, for `tools/gpu-check`:
 *
 *     cc -shared -fPIC -O2 -o cuda_copies.so tools/cuda_copies.c -ldl
 *     CUDA_COPIES=copies.json LD_PRELOAD=./cuda_copies.so infusion bench ...
 *
 * ONNX Runtime's CUDA provider copies tensors by these two symbols of the CUDA runtime. The copies and bytes of each
 * direction are written when the program ends; a program that copied nothing, such as the parent of one that did, writes
 * nothing. Copies by other calls and inside a replayed CUDA graph are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { TO_CARD = 1, TO_HOST = 2, ON_CARD = 3, KINDS = 5 };

static atomic_ullong copies[KINDS], bytes[KINDS];

static void count(size_t size, int kind) {
    if (kind < 0 || kind >= KINDS) return;
    atomic_fetch_add(&copies[kind], 1);
    atomic_fetch_add(&bytes[kind], size);
}

static void *runtime(const char *name) {
    static const char *libraries[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"};
    void *found = dlsym(RTLD_NEXT, name);
    for (size_t k = 0; !found && k < sizeof libraries / sizeof *libraries; k++) {
        void *library = dlopen(libraries[k], RTLD_LAZY | RTLD_NOLOAD);
        if (library) found = dlsym(library, name);
    }
    return found;
}

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    static int (*next)(void *, const void *, size_t, int, void *);
    if (!next) next = runtime("cudaMemcpyAsync");
    count(size, kind);
    return next(to, from, size, kind, stream);
}

int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    static int (*next)(void *, const void *, size_t, int);
    if (!next) next = runtime("cudaMemcpy");
    count(size, kind);
    return next(to, from, size, kind);
}

__attribute__((destructor)) static void report(void) {
    unsigned long long all = 0;
    for (int kind = 0; kind < KINDS; kind++) all += copies[kind];
    const char *path = all ? getenv("CUDA_COPIES") : NULL;
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    fprintf(file, "{\"to_card\": [%llu, %llu], \"to_host\": [%llu, %llu], \"on_card\": [%llu, %llu]}\n",
            copies[TO_CARD], bytes[TO_CARD], copies[TO_HOST], bytes[TO_HOST], copies[ON_CARD], bytes[ON_CARD]);
    fclose(file);
}
