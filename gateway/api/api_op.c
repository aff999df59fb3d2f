/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_op.c - the table of operations and the way of a request through it: target, JSON, table of
 * fields, operation, reply.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"
#include "gateway/base/digest.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"

#define TARGET_PREFIX "StorageGateway_20130630."

/* Operations of this appliance. */
static const struct api_op ops[] = {
    {"ActivateGateway", api_activate_gateway_in, api_activate_gateway},
    {"AddCache", api_add_cache_in, api_add_cache},
    {"AddTagsToResource", api_add_tags_in, api_add_tags},
    {"AddUploadBuffer", api_add_cache_in, api_add_upload_buffer},
    {"AddWorkingStorage", api_add_cache_in, api_add_working_storage},
    {"AttachVolume", api_attach_volume_in, api_attach_volume},
    {"CreateCachediSCSIVolume", api_create_cached_in, api_create_cached},
    {"CreateNFSFileShare", api_create_nfs_in, api_create_nfs},
    {"CreateSnapshot", api_create_snapshot_in, api_create_snapshot},
    {"CreateSnapshotFromVolumeRecoveryPoint", api_create_snapshot_in,
	api_create_snapshot_from_point},
    {"CreateStorediSCSIVolume", api_create_stored_in, api_create_stored},
    {"DeleteChapCredentials", api_delete_chap_in, api_delete_chap},
    {"DeleteFileShare", api_delete_share_in, api_delete_share},
    {"DeleteGateway", api_describe_gateway_in, api_delete_gateway},
    {"DeleteSnapshotSchedule", api_volume_in, api_delete_schedule},
    {"DeleteVolume", api_volume_in, api_delete_volume},
    {"DescribeCache", api_local_disks_in, api_describe_cache},
    {"DescribeCachediSCSIVolumes", api_describe_volumes_in, api_describe_cached},
    {"DescribeChapCredentials", api_describe_chap_in, api_describe_chap},
    {"DescribeGatewayInformation", api_describe_gateway_in, api_describe_gateway},
    {"DescribeMaintenanceStartTime", api_describe_gateway_in, api_describe_maintenance},
    {"DescribeNFSFileShares", api_describe_nfs_in, api_describe_nfs},
    {"DescribeSnapshotSchedule", api_volume_in, api_describe_schedule},
    {"DescribeStorediSCSIVolumes", api_describe_volumes_in, api_describe_stored},
    {"DescribeUploadBuffer", api_local_disks_in, api_describe_upload_buffer},
    {"DescribeWorkingStorage", api_local_disks_in, api_describe_working_storage},
    {"DetachVolume", api_detach_volume_in, api_detach_volume},
    {"ListFileShares", api_list_shares_in, api_list_shares},
    {"ListGateways", api_list_gateways_in, api_list_gateways},
    {"ListLocalDisks", api_local_disks_in, api_list_local_disks},
    {"ListTagsForResource", api_list_tags_in, api_list_tags},
    {"ListVolumeInitiators", api_volume_in, api_list_initiators},
    {"ListVolumeRecoveryPoints", api_local_disks_in, api_list_recovery_points},
    {"ListVolumes", api_list_shares_in, api_list_volumes},
    {"NotifyWhenUploaded", api_notify_in, api_notify},
    {"RefreshCache", api_refresh_in, api_refresh},
    {"RemoveTagsFromResource", api_remove_tags_in, api_remove_tags},
    {"UpdateChapCredentials", api_update_chap_in, api_update_chap},
    {"UpdateGatewayInformation", api_update_gateway_in, api_update_gateway},
    {"UpdateMaintenanceStartTime", api_maintenance_in, api_update_maintenance},
    {"UpdateNFSFileShare", api_update_nfs_in, api_update_nfs},
    {"UpdateSnapshotSchedule", api_update_schedule_in, api_update_schedule},
};

