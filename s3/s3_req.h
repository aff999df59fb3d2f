/* SPDX-License-Identifier: Apache-2.0 */
/*
 * s3_req.h - a request of ours as HTTP: method, path, query, headers, body.  Pure; what depends on
 * the moment (host, date, credentials) is added when a try starts, by s3_wire_sign().
 */
#ifndef S3_REQ_H
#define S3_REQ_H

#include "s3/objstore.h"
#include "s3/s3_sign.h"

struct s3_endpoint {	 /* where a bucket lives */
	char *scheme;	 /* "http" or "https" */
	char *authority; /* host[:port] as the Host header has it, bucket included when virtual */
	char *bucket;
	char *region;
	bool is_aws;	  /* made from the region, so that it may follow it */
	bool is_virtual;  /* bucket in the host's name */
	bool is_loopback; /* an address of this machine that nobody else can listen on */
};

/* s3_endpoint_parse - take an endpoint URL (NULL: AWS) apart for a bucket.
 * args:   url http[s]://host[:port], an IPv6 address in brackets; path_style false asks for the
 *         virtual-host style, which is left when the host is an address or a dotted bucket's name
 *         would not match a certificate
 * result: 0, -EINVAL with the reason in *why (static text) */
int s3_endpoint_parse(const char *url, const char *region, const char *bucket, bool path_style,
    struct s3_endpoint *out, const char **why) CW_MUST_CHECK;
void s3_endpoint_free(struct s3_endpoint *e);

struct s3_req_conf { /* what is the same for all requests of a store */
	const char *bucket;
	const char *sse_c_key_base64, *sse_c_key_md5_base64; /* NULL = none */
	bool requester_pays;
	bool is_foreign;      /* not AWS: say some things in other stores' ways too */
	const char *location; /* BUCKET_CREATE: LocationConstraint, NULL = none */
};

#define S3_WIRE_HEADERS 72

struct s3_wire {
	const char *method;
	char *key;   /* path below the bucket, percent-encoded, no leading slash */
	char *query; /* percent-encoded, "" = none */
	struct s3_header headers[S3_WIRE_HEADERS];
	size_t nheaders;
	void *own[S3_WIRE_HEADERS]; /* freed with it */
	size_t nown;
	const void *body;
	size_t body_len;
	char *own_body;	      /* XML of ours, freed with it */
	bool has_body;	      /* a body is sent, be it empty */
	const char *xml_root; /* a 2xx answer is XML with this root; NULL = it is not */
};

/* s3_wire_build - result: 0, -EINVAL (a field is missing or has what HTTP cannot carry),
 * -ENAMETOOLONG */
int s3_wire_build(const struct s3_req_conf *conf, const struct objstore_req *req,
    struct s3_wire *out) CW_MUST_CHECK;
void s3_wire_free(struct s3_wire *w);

struct s3_wire_keys {				/* who signs, when */
	const char *access_key, *session_token; /* token may be NULL */
	const uint8_t *signing_key;		/* 32 bytes */
	const char *region;
	const char *payload_hash;
	const char *amz_date;
};

struct s3_wire_signed { /* one try */
	char *url;
	char *authorization;
	struct s3_header headers[S3_WIRE_HEADERS + 6];
	size_t nheaders;
};

/* s3_wire_sign - URL and complete headers for a try at e.
 * args:   all borrowed; out's headers point into w, e and k, which must stay
 * result: 0, -EINVAL */
int s3_wire_sign(const struct s3_wire *w, const struct s3_endpoint *e, const struct s3_wire_keys *k,
    struct s3_wire_signed *out) CW_MUST_CHECK;
void s3_wire_signed_free(struct s3_wire_signed *s);

#endif
