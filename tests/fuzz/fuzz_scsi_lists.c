/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameter lists that initiators send (UNMAP, EXTENDED COPY, MODE SELECT, PERSISTENT RESERVE OUT), and the text of
 * reservations that lay on a disk.  The first byte says which.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/mode.h"
#include "frontends/scsi/pr.h"
#include "frontends/scsi/unmap.h"
#include "frontends/scsi/xcopy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCKS (1ull << 40)

static void
try_unmap(const uint8_t *list, size_t len)
{
	static struct unmap_extent e[UNMAP_MAX_DESCRIPTORS];
	unsigned int n;

	if (unmap_decode(list, len, BLOCKS, e, &n) != 0)
		return;
	if (n > UNMAP_MAX_DESCRIPTORS)
		abort();
	for (unsigned int i = 0; i < n; i++) {
		if (e[i].lba > BLOCKS || e[i].n > BLOCKS - e[i].lba)
			abort();
	}
}

static void
try_xcopy(const uint8_t *list, size_t len)
{
	static struct xcopy_list x;

	if (xcopy_decode(list, len, &x) != 0)
		return;
	if (x.ntargets > XCOPY_MAX_TARGETS || x.nsegments > XCOPY_MAX_SEGMENTS)
		abort();
	for (unsigned int i = 0; i < x.ntargets; i++) {
		if (x.target[i].len > sizeof(x.target[i].id))
			abort();
	}
}

static void
try_mode(const uint8_t *list, size_t len, bool is_10)
{
	const struct mode_values now = MODE_DEFAULT;
	struct mode_values out;
	unsigned int byte, asc;

	asc = mode_select_decode(list, len, is_10, BLOCKS, 512, &now, &out, &byte);
	if (asc != 0 && byte > len + 32)
		abort();
}

/* As it would go over a state with some registrations. */
static void
try_pr(const uint8_t *data, size_t len)
{
	static struct pr_state s;
	static struct pr_request q;
	static struct pr_effects fx;
	struct pr_who who = {"x", 1};
	uint8_t cdb[10] = {0x5f};

	if (len < 2)
		return;
	memset(&s, 0, sizeof(s));
	s.n = 2;
	s.regs[0] = (struct pr_reg){.key = 1, .port = 1, .name = "x"};
	s.regs[1] = (struct pr_reg){.key = 2, .port = 1, .name = "y"};
	s.holder = -1;
	if (data[0] & 0x80) {
		s.type = PR_WRITE_EXCLUSIVE;
		s.holder = (data[0] & 0x40) != 0;
	}
	cdb[1] = data[0] & 0x1f;
	cdb[2] = data[1];
	if (pr_request_decode(cdb, data + 2, len - 2, &q) != 0)
		return;
	pr_apply(&s, &q, &who, &fx);
	if (!pr_check(&s))
		abort();
}

static void
try_text(const uint8_t *data, size_t len)
{
	static struct pr_state s, again;
	static uint8_t out[PR_IN_MAX];
	char *text = malloc(len + 1), *printed;

	memcpy(text, data, len);
	text[len] = '\0';
	if (pr_text_parse(text, &s) == 0) {
		printed = pr_text_print(&s);
		if (pr_text_parse(printed, &again) != 0 || memcmp(&s, &again, sizeof(s)) != 0)
			abort();
		free(printed);
		pr_read_keys(&s, out, sizeof(out));
		pr_read_reservation(&s, out, sizeof(out));
		pr_read_full_status(&s, out, sizeof(out));
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *list;

	if (size < 1)
		return 0;
	list = malloc(size); /* so that a byte too many is seen */
	memcpy(list, data + 1, size - 1);
	list = realloc(list, size - 1 > 0 ? size - 1 : 1);
	switch (data[0] % 6) {
	case 0:
		try_unmap(list, size - 1);
		break;
	case 1:
		try_xcopy(list, size - 1);
		break;
	case 2:
	case 3:
		try_mode(list, size - 1, data[0] % 6 == 3);
		break;
	case 4:
		try_pr(list, size - 1);
		break;
	default:
		try_text(list, size - 1);
		break;
	}
	free(list);
	return 0;
}
