/* fork.c: the tasks of a kernel on the threads of a context. Chunks of tasks are claimed one at a time, so a slow
 * thread takes fewer; what a task computes depends on its number only. */
#include "runtime/context.h"

#include <string.h>

enum { CHUNKS_PER_THREAD = 4, BUFFERS = 10 };

struct fork {
	struct hone_frame *frame;
	hone_kernel_fn *kernel;
	void *const *buffers;
	const int64_t *words;
	int64_t tasks, chunks;
	void *few
		[BUFFERS]; /* the buffers, where they are no more than these: near the rest, for pool.h */
};

_Static_assert(sizeof(struct fork) <= POOL_ARG_BYTES, "fork");

/* The first task of a chunk: chunks differ by one task at most. */
static int64_t first_task(const struct fork *f, int64_t chunk)
{
	int64_t more = f->tasks % f->chunks;

	return f->tasks / f->chunks * chunk + (chunk < more ? chunk : more);
}

static void run_chunk(void *arg, int64_t chunk, int32_t worker)
{
	const struct fork *f = arg;

	f->kernel(f->frame, f->buffers ? f->buffers : f->few, f->words, first_task(f, chunk),
		  first_task(f, chunk + 1), worker);
}

void hone_rt_fork(struct hone_frame *frame, hone_kernel_fn *kernel, void *const *buffers,
		  int32_t buffer_count, const int64_t *words, int64_t tasks)
{
	struct context *c = context_of(frame);
	struct fork f = {.frame = frame, .kernel = kernel, .words = words, .tasks = tasks};

	if (tasks <= 0)
		return;
	if (c->options.threads <= 1 || tasks == 1) {
		kernel(frame, buffers, words, 0, tasks, 0);
		return;
	}
	f.chunks = (int64_t)c->options.threads * CHUNKS_PER_THREAD;
	if (f.chunks > tasks)
		f.chunks = tasks;
	if (buffer_count > BUFFERS)
		f.buffers = buffers;
	else
		memcpy(f.few, buffers, (size_t)buffer_count * sizeof(*buffers));
	if (c->options.parallel_for)
		c->options.parallel_for(c->options.parallel_self, f.chunks, run_chunk, &f);
	else
		rt_pool_run(c->pool, f.chunks, run_chunk, &f, sizeof(f));
}