/* Operations that exist but are not valid for the gateways that this appliance can be. */
static const char *const others[] = {"AssignTapePool", "AssociateFileSystem", "CancelArchival",
    "CancelCacheReport", "CancelRetrieval", "CreateSMBFileShare", "CreateTapePool",
    "CreateTapeWithBarcode", "CreateTapes", "DeleteAutomaticTapeCreationPolicy",
    "DeleteBandwidthRateLimit", "DeleteCacheReport", "DeleteTape", "DeleteTapeArchive",
    "DeleteTapePool", "DescribeAvailabilityMonitorTest", "DescribeBandwidthRateLimit",
    "DescribeBandwidthRateLimitSchedule", "DescribeCacheReport", "DescribeFileSystemAssociations",
    "DescribeSMBFileShares", "DescribeSMBSettings", "DescribeTapeArchives",
    "DescribeTapeRecoveryPoints", "DescribeTapes", "DescribeVTLDevices", "DisableGateway",
    "DisassociateFileSystem", "EvictFilesFailingUpload", "JoinDomain",
    "ListAutomaticTapeCreationPolicies", "ListCacheReports", "ListFileSystemAssociations",
    "ListTapePools", "ListTapes", "ResetCache", "RetrieveTapeArchive", "RetrieveTapeRecoveryPoint",
    "SetLocalConsolePassword", "SetSMBGuestPassword", "ShutdownGateway",
    "StartAvailabilityMonitorTest", "StartCacheReport", "StartGateway",
    "UpdateAutomaticTapeCreationPolicy", "UpdateBandwidthRateLimit",
    "UpdateBandwidthRateLimitSchedule", "UpdateFileSystemAssociation", "UpdateGatewaySoftwareNow",
    "UpdateSMBFileShare", "UpdateSMBFileShareVisibility", "UpdateSMBLocalGroups",
    "UpdateSMBSecurityStrategy", "UpdateVTLDeviceType"};

static const struct api_op not_valid = {NULL, NULL, NULL};

const struct api_op *
api_op_find(const char *name)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(others[i], name) == 0)
			return &not_valid;
	return NULL;
}

int
api_error(struct control_error *e, const char *type, const char *fmt, ...)
{
	va_list ap;

	e->type = type;
	e->code = NULL;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int
api_op_check(const char *target, const char *body, size_t len, const struct api_op **op,
    json_t **in, struct control_error *e)
{
	size_t n = strlen(TARGET_PREFIX);

	*in = NULL;
	*op = strncmp(target, TARGET_PREFIX, n) == 0 ? api_op_find(target + n) : NULL;
	if (*op == NULL)
		return api_error(e, "UnknownOperationException", "The operation is not known.");
	*in = api_parse(body, len, e);
	if (*in == NULL)
		return -EINVAL;
	if ((*op)->run == NULL) {
		json_decref(*in);
		*in = NULL;
		return control_fail(e, "UnsupportedOperationForGatewayType",
		    "This operation is not valid for the specified gateway.");
	}
	if (api_validate((*op)->fields, *in, e) == 0)
		return 0;
	json_decref(*in);
	*in = NULL;
	return -EINVAL;
}

static void
count(const char *op, bool is_error)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "op=\"%s\",result=\"%s\"", op, is_error ? "error" : "ok");
	metric_add(metrics_counter("causeway_api_requests_total", labels,
		       "Requests of the control API by operation."),
	    1);
}

