/* main.c: the hone command: finds the subcommand. Each is one file of this folder. */
#include "cli/commands.h"

#include <signal.h>
#include <string.h>

const struct command commands[] = {
	{"compile", "MODEL -o FILE [options]",
	 "Compile a model to a shared library, executable, object, assembly, LLVM IR, hone IR or C "
	 "header.",
	 command_compile},
	{"compress", "MODEL -o FILE.onnx [options]",
	 "Make a model smaller and write it as ONNX again.", command_compress},
	{"run", "MODEL --input FILE.. --output FILE..",
	 "Run a model (.onnx, .hir or compiled .so) on inputs from files.", command_run},
	{"bench", "MODEL [--threads 1,2] [--profile]",
	 "Measure the latency of a model (.onnx, .hir or compiled .so).", command_bench},
	{"check", "MODEL [--data DIR]",
	 "Compare a model's compiled results with given ones, or with the interpreter's.",
	 command_check},
	{"dump", "MODEL [--after PASS]", "Show the IR, the graph or the kernels.", command_dump},
	{"info", "MODEL", "Show inputs, outputs, dims, operators, sizes and work of a model.",
	 command_info},
	{"ops", "", "List every ONNX operator and core operator.", command_ops},
	{"passes", "", "List every pass and the order of the default pipeline.", command_passes},
	{NULL, NULL, NULL, NULL}};

static void print_usage(FILE *out)
{
	fprintf(out, "hone " HONE_VERSION ": an ahead-of-time compiler for ONNX models\n\nusage: "
		     "hone COMMAND ...   (hone COMMAND --help says more)\n\n");
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %-9s %s\n", c->name, c->summary);
	fprintf(out, "\nExit status: 0 done, 1 outputs differ, 2 usage, 3 model not supported, 4 "
		     "bad or unreadable file,\n"
		     "5 the linker failed, 70 internal error.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_usage(stderr);
		return 2;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_usage(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("hone " HONE_VERSION "\n");
		return 0;
	}
	signal(SIGXFSZ, SIG_IGN); /* a file grown to its limit is an error like a full disk */
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(argv[1], c->name))
			return c->run(argc - 1, argv + 1);
	fprintf(stderr, "error: hone has no command %s (see hone --help)\n", argv[1]);
	return 2;
}
