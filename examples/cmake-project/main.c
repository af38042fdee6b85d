/* main.c: draws a 1 on 8x8 pixels and asks the compiled digits model what it is. */
#include <hone.h>

#include <stdio.h>

static const char *const drawing[8] = {
	"...##...", "..###...", ".####...", "...##...",
	"...##...", "...##...", "...##...", "..####..",
};

int main(void)
{
	float image[64], logits[10];
	hone_tensor in = {.data = image,
			  .size = sizeof(image),
			  .dims = {1, 1, 8, 8},
			  .rank = 4,
			  .dtype = HONE_F32};
	hone_tensor out = {.data = logits, .size = sizeof(logits)};
	hone_context *context;
	char text[256];
	int best = 0;

	for (int i = 0; i < 64; i++)
		image[i] = drawing[i / 8][i % 8] == '#' ? 1.0f : 0.0f;
	if (hone_context_create(hone_model_get(), NULL, &context, text, sizeof(text)) != HONE_OK) {
		fprintf(stderr, "error: %s\n", text);
		return 1;
	}
	if (hone_run(context, &in, &out) != HONE_OK) {
		fprintf(stderr, "error: %s\n", hone_error(context));
		return 1;
	}
	for (int i = 1; i < 10; i++)
		if (logits[i] > logits[best])
			best = i;
	printf("this is a %d\n", best);
	hone_context_destroy(context);
	return 0;
}
