/* import.h: an ONNX model becomes a graph of core operators.
 * Every importer turns all versions of its ONNX operator into core operators; nothing behind the
 * frontend knows an opset. import_table.c lists what is supported. */
#ifndef FRONTEND_IMPORT_H
#define FRONTEND_IMPORT_H

#include "frontend/model.h"
#include "ir/graph.h"

/* Lists of option texts, as given on the command line. */
struct import_options {
	int shape_count, dim_count;
	const char *const
		*shapes; /* "input=1x3x224x224"; `?` or a name for one that stays symbolic */
	const char *const *dims; /* "batch=4" (fixed) or "batch=1..64" (a range) */
};

/* The model's graph in `a`; tensors may point into the mapped model. All unsupported nodes are
 * reported at once, as DIAG_UNSUPPORTED. options may be NULL. NULL: reported. */
struct graph *import_model(const struct onnx_model *m, const struct import_options *options,
			   struct arena *a, struct diag *d);

/* One supported ONNX operator, for `hone ops` and the docs. */
struct import_doc {
	const char *domain, *op;
	int since, until;  /* opset versions; until 0: to the newest */
	const char *attrs; /* names of the attributes it reads, separated by blanks */
	const char *doc;
};
/* Row number i, false past the last. */
bool import_doc_row(int i, struct import_doc *out);

#endif
