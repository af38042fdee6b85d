/* json.c: quoting after RFC 8259, section 7. */
#include "cli/json.h"

#include <stdio.h>

void json_text(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if ((unsigned char)*s < 32 || *s == '"' || *s == '\\')
			printf("\\u%04x", (unsigned char)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

void json_field(bool first, const char *name, const char *s)
{
	printf("%s\"%s\":", first ? "" : ",", name);
	json_text(s);
}
