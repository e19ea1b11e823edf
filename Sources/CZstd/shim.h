// For ZSTD_d_ignoreChecksum.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
