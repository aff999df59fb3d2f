/* SPDX-License-Identifier: Apache-2.0 */
/* api_volume_list.c - operations on volumes that are there: describe, list, detach, delete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

#define VOLUMES_PAGE 100
#define LUN 0 /* what real gateways answer, although the model says 1 or more */

static const struct api_shape arns = {.type = API_LIST, .member = &api_volume_arn};

const struct api_field api_describe_volumes_in[] = {
    {"VolumeARNs", &arns, true}, {NULL, NULL, false}};
const struct api_field api_volume_in[] = {
    {"VolumeARN", &api_volume_arn, true}, {NULL, NULL, false}};
const struct api_field api_detach_volume_in[] = {{"VolumeARN", &api_volume_arn, true},
    {"ForceDetach", &api_boolean, false}, {NULL, NULL, false}};

static void
copy(json_t *to, const json_t *row, const char *name)
{
	json_t *v = json_object_get(row, name);

	if (v != NULL)
		json_object_set(to, name, v);
}

static int
first_port(void *arg, const char *address)
{
	const char *colon = strrchr(address, ':');

	*(int *)arg = colon != NULL ? atoi(colon + 1) : 3260;
	return 1;
}

static json_t *
iscsi_attributes(struct api_call *call, const struct control_volume *v)
{
	int port = 3260;

	config_each_address(control_config(call->control)->iscsi_listen, first_port, &port);
	return json_pack("{s:s,s:s,s:i,s:i,s:b}", "TargetARN", v->target_arn, "NetworkInterfaceId",
	    api_row_string(v->row, "NetworkInterfaceId"), "NetworkInterfacePort", port, "LunNumber",
	    LUN, "ChapEnabled", json_array_size(json_object_get(v->row, "Chap")) > 0);
}

static json_t *
volume_info(struct api_call *call, struct control_volume *v, bool is_stored)
{
	struct cw_volume_status st;
	const char *status = control_volume_status(call->control, v, &st);
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:f,s:I,s:o}", "VolumeARN", v->arn,
	    "VolumeId", v->id, "VolumeType", is_stored ? "STORED" : "CACHED iSCSI", "VolumeStatus",
	    status, "VolumeAttachmentStatus", control_volume_attachment(v), "VolumeSizeInBytes",
	    (json_int_t)st.size_bytes, "CreatedDate",
	    (double)json_integer_value(json_object_get(v->row, "CreatedNs")) / 1e9,
	    "VolumeUsedInBytes", (json_int_t)st.used_bytes, "VolumeiSCSIAttributes",
	    iscsi_attributes(call, v));

	if (st.progress >= 0)
		json_object_set_new(o, "VolumeProgress", json_real(st.progress));
	copy(o, v->row, "SourceSnapshotId");
	copy(o, v->row, "KMSKey");
	copy(o, v->row, "TargetName");
	if (is_stored) {
		json_object_set_new(
		    o, "VolumeDiskId", json_string(api_row_string(v->row, "DiskId")));
		json_object_set_new(o, "PreservedExistingData",
		    json_boolean(json_is_true(json_object_get(v->row, "PreservedExistingData"))));
	}
	return o;
}

static int
describe(struct api_call *call, const char *type, const char *member)
{
	json_t *list = json_array(), *arn;
	size_t i;

	json_object_set_new(call->out, member, list);
	json_array_foreach(json_object_get(call->in, "VolumeARNs"), i, arn)
	{
		struct control_volume *v =
		    control_volume_by_arn(call->control, json_string_value(arn), &call->err);

		if (v == NULL)
			return -EINVAL;
		if (strcmp(api_row_string(v->row, "VolumeType"), type) != 0)
			return api_wrong_type(call);
		json_array_append_new(list, volume_info(call, v, strcmp(type, "STORED") == 0));
	}
	return 0;
}

int
api_describe_cached(struct api_call *call)
{
	return describe(call, "CACHED", "CachediSCSIVolumes");
}

int
api_describe_stored(struct api_call *call)
{
	return describe(call, "STORED", "StorediSCSIVolumes");
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *
list_info(struct api_call *call, const char *id)
{
	struct control_volume *v = control_volume_by_id(call->control, id);
	const char *gateway = strrchr(v->gateway_arn, '/');

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:s}", "VolumeARN", v->arn, "VolumeId", v->id,
	    "GatewayARN", v->gateway_arn, "GatewayId", gateway != NULL ? gateway + 1 : "",
	    "VolumeType",
	    strcmp(api_row_string(v->row, "VolumeType"), "STORED") == 0 ? "STORED" : "CACHED iSCSI",
	    "VolumeSizeInBytes", (json_int_t)control_volume_size(v), "VolumeAttachmentStatus",
	    control_volume_attachment(v));
}

int
api_list_volumes(struct api_call *call)
{
	const char *arn = api_in_string(call, "GatewayARN");
	size_t n = 0, from, to;
	json_t *list;
	const char **ids;
	struct list *l;

	if (arn != NULL && api_gateway_of(call, "CACHED", "STORED") == NULL)
		return -EINVAL;
	list_for_each(l, control_volumes(call->control)) n++;
	ids = xcalloc(n + 1, sizeof(*ids));
	n = 0;
	list_for_each(l, control_volumes(call->control))
	{
		struct control_volume *v = container_of(l, struct control_volume, link);

		if (v->phase != VOLUME_DELETING &&
		    (arn == NULL || strcmp(arn, v->gateway_arn) == 0))
			ids[n++] = v->id;
	}
	qsort(ids, n, sizeof(*ids), compare);
	list = json_array();
	if (api_page(call, ids, n, VOLUMES_PAGE, &from, &to))
		api_out_string(call, "Marker", ids[to - 1]);
	for (size_t i = from; i < to; i++)
		json_array_append_new(list, list_info(call, ids[i]));
	if (arn != NULL)
		api_out_string(call, "GatewayARN", arn);
	json_object_set_new(call->out, "VolumeInfos", list);
	free(ids);
	return 0;
}

/* --- one volume -------------------------------------------------------------------------------------- */

static struct control_volume *
volume(struct api_call *call)
{
	struct control_volume *v =
	    control_volume_by_arn(call->control, api_in_string(call, "VolumeARN"), &call->err);

	if (v != NULL)
		api_out_string(call, "VolumeARN", v->arn);
	return v;
}

static void
add_initiator(void *arg, const struct cw_target_session *s)
{
	json_t *list = arg, *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (strcmp(json_string_value(v), s->initiator) == 0)
			return; /* several sessions of one */
	}
	v = json_string(s->initiator);
	if (v != NULL)
		json_array_append_new(list, v);
}

int
api_list_initiators(struct api_call *call)
{
	struct control_volume *v = volume(call);
	json_t *list = json_array();

	json_object_del(call->out, "VolumeARN");
	json_object_set_new(call->out, "Initiators", list);
	if (v == NULL)
		return -EINVAL;
	control_volume_each_initiator(v, add_initiator, list);
	return 0;
}

int
api_delete_volume(struct api_call *call)
{
	struct control_volume *v = volume(call);

	return v != NULL ? control_volume_delete(call->control, v, &call->err) : -EINVAL;
}

/* ForceDetach ends the initiators' sessions; what they wrote is uploaded all the same. */
int
api_detach_volume(struct api_call *call)
{
	bool force = json_is_true(json_object_get(call->in, "ForceDetach"));
	struct control_volume *v = volume(call);

	return v != NULL ? control_volume_detach(call->control, v, force, false, &call->err)
			 : -EINVAL;
}
