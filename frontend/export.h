/* export.h: a graph of core operators becomes an ONNX model again.
 * It takes graphs as they are before the pass `layout`: spatial operators still stand between the transposes of their
 * importers. What ONNX has no operator for is refused, all such nodes at once. */
#ifndef FRONTEND_EXPORT_H
#define FRONTEND_EXPORT_H

#include "ir/graph.h"

/* A piece of the file: bytes that live as long as the graph and the arena. */
struct export_piece {
	const void *data;
	size_t size;
};

struct exported {
	struct {
		struct export_piece *at;
		int count, room;
	} pieces;
	int node_count;
	int64_t opset;
};

/* The model in pieces, to be written one after the other; memory of `a`. Deterministic. False: reported. */
bool export_model(struct graph *g, struct arena *a, struct exported *out, struct diag *d);

#endif
