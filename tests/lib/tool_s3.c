/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_s3 - the S3 client on the command line, for tests and measurements.
 *
 * tool_s3 --endpoint URL --bucket B --key AK --secret SK [--region R] [--path] [--ca FILE]
 *     [--profile NAME --file FILE] [--imds URL] [--tries N] [--connections N] COMMAND
 *   make-bucket | put KEY FILE | get KEY [OFFSET LENGTH] | head KEY | rm KEY | list [PREFIX [DELIM]]
 *   bench put|get N SIZE DEPTH [PREFIX]   N objects of SIZE bytes, DEPTH at a time; prints seconds
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/clock.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/osfile.h"
#include "gateway/base/strbuf.h"
#include "s3/objstore_s3.h"

static void
die(const char *what, const struct objstore_req *req, int err)
{
	fprintf(stderr, "tool_s3: %s: %s%s%s\n", what, err_str(err),
	    req != NULL && req->error_code[0] != '\0' ? " " : "",
	    req != NULL ? req->error_code : "");
	exit(1);
}

/* ---- single requests ---- */

static int
cmd_put(struct objstore *s, char **argv)
{
	struct objstore_req req = {.op = OBJ_PUT, .key = argv[0]};
	char *data;
	size_t len;
	int err = osfile_read_all(argv[1], 1u << 30, &data, &len);

	if (err < 0)
		die(argv[1], NULL, err);
	req.body = data;
	req.body_len = len;
	err = objstore_call(s, &req);
	if (err < 0)
		die("put", &req, err);
	printf("etag=%s\n", req.etag);
	free(data);
	return 0;
}

static int
cmd_get(struct objstore *s, char **argv)
{
	struct objstore_req head = {.op = OBJ_HEAD, .key = argv[0]};
	struct objstore_req req = {.op = OBJ_GET, .key = argv[0]};
	int err = objstore_call(s, &head);

	if (err < 0)
		die("head", &head, err);
	if (argv[1] != NULL && argv[2] != NULL) {
		req.range_off = strtoull(argv[1], NULL, 10);
		req.range_len = strtoull(argv[2], NULL, 10);
	}
	req.buf_cap = head.size;
	req.buf = xmalloc(req.buf_cap + 1);
	err = objstore_call(s, &req);
	if (err < 0)
		die("get", &req, err);
	fwrite(req.buf, 1, req.got, stdout);
	free(req.buf);
	return 0;
}

static int
cmd_head(struct objstore *s, char **argv)
{
	struct objstore_req req = {.op = OBJ_HEAD, .key = argv[0], .want_meta = true};
	int err = objstore_call(s, &req);

	if (err < 0)
		die("head", &req, err);
	printf("size=%" PRIu64 "\netag=%s\ncontent-type=%s\nstorage-class=%s\n", req.size, req.etag,
	    req.content_type, req.storage_class);
	for (size_t i = 0; i < req.meta->n; i++)
		printf("meta.%s=%s\n", req.meta->items[i].name, req.meta->items[i].value);
	objstore_req_clear(&req);
	return 0;
}

static int
cmd_simple(struct objstore *s, enum objstore_opcode op, const char *key)
{
	struct objstore_req req = {.op = op, .key = key};
	int err = objstore_call(s, &req);

	if (err < 0)
		die(objstore_op_name(op), &req, err);
	return 0;
}

static int
cmd_list(struct objstore *s, char **argv)
{
	const char *prefix = argv[0], *delimiter = prefix != NULL ? argv[1] : NULL;
	char *token = NULL;
	bool more = true;

	while (more) {
		struct objstore_req req = {
		    .op = OBJ_LIST, .prefix = prefix, .delimiter = delimiter, .token = token};
		int err = objstore_call(s, &req);

		if (err < 0)
			die("list", &req, err);
		for (size_t i = 0; i < req.list.n; i++)
			printf("%12" PRIu64 " %s\n", req.list.entries[i].size,
			    req.list.entries[i].key);
		more = req.list.truncated;
		free(token);
		token = req.list.next_token;
		req.list.next_token = NULL;
		objstore_req_clear(&req);
	}
	free(token);
	return 0;
}

