#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"

static struct json *parse(struct arena *a, const char *text)
{
	struct json *v = NULL;
	struct err e;
	if (!json_parse(a, (struct buf){text, strlen(text)}, NULL, 1, &v, &e))
		FAIL("%s: %s", text, e.msg);
	return v;
}

/* "line:col: msg", as main would print it behind the file's name. */
static const char *text_of(const struct err *e, char out[1200])
{
	if (e->line)
		snprintf(out, 1200, "%d:%d: %s", e->line, e->col, e->msg);
	else
		snprintf(out, 1200, "%s", e->msg);
	return out;
}

TEST(templates_render)
{
	static const char row[] = "{\"a\":\"x\",\"n\":1.50,\"t\":true,\"o\":{\"c\":\"C\",\"b\":\"B\"},"
				  "\"l\":[\"one\",\"two\"],\"e\":[],\"m\":[{\"k\":1},{\"k\":2}],"
				  "\"a b\":\"space\",\"d.t\":\"dot\",\"1\":\"first\",\"u\":\"\\u00e9\"}";
	static const char *const table[][2] = {
		{"", ""},
		{"plain\ntext", "plain\ntext"},
		{"{a}", "x"},
		{"<{a}{a}>", "<xx>"},
		{"{{{a}}}", "{x}"},
		{"{{a}}", "{a}"},
		{"{n} {t}", "1.50 true"},
		{"{o.c}{o.b}", "CB"},
		{"{o[*]}", "B\nC"},
		{"{l[*]}", "one\ntwo"},
		{"{l[1]}", "two"},
		{"[{e[*]}]", "[]"},
		{"{m[*].k}", "1\n2"},
		{"{m[1].k}", "2"},
		{"{a b}", "space"},
		{"{[\"d.t\"]}", "dot"},
		{"{1}", "first"},
		{"{u}\xc3\xa9", "\xc3\xa9\xc3\xa9"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct template t;
		struct strbuf out;
		struct err e;
		strbuf_init(&out);
		if (!template_parse(&a, table[i][0], &t, &e) ||
			!template_render(&t, parse(&a, row), &out, &e))
			FAIL("%s: %s", table[i][0], e.msg);
		CHECK_STR(out.s, table[i][1]);
		strbuf_release(&out);
	}
	struct template t;
	struct strbuf out;
	strbuf_init(&out);
	CHECK(template_parse(&a, "{2}-{1}", &t, NULL));
	CHECK(template_render(&t, parse(&a, "[\"p\",7]"), &out, NULL));
	CHECK_STR(out.s, "7-p");
	strbuf_release(&out);
	arena_release(&a);
}

TEST(bad_templates_are_refused)
{
	static const char *const table[][2] = {
		{"{", "1:2: expected the name of a field; a brace itself is written '{{'"},
		{"a}b", "1:2: '}' without a '{' before it; a brace itself is written '}}'"},
		{"x\ny{a", "2:2: '{' without its '}'; a brace itself is written '{{'"},
		{"{}", "1:2: expected the name of a field; a brace itself is written '{{'"},
		{"{\"a\": 1}", "1:2: expected the name of a field; a brace itself is written '{{'"},
		{"{a.}", "1:4: expected the name of a field; a brace itself is written '{{'"},
		{"{a[x]}", "1:3: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{"{a[-1]}", "1:3: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{"{a[1}", "1:3: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{"{a[\"q]}", "1:3: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{"{a[99999999999999999999]}", "1:4: index out of range"},
		{"{a\nb}", "1:1: '{' without its '}'; a brace itself is written '{{'"},
		{"{a{b}}", "1:1: '{' without its '}'; a brace itself is written '{{'"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct template t;
		struct err e;
		char text[1200];
		if (template_parse(&a, table[i][0], &t, &e))
			FAIL("accepted: %s", table[i][0]);
		else
			CHECK_STR(text_of(&e, text), table[i][1]);
	}
	arena_release(&a);
}

TEST(rows_that_lack_a_field_say_what_is_near)
{
	static const char row[] = "\n {\"QUESTION\":\"q\",\"z\":null,\"o\":{\"A\":1},\"l\":[1]}";
	static const char *const table[][2] = {
		{"{QUESTON}", "2:2: field 'QUESTON': the row has no 'QUESTON'; did you mean 'QUESTION'?"},
		{"{w}", "2:2: field 'w': the row has no 'w'"},
		{"{z}", "2:22: field 'z' is null"},
		{"{o}", "2:31: field 'o' is an object; name one of its members"},
		{"{l}", "2:43: field 'l' is a list; [*] joins its items by newlines"},
		{"{o.B}", "2:31: field 'o.B': the row has no 'B'"},
		{"{l.x}", "2:43: field 'l.x': no member 'x' in a list; use [NUMBER] or [*]"},
		{"{l.1}", "2:43: field 'l.1': no member '1' in a list; use [NUMBER] or [*]"},
		{"{l[1]}", "2:43: field 'l[1]': the list has 1 items only"},
		{"{o[0]}", "2:31: field 'o[0]': [NUMBER] needs a list"},
		{"{QUESTION[*]}", "2:14: field 'QUESTION[*]': [*] needs a list or an object"},
		{"{QUESTION.x}", "2:14: field 'QUESTION.x': no member 'x' in what is no object"},
		{"{1}", "2:2: field '1': the row has no '1'"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct template t;
		struct strbuf out;
		struct err e;
		char text[1200];
		strbuf_init(&out);
		CHECK(template_parse(&a, table[i][0], &t, &e));
		if (template_render(&t, parse(&a, row), &out, &e))
			FAIL("rendered: %s", table[i][0]);
		else
			CHECK_STR(text_of(&e, text), table[i][1]);
		strbuf_release(&out);
	}
	arena_release(&a);
}

TEST(answers_name_a_choice_by_text_key_letter_or_index)
{
	static const struct {
		const char *row;
		enum answer_form form;
		int gold; /* -1: the message */
		const char *msg;
	} table[] = {
		{"{\"o\":[\"no\",\"yes\"],\"a\":\"yes\"}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":[\"no\",\"yes\"],\"a\":\"B\"}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":[\"no\",\"yes\"],\"a\":\"b\"}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":[\"no\",\"yes\"],\"a\":1}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":[\"no\",\"yes\"],\"a\":\"0\"}", ANSWER_AUTO, 0, NULL},
		{"{\"o\":{\"B\":\"no\",\"A\":\"yes\"},\"a\":\"B\"}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":{\"B\":\"no\",\"A\":\"yes\"},\"a\":\"yes\"}", ANSWER_AUTO, 0, NULL},
		{"{\"o\":{\"x\":\"no\",\"w\":\"yes\"},\"a\":\"A\"}", ANSWER_LETTER, 0, NULL},
		{"{\"o\":[\"C\",\"B\",\"A\"],\"a\":\"A\"}", ANSWER_TEXT, 2, NULL},
		{"{\"o\":[\"C\",\"B\",\"A\"],\"a\":\"A\"}", ANSWER_LETTER, 0, NULL},
		{"{\"o\":[\"A\",\"B\",\"C\"],\"a\":\"B\"}", ANSWER_AUTO, 1, NULL},
		{"{\"o\":[\"C\",\"B\",\"A\"],\"a\":\"A\"}", ANSWER_AUTO, -1,
			"1:1: answer 'A' is choice 3 as text and choice 1 as letter; say which form it has"},
		{"{\"o\":[\"1\",\"0\"],\"a\":\"1\"}", ANSWER_AUTO, -1,
			"1:1: answer '1' is choice 1 as text and choice 2 as index; say which form it has"},
		{"{\"o\":[\"no\",\"yes\"],\"a\":2}", ANSWER_AUTO, -1,
			"1:1: answer '2' is none of the 2 choices ('no', ...)"},
		{"{\"o\":[\"no\",\"no\"],\"a\":\"no\"}", ANSWER_AUTO, -1,
			"1:1: answer 'no' is the text of two choices"},
		{"{\"o\":[\"no\",\"no\"],\"a\":\"b\"}", ANSWER_LETTER, 1, NULL},
		{"{\"o\":[\"no\",\"yes\"],\"a\":\"\"}", ANSWER_AUTO, -1,
			"1:1: answer '' is none of the 2 choices ('no', ...)"},
		{"{\"o\":[\"one\"],\"a\":\"one\"}", ANSWER_AUTO, -1,
			"1:6: field 'o' has 1 choices; at least 2 are needed"},
		{"{\"o\":[\"one\",null],\"a\":\"one\"}", ANSWER_AUTO, -1,
			"1:13: a choice in 'o' is no text"},
		{"{\"o\":\"one\",\"a\":\"one\"}", ANSWER_AUTO, -1,
			"1:6: field 'o' should be a list or an object of choices"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct task t = {.kind = TASK_CHOICE, .answer_form = table[i].form,
			.length_tokens = 9, .choices_field = "o", .answer = "{a}"};
		struct task_row row;
		struct err e;
		char text[1200];
		struct json *v = parse(&a, table[i].row);
		REQUIRE(task_init(&a, &t, &e));
		bool ok = task_render(&a, &t, v, &row, &e) && task_answer(&a, &t, v, &row, &e);
		if (ok != (table[i].gold >= 0))
			FAIL("%s: %s", table[i].row, ok ? "accepted" : e.msg);
		else if (ok)
			CHECK_INT(row.gold, table[i].gold);
		else
			CHECK_STR(text_of(&e, text), table[i].msg);
	}
	arena_release(&a);
}

TEST(bad_tasks_are_refused)
{
	static const char *one[] = {"yes"}, *twice[] = {"a", "a"}, *bad[] = {"a", "{"};
	static const struct {
		struct task t;
		const char *msg;
	} table[] = {
		{{.kind = TASK_CHOICE, .length_tokens = 1}, "a choice task without choices"},
		{{.kind = TASK_CHOICE, .length_tokens = 1, .choice = one, .nchoice = 1},
			"a choice task with one choice only"},
		{{.kind = TASK_CHOICE, .length_tokens = 1, .choice = twice, .nchoice = 2},
			"choice 'a' stands twice"},
		{{.kind = TASK_CHOICE, .length_tokens = 1, .choice = bad, .nchoice = 2},
			"1:2: in choice 2: expected the name of a field; a brace itself is written '{{'"},
		{{.kind = TASK_CHOICE, .length_tokens = 1, .choice = twice, .nchoice = 2,
			 .choices_field = "o"},
			"both fixed choices and a field of choices"},
		{{.kind = TASK_CHOICE, .length_tokens = 1, .choices_field = "o["},
			"1:2: in the field of the choices: expected '[*]', '[NUMBER]' or '[\"NAME\"]'"},
		{{.kind = TASK_COMPLETION, .length_tokens = 1, .choices_field = "o"},
			"choices in a task that has none"},
		{{.kind = TASK_COMPLETION}, "length of 0 tokens"},
		{{.kind = TASK_COMPLETION, .length_tokens = 1, .on_long = LONG_WINDOWS},
			"windows are for text tasks"},
		{{.kind = TASK_TEXT, .length_tokens = 1, .on_long = LONG_CUT_PROMPT},
			"a text task has no prompt to cut"},
		{{.kind = TASK_TEXT, .length_tokens = 1, .answer = "{a}"}, "an answer in a text task"},
		{{.kind = TASK_TEXT, .length_tokens = 1, .prompt = "}"},
			"1:1: in the prompt: '}' without a '{' before it; a brace itself is written '}}'"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct task t = table[i].t;
		struct err e;
		char text[1200];
		if (task_init(&a, &t, &e))
			FAIL("accepted: %s", table[i].msg);
		else
			CHECK_STR(text_of(&e, text), table[i].msg);
	}
	arena_release(&a);
}

/* A token for each byte; what begins a text gets a dummy prefix, as with sentencepiece. */
static bool encode(void *ctx, struct buf text, enum text_place place, struct token_ids *out,
	struct err *e)
{
	const unsigned char *p = text.p;
	(void)ctx;
	if (text.n && p[0] == '!')
		return err_set(e, ERR_SPEC, "no such token");
	if (place == TEXT_BEGINS && text.n)
		token_ids_add(out, '_');
	for (size_t i = 0; i < text.n; i++)
		token_ids_add(out, p[i]);
	return true;
}

/* "prompt|answer|answer" with ^ the start token and $ the end token, '/' between windows; the gold
 * answer in brackets. */
static void layout_text(struct strbuf *out, const struct token_row *r, size_t n)
{
	for (size_t w = 0; w < n; w++) {
		uint32_t at = r[w].prompt_tokens;
		if (w)
			strbuf_addc(out, '/');
		for (uint32_t i = 0; i < at; i++)
			strbuf_addc(out, (char)r[w].token[i]);
		for (uint32_t k = 0; k < r[w].nanswer; k++) {
			bool gold = r[w].gold == (int32_t)k;
			strbuf_addc(out, gold ? '[' : '|');
			for (uint32_t i = 0; i < r[w].answer_tokens[k]; i++)
				strbuf_addc(out, (char)r[w].token[at++]);
			if (gold)
				strbuf_addc(out, ']');
		}
	}
}

TEST(token_layout)
{
	static const char *choices[] = {"yes", "no"};
	static const struct {
		enum task_kind kind;
		enum on_long on_long;
		uint32_t length;
		char start, end;
		const char *delimiter, *prompt, *answer, *want;
	} table[] = {
		{TASK_CHOICE, LONG_ERROR, 99, '^', '$', NULL, "Q", "no", "^_Q| yes[ no]"},
		{TASK_CHOICE, LONG_ERROR, 99, 0, 0, "", "Q", "yes", "_Q[yes]|no"},
		{TASK_CHOICE, LONG_ERROR, 99, '^', 0, "\n", "", "yes", "^[\nyes]|\nno"},
		{TASK_CHOICE, LONG_ERROR, 99, 0, 0, NULL, "", "yes",
			"an empty prompt, and the tokenizer has no start token"},
		{TASK_CHOICE, LONG_ERROR, 7, '^', 0, NULL, "Q", "yes", "^_Q[ yes]| no"},
		{TASK_CHOICE, LONG_ERROR, 6, '^', 0, NULL, "Q", "yes",
			"row of 7 tokens (3 of prompt, 4 of answer), length is 6"},
		{TASK_CHOICE, LONG_SKIP, 6, '^', 0, NULL, "Q", "yes", ""},
		{TASK_CHOICE, LONG_CUT_PROMPT, 8, '^', 0, NULL, "abcdef", "no", "^def| yes[ no]"},
		{TASK_CHOICE, LONG_CUT_PROMPT, 7, 0, 0, NULL, "abcdef", "no", "def| yes[ no]"},
		{TASK_CHOICE, LONG_CUT_PROMPT, 6, '^', 0, NULL, "abcdef", "no", "^f| yes[ no]"},
		{TASK_CHOICE, LONG_CUT_PROMPT, 5, '^', 0, NULL, "abcdef", "no",
			"row of 12 tokens (8 of prompt, 4 of answer), length is 5"},
		{TASK_CHOICE, LONG_ERROR, 99, '^', 0, NULL, "!", "no", "no such token"},
		{TASK_COMPLETION, LONG_ERROR, 99, '^', '$', NULL, "Q:", "4", "^_Q:[ 4$]"},
		{TASK_COMPLETION, LONG_ERROR, 99, '^', '$', NULL, "Q:", "", "^_Q:[ $]"},
		{TASK_COMPLETION, LONG_ERROR, 99, '^', 0, NULL, "Q:", "4",
			"the tokenizer has no end token, which a completion needs"},
		{TASK_COMPLETION, LONG_CUT_PROMPT, 6, '^', '$', NULL, "Q:", "4", "^Q:[ 4$]"},
		{TASK_TEXT, LONG_WINDOWS, 99, '^', '$', NULL, "abc", NULL, "^[_abc]"},
		{TASK_TEXT, LONG_WINDOWS, 99, 0, 0, NULL, "abc", NULL, "_[abc]"},
		{TASK_TEXT, LONG_WINDOWS, 4, '^', 0, NULL, "abcdef", NULL, "^[_ab]/^[cde]/^[f]"},
		{TASK_TEXT, LONG_WINDOWS, 4, '^', 0, NULL, "abcde", NULL, "^[_ab]/^[cde]"},
		{TASK_TEXT, LONG_WINDOWS, 3, 0, 0, NULL, "abcdef", NULL, "_[ab]/c[de]/f[]"},
		{TASK_TEXT, LONG_SKIP, 4, '^', 0, NULL, "abc", NULL, ""},
		{TASK_TEXT, LONG_ERROR, 4, '^', 0, NULL, "abc", NULL, "document of 5 tokens, length is 4"},
		{TASK_TEXT, LONG_WINDOWS, 1, '^', 0, NULL, "abc", NULL,
			"length of 1 tokens has no room behind the start token"},
	};
	struct arena a = {0};
	for (size_t i = 0; i < NELEM(table); i++) {
		struct task t = {.kind = table[i].kind, .on_long = table[i].on_long,
			.length_tokens = table[i].length, .delimiter = table[i].delimiter,
			.prompt = "{p}", .answer = table[i].answer ? "{a}" : NULL};
		if (t.kind == TASK_CHOICE) {
			t.choice = choices;
			t.nchoice = 2;
		}
		struct tokeniser tok = {.encode = encode, .start = table[i].start ? table[i].start : -1,
			.end = table[i].end ? table[i].end : -1};
		struct json *v = parse(&a, arena_printf(&a, "{\"p\":\"%s\",\"a\":\"%s\"}",
			table[i].prompt, table[i].answer ? table[i].answer : ""));
		struct task_row row;
		struct token_row *token;
		size_t n;
		struct err e;
		struct strbuf got;
		REQUIRE(task_init(&a, &t, &e));
		REQUIRE(task_render(&a, &t, v, &row, &e));
		REQUIRE(!t.answer[0] || task_answer(&a, &t, v, &row, &e));
		strbuf_init(&got);
		if (task_layout(&a, &t, &row, &tok, &token, &n, &e))
			layout_text(&got, token, n);
		else
			strbuf_adds(&got, e.msg);
		CHECK_STR(got.s, table[i].want);
		strbuf_release(&got);
	}
	arena_release(&a);
}

TEST(rows_without_an_answer_have_prompts)
{
	struct arena a = {0};
	struct task t = {.kind = TASK_COMPLETION, .length_tokens = 9, .prompt = "{p}", .answer = "{a}"};
	struct tokeniser tok = {.encode = encode, .start = '^', .end = '$'};
	struct json *v = parse(&a, "{\"p\":\"Q\"}");
	struct task_row row;
	struct token_row *token;
	size_t n;
	struct err e;
	REQUIRE(task_init(&a, &t, &e) && task_render(&a, &t, v, &row, &e));
	REQUIRE(task_layout(&a, &t, &row, &tok, &token, &n, &e));
	CHECK_INT(n, 1);
	CHECK_INT(token->prompt_tokens, 3);
	CHECK_INT(token->nanswer, 0);
	CHECK_INT(token->gold, -1);
	arena_release(&a);
}

/* The record, then the same task from it; every cut and every changed byte is survived. */
TEST(task_records_travel_and_damage_is_noticed)
{
	static const char *choices[] = {"{2}", "no"};
	struct task t = {.kind = TASK_CHOICE, .on_long = LONG_CUT_PROMPT, .length_tokens = 77,
		.answer_form = ANSWER_LETTER, .prompt = "Q {1}\n", .answer = "{3}", .delimiter = "",
		.choice = choices, .nchoice = 2};
	struct arena a = {0};
	struct task back;
	struct strbuf record, again;
	struct err e;
	strbuf_init(&record);
	strbuf_init(&again);
	REQUIRE(task_init(&a, &t, &e));
	task_write(&record, &t);
	REQUIRE(task_read(&a, strbuf_buf(&record), &back, &e));
	task_write(&again, &back);
	CHECK(again.n == record.n && !memcmp(again.s, record.s, record.n));
	CHECK_INT(back.on_long, LONG_CUT_PROMPT);
	CHECK_STR(back.choice[1], "no");
	for (size_t n = 0; n < record.n; n++) {
		char *cut = xmalloc(n); /* its own allocation, so that a read past it is seen */
		memcpy(cut, record.s, n);
		if (task_read(&a, (struct buf){cut, n}, &back, &e))
			FAIL("a record cut to %zu bytes was read", n);
		free(cut);
	}
	size_t refused = 0;
	for (size_t i = 0; i < record.n; i++) {
		char kept = record.s[i];
		record.s[i] = (char)(kept ^ 0x81);
		refused += !task_read(&a, strbuf_buf(&record), &back, &e);
		record.s[i] = kept;
	}
	CHECK(refused > record.n / 2);
	strbuf_addc(&record, 'x');
	CHECK(!task_read(&a, strbuf_buf(&record), &back, &e));
	CHECK_STR(e.msg, "task record is damaged at byte 152: something stands behind it");
	strbuf_release(&record);
	strbuf_release(&again);
	arena_release(&a);
}
