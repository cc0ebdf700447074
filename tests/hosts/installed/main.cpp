// What a program of somebody else's does first: find the installed headers and library, and compare their versions.
#include <infusion.h>

#include <cstdio>

int main() {
  if (infusion_abi_version() != INFUSION_ABI_VERSION) return 1;
  std::puts(infusion_version());
  return 0;
}
