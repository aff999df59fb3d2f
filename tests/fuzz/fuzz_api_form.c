/* SPDX-License-Identifier: Apache-2.0 */
/* Forms of the EC2 side: fields, wildcards, and what of them goes back as XML. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/api_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	    "Action", "SnapshotId.1", "Filter.1.Name", "Filter.1.Value.1", "MaxResults"};
	struct strbuf xml = STRBUF_INIT;
	char *form = malloc(size + 1);

	if (form == NULL)
		return 0;
	memcpy(form, data, size);
	form[size] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *v = api_form_field(form, names[i]);

		if (v == NULL)
			continue;
		api_xml_escape(&xml, v);
		if (strpbrk(strbuf_str(&xml), "<>\"") != NULL)
			abort();
		if (!api_wildcard_matches(v, "*"))
			abort();
		(void)api_wildcard_matches(form, v);
		free(v);
	}
	strbuf_free(&xml);
	free(form);
	return 0;
}
