/* calibrate.c: reading samples. */
#include "cli/calibrate.h"

#include "cli/npz.h"
#include "cli/tensors.h"
#include "ir/graph.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct reader {
	const struct graph *graph;
	struct arena *arena;
	hone_tensor *inputs;
	int next;       /* the input that a file without a name is for */
	uint64_t limit; /* of npz_read */
	struct diag *diag;
};

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n >= m && !strcmp(text + n - m, with);
}

static bool give(struct reader *r, const char *name, size_t length, const hone_tensor *t)
{
	for (int i = 0; i < r->graph->body->param_count; i++)
		if (strlen(r->graph->input_names[i]) == length &&
		    !memcmp(r->graph->input_names[i], name, length)) {
			if (r->inputs[i].data)
				return diag_add(r->diag, DIAG_USAGE,
						(struct loc){.file = "--calibrate"},
						"input \"%.*s\" is given twice", (int)length, name);
			r->inputs[i] = *t;
			return true;
		}
	return diag_add(r->diag, DIAG_USAGE, (struct loc){.file = "--calibrate"},
			"the model has no input \"%.*s\"", (int)length, name);
}

static bool read_npy(struct reader *r, const char *path, const char *name, size_t length)
{
	hone_tensor t = {0};
	void *data;

	if (!tensor_read(path, r->arena, &t, r->diag))
		return false;
	data = t.data;
	t.data = arena_copy(r->arena, data, (size_t)t.size + !t.size);
	free(data);
	return give(r, name, length, &t);
}

static bool read_npz(struct reader *r, const char *path)
{
	int count = 0;
	struct npz_array *arrays = npz_read(path, r->limit, r->arena, &count, r->diag);

	for (int i = 0; arrays && i < count; i++)
		if (!give(r, arrays[i].name, strlen(arrays[i].name), &arrays[i].tensor))
			return false;
	return arrays != NULL;
}

/* The .npz files of a folder and its NAME.npy files; others are left alone. */
static bool read_folder(struct reader *r, const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort), found = 0;
	bool ok = count >= 0;

	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		const char *file = arena_printf(r->arena, "%s/%s", path, name);

		found += ends(name, ".npz") || ends(name, ".npy");
		if (ok && ends(name, ".npz"))
			ok = read_npz(r, file);
		else if (ok && ends(name, ".npy"))
			ok = read_npy(r, file, name, strlen(name) - 4);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return ok && (found || diag_add(r->diag, DIAG_FILE, (struct loc){.file = path},
					"no .npz or .npy files in it"));
}

static bool read_word(struct reader *r, const char *word)
{
	const char *equals = strchr(word, '='), *path = equals ? equals + 1 : word;
	struct stat about;

	if (equals)
		return read_npy(r, path, word, (size_t)(equals - word));
	if (stat(path, &about))
		return diag_add(r->diag, DIAG_FILE, (struct loc){.file = path},
				"no such file or folder");
	if (S_ISDIR(about.st_mode))
		return read_folder(r, path);
	if (ends(path, ".npz"))
		return read_npz(r, path);
	if (r->next >= r->graph->body->param_count)
		return diag_add(r->diag, DIAG_USAGE, (struct loc){.file = path},
				"more files than the model has inputs (%d)",
				r->graph->body->param_count);
	r->next++;
	return read_npy(r, path, r->graph->input_names[r->next - 1],
			strlen(r->graph->input_names[r->next - 1]));
}

/* random:N: symbolic dims have their least size, but at least 16 where their range allows it. */
static bool fill_random(struct reader *r, const char *number)
{
	char *end;
	int64_t count = strtoll(number, &end, 10);

	if (count < 1 || count > 1000000 || *end)
		return diag_add(r->diag, DIAG_USAGE, (struct loc){0},
				"--calibrate random:%s: expected a number of samples", number);
	for (int i = 0; i < r->graph->body->param_count; i++) {
		const struct type *type = &r->graph->body->params[i]->type;
		hone_tensor *t = &r->inputs[i];

		t->dtype = (int32_t)type->dtype;
		t->rank = type->rank;
		for (int j = 0; j < type->rank; j++) {
			int64_t low = dim_lower(type->dims[j]), high = dim_upper(type->dims[j]);

			t->dims[j] = low > 16 ? low : high < 16 ? high : 16;
		}
		if (type->rank)
			t->dims[0] =
				count * (dim_is_const(type->dims[0]) ? type->dims[0]->value : 1);
		if (!tensor_random(t, i + 1, r->arena))
			return diag_add(r->diag, DIAG_INTERNAL, (struct loc){0},
					"no memory for samples");
	}
	diag_add(r->diag, DIAG_WARNING, (struct loc){.file = "--calibrate"},
		 "random samples are not what the model will see: thresholds and heads made from "
		 "them mean little");
	return true;
}

bool calibrate_read(const struct graph *g, const struct list *words, uint64_t limit,
		    struct arena *a, struct calibration *k, struct diag *d)
{
	struct reader r = {.graph = g, .arena = a, .limit = limit, .diag = d};

	k->inputs = r.inputs = ARENA_ARRAY(a, hone_tensor, g->body->param_count + 1);
	for (int i = 0; i < words->count; i++) {
		bool random = !strncmp(words->at[i], "random:", 7);

		if (random ? !fill_random(&r, words->at[i] + 7) : !read_word(&r, words->at[i]))
			return false;
	}
	return calibration_check(k, g, d);
}
