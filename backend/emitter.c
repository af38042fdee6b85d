/* emitter.c: one LLVM module from its creation to machine code. No pass pipeline is run: code is emitted in
 * its final form, and only the code generator (level 1) works on it. */
#include "backend/emit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <string.h>

void emitter_open(struct emitter *e, const struct target *t, struct arena *a,
		  const char *module_name)
{
	LLVMContextRef c = LLVMContextCreate();

	*e = (struct emitter){.context = c, .target = t, .arena = a};
	e->module = LLVMModuleCreateWithNameInContext(module_name, c);
	e->builder = LLVMCreateBuilderInContext(c);
	LLVMSetTarget(e->module, t->triple);
	e->i1 = LLVMInt1TypeInContext(c);
	e->i8 = LLVMInt8TypeInContext(c);
	e->i16 = LLVMInt16TypeInContext(c);
	e->i32 = LLVMInt32TypeInContext(c);
	e->i64 = LLVMInt64TypeInContext(c);
	e->f16 = LLVMHalfTypeInContext(c);
	e->bf16 = LLVMBFloatTypeInContext(c);
	e->f32 = LLVMFloatTypeInContext(c);
	e->f64 = LLVMDoubleTypeInContext(c);
	e->ptr = LLVMPointerTypeInContext(c, 0);
	e->void_ = LLVMVoidTypeInContext(c);
}

void emitter_close(struct emitter *e)
{
	if (e->builder)
		LLVMDisposeBuilder(e->builder);
	if (e->module)
		LLVMDisposeModule(e->module);
	if (e->context)
		LLVMContextDispose(e->context);
	*e = (struct emitter){0};
}

static const char *base_cpu(const struct target *t)
{
	return t->isa == ISA_NEON ? "generic" : "x86-64";
}

static void add_text(struct emitter *e, LLVMValueRef fn, const char *name, const char *value)
{
	LLVMAttributeRef attr = LLVMCreateStringAttribute(e->context, name, (unsigned)strlen(name),
							  value, (unsigned)strlen(value));

	LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, attr);
}

static void add_flag(struct emitter *e, LLVMValueRef fn, const char *name)
{
	unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));

	LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
				LLVMCreateEnumAttribute(e->context, kind, 0));
}

LLVMValueRef emitter_function(struct emitter *e, const char *name, LLVMTypeRef type, bool visible)
{
	LLVMValueRef fn = LLVMAddFunction(e->module, name, type);
	const struct target *t = e->target;

	LLVMSetLinkage(fn, visible ? LLVMExternalLinkage : LLVMInternalLinkage);
	if (visible)
		LLVMSetVisibility(fn, LLVMHiddenVisibility);
	add_text(e, fn, "target-cpu", base_cpu(t));
	add_text(e, fn, "tune-cpu", t->tune);
	add_text(e, fn, "target-features", t->features);
	if (t->isa == ISA_X86_V4) {
		add_text(e, fn, "prefer-vector-width", "512");
		add_text(e, fn, "min-legal-vector-width", "512");
	}
	add_flag(e, fn, "nounwind");
	if (t->sanitize == SANITIZE_ADDRESS)
		add_flag(e, fn, "sanitize_address");
	if (t->sanitize == SANITIZE_THREAD)
		add_flag(e, fn, "sanitize_thread");
	return fn;
}

/* Registering targets writes LLVM's own tables; harmless when repeated. */
static void register_target(const struct target *t)
{
	if (t->isa == ISA_NEON) {
		LLVMInitializeAArch64TargetInfo();
		LLVMInitializeAArch64Target();
		LLVMInitializeAArch64TargetMC();
		LLVMInitializeAArch64AsmPrinter();
		LLVMInitializeAArch64AsmParser();
	} else {
		LLVMInitializeX86TargetInfo();
		LLVMInitializeX86Target();
		LLVMInitializeX86TargetMC();
		LLVMInitializeX86AsmPrinter();
		LLVMInitializeX86AsmParser();
	}
}

LLVMTargetMachineRef target_machine(const struct target *t, struct diag *d)
{
	LLVMTargetMachineRef machine;
	LLVMTargetRef target;
	char *error = NULL;

	register_target(t);
	if (LLVMGetTargetFromTriple(t->triple, &target, &error)) {
		diag_add(d, DIAG_UNSUPPORTED, (struct loc){0}, "LLVM has no target %s: %s",
			 t->triple, error);
		LLVMDisposeMessage(error);
		return NULL;
	}
	machine = LLVMCreateTargetMachine(target, t->triple, base_cpu(t), t->features,
					  LLVMCodeGenLevelLess, LLVMRelocPIC, LLVMCodeModelDefault);
	if (!machine)
		diag_add(d, DIAG_INTERNAL, (struct loc){0}, "LLVM refuses target %s %s", t->triple,
			 t->features);
	return machine;
}

static bool report_llvm(struct diag *d, const char *what, char *text)
{
	diag_add(d, DIAG_INTERNAL, (struct loc){0}, "LLVM: %s: %s", what, text ? text : "?");
	LLVMDisposeMessage(text);
	return false;
}

/* The one pass that is ever run, for the sanitizers of hone's own tests. */
static bool instrument(struct emitter *e, LLVMTargetMachineRef machine, struct diag *d)
{
	LLVMPassBuilderOptionsRef options;
	LLVMErrorRef error;
	char *text;

	if (e->target->sanitize == SANITIZE_NONE)
		return true;
	options = LLVMCreatePassBuilderOptions();
	error = LLVMRunPasses(
		e->module,
		e->target->sanitize == SANITIZE_ADDRESS ? "asan" : "tsan-module,function(tsan)",
		machine, options);
	LLVMDisposePassBuilderOptions(options);
	if (!error)
		return true;
	text = LLVMGetErrorMessage(error);
	diag_add(d, DIAG_INTERNAL, (struct loc){0}, "LLVM: sanitizer pass: %s", text);
	LLVMDisposeErrorMessage(text);
	return false;
}

bool emitter_finish(struct emitter *e, LLVMCodeGenFileType type, LLVMMemoryBufferRef *out,
		    struct diag *d)
{
	LLVMTargetMachineRef machine = target_machine(e->target, d);
	LLVMTargetDataRef layout;
	char *text = NULL;
	bool ok = false;

	*out = NULL;
	if (!machine)
		return false;
	layout = LLVMCreateTargetDataLayout(machine);
	LLVMSetModuleDataLayout(e->module, layout);
	LLVMDisposeTargetData(layout);
	if (instrument(e, machine, d)) {
		if (LLVMVerifyModule(e->module, LLVMReturnStatusAction, &text)) {
			report_llvm(d, "broken module", text);
		} else {
			LLVMDisposeMessage(text);
			text = NULL;
			ok = !LLVMTargetMachineEmitToMemoryBuffer(machine, e->module, type, &text,
								  out) ||
			     report_llvm(d, "emission", text);
		}
	}
	LLVMDisposeTargetMachine(machine);
	return ok;
}
