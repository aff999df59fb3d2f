/* SPDX-License-Identifier: Apache-2.0 */
/* What stores answer in XML, the well-behaved and the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/base/strbuf.h"
#include "s3/s3_xml.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static int
parse(const char *root, const char *text, struct s3_xml_answer *out)
{
	return s3_xml_parse(root, text, strlen(text), out);
}

static void
listing_of_objects_and_prefixes(void **state)
{
	static const char text[] = HEAD
	    "<ListBucketResult" NS "><Name>b</Name><Prefix>p%2F</Prefix><KeyCount>2</KeyCount>"
	    "<MaxKeys>2</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
	    "<NextContinuationToken>1ueGcx+PU/=</NextContinuationToken>"
	    "<Contents><Key>p%2Fa+b%2B%C3%A4</Key><LastModified>2009-10-12T17:50:30.250Z"
	    "</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag>"
	    "<Size>434234</Size><StorageClass>STANDARD_IA</StorageClass>"
	    "<Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner></Contents>"
	    "<CommonPrefixes><Prefix>p%2Fdir%2F</Prefix></CommonPrefixes></ListBucketResult>";
	struct s3_xml_answer a;

	(void)state;
	assert_int_equal(parse("ListBucketResult", text, &a), 0);
	assert_false(a.is_error);
	assert_int_equal(a.list.n, 2);
	assert_string_equal(a.list.entries[0].key, "p/a b+\xc3\xa4");
	assert_int_equal(a.list.entries[0].size, 434234);
	assert_true(a.list.entries[0].mtime_ns == 1255369830250000000);
	assert_string_equal(a.list.entries[0].etag, "fba9dede5f27731c9771645a39863328");
	assert_string_equal(a.list.entries[0].storage_class, "STANDARD_IA");
	assert_false(a.list.entries[0].is_prefix);
	assert_string_equal(a.list.entries[1].key, "p/dir/");
	assert_true(a.list.entries[1].is_prefix);
	assert_true(a.list.truncated);
	assert_string_equal(a.list.next_token, "1ueGcx+PU/=");
	s3_xml_free(&a);
	/* without encoding-type a key is as it is */
	assert_int_equal(parse("ListBucketResult",
			     "<ListBucketResult><Contents><Key>a+%41&amp;</Key></Contents>"
			     "</ListBucketResult>",
			     &a),
	    0);
	assert_string_equal(a.list.entries[0].key, "a+%41&");
	s3_xml_free(&a);
}

static void
uploads_and_parts(void **state)
{
	static const char uploads[] = HEAD
	    "<ListMultipartUploadsResult" NS "><Bucket>b</Bucket><KeyMarker></KeyMarker>"
	    "<NextKeyMarker>m%20v</NextKeyMarker><NextUploadIdMarker>Yw+x</NextUploadIdMarker>"
	    "<EncodingType>url</EncodingType><MaxUploads>1</MaxUploads><IsTruncated>true"
	    "</IsTruncated><Upload><Key>m%20v</Key><UploadId>Yw+x</UploadId><Initiator><ID>i</ID>"
	    "</Initiator><Initiated>2010-11-10T20:48:33.000Z</Initiated></Upload>"
	    "</ListMultipartUploadsResult>";
	static const char parts[] =
	    HEAD "<ListPartsResult" NS "><Key>k</Key><UploadId>u</UploadId>"
		 "<PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>3"
		 "</NextPartNumberMarker><MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>"
		 "<Part><PartNumber>2</PartNumber><LastModified>2010-11-10T20:48:34.000Z"
		 "</LastModified><ETag>\"7778\"</ETag><Size>10485760</Size></Part>"
		 "<Part><PartNumber>3</PartNumber><ETag>\"aaaa\"</ETag><Size>5</Size></Part>"
		 "</ListPartsResult>";
	struct s3_xml_answer a;

	(void)state;
	assert_int_equal(parse("ListMultipartUploadsResult", uploads, &a), 0);
	assert_int_equal(a.list.n, 1);
	assert_string_equal(a.list.entries[0].key, "m v");
	assert_string_equal(a.list.entries[0].upload_id, "Yw+x");
	assert_string_equal(a.list.next_token, "m v");
	assert_string_equal(a.list.next_upload_marker, "Yw+x");
	assert_true(a.list.entries[0].mtime_ns == 1289422113000000000);
	s3_xml_free(&a);
	assert_int_equal(parse("ListPartsResult", parts, &a), 0);
	assert_int_equal(a.nparts, 2);
	assert_int_equal(a.parts[0].number, 2);
	assert_int_equal(a.parts[0].size, 10485760);
	assert_string_equal(a.parts[1].etag, "aaaa");
	assert_string_equal(a.list.next_token, "3");
	s3_xml_free(&a);
}

