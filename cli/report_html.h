/* report_html.h: a report as one page, for output_write. */
#ifndef CLI_REPORT_HTML_H
#define CLI_REPORT_HTML_H

#include <stdbool.h>
#include <stdio.h>

/* self: a const struct report. Always true: what cannot be written shows in `out`. */
bool report_html(FILE *out, void *self);

#endif
