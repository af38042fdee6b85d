/* join.h: between lower.c and join.c: how the kernels of a group's ops become one. */
#ifndef IR_JOIN_H
#define IR_JOIN_H

#include "ir/lower.h"

/* The load of v when it is made inside the group; else NULL. */
const struct expr *join_load(struct lowering *l, struct value *v, const struct expr *const *index);
/* The buffer that the op now being lowered stores its result v into. */
int join_buffer(struct lowering *l, struct value *v);
/* Lowers one op at the cursor, after checks of its types. */
bool lower_op(struct lowering *l, const struct node *n);

#endif
