/* signals.c: holding back SIGINT, SIGTERM and SIGHUP. */
#include "backend/signals.h"

#include <pthread.h>

void signals_hold(sigset_t *before)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ends, before);
}

void signals_release(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }
