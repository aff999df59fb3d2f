/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as volume.json, owner, snapshot or clone; what is understood survives a round trip. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/volume/vol_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
info(const char *text, size_t len)
{
	struct vol_info a, b;
	char *again;

	if (vol_info_decode(text, len, &a) < 0)
		return;
	again = vol_info_encode(&a);
	if (vol_info_decode(again, strlen(again), &b) < 0 || strcmp(a.id, b.id) != 0 ||
	    memcmp(a.uuid, b.uuid, sizeof(a.uuid)) != 0 || a.size_bytes != b.size_bytes ||
	    a.has_key != b.has_key || a.origin_epoch != b.origin_epoch)
		abort();
	free(again);
}

static void
owner(const char *text, size_t len)
{
	struct vol_owner a, b;
	char *again;

	if (vol_owner_decode(text, len, &a) < 0)
		return;
	again = vol_owner_encode(&a);
	if (vol_owner_decode(again, strlen(again), &b) < 0 || a.term != b.term ||
	    strcmp(a.appliance, b.appliance) != 0 || strcmp(a.nonce, b.nonce) != 0)
		abort();
	free(again);
}

static void
pin(const char *text, size_t len)
{
	struct vol_pin a, b;
	char *again;

	if (vol_pin_decode(text, len, &a) < 0)
		return;
	again = vol_pin_encode(&a);
	if (vol_pin_decode(again, strlen(again), &b) < 0 || strcmp(a.id, b.id) != 0 ||
	    a.epoch != b.epoch || a.is_clone != b.is_clone || a.map_term != b.map_term)
		abort();
	free(again);
	free(a.description);
	free(b.description);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	info((const char *)data, size);
	owner((const char *)data, size);
	pin((const char *)data, size);
	return 0;
}
