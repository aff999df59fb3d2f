/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an XML answer; the first chooses what was expected. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const roots[] = {"ListBucketResult", "ListMultipartUploadsResult",
	    "ListPartsResult", "CopyObjectResult", "CopyPartResult",
	    "InitiateMultipartUploadResult", "CompleteMultipartUploadResult", "DeleteResult"};
	struct s3_xml_answer a;

	if (size < 1)
		return 0;
	if (s3_xml_parse(roots[data[0] % 8], data + 1, size - 1, &a) == 0) {
		if (a.is_error && a.code[0] == '\0')
			abort();
		for (size_t i = 0; i < a.list.n; i++)
			if (a.list.entries[i].key[0] == '\0' ||
			    strlen(a.list.entries[i].key) > OBJSTORE_KEY_MAX)
				abort();
		for (size_t i = 0; i < a.nparts; i++)
			if (a.parts[i].number < 1 || a.parts[i].number > 10000)
				abort();
		if (a.list.truncated && a.list.next_token == NULL)
			abort();
	}
	s3_xml_free(&a);
	return 0;
}
