/* table.h: the functions that an emitted hone_model table points at, and the main of an executable.
 * Their contracts are those of the inline functions of hone.h. */
#ifndef RUNTIME_TABLE_H
#define RUNTIME_TABLE_H

#include "runtime/hone.h"

int64_t hone_rt_arena_bytes(const hone_model *, const hone_tensor *inputs, int threads);
hone_status hone_rt_context_create(const hone_model *, const hone_options *, hone_context **out,
				   char *text, size_t text_size);
hone_status hone_rt_output_dims(hone_context *, const hone_tensor *inputs, hone_tensor *outputs);
hone_status hone_rt_run(hone_context *, const hone_tensor *inputs, hone_tensor *outputs);
hone_status hone_rt_set_param(hone_context *, const char *name, double value);
const char *hone_rt_error(const hone_context *);
void hone_rt_context_destroy(hone_context *);

/* The whole main() of a standalone executable: reads inputs, runs, writes or prints outputs.
 * Exit status: 0 done, 1 the run failed, 2 usage, 4 a bad or unreadable file. */
int hone_exe_main(const hone_model *, int argc, char **argv);

#endif
