/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_set.c - all sessions of the server by name: who reinstates whom.  One mutex, never held
 * over anything but list walks and posts.
 */
#include <string.h>
#include <strings.h>

#include "frontends/iscsi/session.h"

void
iscsi_sessions_init(struct iscsi_sessions *set)
{
	pthread_mutex_init(&set->mutex, NULL);
	list_init(&set->list);
	list_init(&set->waiters);
	set->next_tsih = 1;
}

void
iscsi_sessions_destroy(struct iscsi_sessions *set)
{
	pthread_mutex_destroy(&set->mutex);
}

static struct iscsi_session *
at(struct list *pos)
{
	return container_of(pos, struct iscsi_session, link);
}

/* RFC 7143 4.4.1: an I_T nexus is initiator name, ISID, target name and portal group */
static bool
is_same_nexus(const struct iscsi_session *a, const struct iscsi_session *b)
{
	return memcmp(a->isid, b->isid, ISCSI_ISID_LEN) == 0 &&
	       strcasecmp(a->initiator, b->initiator) == 0 &&
	       strcasecmp(a->target_name, b->target_name) == 0;
}

static bool
is_tsih_used(const struct iscsi_sessions *set, uint16_t tsih)
{
	struct list *pos;

	list_for_each(pos, &set->list)
	{
		if (at(pos)->tsih == tsih)
			return true;
	}
	return false;
}

int
iscsi_sessions_claim(struct iscsi_sessions *set, struct iscsi_session *s, struct iscsi_waiter *w)
{
	struct list *pos;
	int err = 0;

	pthread_mutex_lock(&set->mutex);
	list_for_each(pos, &set->list)
	{
		if (!is_same_nexus(at(pos), s))
			continue;
		atomic_store(&at(pos)->wants_close, true);
		iscsi_session_signal(at(pos));
		err = -EAGAIN;
	}
	if (err == 0) {
		do {
			s->tsih = set->next_tsih++;
		} while (s->tsih == 0 || is_tsih_used(set, s->tsih));
		list_add_tail(&set->list, &s->link);
	} else {
		list_add_tail(&set->waiters, &w->link);
		w->is_linked = true;
	}
	pthread_mutex_unlock(&set->mutex);
	return err;
}

bool
iscsi_sessions_unwait(struct iscsi_sessions *set, struct iscsi_waiter *w)
{
	bool was_linked;

	pthread_mutex_lock(&set->mutex);
	was_linked = w->is_linked;
	if (was_linked)
		list_del(&w->link);
	w->is_linked = false;
	pthread_mutex_unlock(&set->mutex);
	return was_linked;
}

void
iscsi_sessions_leave(struct iscsi_sessions *set, struct iscsi_session *s)
{
	pthread_mutex_lock(&set->mutex);
	if (!list_empty(&s->link)) {
		list_del(&s->link);
		while (!list_empty(&set->waiters)) {
			struct iscsi_waiter *w =
			    container_of(set->waiters.next, struct iscsi_waiter, link);

			list_del(&w->link);
			w->is_linked = false;
			loop_post(w->loop, &w->task);
		}
	}
	pthread_mutex_unlock(&set->mutex);
}

bool
iscsi_sessions_find_tsih(
    struct iscsi_sessions *set, const char *initiator, const char *target, uint16_t tsih)
{
	bool is_there = false;
	struct list *pos;

	pthread_mutex_lock(&set->mutex);
	list_for_each(pos, &set->list)
	{
		struct iscsi_session *s = at(pos);

		if (s->tsih == tsih && strcasecmp(s->initiator, initiator) == 0 &&
		    strcasecmp(s->target_name, target) == 0)
			is_there = true;
	}
	pthread_mutex_unlock(&set->mutex);
	return is_there;
}

void
iscsi_sessions_drop_target(
    struct iscsi_sessions *set, const char *target, const struct iscsi_session *but)
{
	struct list *pos;

	pthread_mutex_lock(&set->mutex);
	list_for_each(pos, &set->list)
	{
		struct iscsi_session *s = at(pos);

		if (s == but || strcasecmp(s->target_name, target) != 0)
			continue;
		atomic_store(&s->wants_close, true);
		iscsi_session_signal(s);
	}
	pthread_mutex_unlock(&set->mutex);
}
