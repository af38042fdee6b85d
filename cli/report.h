/* report.h: writing what passes measured (passes/report.h). */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "ir/diag.h"
#include "passes/report.h"

/* Whether --report can write to a file of that name: .json or .html. Reported. */
bool report_path_check(const char *path, struct diag *d);

/* By the suffix of path. A section is an object by the name of its pass: facts by name, a change as
 * {"before":..,"after":..}, a table as a list of rows (objects by column), a curve as a list of lines
 * {FIRST COLUMN:..,"points":[..]}. What is not known is null. The page draws the same: pairs of bars for changes, bars for
 * tables of that form, lines for curves; it is one file that loads nothing. */
bool report_write(const struct report *r, const char *path, struct diag *d);

#endif
