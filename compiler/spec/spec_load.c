#include "spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec_build.h"
#include "spec_pass.h"

static struct xml_node *load_tree(struct spec_files *fs, const char *path)
{
	struct spec_file *file = spec_files_open(fs, path);
	struct xml_node *root = file ? xml_read(fs->arena, file, fs->log) : NULL;
	if (!root || !spec_is_root(root, "trim", fs->log))
		return NULL;
	spec_include(fs, root);
	spec_check(fs->arena, root, fs->log);
	spec_defaults(fs->arena, root);
	spec_sema(fs, root);
	if (fs->log->nerror)
		return NULL;
	spec_defaults(fs->arena, root); /* puts the profiles of hardware in their place */
	spec_product(fs->arena, root, fs->log);
	return fs->log->nerror ? NULL : root;
}

bool spec_load(struct arena *a, const char *path, const struct spec_options *options,
	struct spec **out, struct spec_log *log)
{
	struct spec_files *fs = arena_new(a, struct spec_files);
	*fs = (struct spec_files){.arena = a, .log = log, .roots = options->roots,
		.any_path = options->any_path};
	struct xml_node *root = load_tree(fs, path);
	spec_log_sort(log);
	if (!root)
		return false;
	struct spec *s = arena_new(a, struct spec);
	spec_build(fs, root, s);
	struct strbuf text;
	strbuf_init(&text);
	spec_print(&text, root);
	s->text = arena_strndup(a, text.s, text.n);
	s->text_bytes = text.n;
	s->digest = digest_of(text.s, text.n);
	struct xml_node *schedule;
	for (int i = 0, k = 0; (schedule = xml_next(root, "schedule", &i)); k++) {
		strbuf_clear(&text);
		spec_print_states(&text, root, schedule);
		s->schedule[k].states_of = digest_of(text.s, text.n);
	}
	strbuf_clear(&text);
	spec_print_json(&text, root);
	s->json = arena_strndup(a, text.s, text.n);
	strbuf_release(&text);
	*out = s;
	return true;
}

bool spec_target_later(const struct spec *s, int i)
{
	const struct spec_target *t = &s->target[i];
	bool later = s->later || t->later;
	for (int k = 0; k < t->nschedule; k++)
		later = later || s->schedule[t->schedule[k]].later;
	return later;
}

const struct spec_target *spec_target_find(const struct spec *s, const char *name)
{
	for (int i = 0; i < s->ntarget; i++)
		if (strcmp(s->target[i].name, name) == 0)
			return &s->target[i];
	return NULL;
}

const struct spec_target *spec_target_need(const struct spec *s, const char *name, struct err *e)
{
	const struct spec_target *found = spec_target_find(s, name);
	if (found)
		return found;
	const char **names = xcalloc((size_t)s->ntarget + 1, sizeof(*names));
	for (int i = 0; i < s->ntarget; i++)
		names[i] = s->target[i].name;
	const char *near = nearest_name(name, names, (size_t)s->ntarget);
	free(names);
	err_set(e, ERR_SPEC, "%s has no target '%s'%s%s%s", s->file->name, name, near ? "; did you mean '" : "",
		near ? near : "", near ? "'?" : "");
	return NULL;
}

bool spec_err_at(struct err *e, struct place at, const char *fmt, ...)
{
	char msg[sizeof(e->msg)];
	va_list args;
	va_start(args, fmt);
	vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);
	return err_at(e, ERR_SPEC, at.file ? at.file->name : NULL, at.line, at.col, "%s", msg);
}
