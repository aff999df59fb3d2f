/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.c - target devices and nexuses: who is there, what is kept of them.
 *
 * One target a volume, found in a registry.  Persistent reservations outlive all sessions: when the last reference
 * goes, what is not on disk anyhow (no APTPL) stays in the registry as text until the volume is used again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/scsi/scsi_int.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define WORKERS 8    /* EXTENDED COPY and long VERIFYs side by side */
#define KEPT_MAX 256 /* volumes whose reservations are kept while nobody is logged in */

struct kept {
	struct list link;
	char volume_id[CW_VOLUME_ID_MAX];
	char *text;
};

static struct registry {
	pthread_mutex_t loading; /* one scsi_target_get at a time; held over reading the index */
	pthread_mutex_t lock;
	struct list targets, kept;
	unsigned int nkept;
	struct workq *workq;
} registry = {
    PTHREAD_MUTEX_INITIALIZER,
    PTHREAD_MUTEX_INITIALIZER,
    LIST_INIT(registry.targets),
    LIST_INIT(registry.kept),
    0,
    NULL,
};

struct workq *
scsi_workq(void)
{
	return registry.workq;
}

uint64_t
scsi_naa(const char *volume_id)
{
	uint8_t hash[SHA256_LEN];

	digest_sha256(volume_id, strlen(volume_id), hash);
	return 3ull << 60 | scsi_get64(hash) >> 4; /* NAA 3h: locally assigned, SPC-4 7.8.6.6.4 */
}

/* --- what is kept as text ------------------------------------------------------------------------ */

/* "mode WCE SWP", then the reservations; see DESIGN.md. */
static char *
print_kept(const struct pr_state *pr, const struct mode_values *saved)
{
	struct strbuf b = STRBUF_INIT;
	char *text;

	strbuf_addf(&b, "mode %d %d\n", saved->is_wce, saved->is_swp);
	if (pr != NULL) {
		text = pr_text_print(pr);
		strbuf_adds(&b, text);
		free(text);
	}
	return strbuf_take(&b);
}

static void
parse_kept(struct scsi_target *t, const char *text)
{
	const struct mode_values defaults = MODE_DEFAULT;
	int wce, swp;

	t->saved = defaults;
	if (pr_text_parse(text, t->pr) != 0)
		log_err("scsi.pr", "text-damaged",
		    "volume=%s what=\"persistent reservations are lost\"", cw_volume_id(t->volume));
	if (sscanf(text, "mode %1d %1d", &wce, &swp) == 2) {
		t->saved.is_wce = wce != 0;
		t->saved.is_swp = swp != 0;
	}
	t->mode = t->saved;
	atomic_store(&t->is_write_through, !t->mode.is_wce);
	atomic_store(&t->is_write_protected, t->mode.is_swp);
}

int
scsi_target_save(struct scsi_target *t, const struct pr_state *pr, const struct mode_values *saved)
{
	bool has_pr = pr->is_aptpl && pr->n > 0;
	bool is_plain = !has_pr && !saved->is_wce && !saved->is_swp;
	char *text;
	int err;

	if (is_plain && !t->has_saved_text)
		return 0;
	text = is_plain ? xstrdup("") : print_kept(has_pr ? pr : NULL, saved);
	err = cw_target_pr_save(t->volume, text);
	free(text);
	if (err < 0) {
		log_err("scsi.pr", "save-failed", "volume=%s err=\"%s\"", cw_volume_id(t->volume),
		    err_str(err));
		return err;
	}
	t->has_saved_text = !is_plain;
	return 0;
}

/* --- targets ------------------------------------------------------------------------------------ */

static struct scsi_target *
find_locked(const struct cw_volume *v)
{
	struct list *l;

	list_for_each(l, &registry.targets)
	{
		struct scsi_target *t = container_of(l, struct scsi_target, link);

		if (t->volume == v) {
			t->refs++;
			return t;
		}
	}
	return NULL;
}

struct scsi_target *
scsi_target_find(struct cw_volume *v)
{
	struct scsi_target *t;

	pthread_mutex_lock(&registry.lock);
	t = find_locked(v);
	pthread_mutex_unlock(&registry.lock);
	return t;
}

static struct kept *
take_kept(const char *volume_id)
{
	struct list *l;

	list_for_each(l, &registry.kept)
	{
		struct kept *k = container_of(l, struct kept, link);

		if (strcmp(k->volume_id, volume_id) == 0) {
			list_del(l);
			registry.nkept--;
			return k;
		}
	}
	return NULL;
}

static void
free_kept(struct kept *k)
{
	if (k == NULL)
		return;
	free(k->text);
	free(k);
}

static void
keep(const struct scsi_target *t)
{
	struct kept *k;

	free_kept(take_kept(t->serial));
	if (t->pr->n == 0 && memcmp(&t->mode, &t->saved, sizeof(t->mode)) == 0)
		return;
	if (registry.nkept == KEPT_MAX) {
		k = container_of(registry.kept.next, struct kept, link);
		list_del(&k->link);
		registry.nkept--;
		free_kept(k);
	}
	k = xcalloc(1, sizeof(*k));
	memcpy(k->volume_id, t->serial, sizeof(k->volume_id));
	k->text = print_kept(t->pr, &t->mode);
	list_add_tail(&registry.kept, &k->link);
	registry.nkept++;
}

static struct scsi_target *
target_new(struct cw_volume *v)
{
	struct scsi_target *t = xcalloc(1, sizeof(*t));
	const char *id = cw_volume_id(v);
	char *text;

	cw_volume_get(v);
	t->volume = v;
	t->refs = 1;
	memcpy(t->serial, id, strnlen(id, sizeof(t->serial) - 1));
	t->naa = scsi_naa(t->serial);
	pthread_mutex_init(&t->change, NULL);
	pthread_mutex_init(&t->lock, NULL);
	list_init(&t->nexuses);
	t->pr = xcalloc(1, sizeof(*t->pr));
	text = cw_target_pr_load(v);
	t->has_saved_text = text != NULL && text[0] != '\0';
	parse_kept(t, text != NULL ? text : "");
	free(text);
	return t;
}

