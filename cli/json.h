/* json.h: texts in JSON output. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdio.h>

/* Prints s as a JSON string; json_text to stdout. */
void json_write(FILE *out, const char *s);
void json_text(const char *s);
/* Prints `"name":` and s, with a comma before it unless it is the first. */
void json_field(bool first, const char *name, const char *s);

#endif
