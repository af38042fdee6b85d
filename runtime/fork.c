/* fork.c: the tasks of a kernel on the threads of a context. Chunks of tasks are claimed one at a time, so a slow
 * thread takes fewer; what a task computes depends on its number only. */
#include "runtime/context.h"

enum { CHUNKS_PER_THREAD = 4 };

struct fork {
	struct hone_frame *frame;
	hone_kernel_fn *kernel;
	void *const *buffers;
	const int64_t *words;
	int64_t tasks, chunks;
};

/* The first task of a chunk: chunks differ by one task at most. */
static int64_t first_task(const struct fork *f, int64_t chunk)
{
	int64_t more = f->tasks % f->chunks;

	return f->tasks / f->chunks * chunk + (chunk < more ? chunk : more);
}

static void run_chunk(void *arg, int64_t chunk, int32_t worker)
{
	const struct fork *f = arg;

	f->kernel(f->frame, f->buffers, f->words, first_task(f, chunk), first_task(f, chunk + 1),
		  worker);
}

void hone_rt_fork(struct hone_frame *frame, hone_kernel_fn *kernel, void *const *buffers,
		  const int64_t *words, int64_t tasks)
{
	struct context *c = context_of(frame);
	struct fork f = {frame, kernel, buffers, words, tasks, 0};

	if (tasks <= 0)
		return;
	if (c->options.threads <= 1 || tasks == 1) {
		kernel(frame, buffers, words, 0, tasks, 0);
		return;
	}
	f.chunks = (int64_t)c->options.threads * CHUNKS_PER_THREAD;
	if (f.chunks > tasks)
		f.chunks = tasks;
	if (c->options.parallel_for)
		c->options.parallel_for(c->options.parallel_self, f.chunks, run_chunk, &f);
	else
		rt_pool_run(c->pool, f.chunks, run_chunk, &f);
}
