/// The Python package zerofs_megatron, embedded: what a mount serves as .zerofs/zerofs_megatron.
#pragma once
#include <stddef.h>

/// One file of the package.
struct megatron_extension_file {
  const char *name;  ///< Relative to the package's folder, such as "rope.py" or "auto/sitecustomize.py".
  const unsigned char *bytes;
  size_t count;
};

/// All files, sorted by name. `count` is set to how many.
const struct megatron_extension_file *megatron_extension_files(size_t *count);
