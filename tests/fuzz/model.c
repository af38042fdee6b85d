/* model: any bytes as a model. The reader must answer with a model or with an error, within its
 * memory limit; of a model, every tensor's bytes can be read. */
#include "frontend/model.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static unsigned sum;

static void touch_tensor(const struct onnx_tensor *t)
{
	const uint8_t *data = t->data;

	for (size_t i = 0; i < t->size; i++)
		sum += data[i];
	for (int64_t i = 0; t->strings && i < t->count; i++)
		for (size_t k = 0; k <= t->strings[i].size; k++)
			sum += (unsigned char)t->strings[i].at[k];
}

static void touch_graph(const struct onnx_graph *g)
{
	for (int i = 0; i < g->initializer_count; i++)
		touch_tensor(&g->initializers[i]);
	for (int i = 0; i < g->sparse_count; i++)
		touch_tensor(&g->sparse[i].values);
	for (int i = 0; i < g->node_count; i++)
		for (int k = 0; k < g->nodes[i].attr_count; k++) {
			const struct onnx_attr *a = &g->nodes[i].attrs[k];

			for (int n = 0; a->tensors && n < a->count; n++)
				touch_tensor(&a->tensors[n]);
			for (int n = 0; a->graphs && n < a->count; n++)
				touch_graph(&a->graphs[n]);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct model_options options = {.memory_limit = 64 << 20};
	struct onnx_model *m = NULL;
	struct arena a = {0};
	struct diag d = {0};

	if (model_read_bytes(bytes, size, "fuzz.onnx", &options, &a, &m, &d)) {
		if (d.errors)
			abort();
		touch_graph(&m->graph);
		sum += (unsigned)model_opset(m, "ai.onnx");
		model_close(m);
	} else if (!d.errors) {
		abort(); /* failed, but did not say why */
	}
	diag_reset(&d);
	arena_free(&a);
	return 0;
}
