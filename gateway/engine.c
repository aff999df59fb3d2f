/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - start-up in an order that an operator can follow: bind every port (the only things that
 * may need privileges), give up privileges, open the cache, open the shares, serve.  Stop undoes it
 * backwards.  Each step that fails says what it wanted, why it did not get it, and what to look at.
 */
#include "gateway/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache.h"
#include "frontends/fuse/cwfuse.h"
#include "frontends/iscsi/iscsi.h"
#include "frontends/nfs/nfs.h"
#include "gateway/api/api.h"
#include "gateway/base/log.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "gateway/control.h"
#include "gateway/sandbox.h"
#include "s3/objstore_s3.h"

struct engine {
	const struct cw_config *conf;
	struct api_server *api;
	struct nfs_server *nfs;
	struct iscsi_server *iscsi;
	struct cwfuse_server *fuse;
	struct s3_client *s3;
	struct cache *cache;
	struct control *control;
	char *pid_file;
	char *iscsi_listen[ISCSI_PORTALS_MAX];
	bool has_pid_file;
};

/* What one port's failure means for the person who reads the log. */
static int
port_failed(const char *what, const char *key, const char *address, int err)
{
	const char *port = strrchr(address, ':');

	if (err == -EADDRINUSE)
		log_err("gateway.engine", "port-taken",
		    "what=%s address=%s text=\"another process listens there; `ss -ltnp sport = "
		    "%s` names it; change %s in the configuration or stop it\"",
		    what, address, port != NULL ? port : address, key);
	else if (err == -EACCES || err == -EPERM)
		log_err("gateway.engine", "port-refused",
		    "what=%s address=%s text=\"no permission to bind; ports below 1024 need root "
		    "or "
		    "CAP_NET_BIND_SERVICE; or change %s\"",
		    what, address, key);
	else
		log_err("gateway.engine", "port-failed",
		    "what=%s address=%s err=\"%s\" text=\"is %s an address of this host?\"", what,
		    address, err_str(err), key);
	return err;
}

static int
make_dir(const char *dir, unsigned int mode)
{
	int r = osfile_mkdir_p(dir, mode);

	if (r < 0)
		log_err("gateway.engine", "no-directory", "dir=%s err=\"%s\" uid=%u", dir,
		    err_str(r), (unsigned int)geteuid());
	return r;
}

static int
make_parent(const char *path, unsigned int mode)
{
	char *dir = xstrdup(path), *slash = strrchr(dir, '/');
	int r = 0;

	if (slash != NULL && slash != dir) {
		*slash = '\0';
		r = make_dir(dir, mode);
	}
	free(dir);
	return r;
}

static int
take_portal(void *arg, const char *address)
{
	struct engine *e = arg;

	for (size_t i = 0; i < ISCSI_PORTALS_MAX; i++) {
		if (e->iscsi_listen[i] == NULL) {
			e->iscsi_listen[i] = xstrdup(address);
			return 0;
		}
	}
	return -E2BIG;
}

static int
bind_iscsi(struct engine *e)
{
	const struct cw_config *c = e->conf;
	struct iscsi_server_conf conf = {
	    .loops = (unsigned int)c->iscsi_loops,
	    .spin_us = (unsigned int)c->iscsi_spin_us,
	    .max_connections = (unsigned int)c->iscsi_max_connections,
	};
	int r;

	if (c->iscsi_listen == NULL)
		return 0;
	if (config_each_address(c->iscsi_listen, take_portal, e) < 0) {
		log_err("gateway.engine", "too-many-portals",
		    "text=\"[iscsi] listen names more than %u addresses\"", ISCSI_PORTALS_MAX);
		return -E2BIG;
	}
	for (size_t i = 0; i < ISCSI_PORTALS_MAX; i++)
		conf.listen[i] = e->iscsi_listen[i];
	r = iscsi_server_open(&conf, &e->iscsi);
	return r < 0 ? port_failed("iscsi", "[iscsi] listen", c->iscsi_listen, r) : 0;
}

static int
bind_ports(struct engine *e)
{
	const struct cw_config *c = e->conf;
	struct nfs_server_conf nfs = {
	    .listen = c->nfs_listen,
	    .mount_listen = c->nfs_mount_listen,
	    .register_rpcbind = c->nfs_rpcbind,
	    .loops = (unsigned int)c->nfs_loops,
	    .spin_us = (unsigned int)c->nfs_spin_us,
	    .max_connections = (unsigned int)c->nfs_max_connections,
	};
	int r = api_server_open(c->api_listen, c->api_credentials, &e->api);

	if (r < 0)
		return port_failed("api", "[api] listen", c->api_listen, r);
	r = nfs_server_open(&nfs, &e->nfs);
	if (r < 0)
		return port_failed("nfs", "[nfs] listen or mount_listen", c->nfs_listen, r);
	r = bind_iscsi(e);
	if (r < 0)
		return r;
	if (c->fuse_socket == NULL)
		return 0;
	r = make_parent(c->fuse_socket, 0700);
	if (r == 0 && (r = cwfuse_server_open(c->fuse_socket, &e->fuse)) < 0)
		log_err("gateway.engine", "fuse-socket", "path=%s err=\"%s\"", c->fuse_socket,
		    err_str(r));
	return r;
}

/* Only who holds the cache writes it: a second daemon by mistake must not take the first one's. */
static int
write_pid_file(struct engine *e)
{
	char text[32];
	int r;

	r = make_parent(e->pid_file, 0700);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	r = osfile_write_atomic(e->pid_file, text, strlen(text), 0644);
	if (r < 0)
		log_err(
		    "gateway.engine", "pid-file", "path=%s err=\"%s\"", e->pid_file, err_str(r));
	e->has_pid_file = r == 0;
	return r;
}

