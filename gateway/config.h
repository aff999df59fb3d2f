/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the one INI file that starts the process; causeway.conf(5) documents every key.
 *
 * Everything that a user changes while the gateway runs (gateways, shares, tags) is state and lives
 * in the index; only what must be known before the index is open stands here.
 */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"
#include "s3/objstore_s3.h"

#define CONFIG_DISKS_MAX 32
#define CONFIG_CREDS_MAX 64
#define CONFIG_KEYS_MAX 64
#define CONFIG_KEY_LEN 32 /* AES-256 */
#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_LINE_MAX 4096

struct config_disk { /* a directory offered as a disk (ListLocalDisks) */
	char *name;
	char *dir;
	uint64_t size_bytes; /* disk_size.NAME; 0 = the file system's */
};

struct config_key { /* [keys]: what a KMSKey names */
	char *name;
	char *text; /* as it stands there: base64, or "file:PATH" */
	uint8_t key[CONFIG_KEY_LEN];
};

struct config_cred { /* one [credentials "NAME"] section */
	char *name;
	char *role_arn; /* NULL = chosen by name only */
	struct s3_cred_conf cred;
};

struct cw_config { /* strings owned; paths absolute or relative to home, resolved by the parser */
	/* [gateway] */
	char *home;
	char *log_level;
	char *user;	  /* NULL = stay who we are */
	char *account_id; /* 12 digits, for ARNs */
	bool is_sandboxed;
	/* [nfs] */
	char *nfs_listen, *nfs_mount_listen;
	bool nfs_rpcbind;
	uint64_t nfs_loops, nfs_spin_us, nfs_max_connections;
	/* [api] */
	char *api_listen, *api_credentials;
	/* [cache] */
	char *cache_index;
	uint64_t cache_capacity_bytes, cache_dirty_max_bytes;
	uint64_t cache_workers, cache_flush_interval_ms;
	struct config_disk disks[CONFIG_DISKS_MAX];
	size_t ndisks;
	/* [s3]; credentials stand apart, bucket comes from the share */
	char *s3_endpoint, *s3_region, *s3_ca_file, *s3_proxy, *s3_sse_c_key;
	bool s3_path_style, s3_insecure_tls;
	uint64_t s3_max_connections, s3_max_tries, s3_timeout_s;
	/* [credentials "NAME"] */
	struct config_cred creds[CONFIG_CREDS_MAX];
	size_t ncreds;
	/* [sync] */
	bool sync_early_parts;
	uint64_t sync_settle_ms, sync_max_age_ms, sync_upload_threads;
	/* [fuse] */
	char *fuse_socket; /* NULL = no FUSE */
	/* [iscsi] */
	char *iscsi_listen; /* addresses, separated by commas; NULL = no iSCSI */
	char *iscsi_naming_authority;
	bool iscsi_any_interface;
	uint64_t iscsi_loops, iscsi_spin_us, iscsi_max_connections;
	/* [volumes] */
	char *volumes_bucket, *volumes_prefix, *volumes_credentials, *volumes_key;
	bool volumes_is_compressed;
	uint64_t volumes_recovery_keep_s, volumes_seal_interval_ms, volumes_seal_bytes;
	/* [keys] */
	struct config_key keys[CONFIG_KEYS_MAX];
	size_t nkeys;
};

/* config_parse - read text as a configuration.
 * args:   text NUL-terminated; base_dir is the default of home (the file's directory); out is
 *         filled in, config_free() it also after an error
 * result: 0, -EINVAL; err_text then says line and reason
 * ctx:    any thread, one at a time
 * source: causeway.conf(5) */
int config_parse(const char *text, const char *base_dir, struct cw_config *out, char *err_text,
    size_t err_cap) CW_MUST_CHECK;

/* config_load - config_parse() of a file; err_text names the file.
 * result: 0, -EINVAL, or errno of reading; ctx: any thread, one at a time */
int config_load(
    const char *path, struct cw_config *out, char *err_text, size_t err_cap) CW_MUST_CHECK;
void config_free(struct cw_config *c);

/* config_parse_size - "4096", "64K", "1.5G" is refused, "2GiB"; powers of 1,024.
 * result: 0, -EINVAL (no number, unknown suffix), -ERANGE */
int config_parse_size(const char *text, uint64_t *out) CW_MUST_CHECK;

/* config_cred_for_role - the section whose role_arn is this one, else "default".
 * result: borrowed; NULL when neither exists */
const struct config_cred *config_cred_for_role(const struct cw_config *c, const char *role_arn);
/* config_cred_by_name - NULL or "" means "default". result: borrowed; NULL when there is none */
const struct config_cred *config_cred_by_name(const struct cw_config *c, const char *name);

/* config_key_by_name - result: borrowed; NULL when there is none */
const struct config_key *config_key_by_name(const struct cw_config *c, const char *name);

/* config_each_address - call fn for each "address:port" of a list such as iscsi_listen.
 * result: 0, or the first that fn returned which is not 0 */
int config_each_address(const char *list, int (*fn)(void *arg, const char *address), void *arg);

#endif
