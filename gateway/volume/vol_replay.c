/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/volume/vol_replay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"

#define EPOCH_OBJECTS_MAX (1u << 22)

/* ---- single objects ---- */

static int
damaged(struct vol_err *e, const char *key, const char *why)
{
	vol_err_set(e, "%s: damaged: %s", key, why);
	log_err("gateway.volume", "damaged", "key=\"%s\" why=\"%s\"", key, why);
	return -ERR_CHECKSUM;
}

/* get - a whole object; trouble is said in *e. */
static int
get(struct objstore *s, const char *key, uint64_t max, char **data, size_t *len, struct vol_err *e)
{
	int err = vol_get(s, key, max, data, len, NULL);

	if (err == -EFBIG)
		return damaged(e, key, "too long");
	if (err < 0)
		vol_err_set(e, "%s: %s", key, err_str(err));
	return err;
}

int
vol_read_info(
    struct objstore *s, const char *prefix, const char *id, struct vol_info *out, struct vol_err *e)
{
	char key[VOL_KEY_MAX], *text;
	size_t len;
	int err;

	memset(out, 0, sizeof(*out));
	vol_key(key, prefix, id, "volume.json");
	err = get(s, key, VOL_JSON_MAX, &text, &len, e);
	if (err < 0)
		return err;
	if (vol_info_decode(text, len, out) < 0)
		err = damaged(e, key, "not the description of a volume");
	else if (strcmp(out->id, id) != 0)
		err = damaged(e, key, "it describes another volume");
	free(text);
	return err;
}

int
vol_read_map(const struct vol_place *pl, uint32_t term, uint64_t epoch, struct vol_image *im,
    struct vol_ckpt *head, uint64_t *bytes, struct vol_err *e)
{
	char key[VOL_KEY_MAX], *data;
	const char *why = NULL;
	size_t len;
	int err;

	vol_key_map(key, pl->prefix, pl->id, term, epoch);
	err = get(pl->store, key, VOL_OBJECT_MAX, &data, &len, e);
	if (err < 0)
		return err;
	if (bytes != NULL)
		*bytes = len;
	err = vol_ckpt_decode(data, len, im, head, &why);
	free(data);
	if (err < 0)
		return damaged(e, key, why);
	if (im->at.epoch != epoch || head->term != term)
		why = "it is that of another epoch";
	else if (memcmp(im->uuid, pl->uuid, VOL_UUID_LEN) != 0)
		why = "it belongs to another volume";
	if (why == NULL)
		return 0;
	vol_image_free(im);
	return damaged(e, key, why);
}

/* ---- commits ---- */

bool
vol_commit_covers(const struct vol_log *commit, uint64_t seq)
{
	for (uint32_t i = 0; i < commit->nranges; i++)
		if (seq >= commit->ranges[i].seq &&
		    seq - commit->ranges[i].seq < commit->ranges[i].count)
			return true;
	return false;
}

uint64_t
vol_commit_count(const struct vol_log *commit)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < commit->nranges; i++)
		n += commit->ranges[i].count;
	return n;
}

int
vol_apply_logs(struct vol_image *im, struct vol_log *logs, size_t n, struct vol_err *e)
{
	const struct vol_log **refs = xcalloc(n, sizeof(*refs));
	struct vol_update *u;
	const char *why;
	int err;

	for (size_t i = 0; i < n; i++)
		refs[i] = &logs[i];
	err = vol_update_new(im, refs, n, &u, &why);
	if (err == 0)
		vol_update_apply(u);
	else
		vol_err_set(e, "log/%08" PRIx32 "-%016" PRIx64 " (epoch %" PRIu64 "): %s",
		    n > 0 ? logs[n - 1].term : 0, n > 0 ? logs[n - 1].seq : 0, im->at.epoch + 1,
		    why);
	vol_update_free(u);
	free(refs);
	return err;
}

/* ---- the chain behind a checkpoint ---- */

struct scan {
	const struct vol_place *pl;
	struct vol_names names;
	struct vol_log *logs;
	const char **why_bad;
	uint32_t cap_term; /* objects of lower terms count up to cap_epoch only */
	uint64_t cap_epoch;
};

