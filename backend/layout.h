/* layout.h: between layout.c, which walks the graph, and layout_site.c, which adds its kernels. */
#ifndef BACKEND_LAYOUT_H
#define BACKEND_LAYOUT_H

#include "backend/placement.h"
#include "backend/program.h"

struct alias {
	const struct value *from, *to;
};

struct layout {
	struct program *p;
	struct diag *diag;
	int level;
	struct pending {
		const struct value **at;
		int count, room;
	} *pending; /* by level: uses to extend */
	int pending_levels;
	struct {
		struct alias *at;
		int count, room;
	} aliases;
	struct placement **placed; /* by value id */
};

/* A new slot of `bytes` at most; NULL: nothing bounds it. Returns its number. */
int layout_add_slot(struct layout *l, int kind, dim bytes);
/* A slot that holds data of this type: in the arena at its largest size, dynamic when that has no bound. */
int layout_add_data_slot(struct layout *l, const struct type *t);
/* What messages and profiles call n; its number in p->nodes. */
int layout_add_origin(struct layout *l, const struct node *n);
/* Lowers n, chooses its plan and adds it to the sites. Nothing is added where placement leaves nothing to do. False:
 * reported. */
bool layout_add_site(struct layout *l, const struct node *n);
/* Warns of weights with many blocks of zeros whose products are dense all the same: pruning gains no speed there. */
void layout_say_dense(const struct program *p, struct diag *d);

#endif
