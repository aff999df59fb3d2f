/* SPDX-License-Identifier: Apache-2.0 */
/* pr.c - the rules of persistent reservations. */
#include "frontends/scsi/pr.h"

#include <string.h>
#include <strings.h>

int
pr_find(const struct pr_state *s, const char *name, uint16_t port)
{
	for (int i = 0; i < s->n; i++) {
		if ((s->regs[i].is_all_ports || s->regs[i].port == port) &&
		    strcasecmp(s->regs[i].name, name) == 0)
			return i;
	}
	return -1;
}

bool
pr_type_is_valid(uint8_t type)
{
	return type == PR_WRITE_EXCLUSIVE || type == PR_EXCLUSIVE_ACCESS ||
	       (type >= PR_WRITE_EXCLUSIVE_RO && type <= PR_EXCLUSIVE_ACCESS_AR);
}

bool
pr_type_is_all_registrants(enum pr_type type)
{
	return type == PR_WRITE_EXCLUSIVE_AR || type == PR_EXCLUSIVE_ACCESS_AR;
}

static bool
is_for_registrants(enum pr_type type)
{
	return type >= PR_WRITE_EXCLUSIVE_RO;
}

bool
pr_is_holder(const struct pr_state *s, int reg)
{
	if (s->type == PR_NONE || reg < 0)
		return false;
	return pr_type_is_all_registrants(s->type) || s->holder == reg;
}

bool
pr_may_write(const struct pr_state *s, int reg)
{
	if (s->type == PR_NONE || pr_is_holder(s, reg))
		return true;
	return is_for_registrants(s->type) && reg >= 0;
}

bool
pr_may_read(const struct pr_state *s, int reg)
{
	return s->type == PR_WRITE_EXCLUSIVE || s->type == PR_WRITE_EXCLUSIVE_RO ||
	       s->type == PR_WRITE_EXCLUSIVE_AR || pr_may_write(s, reg);
}

bool
pr_check(const struct pr_state *s)
{
	if (s->n < 0 || s->n > PR_REGS_MAX)
		return false;
	for (int i = 0; i < s->n; i++) {
		if (s->regs[i].key == 0 || memchr(s->regs[i].name, '\0', PR_NAME_MAX) == NULL)
			return false;
		for (int j = 0; j < i; j++) {
			if (strcasecmp(s->regs[i].name, s->regs[j].name) == 0 &&
			    (s->regs[i].is_all_ports || s->regs[j].is_all_ports ||
				s->regs[i].port == s->regs[j].port))
				return false;
		}
	}
	if (s->type == PR_NONE)
		return s->holder == -1;
	if (!pr_type_is_valid((uint8_t)s->type))
		return false;
	if (pr_type_is_all_registrants(s->type))
		return s->holder == -1 && s->n > 0;
	return s->holder >= 0 && s->holder < s->n;
}

/* --- changes ------------------------------------------------------------------------------------ */

/* One change under way: regs[] keep their indices until the end, so that effects can name them. */
struct change {
	struct pr_state *s;
	struct pr_effects *fx;
	int me, nbefore;
	bool is_gone[PR_REGS_MAX];
};

static void
tell_others(struct change *c, enum scsi_ua ua)
{
	for (int i = 0; i < c->nbefore; i++) {
		if (i != c->me && !c->is_gone[i] && c->fx->ua[i] == UA_NONE)
			c->fx->ua[i] = (uint8_t)ua;
	}
}

static void
end_reservation(struct change *c)
{
	c->s->type = PR_NONE;
	c->s->holder = -1;
}

static int
count_left(const struct change *c)
{
	int left = 0;

	for (int i = 0; i < c->nbefore; i++)
		left += !c->is_gone[i];
	return left;
}

static void
unregister(struct change *c, int reg)
{
	enum pr_type type = c->s->type;

	c->is_gone[reg] = true;
	if (pr_type_is_all_registrants(type)) {
		if (count_left(c) == 0)
			end_reservation(c);
	} else if (type != PR_NONE && c->s->holder == reg) {
		end_reservation(c);
		if (is_for_registrants(type))
			tell_others(c, UA_RESERVATIONS_RELEASED);
	}
}

