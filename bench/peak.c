/* peak.c: peak COMMAND ARG..: runs a command and prints the peak memory of it and its children in MB, as the last line. From a
 * small process, since Linux counts to a new program what its process held before. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	pid_t child;
	int status = 0;

	if (argc < 2 || (child = fork()) < 0)
		return 127;
	if (!child) {
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	wait4(child, &status, 0, &usage);
	printf("%.1f\n", (double)usage.ru_maxrss / 1024);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