static void
results_of_writes(void **state)
{
	struct s3_xml_answer a;

	(void)state;
	assert_int_equal(
	    parse("CopyObjectResult",
		HEAD "<CopyObjectResult><LastModified>2009-10-28T22:32:00</LastModified>"
		     "<ETag>\"9b2cf535f27731c974343645a3985328\"</ETag>"
		     "</CopyObjectResult>",
		&a),
	    0);
	assert_string_equal(a.etag, "9b2cf535f27731c974343645a3985328");
	s3_xml_free(&a);
	assert_int_equal(
	    parse("InitiateMultipartUploadResult",
		"<InitiateMultipartUploadResult" NS "><Bucket>b</Bucket><Key>&#x1;k</Key>"
		"<UploadId>VXBsb2FkIElE</UploadId></InitiateMultipartUploadResult>",
		&a),
	    0);
	assert_string_equal(a.upload_id, "VXBsb2FkIElE");
	s3_xml_free(&a);
	assert_int_equal(
	    parse("CompleteMultipartUploadResult",
		"  \n \n" HEAD "<CompleteMultipartUploadResult><Location>http://x</Location>"
		"<ETag>\"3858f62230ac3c915f300c664312c11f-9\"</ETag>"
		"</CompleteMultipartUploadResult>",
		&a),
	    0);
	assert_string_equal(a.etag, "3858f62230ac3c915f300c664312c11f-9");
	s3_xml_free(&a);
	assert_int_equal(
	    parse("DeleteResult",
		"<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key>"
		"<Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>",
		&a),
	    0);
	assert_false(a.is_error);
	assert_int_equal(a.nkey_errors, 1);
	assert_string_equal(a.key_errors[0].key, "b");
	assert_string_equal(a.key_errors[0].code, "AccessDenied");
	s3_xml_free(&a);
}

static void
an_error_may_stand_where_a_result_is_expected(void **state)
{
	struct s3_xml_answer a;

	(void)state;
	assert_int_equal(
	    parse("CompleteMultipartUploadResult",
		HEAD "<Error><Code>InternalError</Code><Message>We \x1b encountered</Message>"
		     "<Region>eu-west-1</Region></Error>",
		&a),
	    0);
	assert_true(a.is_error);
	assert_string_equal(a.code, "InternalError");
	assert_string_equal(a.region, "eu-west-1");
	s3_xml_free(&a);
}

