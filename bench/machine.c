/* machine.c: prints what cli/machine.c measures of one core, as JSON or (with --table) as text. */
#define _POSIX_C_SOURCE 200809L
#include "cli/machine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double rates[UNIT_COUNT];

static int64_t cache(int name, int64_t fallback)
{
	long size = sysconf(name);

	return size > 0 ? size : fallback;
}

static void print_table(const struct bandwidth *memory)
{
	printf("one core         1e9 operations/s\n");
	for (int u = 0; u < UNIT_COUNT; u++)
		if (rates[u] > 0)
			printf("  %-14s %8.1f\n", unit_names[u], rates[u]);
		else
			printf("  %-14s        -\n", unit_names[u]);
	printf("GB/s             read   copy (bytes read and written)\n");
	for (int i = 0; i < LEVEL_COUNT; i++)
		printf("  %-8s %10.1f %6.1f   %lld KB\n", level_names[i], memory[i].read,
		       memory[i].copy, (long long)memory[i].bytes / 1024);
}

static void print_json(const struct bandwidth *memory)
{
	printf("{\"gops\": {");
	for (int u = 0; u < UNIT_COUNT; u++)
		printf("%s\"%s\": %.1f", u ? ", " : "", unit_names[u], rates[u]);
	printf("}, \"gbs\": {");
	for (int i = 0; i < LEVEL_COUNT; i++)
		printf("%s\"%s\": {\"read\": %.1f, \"copy\": %.1f}", i ? ", " : "", level_names[i],
		       memory[i].read, memory[i].copy);
	printf("}}\n");
}

int main(int argc, char **argv)
{
	const int64_t sizes[3] = {cache(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
				  cache(_SC_LEVEL2_CACHE_SIZE, 1 << 20),
				  cache(_SC_LEVEL3_CACHE_SIZE, 16 << 20)};
	const int table = argc > 1 && !strcmp(argv[1], "--table");
	struct bandwidth memory[LEVEL_COUNT];

	for (int u = 0; u < UNIT_COUNT; u++)
		rates[u] = machine_compute((enum unit)u);
	machine_bandwidths(sizes, memory);
	if (table)
		print_table(memory);
	else
		print_json(memory);
	return 0;
}
