/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_chap.c - CHAP credentials: the member "Chap" of a volume's row, an array of objects with the
 * members InitiatorName, SecretToAuthenticateInitiator and SecretToAuthenticateTarget.  They are never
 * written to the bucket.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/strbuf.h"
#include "gateway/control_volume_int.h"

#define SECRET_MIN 12 /* as the users' guide has it: what the initiators of Windows take */
#define SECRET_MAX 16
#define INITIATORS_MAX 64

size_t
control_chap_all(const json_t *row, struct cw_chap **out)
{
	const json_t *list = json_object_get(row, "Chap"), *v;
	size_t i;

	*out = xcalloc(json_array_size(list) + 1, sizeof(**out));
	json_array_foreach(list, i, v)
	{
		struct cw_chap *c = &(*out)[i];

		snprintf(c->initiator, sizeof(c->initiator), "%s",
		    controli_row_string(v, "InitiatorName"));
		snprintf(c->secret_initiator, sizeof(c->secret_initiator), "%s",
		    controli_row_string(v, "SecretToAuthenticateInitiator"));
		snprintf(c->secret_target, sizeof(c->secret_target), "%s",
		    controli_row_string(v, "SecretToAuthenticateTarget"));
	}
	return json_array_size(list);
}

void
control_chap_free(struct cw_chap *chaps, size_t n)
{
	explicit_bzero(chaps, n * sizeof(*chaps));
	free(chaps);
}

static size_t
find(const json_t *list, const char *initiator)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(controli_row_string(v, "InitiatorName"), initiator) == 0)
			return i;
	}
	return SIZE_MAX;
}

static bool
is_secret(const char *s)
{
	size_t n = strlen(s);

	return n >= SECRET_MIN && n <= SECRET_MAX;
}

/* Put entry (taken; NULL = none) in the place of the initiator's, then tell the target. */
static int
change(struct control *c, struct control_volume *v, const char *initiator, json_t *entry,
    struct control_error *e)
{
	json_t *row = json_copy(v->row);
	json_t *list = json_deep_copy(json_object_get(row, "Chap"));
	struct cw_chap chap = {.initiator = ""};
	struct cw_volume *volume;
	size_t at;
	int r;

	if (!json_is_array(list)) {
		json_decref(list);
		list = json_array();
	}
	at = find(list, initiator);
	if (at != SIZE_MAX)
		json_array_remove(list, at);
	snprintf(chap.initiator, sizeof(chap.initiator), "%s", initiator);
	if (entry != NULL) {
		snprintf(chap.secret_initiator, sizeof(chap.secret_initiator), "%s",
		    controli_row_string(entry, "SecretToAuthenticateInitiator"));
		snprintf(chap.secret_target, sizeof(chap.secret_target), "%s",
		    controli_row_string(entry, "SecretToAuthenticateTarget"));
		json_array_append_new(list, entry);
	}
	json_object_set_new(row, "Chap", list);
	r = control_volume_put(c, v, row, false, e);
	volume = r == 0 ? controli_volume_ref(v) : NULL;
	if (volume != NULL) {
		cw_target_set_chap(volume, &chap);
		cw_volume_put(volume);
	}
	if (r == 0)
		log_info("gateway.control", entry != NULL ? "chap-set" : "chap-deleted",
		    "volume=%s initiator=%s", v->id, initiator);
	explicit_bzero(&chap, sizeof(chap));
	return r;
}

int
control_chap_set(struct control *c, struct control_volume *v, const char *initiator,
    const char *secret_initiator, const char *secret_target, struct control_error *e)
{
	const json_t *list = json_object_get(v->row, "Chap");

	if (!is_secret(secret_initiator) || (secret_target[0] != '\0' && !is_secret(secret_target)))
		return control_fail(e, "InvalidParameters",
		    "A CHAP secret must be between %d and %d bytes long.", SECRET_MIN, SECRET_MAX);
	if (strcmp(secret_initiator, secret_target) == 0)
		return control_fail(e, "InvalidParameters",
		    "The secret keys used to authenticate the initiator and the target must be "
		    "different.");
	if (strlen(initiator) >= sizeof(((struct cw_chap *)0)->initiator))
		return control_fail(e, "InitiatorInvalid", "The initiator's name is too long.");
	if (find(list, initiator) == SIZE_MAX && json_array_size(list) >= INITIATORS_MAX)
		return control_fail(e, "InvalidParameters",
		    "A target can have credentials for at most %d initiators.", INITIATORS_MAX);
	return change(c, v, initiator,
	    json_pack("{s:s,s:s,s:s}", "InitiatorName", initiator, "SecretToAuthenticateInitiator",
		secret_initiator, "SecretToAuthenticateTarget", secret_target),
	    e);
}

int
control_chap_del(
    struct control *c, struct control_volume *v, const char *initiator, struct control_error *e)
{
	if (find(json_object_get(v->row, "Chap"), initiator) == SIZE_MAX)
		return control_fail(
		    e, "ChapCredentialNotFound", "The specified CHAP credential was not found.");
	return change(c, v, initiator, NULL, e);
}