/* ---- bench ---- */

struct bench {
	struct objstore *store;
	enum objstore_opcode op;
	const char *prefix;
	size_t size;
	unsigned int total, started, ended, failed, depth;
	char *data;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

struct bench_slot {
	struct bench *b;
	struct objstore_req req;
	char key[256];
	char *buf;
};

/* bench_next - the slot's next object; lock held. */
static bool
bench_next(struct bench_slot *slot)
{
	struct bench *b = slot->b;

	if (b->started == b->total)
		return false;
	memset(&slot->req, 0, sizeof(slot->req));
	snprintf(slot->key, sizeof(slot->key), "%s%06u", b->prefix, b->started++);
	slot->req.op = b->op;
	slot->req.key = slot->key;
	if (b->op == OBJ_PUT) {
		slot->req.body = b->data;
		slot->req.body_len = b->size;
	} else {
		slot->req.buf = slot->buf;
		slot->req.buf_cap = b->size;
	}
	return true;
}

static void
bench_done(struct objstore_req *req)
{
	struct bench_slot *slot = req->ctx;
	struct bench *b = slot->b;
	bool more;

	pthread_mutex_lock(&b->lock);
	b->ended++;
	b->failed += req->result < 0 || (b->op == OBJ_GET && req->got != b->size);
	more = bench_next(slot);
	if (b->ended == b->total)
		pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
	if (more) {
		slot->req.done = bench_done;
		slot->req.ctx = slot;
		objstore_submit(b->store, &slot->req);
	}
}

static int
cmd_bench(struct objstore *s, char **argv)
{
	struct bench b = {.store = s,
	    .op = strcmp(argv[0], "put") == 0 ? OBJ_PUT : OBJ_GET,
	    .total = (unsigned int)strtoul(argv[1], NULL, 10),
	    .size = strtoul(argv[2], NULL, 10),
	    .depth = (unsigned int)strtoul(argv[3], NULL, 10),
	    .prefix = argv[4] != NULL ? argv[4] : "bench/"};
	struct bench_slot *slots;
	uint64_t start, ns;

	slots = xcalloc(b.depth, sizeof(*slots));
	b.data = xmalloc(b.size + 1);
	random_bytes(b.data, b.size);
	pthread_mutex_init(&b.lock, NULL);
	pthread_cond_init(&b.cond, NULL);
	for (unsigned int i = 0; i < b.depth && b.op == OBJ_GET; i++) {
		slots[i].buf = xmalloc(b.size + 1);
		memset(slots[i].buf, 0, b.size + 1); /* first touches are not the client's cost */
	}
	start = clock_mono_ns();
	for (unsigned int i = 0; i < b.depth; i++) {
		bool more;

		slots[i].b = &b;
		pthread_mutex_lock(&b.lock);
		more = bench_next(&slots[i]);
		pthread_mutex_unlock(&b.lock);
		if (!more)
			break;
		slots[i].req.done = bench_done;
		slots[i].req.ctx = &slots[i];
		objstore_submit(s, &slots[i].req);
	}
	pthread_mutex_lock(&b.lock);
	while (b.ended < b.total)
		pthread_cond_wait(&b.cond, &b.lock);
	pthread_mutex_unlock(&b.lock);
	ns = clock_mono_ns() - start;
	printf("seconds=%.4f rate=%.1f mb_s=%.1f failed=%u\n", (double)ns / 1e9,
	    b.total * 1e9 / (double)ns, (double)b.total * (double)b.size * 1e3 / (double)ns,
	    b.failed);
	for (unsigned int i = 0; i < b.depth; i++)
		free(slots[i].buf);
	free(slots);
	free(b.data);
	return b.failed > 0;
}

/* ---- command line ---- */

static int
run(struct objstore *s, char **argv, int argc)
{
	const char *cmd = argv[0];

	if (strcmp(cmd, "make-bucket") == 0)
		return cmd_simple(s, OBJ_BUCKET_CREATE, NULL);
	if (strcmp(cmd, "put") == 0 && argc == 3)
		return cmd_put(s, argv + 1);
	if (strcmp(cmd, "get") == 0 && (argc == 2 || argc == 4))
		return cmd_get(s, argv + 1);
	if (strcmp(cmd, "head") == 0 && argc == 2)
		return cmd_head(s, argv + 1);
	if (strcmp(cmd, "rm") == 0 && argc == 2)
		return cmd_simple(s, OBJ_DELETE, argv[1]);
	if (strcmp(cmd, "list") == 0)
		return cmd_list(s, argv + 1);
	if (strcmp(cmd, "bench") == 0 && argc >= 5)
		return cmd_bench(s, argv + 1);
	fprintf(stderr, "tool_s3: unknown command or wrong arguments: %s\n", cmd);
	return 2;
}

static const struct option options[] = {{"endpoint", required_argument, NULL, 'e'},
    {"bucket", required_argument, NULL, 'b'}, {"key", required_argument, NULL, 'k'},
    {"secret", required_argument, NULL, 's'}, {"region", required_argument, NULL, 'r'},
    {"path", no_argument, NULL, 'p'}, {"ca", required_argument, NULL, 'c'},
    {"profile", required_argument, NULL, 'P'}, {"file", required_argument, NULL, 'f'},
    {"imds", required_argument, NULL, 'i'}, {"tries", required_argument, NULL, 't'},
    {"connections", required_argument, NULL, 'n'}, {"metrics", no_argument, NULL, 'm'},
    {"token", required_argument, NULL, 'T'}, {"timeout", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0}};

/* parse - result: are metrics to be printed at the end? */
static bool
parse(int argc, char **argv, struct s3_store_conf *conf)
{
	bool metrics = false;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		char **to = c == 'e'   ? &conf->endpoint
			    : c == 'b' ? &conf->bucket
			    : c == 'k' ? &conf->cred.access_key
			    : c == 's' ? &conf->cred.secret_key
			    : c == 'T' ? &conf->cred.session_token
			    : c == 'r' ? &conf->region
			    : c == 'c' ? &conf->ca_file
			    : c == 'P' ? &conf->cred.profile
			    : c == 'f' ? &conf->cred.file
			    : c == 'i' ? &conf->cred.imds_endpoint
				       : NULL;

		if (to != NULL)
			*to = optarg;
		else if (c == 'p')
			conf->path_style = true;
		else if (c == 't')
			conf->max_tries = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 'o')
			conf->timeout_s = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 'n')
			conf->max_connections = (unsigned int)strtoul(optarg, NULL, 10);
		else if (c == 'm')
			metrics = true;
		else
			exit(2);
	}
	if (conf->cred.imds_endpoint != NULL)
		conf->cred.source = (char *)(uintptr_t) "imds";
	else if (conf->cred.file != NULL)
		conf->cred.source = (char *)(uintptr_t) "profile";
	return metrics;
}

int
main(int argc, char **argv)
{
	struct s3_store_conf conf = {0};
	bool metrics = parse(argc, argv, &conf);
	struct s3_client *client;
	struct objstore *s;
	char why[128];
	int rc;

	if (optind == argc) {
		fprintf(stderr, "tool_s3: a command is needed\n");
		return 2;
	}
	if (getenv("CW_DEBUG_LOG") != NULL)
		log_set_level(LOG_LEVEL_DEBUG);
	if (s3_client_new(&client) < 0 ||
	    objstore_s3_new(client, &conf, &s, why, sizeof(why)) < 0) {
		fprintf(stderr, "tool_s3: %s\n", why);
		return 2;
	}
	rc = run(s, argv + optind, argc - optind);
	s->ops->close(s);
	s3_client_free(client);
	if (metrics) {
		struct strbuf out = STRBUF_INIT;

		metrics_print(&out);
		fputs(strbuf_str(&out), stdout);
		strbuf_free(&out);
	}
	return rc;
}
