/* pipeline.c: every pass, and the order in which they run by default. */
#include "passes/table.h"

#include <string.h>

const struct pass pass_table[] = {
	{"canonicalize",
	 "local rewrites to one form: movement that cancels, maps of constants, branches never "
	 "taken",
	 PASS_EXACT, pass_canonicalize},
	{"fold_constants", "computes what depends on constants only", PASS_EXACT,
	 pass_fold_constants},
	{"common_subexpressions", "nodes that compute the same become one", PASS_EXACT,
	 pass_common_subexpressions},
	{"dead_code", "removes what nothing reads", PASS_EXACT, pass_dead_code},
	{"fuse_patterns",
	 "normalize, softmax and attention out of their parts; scales and shifts into the weights "
	 "before them",
	 PASS_REASSOCIATES, pass_fuse_patterns},
	{"prune",
	 "channels, heads, hidden neurons and blocks of weights that matter least go (--prune)",
	 PASS_LOSSY, pass_prune},
	{"quantize", "weights and activations of few bits (--quantize)", PASS_LOSSY, pass_quantize},
	{"early_exit",
	 "heads at block boundaries, where inputs that are clear already leave (--early-exit)",
	 PASS_LOSSY, pass_early_exit},
	{"integer_products", "products of dequantized values are computed in integers",
	 PASS_REASSOCIATES, pass_integer_products},
	{"layout", "moves transposes along the graph until they cancel", PASS_REASSOCIATES,
	 pass_layout},
	{"split_rows", "normalizations over more than a row buffer holds become their parts",
	 PASS_REASSOCIATES, pass_split_rows},
	{"winograd", "3x3 convolutions as transforms around a batched matmul, where that is faster",
	 PASS_REASSOCIATES, pass_winograd},
	{"group", "decides which operators become one kernel", PASS_REASSOCIATES, pass_group},
	{NULL, NULL, PASS_EXACT, NULL},
};

const char *const default_pipeline[] = {
	/* One form for the patterns of all later passes, and constant operands as literals. */
	"canonicalize",
	/* Shape arithmetic becomes constants, which some movement waits for. */
	"fold_constants",
	/* After folding, equal constants are equal nodes. */
	"common_subexpressions",
	/* So that counts of uses are true: fuse_patterns and layout rely on "read once". */
	"dead_code",
	/* Before layout: importers' compositions still stand as they were written. */
	"fuse_patterns",
	/* Weights of their final layout are constants again. */
	"fold_constants",
	/* Those that change the model come before layout, which mixes axes and so hides what the model was. They do
	 * nothing unless asked. */
	"prune",
	"quantize",
	"early_exit",
	/* Of what quantize made, or the model had; its movement of bytes is for layout to cancel. */
	"integer_products",
	"layout",
	/* Merges the reshapes and folds the transposes of constants that layout leaves. */
	"canonicalize",
	"fold_constants",
	"common_subexpressions",
	"dead_code",
	/* Now a convolution and the normalization behind it are neighbours. */
	"fuse_patterns",
	/* After fuse_patterns, which would put them together again. */
	"split_rows",
	/* Computes the scaled weights. */
	"fold_constants",
	"canonicalize",
	"common_subexpressions",
	"dead_code",
	/* Convolutions have their final layout, and all that is constant is in their weights. */
	"winograd",
	/* The pads before those it replaced. */
	"dead_code",
	/* Last: no pass works on groups. */
	"group",
	NULL,
};

const char *pipeline_for_export(struct arena *a)
{
	const char *list = "";

	for (int i = 0; default_pipeline[i] && strcmp(default_pipeline[i], "layout"); i++)
		if (strcmp(default_pipeline[i], "integer_products"))
			list = arena_printf(a, "%s%s,", list, default_pipeline[i]);
	return arena_printf(a, "%sdead_code", list);
}

const struct pass *pass_by_name(const char *name, size_t length)
{
	const char *equals = memchr(name, '=', length);

	length = equals ? (size_t)(equals - name) : length;
	for (const struct pass *p = pass_table; p->name; p++)
		if (strlen(p->name) == length && !memcmp(p->name, name, length))
			return p;
	return NULL;
}

const char *pass_argument(const char *list, const struct pass *p, struct arena *a)
{
	size_t name = strlen(p->name);

	while (list && *list) {
		size_t length = strcspn(list, ",");

		if (length > name && list[name] == '=' && !memcmp(list, p->name, name))
			return arena_printf(a, "%.*s", (int)(length - name - 1), list + name + 1);
		list += length + (list[length] == ',');
	}
	return NULL;
}
