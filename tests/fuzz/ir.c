/* ir: any bytes as the text of a graph. The parser must answer with a graph or an error; what it takes, the
 * verifier survives, and a graph that the verifier takes prints to a text that reads back to itself. */
#include "ir/text.h"
#include "ir/verify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void round_trip(const struct graph *g)
{
	struct arena a = {0};
	struct diag d = {0};
	const char *text = graph_text(g, &a), *again;
	struct graph *copy;

	if (!strstr(text, " = const data(")) {
		copy = graph_parse(text, strlen(text), NULL, &a, &d);
		again = copy ? graph_text(copy, &a) : "";
		if (strcmp(text, again)) {
			fprintf(stderr, "%s\nreads back as\n%s\n", text, again);
			diag_print(&d, stderr, false);
			abort();
		}
	}
	diag_reset(&d);
	arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct arena a = {0};
	struct diag d = {0};
	struct graph *g = graph_parse((const char *)bytes, size, NULL, &a, &d);

	if (g && graph_verify(g, DIAG_FILE, &d))
		round_trip(g);
	diag_reset(&d);
	arena_free(&a);
	return 0;
}
