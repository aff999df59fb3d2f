/* SPDX-License-Identifier: Apache-2.0 */
#include "frontends/nfs/nfs3_xdr.h"

#include <sys/stat.h>

#define NS_PER_S 1000000000

static bool
get_bool(struct be_reader *r)
{
	uint32_t v = be_u32(r);

	if (v > 1)
		r->bad = true;
	return v == 1;
}

/* An enum from 0 to max. */
static uint32_t
get_enum(struct be_reader *r, uint32_t max)
{
	uint32_t v = be_u32(r);

	if (v > max) {
		r->bad = true;
		v = 0;
	}
	return v;
}

static int64_t
get_time(struct be_reader *r, bool *is_bad_time)
{
	int64_t s = be_u32(r);
	uint32_t ns = be_u32(r);

	if (ns >= NS_PER_S)
		*is_bad_time = true;
	return s * NS_PER_S + ns;
}

/* set_atime and set_mtime: who says the time, and when it is the client, the time */
static void
get_set_time(
    struct be_reader *r, struct nfs3_args *a, uint32_t server_bit, uint32_t client_bit, int64_t *ns)
{
	switch (get_enum(r, 2)) {
	case 1: /* SET_TO_SERVER_TIME */
		a->sattr.mask |= server_bit;
		break;
	case 2: /* SET_TO_CLIENT_TIME */
		a->sattr.mask |= client_bit;
		*ns = get_time(r, &a->is_bad_time);
		break;
	default:
		break;
	}
}

static void
get_sattr(struct be_reader *r, struct nfs3_args *a)
{
	struct cw_sattr *s = &a->sattr;

	if (get_bool(r)) {
		s->mask |= CW_SET_MODE;
		s->mode = be_u32(r) & 07777;
	}
	if (get_bool(r)) {
		s->mask |= CW_SET_UID;
		s->uid = be_u32(r);
	}
	if (get_bool(r)) {
		s->mask |= CW_SET_GID;
		s->gid = be_u32(r);
	}
	if (get_bool(r)) {
		s->mask |= CW_SET_SIZE;
		s->size = be_u64(r);
	}
	get_set_time(r, a, CW_SET_ATIME_NOW, CW_SET_ATIME, &s->atime_ns);
	get_set_time(r, a, CW_SET_MTIME_NOW, CW_SET_MTIME, &s->mtime_ns);
}

static void
get_dirop(struct be_reader *r, struct rpc_opaque *fh, struct rpc_opaque *name)
{
	*fh = rpc_get_opaque(r, NFS3_FHSIZE);
	*name = rpc_get_opaque(r, NFS3_STRING_MAX);
}

static void
decode_setattr(struct be_reader *r, struct nfs3_args *a)
{
	a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
	get_sattr(r, a);
	a->has_guard = get_bool(r);
	if (a->has_guard)
		a->guard_ctime_ns = get_time(r, &a->is_bad_time);
}

static void
decode_write(struct be_reader *r, struct nfs3_args *a)
{
	a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
	a->offset = be_u64(r);
	a->count = be_u32(r);
	a->stable = get_enum(r, NFS3_FILE_SYNC);
	a->data = rpc_get_opaque(r, UINT32_MAX);
}

static void
decode_create(struct be_reader *r, struct nfs3_args *a)
{
	get_dirop(r, &a->fh, &a->name);
	a->create_mode = get_enum(r, NFS3_EXCLUSIVE);
	if (a->create_mode == NFS3_EXCLUSIVE)
		a->verf = be_u64(r);
	else
		get_sattr(r, a);
}

static void
decode_mknod(struct be_reader *r, struct nfs3_args *a)
{
	get_dirop(r, &a->fh, &a->name);
	a->type = get_enum(r, NF3FIFO);
	switch (a->type) {
	case NF3BLK:
	case NF3CHR:
		get_sattr(r, a);
		be_u64(r); /* specdata3: nothing is made of it */
		break;
	case NF3SOCK:
	case NF3FIFO:
		get_sattr(r, a);
		break;
	default: /* void; NFS3ERR_BADTYPE is the handler's answer */
		break;
	}
}

static void
decode_readdir(struct be_reader *r, struct nfs3_args *a, bool is_plus)
{
	a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
	a->cookie = be_u64(r);
	a->verf = be_u64(r);
	if (is_plus)
		a->dircount = be_u32(r);
	a->count = be_u32(r);
}