/* Take the gone ones out; the holder's index moves with them. */
static void
compact(struct change *c)
{
	struct pr_state *s = c->s;
	int to = 0, holder = -1;

	for (int i = 0; i < s->n; i++) {
		if (i < c->nbefore && c->is_gone[i])
			continue;
		if (i == s->holder)
			holder = to;
		if (to != i)
			s->regs[to] = s->regs[i];
		to++;
	}
	if (to < s->n) /* no stale names in what is compared or printed */
		memset(&s->regs[to], 0, (size_t)(s->n - to) * sizeof(s->regs[0]));
	s->n = to;
	s->holder = holder;
}

static enum pr_verdict
add(struct pr_state *s, const char *name, uint16_t port, bool is_all_ports, uint64_t key)
{
	struct pr_reg *r;

	for (int i = 0; i < s->n;
	     i++) { /* a registration for all ports takes in those of single ones */
		if (strcasecmp(s->regs[i].name, name) == 0 &&
		    (is_all_ports || s->regs[i].is_all_ports || s->regs[i].port == port))
			return PR_CONFLICT;
	}
	if (s->n == PR_REGS_MAX)
		return PR_NO_ROOM;
	r = &s->regs[s->n++];
	memset(r, 0, sizeof(*r));
	r->key = key;
	r->port = port;
	r->is_all_ports = is_all_ports;
	memcpy(r->name, name, strnlen(name, PR_NAME_MAX - 1));
	return PR_OK;
}

/* SPC-4 5.13.7 and table 67: REGISTER, REGISTER AND IGNORE EXISTING KEY */
static enum pr_verdict
do_register(struct change *c, const struct pr_request *r, const struct pr_who *who)
{
	struct pr_state *s = c->s;
	enum pr_verdict v;

	if (r->action == PR_REGISTER && r->key != (c->me >= 0 ? s->regs[c->me].key : 0))
		return PR_CONFLICT;
	if (r->is_spec_i_pt && (c->me >= 0 || r->action == PR_REGISTER_IGNORE))
		return PR_INVALID_CDB;
	if (c->me < 0) {
		if (r->new_key == 0)
			return PR_OK; /* nothing to do, and not counted */
		v = add(s, who->name, who->port, r->is_all_ports, r->new_key);
		for (unsigned int i = 0; v == PR_OK && i < r->nspec; i++) {
			v = add(s, r->spec[i], who->port, r->is_all_ports, r->new_key);
			if (v == PR_CONFLICT)
				v = PR_INVALID_LIST;
		}
		if (v != PR_OK)
			return v;
	} else if (r->new_key == 0) {
		unregister(c, c->me);
	} else {
		s->regs[c->me].key = r->new_key;
	}
	s->is_aptpl = r->is_aptpl;
	s->generation++;
	c->fx->has_changed = true;
	return PR_OK;
}

/* 5.13.9 */
static enum pr_verdict
do_reserve(struct change *c, const struct pr_request *r)
{
	struct pr_state *s = c->s;

	if (s->type != PR_NONE)
		return pr_is_holder(s, c->me) && s->type == (enum pr_type)r->type ? PR_OK
										  : PR_CONFLICT;
	s->type = (enum pr_type)r->type;
	s->holder = pr_type_is_all_registrants(s->type) ? -1 : c->me;
	c->fx->has_changed = true;
	return PR_OK;
}

/* 5.13.11.2 */
static enum pr_verdict
do_release(struct change *c, const struct pr_request *r)
{
	struct pr_state *s = c->s;
	bool has_notice = is_for_registrants(s->type);

	if (!pr_is_holder(s, c->me))
		return PR_OK;
	if (s->type != (enum pr_type)r->type)
		return PR_INVALID_RELEASE;
	end_reservation(c);
	if (has_notice)
		tell_others(c, UA_RESERVATIONS_RELEASED);
	c->fx->has_changed = true;
	return PR_OK;
}

/* 5.13.11.5 */
static enum pr_verdict
do_clear(struct change *c)
{
	end_reservation(c);
	tell_others(c, UA_RESERVATIONS_PREEMPTED);
	for (int i = 0; i < c->nbefore; i++)
		c->is_gone[i] = true;
	c->s->generation++;
	c->fx->has_changed = true;
	return PR_OK;
}

/* 5.13.11.4: remove the registrations with this key (0: all but mine). keep_me: the reservation passes to me */
static int
remove_key(struct change *c, uint64_t key, bool keep_me, bool has_abort)
{
	int removed = 0;

	for (int i = 0; i < c->nbefore; i++) {
		if (i == c->me && (keep_me || key == 0))
			continue;
		if (key != 0 && c->s->regs[i].key != key)
			continue;
		removed++;
		if (i != c->me)
			c->fx->ua[i] = UA_REGISTRATIONS_PREEMPTED;
		c->fx->is_aborted[i] = has_abort && i != c->me;
		c->fx->has_abort |= c->fx->is_aborted[i];
		c->is_gone[i] = true;
	}
	return removed;
}

