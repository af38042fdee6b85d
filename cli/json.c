/* json.c: quoting after RFC 8259, section 7. */
#include "cli/json.h"

#include <stdio.h>

void json_write(FILE *out, const char *s)
{
	putc('"', out);
	for (; *s; s++) {
		if ((unsigned char)*s < 32 || *s == '"' || *s == '\\')
			fprintf(out, "\\u%04x", (unsigned char)*s);
		else
			putc(*s, out);
	}
	putc('"', out);
}

void json_text(const char *s) { json_write(stdout, s); }

void json_field(bool first, const char *name, const char *s)
{
	printf("%s\"%s\":", first ? "" : ",", name);
	json_text(s);
}