static int
give_up_privileges(const struct cw_config *c)
{
	int r;

	if (c->user != NULL) {
		r = sandbox_drop_user(c->user);
		if (r < 0) {
			log_err("gateway.engine", "user-not-taken",
			    "user=%s err=\"%s\" text=\"see [gateway] user\"", c->user, err_str(r));
			return r;
		}
	}
	if (c->is_sandboxed && (r = sandbox_filter()) < 0)
		log_warn("gateway.engine", "no-seccomp", "err=\"%s\" next=\"going on without\"",
		    err_str(r));
	return 0;
}

static int
open_cache(struct engine *e)
{
	const struct cw_config *c = e->conf;
	const char *first = c->disks[0].dir; /* the others join by AddCache: control_disk.c */
	char text[512] = "";
	struct cache_conf conf = {
	    .index_path = c->cache_index,
	    .data_dirs = &first,
	    .ndata_dirs = 1,
	    .capacity_bytes = c->cache_capacity_bytes,
	    .dirty_max_bytes = c->cache_dirty_max_bytes,
	    .flush_interval_ms = (unsigned int)c->cache_flush_interval_ms,
	    .workers = (unsigned int)c->cache_workers,
	};
	int r = make_parent(c->cache_index, 0700);

	for (size_t i = 0; i < c->ndisks && r == 0; i++)
		r = make_dir(c->disks[i].dir, 0700);
	if (r < 0)
		return r;
	r = cache_open(&conf, &e->cache, text, sizeof(text));
	if (r == -EUCLEAN)
		log_err("gateway.engine", "index-damaged",
		    "index=%s text=\"%s\" next=\"not starting: what was acknowledged may be in it; "
		    "copy it away, then see causeway(8), check\"",
		    c->cache_index, text);
	else if (r == -EBUSY)
		log_err("gateway.engine", "cache-busy",
		    "index=%s text=\"another causewayd holds it; see %s\"", c->cache_index,
		    e->pid_file);
	else if (r < 0)
		log_err("gateway.engine", "cache-not-opened",
		    "index=%s err=\"%s\" text=\"%s\" uid=%u", c->cache_index, err_str(r), text,
		    (unsigned int)geteuid());
	return r;
}

static int
serve(struct engine *e)
{
	int r;

	if (e->fuse != NULL)
		cwfuse_server_await_leases(e->fuse);
	r = nfs_server_start(e->nfs);

	if (r < 0) {
		log_err("gateway.engine", "nfs-not-started", "err=\"%s\"", err_str(r));
		return r;
	}
	if (e->iscsi != NULL && (r = iscsi_server_start(e->iscsi)) < 0) {
		log_err("gateway.engine", "iscsi-not-started", "err=\"%s\"", err_str(r));
		return r;
	}
	if (e->fuse != NULL && (r = cwfuse_server_start(e->fuse)) < 0) {
		log_err("gateway.engine", "fuse-not-started", "err=\"%s\"", err_str(r));
		return r;
	}
	api_server_ready(e->api, e->control);
	return 0;
}

static int
start(struct engine *e)
{
	char text[512] = "";
	int r;

	e->pid_file = xasprintf("%s/run/causewayd.pid", e->conf->home);
	if ((r = make_dir(e->conf->home, 0700)) < 0 || (r = bind_ports(e)) < 0 ||
	    (r = give_up_privileges(e->conf)) < 0)
		return r;
	r = api_server_start(e->api);
	if (r < 0) {
		log_err("gateway.engine", "api-not-started", "err=\"%s\"", err_str(r));
		return r;
	}
	if ((r = open_cache(e)) < 0 || (r = write_pid_file(e)) < 0)
		return r;
	r = cache_start(e->cache);
	if (r == 0)
		r = s3_client_new(&e->s3);
	if (r < 0) {
		log_err("gateway.engine", "not-started", "err=\"%s\"", err_str(r));
		return r;
	}
	r = control_open(e->conf, e->cache, e->s3, &e->control, text, sizeof(text));
	if (r < 0) {
		log_err("gateway.engine", "state-not-read", "text=\"%s\"", text);
		return r;
	}
	return serve(e);
}

int
engine_start(const struct cw_config *conf, struct engine **out)
{
	struct engine *e = xcalloc(1, sizeof(*e));
	int r;

	*out = NULL;
	e->conf = conf;
	r = start(e);
	if (r < 0) {
		engine_stop(e);
		return r;
	}
	log_info("gateway.engine", "serving", "nfs=%s iscsi=%s api=%s home=%s", conf->nfs_listen,
	    conf->iscsi_listen != NULL ? conf->iscsi_listen : "none", conf->api_listen, conf->home);
	*out = e;
	return 0;
}

void
engine_reload(struct engine *e, const struct cw_config *conf)
{
	e->conf = conf;
	control_reload(e->control, conf);
}

void
engine_stop(struct engine *e)
{
	if (e->nfs != NULL)
		nfs_server_stop(e->nfs);
	if (e->iscsi != NULL)
		iscsi_server_stop(e->iscsi);
	if (e->fuse != NULL)
		cwfuse_server_stop(e->fuse);
	api_server_stop(e->api);
	control_close(e->control);
	if (e->cache != NULL)
		cache_close(e->cache);
	if (e->s3 != NULL)
		s3_client_free(e->s3);
	if (e->has_pid_file)
		unlink(e->pid_file);
	for (size_t i = 0; i < ISCSI_PORTALS_MAX; i++)
		free(e->iscsi_listen[i]);
	free(e->pid_file);
	free(e);
}
