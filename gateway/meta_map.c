/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/meta_map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* parse_u64 - digits of base up to a character of `stop` (or the end). result: length, or -EINVAL */
static int
parse_u64(const char *text, unsigned int base, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	int i;

	for (i = 0; text[i] != '\0'; i++) {
		unsigned int d;

		if (text[i] >= '0' && text[i] <= '9')
			d = (unsigned int)(text[i] - '0');
		else if (text[i] >= 'a' && text[i] <= 'f')
			d = (unsigned int)(text[i] - 'a') + 10;
		else
			break;
		if (d >= base)
			break;
		if (v > (max - d) / base)
			return -EINVAL;
		v = v * base + d;
	}
	if (i == 0)
		return -EINVAL;
	*out = v;
	return i;
}

static bool
parse_mode(const char *text, struct meta_facts *out)
{
	uint64_t v;
	int len;

	if (text[0] == '0' && text[1] == 'o')
		text += 2;
	len = parse_u64(text, 8, 0177777, &v);
	if (len < 0 || text[len] != '\0')
		return false;
	out->has_perm = true;
	out->perm = (uint32_t)v & 07777;
	out->type = (uint32_t)v & S_IFMT;
	out->has_type = out->type != 0;
	return true;
}

static bool
parse_id(const char *text, uint32_t *out)
{
	uint64_t v;
	int len = parse_u64(text, 10, UINT32_MAX, &v);

	if (len < 0 || text[len] != '\0')
		return false;
	*out = (uint32_t)v;
	return true;
}

/* parse_fraction - ".25" as nanoseconds; digits behind the ninth are dropped. */
static int
parse_fraction(const char *text, uint64_t *ns)
{
	uint64_t scale = 100000000;
	int i;

	*ns = 0;
	for (i = 0; text[i] >= '0' && text[i] <= '9'; i++) {
		*ns += (uint64_t)(text[i] - '0') * scale;
		scale /= 10;
	}
	return i;
}

int
meta_parse_time(const char *text, int64_t *ns_out)
{
	uint64_t v, unit, fraction = 0;
	bool is_negative = text[0] == '-';
	int len;

	if (is_negative)
		text++;
	len = parse_u64(text, 10, INT64_MAX, &v);
	if (len < 0)
		return len;
	text += len;
	if (strcmp(text, "ns") == 0) {
		unit = 1;
	} else if (text[0] == '.') {
		unit = 1000000000;
		text += 1 + parse_fraction(text + 1, &fraction);
		if (text[0] != '\0')
			return -EINVAL;
	} else if (text[0] != '\0') {
		return -EINVAL;
	} else if (v < 100000000000ull) { /* seconds until 5138; as milliseconds it were 1973 */
		unit = 1000000000;
	} else if (v < 100000000000000ull) {
		unit = 1000000;
	} else {
		unit = v < 100000000000000000ull ? 1000 : 1;
	}
	if (v > ((uint64_t)INT64_MAX - fraction) / unit)
		return -EINVAL;
	*ns_out = (int64_t)(v * unit + fraction);
	if (is_negative)
		*ns_out = -*ns_out;
	return 0;
}

/* parse_origin - "<id>/<ino>/<seq>[/<incarnation>.<boot>.<CRC of the key>]", the last three in hex */
static bool
parse_origin(const char *text, struct meta_facts *out)
{
	const char *slash = strchr(text, '/');
	uint64_t gen = 0, crc = 0;
	int len;

	if (slash == NULL || slash == text || (size_t)(slash - text) >= sizeof(out->origin_id))
		return false;
	memcpy(out->origin_id, text, (size_t)(slash - text));
	out->origin_id[slash - text] = '\0';
	text = slash + 1;
	len = parse_u64(text, 10, UINT64_MAX, &out->origin_ino);
	if (len < 0 || text[len] != '/')
		return false;
	text += len + 1;
	len = parse_u64(text, 10, UINT64_MAX, &out->origin_seq);
	if (len < 0)
		return false;
	text += len;
	if (text[0] != '/')
		return text[0] == '\0';
	text++;
	len = parse_u64(text, 16, UINT32_MAX, &gen);
	if (len < 0 || text[len] != '.')
		return false;
	text += len + 1;
	out->origin_gen = (uint32_t)gen;
	len = parse_u64(text, 16, UINT64_MAX, &out->origin_boot);
	if (len < 0 || text[len] != '.')
		return false;
	text += len + 1;
	len = parse_u64(text, 16, UINT32_MAX, &crc);
	out->origin_key_crc = (uint32_t)crc;
	return len > 0 && text[len] == '\0';
}

void
meta_parse(const struct objstore_meta *items, size_t n, struct meta_facts *out)
{
	int64_t foreign_mtime = 0;
	bool has_foreign_mtime = false;
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < n; i++) {
		const char *name = items[i].name, *v = items[i].value;

		if (strcmp(name, "file-permissions") == 0)
			(void)parse_mode(v, out);
		else if (strcmp(name, "file-owner") == 0)
			out->has_uid = parse_id(v, &out->uid);
		else if (strcmp(name, "file-group") == 0)
			out->has_gid = parse_id(v, &out->gid);
		else if (strcmp(name, "file-mtime") == 0)
			out->has_mtime = meta_parse_time(v, &out->mtime_ns) == 0;
		else if (strcmp(name, "file-atime") == 0)
			out->has_atime = meta_parse_time(v, &out->atime_ns) == 0;
		else if (strcmp(name, "causeway-origin") == 0)
			out->has_origin = parse_origin(v, out);
		else if (strcmp(name, "mtime") == 0) /* rclone, s3fs */
			has_foreign_mtime = meta_parse_time(v, &foreign_mtime) == 0;
	}
	if (!out->has_mtime && has_foreign_mtime) {
		out->has_mtime = true;
		out->mtime_ns = foreign_mtime;
	}
}

static void
add(struct meta_set *set, const char *name, const char *value)
{
	set->items[set->n].name = name;
	set->items[set->n++].value = value;
}

void
meta_build(struct meta_set *out, uint32_t mode, bool short_mode, uint32_t uid, uint32_t gid,
    int64_t mtime_ns, int64_t atime_ns, const struct meta_mark *mark)
{
	out->n = 0;
	if (short_mode && !S_ISLNK(mode)) /* a symlink without its type would be a file */
		snprintf(out->perm, sizeof(out->perm), "%04o", mode & 07777);
	else
		snprintf(out->perm, sizeof(out->perm), "%07o", mode & 0177777);
	snprintf(out->uid, sizeof(out->uid), "%u", uid);
	snprintf(out->gid, sizeof(out->gid), "%u", gid);
	snprintf(out->mtime, sizeof(out->mtime), "%lldns", (long long)mtime_ns);
	snprintf(out->atime, sizeof(out->atime), "%lldns", (long long)atime_ns);
	add(out, "file-permissions", out->perm);
	add(out, "file-owner", out->uid);
	add(out, "file-group", out->gid);
	add(out, "file-mtime", out->mtime);
	add(out, "file-atime", out->atime);
	add(out, "user-agent", "causeway");
	if (mark != NULL) {
		snprintf(out->origin, sizeof(out->origin), "%.63s/%llu/%llu/%08x.%016llx.%08x",
		    mark->id, (unsigned long long)mark->ino, (unsigned long long)mark->seq,
		    mark->gen, (unsigned long long)mark->boot, mark->key_crc);
		add(out, "causeway-origin", out->origin);
	}
}
