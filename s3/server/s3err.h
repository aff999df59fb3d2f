/* SPDX-License-Identifier: Apache-2.0 */
/* s3err.h - the errors of the S3 API that this server can answer: code, HTTP status, message. */
#ifndef S3D_S3ERR_H
#define S3D_S3ERR_H

/* source: S3 API Reference, "Error responses" */
#define S3E_TABLE(X)                                                                               \
	X(AccessDenied, 403, "Access Denied")                                                      \
	X(AuthorizationHeaderMalformed, 400, "The authorization header is malformed.")             \
	X(AuthorizationQueryParametersError, 400,                                                  \
	    "The query parameters that carry the signature "                                       \
	    "are malformed.")                                                                      \
	X(BadDigest, 400,                                                                          \
	    "The Content-MD5 or checksum value that you specified did not match "                  \
	    "what the server received.")                                                           \
	X(BucketAlreadyOwnedByYou, 409,                                                            \
	    "The bucket that you tried to create already exists, and "                             \
	    "you own it.")                                                                         \
	X(BucketNotEmpty, 409, "The bucket that you tried to delete is not empty.")                \
	X(EntityTooLarge, 400, "Your proposed upload exceeds the maximum allowed object size.")    \
	X(EntityTooSmall, 400,                                                                     \
	    "Your proposed upload is smaller than the minimum allowed object "                     \
	    "size.")                                                                               \
	X(ExpiredToken, 400, "The provided token has expired.")                                    \
	X(IncompleteBody, 400,                                                                     \
	    "The number of bytes does not match the Content-Length or "                            \
	    "x-amz-decoded-content-length header.")                                                \
	X(InternalError, 500, "An internal error occurred. Try again.")                            \
	X(InvalidAccessKeyId, 403,                                                                 \
	    "The access key ID that you provided does not exist in our "                           \
	    "records.")                                                                            \
	X(InvalidArgument, 400, "Invalid Argument")                                                \
	X(InvalidBucketName, 400, "The specified bucket is not valid.")                            \
	X(InvalidDigest, 400,                                                                      \
	    "The Content-MD5 or checksum value that you specified is not valid.")                  \
	X(InvalidObjectState, 403, "The operation is not valid for the object's storage class.")   \
	X(InvalidPart, 400, "One or more of the specified parts could not be found.")              \
	X(InvalidPartOrder, 400, "The list of parts was not in ascending order.")                  \
	X(InvalidRange, 416, "The requested range is not satisfiable.")                            \
	X(InvalidRequest, 400, "Invalid Request")                                                  \
	X(InvalidStorageClass, 400, "The storage class that you specified is not valid.")          \
	X(InvalidToken, 400, "The provided token is malformed or otherwise not valid.")            \
	X(InvalidURI, 400, "The specified URI couldn't be parsed.")                                \
	X(KeyTooLongError, 400, "Your key is too long.")                                           \
	X(MalformedXML, 400,                                                                       \
	    "The XML that you provided was not well formed or did not validate "                   \
	    "against our published schema.")                                                       \
	X(MetadataTooLarge, 400,                                                                   \
	    "Your metadata headers exceed the maximum allowed metadata size.")                     \
	X(MethodNotAllowed, 405, "The specified method is not allowed against this resource.")     \
	X(MissingContentLength, 411, "You must provide the Content-Length HTTP header.")           \
	X(NoSuchBucket, 404, "The specified bucket does not exist")                                \
	X(NoSuchKey, 404, "The specified key does not exist.")                                     \
	X(NoSuchUpload, 404, "The specified multipart upload does not exist.")                     \
	X(NotImplemented, 501,                                                                     \
	    "A header or query that you provided implies functionality that is "                   \
	    "not implemented.")                                                                    \
	X(NotModified, 304, "Not Modified")                                                        \
	X(PreconditionFailed, 412,                                                                 \
	    "At least one of the preconditions that you specified did not "                        \
	    "hold.")                                                                               \
	X(RequestTimeTooSkewed, 403,                                                               \
	    "The difference between the request time and the server's "                            \
	    "time is too large.")                                                                  \
	X(ServiceUnavailable, 503, "Service is unable to handle request.")                         \
	X(SignatureDoesNotMatch, 403,                                                              \
	    "The request signature that the server calculated does not "                           \
	    "match the signature that you provided.")                                              \
	X(SlowDown, 503, "Please reduce your request rate.")                                       \
	X(XAmzContentSHA256Mismatch, 400,                                                          \
	    "The provided 'x-amz-content-sha256' header does not "                                 \
	    "match what was computed.")

enum s3e {
	S3E_OK,
#define X(code, status, text) S3E_##code,
	S3E_TABLE(X)
#undef X
	    S3E_MAX
};

struct s3err_info {
	const char *code;
	int status;
	const char *text;
};

/* s3err_info - never NULL; anything unknown is InternalError. */
const struct s3err_info *s3err_info(enum s3e e);

#endif