struct scsi_target *
scsi_target_get(struct cw_volume *v)
{
	struct scsi_target *t;
	struct kept *k;

	pthread_mutex_lock(&registry.loading);
	t = scsi_target_find(v);
	if (t != NULL)
		goto out;
	t = target_new(v);
	pthread_mutex_lock(&registry.lock);
	if (registry.workq == NULL && workq_new("scsi", WORKERS, &registry.workq) != 0)
		log_err("scsi.target", "no-threads", "what=\"cannot start workers\"");
	CW_ASSERT(registry.workq != NULL);
	k = take_kept(t->serial);
	if (k != NULL) {
		struct mode_values saved = t->saved;

		parse_kept(t, k->text);
		t->saved = saved;
		free_kept(k);
	}
	list_add_tail(&registry.targets, &t->link);
	pthread_mutex_unlock(&registry.lock);
out:
	pthread_mutex_unlock(&registry.loading);
	return t;
}

void
scsi_target_put(struct scsi_target *t)
{
	pthread_mutex_lock(&registry.lock);
	if (--t->refs > 0) {
		pthread_mutex_unlock(&registry.lock);
		return;
	}
	list_del(&t->link);
	keep(t);
	pthread_mutex_unlock(&registry.lock);
	cw_volume_put(t->volume);
	pthread_mutex_destroy(&t->change);
	pthread_mutex_destroy(&t->lock);
	free(t->pr);
	free(t);
}

void
scsi_stop(void)
{
	struct workq *q;

	pthread_mutex_lock(&registry.lock);
	q = registry.workq;
	registry.workq = NULL;
	while (!list_empty(&registry.kept)) {
		struct kept *k = container_of(registry.kept.next, struct kept, link);

		list_del(&k->link);
		free_kept(k);
	}
	registry.nkept = 0;
	pthread_mutex_unlock(&registry.lock);
	if (q != NULL)
		workq_free(q);
}

/* --- nexuses ------------------------------------------------------------------------------------ */

static enum scsi_limit
limit_of(const struct scsi_nexus *n)
{
	const struct scsi_target *t = n->target;
	int reg;

	if (t->spc2_holder != NULL && t->spc2_holder != n)
		return LIMIT_SPC2;
	reg = pr_find(t->pr, n->name, n->tag);
	if (pr_may_write(t->pr, reg))
		return LIMIT_NONE;
	return pr_may_read(t->pr, reg) ? LIMIT_WRITE_EXCLUSIVE : LIMIT_EXCLUSIVE_ACCESS;
}

void
scsi_limits_update(struct scsi_target *t)
{
	struct list *l;

	list_for_each(l, &t->nexuses)
	{
		struct scsi_nexus *n = container_of(l, struct scsi_nexus, link);

		atomic_store_explicit(&n->limit, limit_of(n), memory_order_release);
	}
}

struct scsi_nexus *
scsi_nexus_new(
    struct scsi_target *t, const char *initiator_port, uint16_t portal_group_tag, struct loop *loop)
{
	struct scsi_nexus *n = xcalloc(1, sizeof(*n));

	pthread_mutex_lock(&registry.lock);
	t->refs++;
	pthread_mutex_unlock(&registry.lock);
	n->target = t;
	atomic_init(&n->refs, 1);
	n->loop = loop;
	memcpy(n->name, initiator_port, strnlen(initiator_port, sizeof(n->name) - 1));
	n->tag = portal_group_tag;
	atomic_init(&n->seen_size, cw_volume_size(t->volume));
	list_init(&n->tasks);
	list_init(&n->tmf_waiters);
	scsi_ua_raise(n, UA_POWER_ON);
	pthread_mutex_lock(&t->lock);
	list_add_tail(&t->nexuses, &n->link);
	scsi_limits_update(t);
	pthread_mutex_unlock(&t->lock);
	return n;
}

void
scsi_nexus_ref(struct scsi_nexus *n)
{
	atomic_fetch_add(&n->refs, 1);
}

void
scsi_nexus_unref(struct scsi_nexus *n)
{
	if (atomic_fetch_sub(&n->refs, 1) != 1)
		return;
	scsi_target_put(n->target);
	free(n);
}

void
scsi_nexus_free(struct scsi_nexus *n)
{
	struct scsi_target *t = n->target;

	CW_ASSERT(list_empty(&n->tasks));
	n->is_gone = true;
	pthread_mutex_lock(&t->lock);
	list_del(&n->link);
	if (t->spc2_holder == n)
		t->spc2_holder = NULL;
	scsi_limits_update(t);
	pthread_mutex_unlock(&t->lock);
	scsi_nexus_unref(n);
}

void
scsi_nexus_changed(struct scsi_nexus *n)
{
	uint64_t size = cw_volume_size(n->target->volume);

	scsi_ua_raise(n,
	    atomic_exchange(&n->seen_size, size) != size ? UA_CAPACITY_CHANGED : UA_MODE_CHANGED);
}

struct cw_volume *
scsi_volume(const struct scsi_task *t)
{
	return t->nexus->target->volume;
}

uint32_t
scsi_block_bytes(const struct scsi_task *t)
{
	return cw_volume_conf(scsi_volume(t))->block_bytes;
}

uint64_t
scsi_blocks(const struct scsi_task *t)
{
	return cw_volume_size(scsi_volume(t)) / scsi_block_bytes(t);
}
