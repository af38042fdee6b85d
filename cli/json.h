/* json.h: texts in JSON output. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>

/* Prints s as a JSON string. */
void json_text(const char *s);
/* Prints `"name":` and s, with a comma before it unless it is the first. */
void json_field(bool first, const char *name, const char *s);

#endif
