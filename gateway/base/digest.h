/* SPDX-License-Identifier: Apache-2.0 */
/* digest.h - hashes, HMAC, CRC32C, base64 and hex over libcrypto. Any thread. */
#ifndef CW_BASE_DIGEST_H
#define CW_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/err.h"

#define SHA256_LEN 32
#define MD5_LEN 16

void digest_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN]);
void digest_hmac_sha256(
    const void *key, size_t keylen, const void *data, size_t len, uint8_t out[SHA256_LEN]);
void digest_md5(const void *data, size_t len, uint8_t out[MD5_LEN]);

/* Incremental hashes. digest_new: which is "SHA256", "SHA3-256" or "MD5"; final frees. */
struct digest;
struct digest *digest_new(const char *which);
void digest_update(struct digest *d, const void *data, size_t len);
void digest_final(struct digest *d, uint8_t *out);

uint32_t digest_crc32c(uint32_t crc, const void *data, size_t len);

/* hex: out has 2*len+1 bytes, lower case. hex_decode: count of bytes or -EINVAL. */
void digest_hex(const uint8_t *data, size_t len, char *out);
int digest_hex_decode(const char *hex, uint8_t *out, size_t cap);
/* base64: out has 4*((len+2)/3)+1 bytes. decode: count of bytes or -EINVAL. */
void digest_base64(const uint8_t *data, size_t len, char *out);
int digest_base64_decode(const char *text, uint8_t *out, size_t cap);

/* digest_equal - compare in constant time. */
bool digest_equal(const void *a, const void *b, size_t len);
/* random_bytes - from the kernel; aborts if it cannot. */
void random_bytes(void *out, size_t len);

#endif
