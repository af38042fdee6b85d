/* pace.c: how fast the cores are at the moment; a library for quiet.py. */
#define _POSIX_C_SOURCE 200809L
#include "cli/machine.h"

#include <pthread.h>

enum { CORES_MAX = 64 };

static void *measure(void *rate)
{
	enum unit widest = UNIT_F32_512;

	while (widest > UNIT_F32_128 && (*(double *)rate = machine_pace(widest)) <= 0)
		widest--;
	if (widest == UNIT_F32_128)
		*(double *)rate = machine_pace(widest);
	return NULL;
}

/* Operations per second in 1e9 of the slowest of `threads` cores, during about a millisecond. */
double pace(int threads)
{
	pthread_t thread[CORES_MAX];
	double rates[CORES_MAX], slowest;
	int started = 1;

	while (started < threads && started < CORES_MAX &&
	       !pthread_create(&thread[started], NULL, measure, &rates[started]))
		started++;
	measure(&rates[0]);
	slowest = rates[0];
	for (int i = 1; i < started; i++) {
		pthread_join(thread[i], NULL);
		slowest = rates[i] < slowest ? rates[i] : slowest;
	}
	return slowest;
}
