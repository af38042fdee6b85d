/* import_table.c: the operators hone knows, the rows of all families joined. */
#include "frontend/site.h"

#include <string.h>

static const struct import_row *const families[] = {
	ops_elementwise, ops_shape, ops_move,    ops_index,  ops_reduce, ops_matmul,
	ops_quant,       ops_conv,  ops_pool,    ops_norm,   ops_loss,   ops_resize,
	ops_sample,      ops_rnn,   ops_control, ops_signal, ops_select, ops_attention,
};
#define FAMILIES ((int)(sizeof(families) / sizeof(*families)))

const struct import_row *import_find(const char *domain, const char *op, int opset, bool *known)
{
	*known = false;
	for (int i = 0; i < FAMILIES; i++) {
		for (const struct import_row *r = families[i]; r->op; r++) {
			if (strcmp(r->op, op) || strcmp(r->domain, domain))
				continue;
			*known = true;
			if (opset >= r->since && (!r->until || opset <= r->until))
				return r;
		}
	}
	return NULL;
}

bool import_doc_row(int i, struct import_doc *out)
{
	for (int k = 0; k < FAMILIES; k++) {
		for (const struct import_row *r = families[k]; r->op; r++) {
			if (i-- > 0)
				continue;
			*out = (struct import_doc){r->domain, r->op,    r->since,
						   r->until,  r->attrs, r->doc};
			return true;
		}
	}
	return false;
}
