/* SPDX-License-Identifier: Apache-2.0 */
/* volume_conf.c - the settings of a volume. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/volume/volume_int.h"

#define SEAL_INTERVAL_MS 15000u
#define SEAL_BYTES (256ull << 20)
#define RECOVERY_KEEP_S 86400u

void
cw_volume_conf_init(struct cw_volume_conf *c)
{
	memset(c, 0, sizeof(*c));
	c->block_bytes = 512;
	c->is_compressed = true;
	c->seal_interval_ms = SEAL_INTERVAL_MS;
	c->seal_bytes = SEAL_BYTES;
	c->recovery_keep_s = RECOVERY_KEEP_S;
}

void
cw_volume_conf_free(struct cw_volume_conf *c)
{
	free(c->target_name);
	free(c->iqn);
	free(c->listen_address);
	free(c->data_dir);
	free(c->bucket);
	free(c->prefix);
	free(c->key_id);
	explicit_bzero(c->key, sizeof(c->key));
	memset(c, 0, sizeof(*c));
}

static char *
copy(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

int
cw_volume_conf_copy(struct cw_volume_conf *to, const struct cw_volume_conf *from)
{
	*to = *from;
	to->target_name = copy(from->target_name);
	to->iqn = copy(from->iqn);
	to->listen_address = copy(from->listen_address);
	to->data_dir = copy(from->data_dir);
	to->bucket = copy(from->bucket);
	to->prefix = xstrdup(from->prefix != NULL ? from->prefix : "");
	to->key_id = copy(from->key_id);
	if (to->seal_interval_ms == 0)
		to->seal_interval_ms = SEAL_INTERVAL_MS;
	if (to->seal_bytes == 0)
		to->seal_bytes = SEAL_BYTES;
	if (to->recovery_keep_s == 0)
		to->recovery_keep_s = RECOVERY_KEEP_S;
	return 0;
}

/* check_size - 0 is allowed: the size is that of an image that is there already. */
static int
check_size(const struct cw_volume_conf *c, char *err_text, size_t err_cap)
{
	uint64_t max = c->mode == CW_VOLUME_STORED ? CW_VOLUME_STORED_MAX : CW_VOLUME_CACHED_MAX;

	if (c->size_bytes == 0 || (c->size_bytes >= CW_VOLUME_SIZE_MIN && c->size_bytes <= max &&
				      c->size_bytes % VOLUME_BLOCK == 0))
		return 0;
	snprintf(err_text, err_cap,
	    "a volume has from 1 GiB to %llu TiB, in whole blocks of 4,096 bytes",
	    (unsigned long long)(max >> 40));
	return -EINVAL;
}

int
cw_volume_conf_check(const struct cw_volume_conf *c, char *err_text, size_t err_cap)
{
	size_t n = c->prefix == NULL ? 0 : strlen(c->prefix);

	if (err_cap > 0)
		err_text[0] = '\0';
	if (strncmp(c->id, "vol-", 4) != 0 || c->id[4] == '\0') {
		snprintf(err_text, err_cap, "\"%s\" is no volume id", c->id);
		return -EINVAL;
	}
	if (c->iqn == NULL || c->iqn[0] == '\0' || strlen(c->iqn) > 223) {
		snprintf(err_text, err_cap, "a target needs a name of at most 223 characters");
		return -EINVAL;
	}
	if (c->block_bytes != 512 && c->block_bytes != 4096) {
		snprintf(err_text, err_cap, "a logical block has 512 or 4,096 bytes");
		return -EINVAL;
	}
	if (n > 0 && c->prefix[n - 1] != '/') {
		snprintf(err_text, err_cap, "the prefix \"%s\" does not end in '/'", c->prefix);
		return -EINVAL;
	}
	return check_size(c, err_text, err_cap);
}
