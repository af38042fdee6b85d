/* signals.c: holding back SIGINT, SIGTERM and SIGHUP. */
#include "backend/signals.h"

#include <pthread.h>
#include <stddef.h>

static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDS = sizeof(ends) / sizeof(*ends) };

/* One that is ignored (nohup) ends nothing; yet Linux would keep it waiting if it were blocked. */
static bool ignored(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

void signals_hold(sigset_t *before)
{
	sigset_t held;

	sigemptyset(&held);
	for (int i = 0; i < ENDS; i++)
		if (!ignored(ends[i]))
			sigaddset(&held, ends[i]);
	pthread_sigmask(SIG_BLOCK, &held, before);
}

void signals_release(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

bool signals_waiting(void)
{
	sigset_t waiting;

	if (sigpending(&waiting))
		return false;
	for (int i = 0; i < ENDS; i++)
		if (sigismember(&waiting, ends[i]) == 1 && !ignored(ends[i]))
			return true;
	return false;
}