static bool
counts(const struct scan *s, size_t i)
{
	const struct vol_log *l = &s->logs[i];

	return s->why_bad[i] == NULL && (l->term >= s->cap_term || l->epoch <= s->cap_epoch);
}

static int
find(const struct scan *s, uint32_t term, uint64_t seq, size_t *out)
{
	size_t lo = 0, hi = s->names.n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct vol_name *n = &s->names.v[mid];

		if (n->term < term || (n->term == term && n->seq < seq))
			lo = mid + 1;
		else
			hi = mid;
	}
	*out = lo;
	if (lo < s->names.n && s->names.v[lo].term == term && s->names.v[lo].seq == seq)
		return 0;
	return -ENOENT;
}

/* reaches - does the chain that ends with this commit begin at the image? chain[0..*n) gets it,
 * the last first; its room is as many as there are names. */
static bool
reaches(const struct scan *s, const struct vol_image *im, size_t tip, size_t *chain, size_t *n)
{
	*n = 0;
	for (size_t i = tip;;) {
		const struct vol_log *l = &s->logs[i];

		if (*n == s->names.n || !counts(s, i) || !vol_log_is_commit(l))
			return false;
		chain[(*n)++] = i;
		if (l->epoch == im->at.epoch + 1)
			return l->prev_term == im->at.term && l->prev_seq == im->at.seq;
		if (l->epoch <= im->at.epoch || find(s, l->prev_term, l->prev_seq, &i) < 0 ||
		    s->logs[i].epoch + 1 != l->epoch)
			return false;
	}
}

static bool
is_later(const struct vol_log *a, const struct vol_log *b)
{
	if (a->term != b->term)
		return a->term > b->term;
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	return a->seq > b->seq;
}

/* find_chain - of all commits whose chain begins at the image the latest. */
static size_t
find_chain(const struct scan *s, const struct vol_image *im, size_t *chain)
{
	size_t *try = xcalloc(s->names.n + 1, sizeof(*try)), n = 0, best = 0;

	for (size_t i = s->names.n; i-- > 0;) {
		const struct vol_log *l = &s->logs[i];

		if (!counts(s, i) || !vol_log_is_commit(l) || l->epoch <= im->at.epoch ||
		    (best > 0 && !is_later(l, &s->logs[chain[0]])) || !reaches(s, im, i, try, &n))
			continue;
		memcpy(chain, try, n * sizeof(*chain));
		best = n;
	}
	free(try);
	return best;
}

static int
apply_commit(
    const struct scan *s, struct vol_image *im, size_t commit, uint64_t *bytes, struct vol_err *e)
{
	const struct vol_log *c = &s->logs[commit];
	uint64_t want = vol_commit_count(c);
	struct vol_log *logs;
	size_t n = 0;
	int err = 0;

	if (want > s->names.n) {
		vol_err_set(e, "epoch %" PRIu64 ": log objects are missing", c->epoch);
		return -ERR_CHECKSUM;
	}
	logs = xcalloc(want, sizeof(*logs));
	for (uint32_t i = 0; err == 0 && i < c->nranges; i++) {
		for (uint64_t k = 0; err == 0 && k < c->ranges[i].count; k++) {
			char key[VOL_KEY_MAX];
			size_t at;

			vol_key_log(key, s->pl->prefix, s->pl->id, c->term, c->ranges[i].seq + k);
			if (find(s, c->term, c->ranges[i].seq + k, &at) < 0)
				err = damaged(e, key, "it is missing");
			else if (s->why_bad[at] != NULL)
				err = damaged(e, key, s->why_bad[at]);
			else
				logs[n++] = s->logs[at]; /* the arrays stay the scan's */
		}
	}
	for (size_t i = 0; i < n; i++)
		*bytes += logs[i].object_bytes;
	if (err == 0)
		err = vol_apply_logs(im, logs, n, e);
	free(logs);
	return err;
}

