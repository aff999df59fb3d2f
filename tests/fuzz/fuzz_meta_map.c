/* SPDX-License-Identifier: Apache-2.0 */
/* Any user metadata ("name=value" lines) as POSIX attributes; what is understood survives a round trip. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/meta_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
round_trip(const struct meta_facts *m)
{
	struct meta_mark mark = {.id = m->origin_id[0] != '\0' ? m->origin_id : "x",
	    .ino = m->origin_ino,
	    .seq = m->origin_seq,
	    .boot = m->origin_boot,
	    .gen = m->origin_gen,
	    .key_crc = m->origin_key_crc};
	struct meta_facts again;
	struct meta_set set;

	meta_build(&set, m->type | m->perm, false, m->uid, m->gid, m->mtime_ns, m->atime_ns, &mark);
	meta_parse(set.items, set.n, &again);
	if (!again.has_perm || again.perm != m->perm || again.uid != m->uid ||
	    again.gid != m->gid || again.mtime_ns != m->mtime_ns || again.atime_ns != m->atime_ns ||
	    !again.has_origin || again.origin_ino != m->origin_ino ||
	    again.origin_seq != m->origin_seq || again.origin_boot != m->origin_boot ||
	    again.origin_key_crc != m->origin_key_crc)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct objstore_meta items[16];
	struct meta_facts m;
	char *text = malloc(size + 1), *line, *save = NULL;
	size_t n = 0;

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	for (line = strtok_r(text, "\n", &save); line != NULL && n < 16;
	     line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (value == NULL)
			continue;
		*value++ = '\0';
		items[n].name = line;
		items[n++].value = value;
	}
	meta_parse(items, n, &m);
	if (m.perm > 07777 || strlen(m.origin_id) >= sizeof(m.origin_id))
		abort();
	round_trip(&m);
	free(text);
	return 0;
}
