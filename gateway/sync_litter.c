/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync_litter.c - what an earlier life left under the names that we hide: temporary copies of broken
 * cycles, probe objects.  Asked for once, with the first write after a start: one LIST.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/sync_int.h"

#define PROBE_AGE_NS (3600ll * 1000000000) /* younger ones may be another gateway's, in use */

static void
sweep_one(struct sync *y, const struct objstore_entry *e)
{
	size_t plen = strlen(y->s->conf.prefix);
	const char *name = e->key + plen;

	if (strncmp(name, SYNC_TMP_NAME "/", strlen(SYNC_TMP_NAME) + 1) == 0) {
		share_lock(y->s);
		if (keymap_get(&y->displaced, e->key) == NULL && !key_is_held(y, e->key)) {
			tomb_add(y, e->key, NULL); /* deleted only if the mark says it is ours */
			tomb_find(y, e->key)->not_before_ms = 0;
		}
		share_unlock(y->s);
	} else if (strncmp(name, SYNC_PROBE_NAME, strlen(SYNC_PROBE_NAME)) == 0 &&
		   clock_real_ns() - e->mtime_ns > PROBE_AGE_NS) {
		struct objstore_req req = {.op = OBJ_DELETE, .key = e->key};

		(void)sync_call(y, &req); /* next time, if not now */
		objstore_req_clear(&req);
	}
}

void
sync_litter_sweep(struct sync *y)
{
	char *prefix = xasprintf("%s.causeway-", y->s->conf.prefix);
	struct objstore_req req = {.op = OBJ_LIST, .prefix = prefix, .max_keys = 1000};
	size_t i;

	if (sync_call(y, &req) == 0)
		for (i = 0; i < req.list.n; i++)
			if (strncmp(req.list.entries[i].key, prefix, strlen(prefix)) == 0)
				sweep_one(y, &req.list.entries[i]);
	objstore_req_clear(&req);
	free(prefix);
}