/* check_rest - a damaged object behind the last commit might be another one. */
static int
check_rest(const struct scan *s, const struct vol_image *im, struct vol_err *e)
{
	for (size_t i = 0; i < s->names.n; i++) {
		const struct vol_name *n = &s->names.v[i];
		char key[VOL_KEY_MAX];

		if (s->why_bad[i] == NULL || n->term < s->cap_term)
			continue;
		if (n->term < im->at.term || (n->term == im->at.term && n->seq < im->at.seq))
			continue;
		vol_key_log(key, s->pl->prefix, s->pl->id, n->term, n->seq);
		return damaged(e, key, s->why_bad[i]);
	}
	return 0;
}

static void
scan_free(struct scan *s)
{
	for (size_t i = 0; s->logs != NULL && i < s->names.n; i++)
		vol_log_free(&s->logs[i]);
	free(s->logs);
	free(s->why_bad);
	vol_names_free(&s->names);
}

/* replay - bring im from its checkpoint to the last commit. */
static int
replay(struct scan *s, struct vol_image *im, const struct vol_ckpt *head, struct vol_found *found,
    struct vol_err *e)
{
	size_t *chain, n;
	int err = vol_list_names(s->pl, "log/", head->term, head->floor, &s->names);

	if (err < 0) {
		vol_err_set(e, "%s%s/log/: %s", s->pl->prefix, s->pl->id, err_str(err));
		return err;
	}
	s->logs = xcalloc(s->names.n + 1, sizeof(*s->logs));
	s->why_bad = xcalloc(s->names.n + 1, sizeof(*s->why_bad));
	chain = xcalloc(s->names.n + 1, sizeof(*chain));
	err = vol_read_logs(s->pl, s->names.v, s->names.n, s->logs, s->why_bad, e);
	n = err == 0 ? find_chain(s, im, chain) : 0;
	while (err == 0 && n > 0)
		err = apply_commit(s, im, chain[--n], &found->log_bytes, e);
	if (err == 0)
		err = check_rest(s, im, e);
	free(chain);
	return err;
}

int
vol_replay_now(
    const struct vol_place *pl, struct vol_image *im, struct vol_found *found, struct vol_err *e)
{
	struct scan s = {.pl = pl};
	struct vol_names maps;
	struct vol_ckpt head;
	int err = vol_list_names(pl, "map/", 0, 0, &maps);
	size_t i;

	memset(found, 0, sizeof(*found));
	if (err < 0) {
		vol_err_set(e, "%s%s/map/: %s", pl->prefix, pl->id, err_str(err));
		return err;
	}
	err = -ENOENT;
	vol_err_set(e, "%s%s: no checkpoint", pl->prefix, pl->id);
	for (i = maps.n; i-- > 0;) {
		const struct vol_name *m = &maps.v[i];

		err = vol_read_map(pl, m->term, m->seq, im, &head, &found->map_bytes, e);
		if (err != -ERR_CHECKSUM)
			break;
		found->is_map_damaged = true;
		if (s.cap_term == 0) {
			s.cap_term = m->term;
			s.cap_epoch = m->seq;
		}
	}
	if (err == 0) {
		found->term = maps.v[maps.n - 1].term;
		found->map_term = maps.v[i].term;
		found->map_epoch = maps.v[i].seq;
		err = replay(&s, im, &head, found, e);
		if (err < 0)
			vol_image_free(im);
		scan_free(&s);
	}
	vol_names_free(&maps);
	return err;
}

/* ---- an earlier epoch ---- */

/* find_map - the newest checkpoint of the line of `now` that is not behind the epoch. */
static int
find_map(const struct vol_place *pl, const struct vol_image *now, uint64_t epoch,
    struct vol_image *im, struct vol_err *e)
{
	struct vol_names maps;
	struct vol_ckpt head;
	uint64_t below = epoch + 1;
	int err = vol_list_names(pl, "map/", 0, 0, &maps);

