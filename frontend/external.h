/* external.h: files mapped into memory: the model, and the external data of its tensors. */
#ifndef FRONTEND_EXTERNAL_H
#define FRONTEND_EXTERNAL_H

#include "ir/arena.h"
#include "ir/diag.h"

/* A mapped file. Lists of them live in an arena; mappings_free() unmaps. */
struct onnx_mapping {
	struct onnx_mapping *next;
	const char *location; /* relative to the model's folder; NULL for the model itself */
	const uint8_t *bytes; /* NULL if size is 0 */
	uint64_t size;
};

/* Maps the regular file at `path` whole, for reading, and adds it to *list. NULL: reported. */
const struct onnx_mapping *file_map(const char *path, struct arena *a, struct onnx_mapping **list,
				    struct diag *d);

/* Maps the file that external data of the model at `model_path` names by `location`, or finds it in
 * *list. It must lie in the model's folder: absolute locations, "..", and symbolic links (for any
 * part of the location) are refused. `at` says which tensor asks. */
const struct onnx_mapping *external_map(const char *model_path, const char *location,
					struct arena *a, struct onnx_mapping **list, struct loc at,
					struct diag *d);

void mappings_free(struct onnx_mapping **list);

#endif
