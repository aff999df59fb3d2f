/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a client list entry: refused, or a prefix length that its address has. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/share.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_client_net net;
	char *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (cw_client_net_parse(text, &net) == 0 && net.prefix_bits > (net.is_v6 ? 128u : 32u))
		abort();
	free(text);
	return 0;
}