	while (err == 0 && below > 0) {
		const struct vol_point *p;
		const struct vol_name *best = NULL;

		for (size_t i = 0; i < maps.n; i++)
			if (maps.v[i].seq < below && (best == NULL || maps.v[i].seq >= best->seq))
				best = &maps.v[i]; /* equal epochs: the higher term comes later */
		if (best == NULL) {
			vol_err_set(e, "%s%s: no checkpoint before epoch %" PRIu64, pl->prefix,
			    pl->id, epoch);
			err = -ENOENT;
			break;
		}
		below = best->seq;
		p = vol_image_point(now, best->seq);
		if (p == NULL)
			continue;
		err = vol_read_map(pl, best->term, best->seq, im, &head, NULL, e);
		if (err == 0 && im->at.term == p->term && im->at.seq == p->seq)
			break;
		if (err == 0)
			vol_image_free(im); /* of another line */
		else if (err == -ERR_CHECKSUM || err == -ENOENT)
			err = 0; /* an older one will do */
	}
	vol_names_free(&maps);
	return err;
}

/* step - apply the epoch whose commit the point names. */
static int
step(const struct vol_place *pl, const struct vol_point *p, struct vol_image *im, struct vol_err *e)
{
	struct vol_name name = {.term = p->term, .seq = p->seq}, *names;
	struct vol_log commit, *logs;
	size_t n = 0, count;
	int err = vol_read_logs(pl, &name, 1, &commit, NULL, e);

	if (err < 0)
		return err == -ENOENT ? -ERR_CHECKSUM : err;
	count = (size_t)vol_commit_count(&commit);
	if (count == 0 || count > EPOCH_OBJECTS_MAX) {
		vol_log_free(&commit);
		vol_err_set(e, "epoch %" PRIu64 ": its commit is none", p->epoch);
		return -ERR_CHECKSUM;
	}
	names = xcalloc(count, sizeof(*names));
	logs = xcalloc(count, sizeof(*logs));
	for (uint32_t i = 0; i < commit.nranges; i++)
		for (uint64_t k = 0; k < commit.ranges[i].count; k++)
			names[n++] =
			    (struct vol_name){.term = p->term, .seq = commit.ranges[i].seq + k};
	err = vol_read_logs(pl, names, n, logs, NULL, e);
	if (err == 0)
		err = vol_apply_logs(im, logs, n, e);
	for (size_t i = 0; i < n; i++)
		vol_log_free(&logs[i]);
	free(logs);
	free(names);
	vol_log_free(&commit);
	return err == -ENOENT ? -ERR_CHECKSUM : err;
}

int
vol_replay_at(const struct vol_place *pl, const struct vol_image *now, uint64_t epoch,
    struct vol_image *im, struct vol_err *e)
{
	int err;

	if (vol_image_point(now, epoch) == NULL) {
		vol_err_set(e, "%s%s: epoch %" PRIu64 " is not kept", pl->prefix, pl->id, epoch);
		return -ENOENT;
	}
	err = find_map(pl, now, epoch, im, e);
	if (err < 0)
		return err;
	while (err == 0 && im->at.epoch < epoch) {
		const struct vol_point *p = vol_image_point(now, im->at.epoch + 1);

		if (p == NULL) {
			vol_err_set(e, "epoch %" PRIu64 " is not kept", im->at.epoch + 1);
			err = -ENOENT;
		} else {
			err = step(pl, p, im, e);
		}
	}
	if (err < 0)
		vol_image_free(im);
	return err;
}

int
vol_replay_snapshot(const struct vol_place *pl, const char *snapshot, struct vol_image *im,
    struct vol_pin *pin, struct vol_err *e)
{
	char key[VOL_KEY_MAX], *text;
	struct vol_ckpt head;
	struct vol_pin p;
	size_t len;
	int err;

	vol_key_snap(key, pl->prefix, pl->id, snapshot);
	err = get(pl->store, key, VOL_JSON_MAX, &text, &len, e);
	if (err < 0)
		return err;
	err = vol_pin_decode(text, len, &p);
	free(text);
	if (err < 0)
		return damaged(e, key, "not the manifest of a snapshot");
	if (p.is_clone || strcmp(p.id, snapshot) != 0 || strcmp(p.volume, pl->id) != 0)
		err = damaged(e, key, "it is that of something else");
	if (err == 0)
		err = vol_read_map(pl, p.map_term, p.map_epoch, im, &head, NULL, e);
	if (err == -ENOENT)
		err = damaged(e, key, "its checkpoint is missing");
	if (err == 0 && pin != NULL)
		*pin = p;
	else
		free(p.description);
	return err;
}
