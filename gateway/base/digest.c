/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "gateway/base/log.h"

static void
digest_once(const EVP_MD *md, const void *data, size_t len, uint8_t *out)
{
	CW_ASSERT(EVP_Digest(data, len, out, NULL, md, NULL) == 1);
}

void
digest_sha256(const void *data, size_t len, uint8_t out[SHA256_LEN])
{
	digest_once(EVP_sha256(), data, len, out);
}

void
digest_md5(const void *data, size_t len, uint8_t out[MD5_LEN])
{
	digest_once(EVP_md5(), data, len, out);
}

void
digest_hmac_sha256(
    const void *key, size_t keylen, const void *data, size_t len, uint8_t out[SHA256_LEN])
{
	unsigned int n = SHA256_LEN;

	CW_ASSERT(HMAC(EVP_sha256(), key, (int)keylen, data, len, out, &n) != NULL);
}

struct digest *
digest_new(const char *which)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const EVP_MD *md = EVP_get_digestbyname(which);

	CW_ASSERT(ctx != NULL && md != NULL && EVP_DigestInit_ex(ctx, md, NULL) == 1);
	return (struct digest *)(void *)ctx;
}

void
digest_update(struct digest *d, const void *data, size_t len)
{
	CW_ASSERT(EVP_DigestUpdate((EVP_MD_CTX *)(void *)d, data, len) == 1);
}

void
digest_final(struct digest *d, uint8_t *out)
{
	EVP_MD_CTX *ctx = (EVP_MD_CTX *)(void *)d;

	CW_ASSERT(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
	EVP_MD_CTX_free(ctx);
}

/* CRC32C (Castagnoli), reflected polynomial 0x82f63b78: the SSE4.2 instruction where the CPU has it,
 * else a table of 256. */
static uint32_t
crc32c_table(uint32_t crc, const uint8_t *p, size_t len)
{
	static uint32_t table[256];
	static bool is_ready;

	if (!__atomic_load_n(&is_ready, __ATOMIC_ACQUIRE)) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;

			for (int k = 0; k < 8; k++)
				c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
			__atomic_store_n(&table[i], c, __ATOMIC_RELAXED);
		}
		__atomic_store_n(&is_ready, true, __ATOMIC_RELEASE);
	}
	for (; len > 0; len--, p++)
		crc = (crc >> 8) ^ __atomic_load_n(&table[(crc ^ *p) & 0xff], __ATOMIC_RELAXED);
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t c = crc;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	for (; len > 0; len--, p++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

uint32_t
digest_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(~crc, data, len);
#endif
	return ~crc32c_table(~crc, data, len);
}

void
digest_hex(const uint8_t *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
digest_hex_decode(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = strlen(hex);

	if (n % 2 != 0 || n / 2 > cap)
		return -EINVAL;
	for (size_t i = 0; i < n / 2; i++) {
		int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return (int)(n / 2);
}

void
digest_base64(const uint8_t *data, size_t len, char *out)
{
	EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

int
digest_base64_decode(const char *text, uint8_t *out, size_t cap)
{
	size_t n = strlen(text);
	uint8_t part[3];
	size_t done = 0;

	if (n % 4 != 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 4) {
		size_t take = 3;

		if (EVP_DecodeBlock(part, (const unsigned char *)text + i, 4) != 3)
			return -EINVAL;
		if (i + 4 == n && text[n - 1] == '=')
			take = text[n - 2] == '=' ? 1 : 2;
		if (done + take > cap)
			return -EINVAL;
		memcpy(out + done, part, take);
		done += take;
	}
	return (int)done;
}

bool
digest_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void
random_bytes(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		CW_ASSERT(n > 0 || errno == EINTR);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}