void
api_dispatch(struct control *c, struct api_keyring *k, const char *target, const char *body,
    size_t len, struct api_reply *out)
{
	struct api_call call = {.control = c, .keyring = k};
	const struct api_op *op = NULL;
	json_t *in = NULL;

	if (api_op_check(target, body, len, &op, &in, &call.err) < 0) {
		count(op != NULL && op->name != NULL ? op->name : "other", true);
		api_reply_error(out, &call.err);
		return;
	}
	call.in = in;
	call.out = json_object();
	control_lock(c);
	if (op->run(&call) < 0 && call.err.type == NULL)
		control_fail_internal(&call.err, -EIO, op->name);
	control_unlock(c);
	count(op->name, call.err.type != NULL);
	log_debug("gateway.api", "call", "op=%s error=%s", op->name,
	    call.err.type != NULL ? call.err.message : "none");
	if (call.err.type != NULL)
		api_reply_error(out, &call.err);
	else
		api_reply_json(out, 200, call.out);
	json_decref(call.out);
	json_decref(in);
}

/* --- replies ---------------------------------------------------------------------------------------- */

void
api_reply_json(struct api_reply *out, int status, const json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	out->status = status;
	out->content_type = "application/x-amz-json-1.1";
	strbuf_adds(&out->body, text != NULL ? text : "{}");
	free(text);
}

static int
status_of(const char *type)
{
	if (strcmp(type, "InternalServerError") == 0)
		return 500;
	if (strcmp(type, "ServiceUnavailableError") == 0)
		return 503;
	if (strcmp(type, "ResourceNotFoundException") == 0)
		return 404;
	return 400;
}

void
api_reply_error(struct api_reply *out, const struct control_error *e)
{
	json_t *body =
	    json_pack("{s:s,s:s%}", "__type", e->type, "message", e->message, strlen(e->message));

	if (body == NULL) /* the message quotes bytes that are no UTF-8 */
		body = json_pack("{s:s,s:s}", "__type", e->type, "message", "malformed request");
	if (e->code != NULL)
		json_object_set_new(
		    body, "error", json_pack("{s:s,s:{}}", "errorCode", e->code, "errorDetails"));
	api_reply_json(out, status_of(e->type), body);
	json_decref(body);
}

/* --- helpers of the operations ------------------------------------------------------------------------ */

const char *
api_in_string(const struct api_call *call, const char *name)
{
	return json_string_value(json_object_get(call->in, name));
}

void
api_out_string(struct api_call *call, const char *name, const char *value)
{
	json_object_set_new(call->out, name, json_string(value));
}

const char *
api_row_string(const json_t *row, const char *name)
{
	const char *s = json_string_value(json_object_get(row, name));

	return s != NULL ? s : "";
}

void
api_digest(const json_t *in, char hex[2 * SHA256_LEN + 1])
{
	char *text = json_dumps(in, JSON_COMPACT | JSON_SORT_KEYS);
	uint8_t h[SHA256_LEN];

	digest_sha256(text != NULL ? text : "", text != NULL ? strlen(text) : 0, h);
	digest_hex(h, sizeof(h), hex);
	free(text);
}

int
api_wrong_type(struct api_call *call)
{
	return control_fail(&call->err, "UnsupportedOperationForGatewayType",
	    "This operation is not valid for the specified gateway.");
}

struct control_gateway *
api_gateway_of(struct api_call *call, const char *type, const char *or_type)
{
	struct control_gateway *g =
	    control_gateway_by_arn(call->control, api_in_string(call, "GatewayARN"), &call->err);
	const char *is = g != NULL ? api_row_string(g->row, "GatewayType") : "";

	if (g == NULL || strcmp(is, type) == 0 || (or_type != NULL && strcmp(is, or_type) == 0))
		return g;
	api_wrong_type(call);
	return NULL;
}

bool
api_page(const struct api_call *call, const char *const *ids, size_t n, size_t max, size_t *from,
    size_t *to)
{
	const char *marker = api_in_string(call, "Marker");
	const json_t *limit = json_object_get(call->in, "Limit");

	if (json_is_integer(limit) && (size_t)json_integer_value(limit) < max)
		max = (size_t)json_integer_value(limit);
	*from = 0;
	while (marker != NULL && *from < n && strcmp(ids[*from], marker) <= 0)
		++*from;
	*to = n - *from > max ? *from + max : n;
	return *to < n;
}
