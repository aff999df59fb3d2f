/* SPDX-License-Identifier: Apache-2.0 */
/* op_util.c - the parts that the code of each op is made of. */
#include <string.h>
#include <sys/stat.h>

#include "gateway/base/clock.h"
#include "gateway/base/strbuf.h"
#include "gateway/op_int.h"
#include "gateway/perm.h"

/* --- finding nodes ----------------------------------------------------------------------------- */

int
op_node(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out)
{
	struct node *n = node_by_ino(op->share, ino);

	*out = NULL;
	if (n == NULL || (gen != 0 && n->gen != gen))
		return -ESTALE;
	if ((n->flags & NODE_REMOVED) && n->nopen == 0)
		return -ESTALE;
	*out = n;
	return 0;
}

int
op_need_meta(struct cw_op *op, struct node *n)
{
	if (n->flags & NODE_REMOVED)
		return 0;
	if ((n->flags & NODE_META_UNKNOWN) && remote_need_meta(op->share, n, op))
		return OP_PENDING;
	return 0;
}

int
op_node_meta(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out)
{
	int r = op_node(op, ino, gen, out);

	return r < 0 ? r : op_need_meta(op, *out);
}

int
op_dir(struct cw_op *op, uint64_t ino, uint32_t gen, struct node **out)
{
	int r = op_node(op, ino, gen, out);

	if (r < 0)
		return r;
	if (!S_ISDIR((*out)->mode))
		return -ENOTDIR;
	return op_need_meta(op, *out);
}

int
op_find(struct cw_op *op, struct node *dir, const char *name, struct node **out)
{
	*out = NULL;
	if (dir->flags & NODE_REMOVED)
		return 0;
	if (remote_need_listing(op->share, dir, op))
		return OP_PENDING;
	*out = node_child(op->share, dir, name, strlen(name));
	return *out != NULL ? op_need_meta(op, *out) : 0;
}

/* utf8_ok - is s well-formed UTF-8? Keys in a bucket have to be.
 * source: RFC 3629 section 4 */
static bool
utf8_ok(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;
	unsigned int more, i;
	uint32_t c;

	while (*p != 0) {
		if (*p < 0x80) {
			p++;
			continue;
		}
		if (*p >= 0xc2 && *p <= 0xdf)
			more = 1;
		else if ((*p & 0xf0) == 0xe0)
			more = 2;
		else if (*p >= 0xf0 && *p <= 0xf4)
			more = 3;
		else
			return false;
		c = *p++ & (0x3fu >> more);
		for (i = 0; i < more; i++, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*p & 0x3f);
		}
		if ((more == 2 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff))) ||
		    (more == 3 && (c < 0x10000 || c > 0x10ffff)))
			return false;
	}
	return true;
}

int
op_name_check(const char *name)
{
	size_t len;

	if (name == NULL || name[0] == '\0' || strchr(name, '/') != NULL)
		return -EINVAL;
	len = strlen(name);
	if (len > CW_NAME_MAX)
		return -ENAMETOOLONG;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EEXIST;
	return utf8_ok(name) ? 0 : -EINVAL;
}

int
op_writable(const struct cw_op *op)
{
	return op->share->conf.read_only ? -EROFS : 0;
}

/* --- answers ----------------------------------------------------------------------------------- */

void
op_wcc_begin(struct cw_op *op, unsigned int i, const struct node *n)
{
	struct cw_wcc *w = &op->wcc[i];

	op_wcc_end(op, i, n);
	w->has_pre = true;
	w->pre_size = w->post.size;
	w->pre_mtime_ns = w->post.mtime_ns;
	w->pre_ctime_ns = w->post.ctime_ns;
}

void
op_wcc_end(struct cw_op *op, unsigned int i, const struct node *n)
{
	node_attr(op->share, n, &op->wcc[i].post);
	op->wcc[i].has_post = true;
}

void
op_set_attr(struct cw_op *op, const struct node *n)
{
	node_attr(op->share, n, &op->attr);
	op->has_attr = true;
}

/* --- changes ----------------------------------------------------------------------------------- */

/* is_told - does the reconciler hear of n? Not of what was unlinked; and when the share closes it
 * finds the duty by the row's sequence numbers at the next start. */
static bool
is_told(const struct cw_share *s, struct node *n)
{
	n->changed_ms = clock_mono_ms();
	if (n->flags & NODE_REMOVED)
		return false;
	if (n->dirty_since_ns == 0 && s->closing)
		n->dirty_since_ns = clock_real_ns();
	return !s->closing;
}

void
op_data_changed(struct cw_share *s, struct node *n)
{
	n->data_seq++;
	if (is_told(s, n))
		sync_data_changed(s, n);
	node_changed(s, n);
}

void
op_attr_changed(struct cw_share *s, struct node *n)
{
	n->attr_seq++;
	if (is_told(s, n))
		sync_attr_changed(s, n);
	node_changed(s, n);
}

void
op_entries_changed(struct cw_share *s, struct node *dir)
{
	node_touch(dir, true);
	/* The root has no object, nor has a directory that only the names below it tell of: their times
	 * stay here rather than put a marker into somebody's bucket. */
	if (dir->parent == NULL || (dir->flags & NODE_NO_MARKER))
		node_changed(s, dir);
	else
		op_attr_changed(s, dir);
}

static void
truncate_retry(void *arg)
{
	op_rerun(arg);
}

int
op_truncate(struct cw_op *op, struct node *n, uint64_t size)
{
	struct cw_share *s = op->share;
	bool is_change = n->size != size;
	int r;

	if (is_change) {
		r = cache_truncate(node_file(s, n), n->size, size);
		if (r == -EAGAIN) {
			cache_when_quiet(n->u.file, truncate_retry, op);
			return OP_PENDING;
		}
		sync_tore(s, n, size);
		if (r < 0)
			return r;
		n->size = size;
	}
	if (op->cred.uid != 0)
		n->mode = perm_drop_suid(n->mode);
	node_touch(n, true);
	if (is_change)
		op_data_changed(s, n);
	else
		op_attr_changed(s, n);
	return 0;
}
