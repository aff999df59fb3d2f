/* SPDX-License-Identifier: Apache-2.0 */
/* target.c - who may log in to a volume and who is logged in; its persistent reservations. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/volume/volume_int.h"

void
volume_target_init(struct cw_volume *v, const struct cw_chap *chaps, size_t n)
{
	pthread_mutex_init(&v->target_lock, NULL);
	list_init(&v->sessions);
	if (n > 0)
		v->chaps = xmalloc(n * sizeof(*v->chaps));
	if (n > 0)
		memcpy(v->chaps, chaps, n * sizeof(*v->chaps));
	v->nchaps = n;
}

void
volume_target_free(struct cw_volume *v)
{
	if (v->chaps != NULL)
		explicit_bzero(v->chaps, v->nchaps * sizeof(*v->chaps));
	free(v->chaps);
	pthread_mutex_destroy(&v->target_lock);
}

/* --- credentials ----------------------------------------------------------------------------------- */

bool
cw_target_needs_chap(struct cw_volume *v)
{
	bool needs;

	pthread_mutex_lock(&v->target_lock);
	needs = v->nchaps > 0;
	pthread_mutex_unlock(&v->target_lock);
	return needs;
}

/* find_chap - target_lock held */
static struct cw_chap *
find_chap(struct cw_volume *v, const char *initiator)
{
	for (size_t i = 0; i < v->nchaps; i++) {
		if (strcasecmp(v->chaps[i].initiator, initiator) == 0)
			return &v->chaps[i];
	}
	return NULL;
}

int
cw_target_chap(struct cw_volume *v, const char *initiator, struct cw_chap *out)
{
	const struct cw_chap *c;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&v->target_lock);
	c = find_chap(v, initiator);
	if (c != NULL)
		*out = *c;
	pthread_mutex_unlock(&v->target_lock);
	return c != NULL ? 0 : -ENOENT;
}

/* end_sessions - of this initiator, or of all. target_lock held: end() does not block */
static void
end_sessions(struct cw_volume *v, const char *initiator)
{
	struct list *l, *tmp;

	list_for_each_safe(l, tmp, &v->sessions)
	{
		struct cw_target_session *s = container_of(l, struct cw_target_session, link);

		if (initiator == NULL || strcasecmp(s->initiator, initiator) == 0)
			s->end(s);
	}
}

void
cw_target_set_chap(struct cw_volume *v, const struct cw_chap *c)
{
	struct cw_chap *at;

	pthread_mutex_lock(&v->target_lock);
	at = find_chap(v, c->initiator);
	if (c->secret_initiator[0] == '\0') {
		if (at != NULL) {
			*at = v->chaps[v->nchaps - 1];
			explicit_bzero(&v->chaps[--v->nchaps], sizeof(*at));
		}
	} else {
		if (at == NULL) {
			v->chaps = xrealloc(v->chaps, (v->nchaps + 1) * sizeof(*v->chaps));
			at = &v->chaps[v->nchaps++];
		}
		*at = *c;
	}
	end_sessions(v, c->initiator);
	pthread_mutex_unlock(&v->target_lock);
}

/* --- sessions ---------------------------------------------------------------------------------------- */

void
cw_target_retire(struct cw_volume *v)
{
	pthread_mutex_lock(&v->target_lock);
	v->is_retired = true;
	end_sessions(v, NULL);
	pthread_mutex_unlock(&v->target_lock);
}

int
cw_target_session_add(struct cw_volume *v, struct cw_target_session *s)
{
	int err = 0;

	pthread_mutex_lock(&v->target_lock);
	if (v->is_closing || v->is_detaching || v->is_retired)
		err = -ESHUTDOWN;
	else
		list_add_tail(&v->sessions, &s->link);
	pthread_mutex_unlock(&v->target_lock);
	return err;
}

void
cw_target_session_del(struct cw_volume *v, struct cw_target_session *s)
{
	pthread_mutex_lock(&v->target_lock);
	list_del(&s->link);
	pthread_mutex_unlock(&v->target_lock);
}

void
cw_target_each_session(
    struct cw_volume *v, void (*fn)(void *arg, const struct cw_target_session *s), void *arg)
{
	struct list *l;

	pthread_mutex_lock(&v->target_lock);
	list_for_each(l, &v->sessions) fn(arg, container_of(l, struct cw_target_session, link));
	pthread_mutex_unlock(&v->target_lock);
}

void
volume_target_changed(struct cw_volume *v)
{
	struct list *l;

	pthread_mutex_lock(&v->target_lock);
	list_for_each(l, &v->sessions)
	{
		struct cw_target_session *s = container_of(l, struct cw_target_session, link);

		s->changed(s);
	}
	pthread_mutex_unlock(&v->target_lock);
}

void
volume_target_end_all(struct cw_volume *v)
{
	pthread_mutex_lock(&v->target_lock);
	end_sessions(v, NULL);
	pthread_mutex_unlock(&v->target_lock);
}

/* --- persistent reservations --------------------------------------------------------------------------- */

char *
cw_target_pr_load(struct cw_volume *v)
{
	char *text = NULL;

	if (!volume_enter(v))
		return NULL;
	cache_space_lock(v->space);
	if (v->row.pr != NULL)
		text = xstrdup(v->row.pr);
	cache_space_unlock(v->space);
	volume_leave(v);
	return text;
}

int
cw_target_pr_save(struct cw_volume *v, const char *text)
{
	int err;

	json_t *probe = json_string(text != NULL ? text : "");

	if (probe == NULL) /* not UTF-8: the row could not hold it */
		return -EINVAL;
	json_decref(probe);
	if (!volume_enter(v))
		return -ESHUTDOWN;
	cache_space_lock(v->space);
	free(v->row.pr);
	v->row.pr = text == NULL || text[0] == '\0' ? NULL : xstrdup(text);
	volume_row_changed(v);
	cache_space_unlock(v->space);
	err = cache_commit_sync(v->space);
	volume_leave(v);
	return err;
}
