/* SPDX-License-Identifier: Apache-2.0 */
/* mime.h - Content-Type from a file's name (GuessMIMETypeEnabled). */
#ifndef GATEWAY_MIME_H
#define GATEWAY_MIME_H

#include <stddef.h>

/* mime_guess - by the extension, whatever its case; never NULL ("application/octet-stream").
 * ctx: any thread; source: IANA media types */
const char *mime_guess(const char *name, size_t len);

#endif