/* 5.13.11.4, PREEMPT, and 5.13.11.4.5, PREEMPT AND ABORT */
static enum pr_verdict
do_preempt(struct change *c, const struct pr_request *r)
{
	struct pr_state *s = c->s;
	bool has_abort = r->action == PR_PREEMPT_ABORT;
	enum pr_type old = s->type;
	bool is_taken; /* the reservation passes to me */

	if (pr_type_is_all_registrants(old))
		is_taken = r->new_key == 0;
	else
		is_taken = old != PR_NONE && s->regs[s->holder].key == r->new_key;
	if (r->new_key == 0 && !is_taken)
		return PR_INVALID_LIST;
	if (is_taken && (r->scope != 0 || !pr_type_is_valid(r->type)))
		return PR_INVALID_CDB;
	if (remove_key(c, r->new_key, is_taken, has_abort) == 0 && !is_taken)
		return PR_CONFLICT;
	if (is_taken) {
		s->type = (enum pr_type)r->type;
		s->holder = pr_type_is_all_registrants(s->type) ? -1 : c->me;
		if (s->type != old)
			tell_others(c, UA_RESERVATIONS_RELEASED);
	} else if (pr_type_is_all_registrants(old) && count_left(c) == 0) {
		end_reservation(c);
	}
	s->generation++;
	c->fx->has_changed = true;
	return PR_OK;
}

/* 5.13.8 */
static enum pr_verdict
do_move(struct change *c, const struct pr_request *r)
{
	struct pr_state *s = c->s;
	int to;
	enum pr_verdict v;

	if (s->type == PR_NONE || pr_type_is_all_registrants(s->type) || s->holder != c->me)
		return PR_CONFLICT;
	if (r->new_key == 0 || r->nspec != 1)
		return PR_INVALID_LIST;
	to = pr_find(s, r->spec[0], r->move_port);
	if (to == c->me)
		return PR_INVALID_LIST;
	if (to >= 0) {
		s->regs[to].key = r->new_key;
	} else {
		v = add(s, r->spec[0], r->move_port, false, r->new_key);
		if (v != PR_OK)
			return v;
		to = s->n - 1;
	}
	s->holder = to;
	if (r->is_unreg)
		c->is_gone[c->me] = true;
	s->is_aptpl = r->is_aptpl;
	s->generation++;
	c->fx->has_changed = true;
	return PR_OK;
}

static enum pr_verdict
dispatch(struct change *c, const struct pr_request *r, const struct pr_who *who)
{
	if (r->action == PR_REGISTER || r->action == PR_REGISTER_IGNORE)
		return do_register(c, r, who);
	if (c->me < 0 || c->s->regs[c->me].key != r->key)
		return PR_CONFLICT;
	switch (r->action) {
	case PR_RESERVE:
	case PR_RELEASE:
		if (r->scope != 0 || !pr_type_is_valid(r->type))
			return PR_INVALID_CDB;
		return r->action == PR_RESERVE ? do_reserve(c, r) : do_release(c, r);
	case PR_CLEAR:
		return do_clear(c);
	case PR_PREEMPT:
	case PR_PREEMPT_ABORT:
		return do_preempt(c, r);
	case PR_REGISTER_MOVE:
		return do_move(c, r);
	default:
		return PR_INVALID_CDB;
	}
}

enum pr_verdict
pr_apply(
    struct pr_state *s, const struct pr_request *r, const struct pr_who *who, struct pr_effects *fx)
{
	struct change c = {.s = s, .fx = fx, .nbefore = s->n};
	int n = s->n;
	enum pr_verdict v;

	memset(fx, 0, sizeof(*fx));
	memset(fx->ua, UA_NONE, sizeof(fx->ua));
	c.me = pr_find(s, who->name, who->port);
	v = dispatch(&c, r, who);
	if (v != PR_OK) {
		if (s->n > n) { /* what was added goes; nothing else changes before a refusal */
			memset(&s->regs[n], 0, (size_t)(s->n - n) * sizeof(s->regs[0]));
			s->n = n;
		}
		memset(fx, 0, sizeof(*fx));
		memset(fx->ua, UA_NONE, sizeof(fx->ua));
		return v;
	}
	compact(&c);
	return PR_OK;
}
