/* SPDX-License-Identifier: Apache-2.0 */
/* api_chap.c - operations on CHAP credentials of a target. */
#include <string.h>

#include "gateway/api/api_int.h"

static const struct api_shape secret = {.type = API_STRING, .min = 1, .max = 100};
static const struct api_shape iqn = {
    .type = API_STRING, .min = 1, .max = 255, .matches = api_is_iqn, .pattern = "[0-9a-z:.-]+"};

const struct api_field api_update_chap_in[] = {{"TargetARN", &api_target_arn, true},
    {"SecretToAuthenticateInitiator", &secret, true}, {"InitiatorName", &iqn, true},
    {"SecretToAuthenticateTarget", &secret, false}, {NULL, NULL, false}};
const struct api_field api_describe_chap_in[] = {
    {"TargetARN", &api_target_arn, true}, {NULL, NULL, false}};
const struct api_field api_delete_chap_in[] = {
    {"TargetARN", &api_target_arn, true}, {"InitiatorName", &iqn, true}, {NULL, NULL, false}};

static struct control_volume *
target(struct api_call *call)
{
	return control_volume_by_target(
	    call->control, api_in_string(call, "TargetARN"), &call->err);
}

static void
answer(struct api_call *call)
{
	api_out_string(call, "TargetARN", api_in_string(call, "TargetARN"));
	api_out_string(call, "InitiatorName", api_in_string(call, "InitiatorName"));
}

int
api_update_chap(struct api_call *call)
{
	const char *of_target = api_in_string(call, "SecretToAuthenticateTarget");
	struct control_volume *v = target(call);

	if (v == NULL)
		return -EINVAL;
	answer(call);
	return control_chap_set(call->control, v, api_in_string(call, "InitiatorName"),
	    api_in_string(call, "SecretToAuthenticateInitiator"),
	    of_target != NULL ? of_target : "", &call->err);
}

int
api_describe_chap(struct api_call *call)
{
	struct control_volume *v = target(call);
	json_t *list = json_array(), *c;
	size_t i;

	json_object_set_new(call->out, "ChapCredentials", list);
	if (v == NULL)
		return -EINVAL;
	json_array_foreach(json_object_get(v->row, "Chap"), i, c)
	{
		json_t *o = json_copy(c);

		json_object_set_new(o, "TargetARN", json_string(v->target_arn));
		if (api_row_string(o, "SecretToAuthenticateTarget")[0] == '\0')
			json_object_del(o, "SecretToAuthenticateTarget");
		json_array_append_new(list, o);
	}
	return 0;
}

int
api_delete_chap(struct api_call *call)
{
	struct control_volume *v = target(call);

	if (v == NULL)
		return -EINVAL;
	answer(call);
	return control_chap_del(call->control, v, api_in_string(call, "InitiatorName"), &call->err);
}
