/* table.h: the run functions of all passes, for pipeline.c; each is at the end of its pass's file. */
#ifndef PASSES_TABLE_H
#define PASSES_TABLE_H

#include "passes/passes.h"

bool pass_canonicalize(struct pass_context *c);
bool pass_fold_constants(struct pass_context *c);
bool pass_common_subexpressions(struct pass_context *c);
bool pass_dead_code(struct pass_context *c);
bool pass_fuse_patterns(struct pass_context *c);
bool pass_prune(struct pass_context *c);
bool pass_quantize(struct pass_context *c);
bool pass_early_exit(struct pass_context *c);
bool pass_integer_products(struct pass_context *c);
bool pass_layout(struct pass_context *c);
bool pass_split_rows(struct pass_context *c);
bool pass_winograd(struct pass_context *c);
bool pass_group(struct pass_context *c);

#endif