static void
hostile_documents_are_refused(void **state)
{
	static const char *const bad[] = {"", "x", "<a/>", "<ListBucketResult>",
	    "<ListBucketResult></ListBucketResult><x/>", "<Error/>", "<Error><Code/></Error>",
	    "<!DOCTYPE a [<!ENTITY x \"y\">]><ListBucketResult/>",
	    "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
	    "<ListBucketResult>&unknown;</ListBucketResult>",
	    "<ListBucketResult><Contents><Key></Key></Contents></ListBucketResult>",
	    "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
	    "<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
	    "<ListBucketResult><Contents><Key>a</Key><Size>99999999999999999999</Size></Contents>"
	    "</ListBucketResult>",
	    "<ListBucketResult><Contents><Key>a</Key><LastModified>soon</LastModified></Contents>"
	    "</ListBucketResult>",
	    "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
	    "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%zz</Key></Contents>"
	    "</ListBucketResult>",
	    "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%00</Key></Contents>"
	    "</ListBucketResult>",
	    "<ListBucketResult><Contents><Key>&#x1;</Key></Contents></ListBucketResult>",
	    "<ListBucketResult><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>"};
	struct s3_xml_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse("ListBucketResult", bad[i], &a) != -ERR_PROTOCOL)
			fail_msg("taken: %s", bad[i]);
		s3_xml_free(&a);
	}
	assert_int_equal(parse("ListMultipartUploadsResult",
			     "<ListMultipartUploadsResult><Upload><Key>a</Key></Upload>"
			     "</ListMultipartUploadsResult>",
			     &a),
	    -ERR_PROTOCOL);
	s3_xml_free(&a);
	assert_int_equal(parse("ListPartsResult",
			     "<ListPartsResult><Part><Size>1</Size></Part></ListPartsResult>", &a),
	    -ERR_PROTOCOL);
	s3_xml_free(&a);
}

static void
control_characters_in_what_we_do_not_read_do_no_harm(void **state)
{
	struct s3_xml_answer a;

	(void)state;
	assert_int_equal(
	    parse("ListBucketResult",
		"<ListBucketResult><Prefix>&#x01;&#31;\x02</Prefix><EncodingType>url"
		"</EncodingType><Contents><Key>%01a</Key></Contents></ListBucketResult>",
		&a),
	    0);
	assert_string_equal(a.list.entries[0].key, "\x01"
						   "a");
	s3_xml_free(&a);
}

static void
too_many_entries_are_refused(void **state)
{
	struct strbuf b = STRBUF_INIT;
	struct s3_xml_answer a;

	(void)state;
	strbuf_adds(&b, "<ListBucketResult>");
	for (int i = 0; i < 10000; i++)
		strbuf_addf(&b, "<Contents><Key>k%d</Key></Contents>", i);
	strbuf_adds(&b, "</ListBucketResult>");
	assert_int_equal(parse("ListBucketResult", b.s, &a), 0);
	assert_int_equal(a.list.n, 10000);
	s3_xml_free(&a);
	b.len -= strlen("</ListBucketResult>");
	strbuf_adds(&b, "<Contents><Key>more</Key></Contents></ListBucketResult>");
	assert_int_equal(parse("ListBucketResult", b.s, &a), -ERR_PROTOCOL);
	s3_xml_free(&a);
	strbuf_free(&b);
}

static void
escaped_text_comes_back(void **state)
{
	static const char key[] = "a<b>&\"'\t\n\r\xc3\xa4";
	struct strbuf b = STRBUF_INIT;
	struct s3_xml_answer a;

	(void)state;
	assert_true(s3_xml_can_escape(key));
	assert_false(s3_xml_can_escape("\x01"));
	strbuf_adds(&b, "<ListBucketResult><Contents><Key>");
	s3_xml_escape(&b, key);
	strbuf_adds(&b, "</Key></Contents></ListBucketResult>");
	assert_int_equal(parse("ListBucketResult", b.s, &a), 0);
	assert_string_equal(a.list.entries[0].key, key);
	s3_xml_free(&a);
	strbuf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(listing_of_objects_and_prefixes),
	    cmocka_unit_test(uploads_and_parts), cmocka_unit_test(results_of_writes),
	    cmocka_unit_test(an_error_may_stand_where_a_result_is_expected),
	    cmocka_unit_test(hostile_documents_are_refused),
	    cmocka_unit_test(control_characters_in_what_we_do_not_read_do_no_harm),
	    cmocka_unit_test(too_many_entries_are_refused),
	    cmocka_unit_test(escaped_text_comes_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
