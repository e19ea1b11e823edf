#include "megatron_extension.h"

// C23's #embed, which clang also has in C17 as an extension. A file added to zerofs_megatron/ is named twice here;
// MegatronExtensionTests compares the table with the folder.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char init_py[] = {
#embed "zerofs_megatron/__init__.py"
};
static const unsigned char main_py[] = {
#embed "zerofs_megatron/__main__.py"
};
static const unsigned char activation_py[] = {
#embed "zerofs_megatron/activation.py"
};
static const unsigned char apply_py[] = {
#embed "zerofs_megatron/apply.py"
};
static const unsigned char attention_py[] = {
#embed "zerofs_megatron/attention.py"
};
static const unsigned char auto_sitecustomize_py[] = {
#embed "zerofs_megatron/auto/sitecustomize.py"
};
static const unsigned char begin_py[] = {
#embed "zerofs_megatron/begin.py"
};
static const unsigned char block_py[] = {
#embed "zerofs_megatron/block.py"
};
static const unsigned char changes_py[] = {
#embed "zerofs_megatron/changes.py"
};
static const unsigned char embedding_py[] = {
#embed "zerofs_megatron/embedding.py"
};
static const unsigned char errors_py[] = {
#embed "zerofs_megatron/errors.py"
};
static const unsigned char extending_py[] = {
#embed "zerofs_megatron/extending.py"
};
static const unsigned char facts_py[] = {
#embed "zerofs_megatron/facts.py"
};
static const unsigned char guard_py[] = {
#embed "zerofs_megatron/guard.py"
};
static const unsigned char head_py[] = {
#embed "zerofs_megatron/head.py"
};
static const unsigned char keep_py[] = {
#embed "zerofs_megatron/keep.py"
};
static const unsigned char known_py[] = {
#embed "zerofs_megatron/known.py"
};
static const unsigned char launch_py[] = {
#embed "zerofs_megatron/launch.py"
};
static const unsigned char layernorm_py[] = {
#embed "zerofs_megatron/layernorm.py"
};
static const unsigned char mounting_py[] = {
#embed "zerofs_megatron/mounting.py"
};
static const unsigned char norm_py[] = {
#embed "zerofs_megatron/norm.py"
};
static const unsigned char qk_norm_py[] = {
#embed "zerofs_megatron/qk_norm.py"
};
static const unsigned char rope_py[] = {
#embed "zerofs_megatron/rope.py"
};
static const unsigned char spec_py[] = {
#embed "zerofs_megatron/spec.py"
};
static const unsigned char universal_py[] = {
#embed "zerofs_megatron/universal.py"
};

#define FILE_OF(name, bytes) {name, bytes, sizeof(bytes)}

static const struct megatron_extension_file files[] = {
  FILE_OF("__init__.py", init_py),
  FILE_OF("__main__.py", main_py),
  FILE_OF("activation.py", activation_py),
  FILE_OF("apply.py", apply_py),
  FILE_OF("attention.py", attention_py),
  FILE_OF("auto/sitecustomize.py", auto_sitecustomize_py),
  FILE_OF("begin.py", begin_py),
  FILE_OF("block.py", block_py),
  FILE_OF("changes.py", changes_py),
  FILE_OF("embedding.py", embedding_py),
  FILE_OF("errors.py", errors_py),
  FILE_OF("extending.py", extending_py),
  FILE_OF("facts.py", facts_py),
  FILE_OF("guard.py", guard_py),
  FILE_OF("head.py", head_py),
  FILE_OF("keep.py", keep_py),
  FILE_OF("known.py", known_py),
  FILE_OF("launch.py", launch_py),
  FILE_OF("layernorm.py", layernorm_py),
  FILE_OF("mounting.py", mounting_py),
  FILE_OF("norm.py", norm_py),
  FILE_OF("qk_norm.py", qk_norm_py),
  FILE_OF("rope.py", rope_py),
  FILE_OF("spec.py", spec_py),
  FILE_OF("universal.py", universal_py),
};

const struct megatron_extension_file *megatron_extension_files(size_t *count) {
  *count = sizeof(files) / sizeof(*files);
  return files;
}
