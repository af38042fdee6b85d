/* output.h: files that are either whole or not there. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "ir/diag.h"

#include <stdio.h>

/* Writes PATH.new by write(out, self) while signals wait, and renames it. After an error or Ctrl-C nothing is left.
 * False: reported. */
bool output_write(const char *path, bool (*write)(FILE *out, void *self), void *self,
		  struct diag *d);

#endif