bool
nfs3_decode(enum nfs3_procnum proc, struct be_reader *r, struct nfs3_args *a)
{
	memset(a, 0, sizeof(*a));
	switch (proc) {
	case NFS3PROC_GETATTR:
	case NFS3PROC_READLINK:
	case NFS3PROC_FSSTAT:
	case NFS3PROC_FSINFO:
	case NFS3PROC_PATHCONF:
		a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
		break;
	case NFS3PROC_SETATTR:
		decode_setattr(r, a);
		break;
	case NFS3PROC_LOOKUP:
	case NFS3PROC_REMOVE:
	case NFS3PROC_RMDIR:
		get_dirop(r, &a->fh, &a->name);
		break;
	case NFS3PROC_ACCESS:
		a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
		a->access = be_u32(r);
		break;
	case NFS3PROC_READ:
	case NFS3PROC_COMMIT:
		a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
		a->offset = be_u64(r);
		a->count = be_u32(r);
		break;
	case NFS3PROC_WRITE:
		decode_write(r, a);
		break;
	case NFS3PROC_CREATE:
		decode_create(r, a);
		break;
	case NFS3PROC_MKDIR:
		get_dirop(r, &a->fh, &a->name);
		get_sattr(r, a);
		break;
	case NFS3PROC_SYMLINK:
		get_dirop(r, &a->fh, &a->name);
		get_sattr(r, a);
		a->data = rpc_get_opaque(r, NFS3_STRING_MAX);
		break;
	case NFS3PROC_MKNOD:
		decode_mknod(r, a);
		break;
	case NFS3PROC_RENAME:
		get_dirop(r, &a->fh, &a->name);
		get_dirop(r, &a->fh2, &a->name2);
		break;
	case NFS3PROC_LINK:
		a->fh = rpc_get_opaque(r, NFS3_FHSIZE);
		get_dirop(r, &a->fh2, &a->name2);
		break;
	case NFS3PROC_READDIR:
	case NFS3PROC_READDIRPLUS:
		decode_readdir(r, a, proc == NFS3PROC_READDIRPLUS);
		break;
	case NFS3PROC_NULL:
	case NFS3PROC_MAX:
		break;
	}
	return !r->bad;
}

static enum nfs3_type
type_of(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return NF3DIR;
	case S_IFLNK:
		return NF3LNK;
	default: /* a share holds nothing else */
		return NF3REG;
	}
}

/* Seconds are unsigned on the wire: what lies outside 1970 .. 2106 is shown as the nearest end. */
static uint8_t *
store_time(uint8_t *p, int64_t ns)
{
	if (ns < 0)
		ns = 0;
	if (ns / NS_PER_S > UINT32_MAX)
		ns = (int64_t)UINT32_MAX * NS_PER_S;
	be_store_u32(p, (uint32_t)(ns / NS_PER_S));
	be_store_u32(p + 4, (uint32_t)(ns % NS_PER_S));
	return p + 8;
}

static uint8_t *
store_u64(uint8_t *p, uint64_t v)
{
	be_store_u32(p, (uint32_t)(v >> 32));
	be_store_u32(p + 4, (uint32_t)v);
	return p + 8;
}

void
nfs3_put_attr(struct be_writer *w, const struct cw_attr *a)
{
	uint8_t *p =
	    be_reserve(w, NFS3_ATTR_LEN); /* one bounds check: this is the hottest code here */

	if (p == NULL)
		return;
	be_store_u32(p, type_of(a->mode));
	be_store_u32(p + 4, a->mode & 07777);
	be_store_u32(p + 8, a->nlink);
	be_store_u32(p + 12, a->uid);
	be_store_u32(p + 16, a->gid);
	p = store_u64(p + 20, a->size);
	p = store_u64(p, a->used_bytes);
	p = store_u64(p, 0); /* rdev */
	p = store_u64(p, a->share_id);
	p = store_u64(p, a->ino);
	p = store_time(p, a->atime_ns);
	p = store_time(p, a->mtime_ns);
	store_time(p, a->ctime_ns);
}

void
nfs3_put_post_op_attr(struct be_writer *w, const struct cw_attr *a)
{
	be_put_u32(w, a != NULL);
	if (a != NULL)
		nfs3_put_attr(w, a);
}

void
nfs3_put_wcc(struct be_writer *w, const struct cw_wcc *wcc)
{
	bool has_pre = wcc != NULL && wcc->has_pre;

	be_put_u32(w, has_pre);
	if (has_pre) {
		uint8_t *p = be_reserve(w, 24);

		if (p != NULL) {
			p = store_u64(p, wcc->pre_size);
			p = store_time(p, wcc->pre_mtime_ns);
			store_time(p, wcc->pre_ctime_ns);
		}
	}
	nfs3_put_post_op_attr(w, wcc != NULL && wcc->has_post ? &wcc->post : NULL);
}
