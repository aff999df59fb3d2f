/* SPDX-License-Identifier: Apache-2.0 */
/* cli_bucket.c - make a bucket with the configuration's own store settings. */
#include <stdio.h>
#include <string.h>

#include "gateway/cli/cli.h"
#include "s3/objstore_s3.h"

int
cli_create_bucket(struct cli *c, const char *credentials, const char *bucket)
{
	struct s3_store_conf sc = {0};
	struct objstore_req req = {.op = OBJ_BUCKET_CREATE, .max_tries = 3};
	const struct config_cred *cred;
	struct s3_client *client;
	struct objstore *store;
	char why[256] = "";
	int err, rc = cli_need_conf(c);

	if (rc != CLI_OK)
		return rc;
	cred = config_cred_by_name(&c->conf, credentials);
	sc.endpoint = c->conf.s3_endpoint;
	sc.region = c->conf.s3_region;
	sc.bucket = (char *)(uintptr_t)bucket;
	sc.path_style = c->conf.s3_path_style;
	sc.ca_file = c->conf.s3_ca_file;
	sc.proxy = c->conf.s3_proxy;
	sc.insecure_tls = c->conf.s3_insecure_tls;
	if (cred != NULL)
		sc.cred = cred->cred;
	err = s3_client_new(&client);
	if (err < 0) {
		cli_error("%s", err_str(err));
		return CLI_FAILED;
	}
	err = objstore_s3_new(client, &sc, &store, why, sizeof(why));
	if (err == 0) {
		struct objstore_req head = {.op = OBJ_BUCKET_HEAD, .max_tries = 3};

		err = objstore_call(store, &head);
		objstore_req_clear(&head);
		if (err == -ERR_NO_BUCKET || err == -ENOENT) {
			err = objstore_call(store, &req);
			snprintf(why, sizeof(why), "%s", req.error_code);
			objstore_req_clear(&req);
		}
		store->ops->close(store);
	}
	s3_client_free(client);
	if (err < 0)
		cli_error("bucket %s: %s %s", bucket, err_str(err), why);
	return err < 0 ? CLI_FAILED : CLI_OK;
}
