#pragma once
#include <isa-l/crc.h>

// ISA-L (2.30) leaves the upper halves of vector registers in use where it has AVX-512. Whatever is compiled for SSE, our casts
// for one, then takes up to three times as long in that thread.
static inline uint32_t zerofs_crc32_gzip_refl(uint32_t crc, const unsigned char *bytes, uint64_t count) {
  crc = crc32_gzip_refl(crc, bytes, count);
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroupper");
#endif
  return crc;
}
