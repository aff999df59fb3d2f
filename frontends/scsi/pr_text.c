/* SPDX-License-Identifier: Apache-2.0 */
/* pr_text.c - persistent reservations as lines of text, for the index. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/pr.h"
#include "gateway/base/strbuf.h"

char *
pr_text_print(const struct pr_state *s)
{
	struct strbuf b = STRBUF_INIT;

	strbuf_addf(
	    &b, "pr 1 %" PRIu32 " %d %d %d\n", s->generation, s->is_aptpl, (int)s->type, s->holder);
	for (int i = 0; i < s->n; i++)
		strbuf_addf(&b, "reg %016" PRIx64 " %u %d %s\n", s->regs[i].key, s->regs[i].port,
		    s->regs[i].is_all_ports, s->regs[i].name);
	return strbuf_take(&b);
}

static int
parse_reg(const char *line, struct pr_state *s)
{
	struct pr_reg *r;
	unsigned int port;
	int all, at = 0;

	if (s->n == PR_REGS_MAX)
		return -EINVAL;
	r = &s->regs[s->n];
	if (sscanf(line, "reg %16" SCNx64 " %5u %1d %n", &r->key, &port, &all, &at) != 3 ||
	    at == 0 || port > UINT16_MAX || strlen(line + at) == 0 ||
	    strlen(line + at) >= PR_NAME_MAX || strchr(line + at, ' ') != NULL)
		return -EINVAL;
	r->port = (uint16_t)port;
	r->is_all_ports = all != 0;
	memcpy(r->name, line + at, strlen(line + at));
	s->n++;
	return 0;
}

static int
parse_line(const char *line, struct pr_state *s)
{
	int aptpl, type;

	if (strncmp(line, "pr ", 3) == 0) {
		if (sscanf(line, "pr 1 %" SCNu32 " %1d %1d %4d", &s->generation, &aptpl, &type,
			&s->holder) != 4)
			return -EINVAL;
		s->is_aptpl = aptpl != 0;
		s->type = (enum pr_type)type;
		return 0;
	}
	return strncmp(line, "reg ", 4) == 0 ? parse_reg(line, s) : 0;
}

int
pr_text_parse(const char *text, struct pr_state *s)
{
	char line[PR_NAME_MAX + 64];
	int err = 0;

	memset(s, 0, sizeof(*s));
	s->holder = -1;
	while (*text != '\0' && err == 0) {
		size_t n = strcspn(text, "\n");

		if (n >= sizeof(line)) {
			err = -EINVAL;
			break;
		}
		memcpy(line, text, n);
		line[n] = '\0';
		err = parse_line(line, s);
		text += n + (text[n] == '\n');
	}
	if (err == 0 && pr_check(s))
		return 0;
	memset(s, 0, sizeof(*s));
	s->holder = -1;
	return -EINVAL;
}
