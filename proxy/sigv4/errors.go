package sigv4

import "errors"

// The errors of this package. Every error it returns wraps exactly one of
// them. Each comment gives what MinIO answers in that case: status, S3 code,
// message. Where MinIO is more lenient than this package, the comment says so
// and names the answer that fits best.
var (
	// ErrUnsupportedAuth is an Authorization header of another scheme.
	// 400 InvalidRequest "The authorization mechanism you have provided is
	// not supported. Please use AWS4-HMAC-SHA256."
	ErrUnsupportedAuth = errors.New("sigv4: authorization mechanism not supported")

	// ErrSigV2NotSupported is a signature of version 2, in the header or the
	// query, where they are not accepted. MinIO always accepts them; answer as
	// for ErrUnsupportedAuth.
	ErrSigV2NotSupported = errors.New("sigv4: signature version 2 not supported")

	// ErrMultipleAuth is an Authorization header beside a presigned query.
	// 400 InvalidRequest "Invalid Request (request has multiple
	// authentication types, please use one)".
	ErrMultipleAuth = errors.New("sigv4: more than one kind of authentication")

	// ErrDuplicateAuth is an authentication header or parameter given twice.
	// MinIO takes the first; answer as for ErrMultipleAuth.
	ErrDuplicateAuth = errors.New("sigv4: authentication header or parameter repeated")

	// ErrMalformedQuery is a query with an invalid escape, with a semicolon
	// or with too many parameters. MinIO answers as for ErrUnsupportedAuth.
	ErrMalformedQuery = errors.New("sigv4: malformed query")

	// ErrMissingFields is an Authorization header that has not exactly the
	// three fields Credential, SignedHeaders and Signature, each with a value.
	// 400 MissingFields "Missing fields in request."
	ErrMissingFields = errors.New("sigv4: fields missing in Authorization header")

	// ErrMissingCredential is a field of another name in place of Credential.
	// 400 InvalidRequest "Missing Credential field for this request."
	ErrMissingCredential = errors.New("sigv4: Credential missing in Authorization header")

	// ErrMissingSignedHeaders is the same for SignedHeaders.
	// 400 InvalidArgument "Signature header missing SignedHeaders field."
	ErrMissingSignedHeaders = errors.New("sigv4: SignedHeaders missing in Authorization header")

	// ErrMissingSignature is the same for Signature.
	// 400 InvalidArgument "Signature header missing Signature field."
	ErrMissingSignature = errors.New("sigv4: Signature missing in Authorization header")

	// ErrMissingQueryParams is a presigned query that lacks a parameter.
	// 400 AuthorizationQueryParametersError "Query-string authentication
	// version 4 requires the X-Amz-Algorithm, X-Amz-Credential,
	// X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires
	// parameters."
	ErrMissingQueryParams = errors.New("sigv4: presigned query incomplete")

	// ErrInvalidQueryAlgorithm is another X-Amz-Algorithm.
	// 400 AuthorizationQueryParametersError "X-Amz-Algorithm only supports
	// "AWS4-HMAC-SHA256"."
	ErrInvalidQueryAlgorithm = errors.New("sigv4: X-Amz-Algorithm not supported")

	// ErrMalformedCredential is a credential without its five parts.
	// 400 AuthorizationQueryParametersError "Error parsing the
	// X-Amz-Credential parameter; the Credential is mal-formed; expecting
	// "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"."
	ErrMalformedCredential = errors.New("sigv4: malformed credential")

	// ErrMalformedCredentialDate is a credential with an invalid date.
	// 400 AuthorizationQueryParametersError "Error parsing the
	// X-Amz-Credential parameter; incorrect date format. This date in the
	// credential must be in the format "yyyyMMdd"."
	ErrMalformedCredentialDate = errors.New("sigv4: malformed date in credential")

	// ErrInvalidService is a credential for another service than the one that is
	// called.
	// 400 AuthorizationParametersError "Error parsing the
	// Credential/X-Amz-Credential parameter; incorrect service. This endpoint
	// belongs to "s3"."
	ErrInvalidService = errors.New("sigv4: credential is for another service")

	// ErrInvalidTerminal is a credential that does not end in aws4_request.
	// 400 AuthorizationQueryParametersError "Error parsing the
	// X-Amz-Credential parameter; incorrect terminal. This endpoint uses
	// "aws4_request"."
	ErrInvalidTerminal = errors.New("sigv4: credential does not end in aws4_request")

	// ErrInvalidAccessKeyID is an access key that the store does not know.
	// 403 InvalidAccessKeyId "The Access Key Id you provided does not exist
	// in our records."
	ErrInvalidAccessKeyID = errors.New("sigv4: unknown access key")

	// ErrSignatureDoesNotMatch is a signature, of the request, a chunk or a
	// trailer, that is not the computed one; also a credential whose date is
	// not the request's (MinIO lets that pass).
	// 403 SignatureDoesNotMatch "The request signature we calculated does not
	// match the signature you provided. Check your key and signing method."
	ErrSignatureDoesNotMatch = errors.New("sigv4: signature does not match")

	// ErrMissingDate is neither X-Amz-Date nor Date.
	// 400 AccessDenied "AWS authentication requires a valid Date or
	// x-amz-date header".
	ErrMissingDate = errors.New("sigv4: no X-Amz-Date or Date header")

	// ErrMalformedDate is a date header that does not parse.
	// 400 MalformedDate "Invalid date format header, expected to be in
	// ISO8601, RFC1123 or RFC1123Z time format."
	ErrMalformedDate = errors.New("sigv4: malformed date header")

	// ErrMalformedPresignedDate is the same for the parameter X-Amz-Date.
	// 400 AuthorizationQueryParametersError "X-Amz-Date must be in the
	// ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"".
	ErrMalformedPresignedDate = errors.New("sigv4: malformed X-Amz-Date parameter")

	// ErrRequestTimeTooSkewed is a date further than MaxSkew from now.
	// 403 RequestTimeTooSkewed "The difference between the request time and
	// the server's time is too large."
	ErrRequestTimeTooSkewed = errors.New("sigv4: request time too skewed")

	// ErrMalformedExpires is an X-Amz-Expires that is no number.
	// 400 AuthorizationQueryParametersError "X-Amz-Expires should be a number".
	ErrMalformedExpires = errors.New("sigv4: X-Amz-Expires is not a number")

	// ErrNegativeExpires is an X-Amz-Expires below zero.
	// 400 AuthorizationQueryParametersError "X-Amz-Expires must be non-negative".
	ErrNegativeExpires = errors.New("sigv4: X-Amz-Expires is negative")

	// ErrExpiresTooLong is an X-Amz-Expires above seven days.
	// 400 AuthorizationQueryParametersError "X-Amz-Expires must be less than
	// a week (in seconds); that is, the given X-Amz-Expires must be less than
	// 604800 seconds".
	ErrExpiresTooLong = errors.New("sigv4: X-Amz-Expires is more than seven days")

	// ErrExpiredPresign is a presigned request after its end.
	// 403 AccessDenied "Request has expired".
	ErrExpiredPresign = errors.New("sigv4: presigned request has expired")

	// ErrRequestNotReadyYet is a presigned request dated more than MaxSkew
	// ahead. 403 AccessDenied "Request is not valid yet".
	ErrRequestNotReadyYet = errors.New("sigv4: presigned request not valid yet")

	// ErrUnsignedHeaders is a signature without host, without an x-amz-*
	// header that is present, or with a header that is not present. MinIO
	// lets unsigned x-amz-* headers pass beside an Authorization header.
	// 400 AccessDenied "There were headers present in the request which were
	// not signed".
	ErrUnsignedHeaders = errors.New("sigv4: headers not signed")

	// ErrConflictingHeader is an x-amz-* parameter that is given twice, also
	// as a header, or is not a valid header. MinIO uses both; answer
	// 400 InvalidArgument.
	ErrConflictingHeader = errors.New("sigv4: x-amz-* parameter conflicts with a header")

	// ErrInvalidSHA256Header is an x-amz-content-sha256 that is neither a
	// hash nor a known word. MinIO answers as for ErrContentSHA256Mismatch.
	ErrInvalidSHA256Header = errors.New("sigv4: invalid x-amz-content-sha256")

	// ErrUnsupportedStreaming is a body with signed chunks whose request has
	// no Authorization header to chain them to. 400 MissingFields "Missing
	// fields in request." (MinIO: only without any signature; presigned it
	// answers as for ErrMissingDate.)
	ErrUnsupportedStreaming = errors.New("sigv4: signed chunks need an Authorization header")

	// ErrContentSHA256Mismatch is a body whose SHA-256 is not the one in
	// x-amz-content-sha256. 400 XAmzContentSHA256Mismatch "The provided
	// 'x-amz-content-sha256' header does not match what was computed."
	ErrContentSHA256Mismatch = errors.New("sigv4: x-amz-content-sha256 does not match")

	// ErrBadDigest is a body whose MD5 is not the one in Content-MD5.
	// 400 BadDigest "The Content-Md5 you specified did not match what we
	// received."
	ErrBadDigest = errors.New("sigv4: Content-MD5 does not match")

	// ErrInvalidDigest is a Content-MD5 that is not 16 bytes of base64.
	// 400 InvalidDigest "The Content-Md5 you specified is not valid."
	ErrInvalidDigest = errors.New("sigv4: invalid Content-MD5")

	// ErrChecksumMismatch is a body whose checksum is not the one in an
	// x-amz-checksum-* header or trailer, or such a trailer that is not
	// base64. 400 XAmzContentChecksumMismatch "The provided 'x-amz-checksum'
	// header does not match what was computed."
	ErrChecksumMismatch = errors.New("sigv4: x-amz-checksum does not match")

	// ErrInvalidChecksum is an x-amz-checksum-* header with an invalid value
	// or of an unknown algorithm, more than one of them, or an x-amz-trailer
	// that announces no checksum or comes without a body that has trailers.
	// 400 InvalidArgument "Invalid checksum provided."
	ErrInvalidChecksum = errors.New("sigv4: invalid checksum")

	// ErrMissingContentLength is a body without a length.
	// 411 MissingContentLength "You must provide the Content-Length HTTP
	// header."
	ErrMissingContentLength = errors.New("sigv4: body length not declared")

	// ErrMissingDecodedLength is an aws-chunked body without
	// x-amz-decoded-content-length. 400 IncompleteBody "You did not provide
	// the number of bytes specified by the Content-Length HTTP header."
	ErrMissingDecodedLength = errors.New("sigv4: x-amz-decoded-content-length missing")

	// ErrInvalidDecodedLength is an x-amz-decoded-content-length that is no
	// length. MinIO answers 500 InternalError or, for a negative one, 400
	// XMinioAdminInvalidArgument "Invalid arguments specified."; answer
	// 400 InvalidArgument.
	ErrInvalidDecodedLength = errors.New("sigv4: invalid x-amz-decoded-content-length")

	// ErrIncompleteBody is a body that ends before its declared length or
	// within a chunk or trailer, while the connection is intact.
	// 400 IncompleteBody, message as for ErrMissingDecodedLength.
	ErrIncompleteBody = errors.New("sigv4: body shorter than declared")

	// ErrExcessData is a body that is longer than declared.
	// 400 ExcessData "More data provided than indicated content length".
	ErrExcessData = errors.New("sigv4: body longer than declared")

	// ErrMalformedChunk is a body that is not valid aws-chunked, has other
	// trailers than announced or goes on after its end (MinIO ignores that).
	// 400 BadRequest "malformed chunked encoding".
	ErrMalformedChunk = errors.New("sigv4: malformed aws-chunked body")

	// ErrClientGone is a body that could not be read: connection closed or
	// reset, deadline passed. It wraps the cause where that is safe.
	// 499 ClientDisconnected "Client disconnected before response was ready".
	ErrClientGone = errors.New("sigv4: reading body failed")
)

// Sentinels returns every error that this package may wrap, for the test that
// each of them has an answer.
func Sentinels() []error {
	return []error{
		ErrUnsupportedAuth, ErrSigV2NotSupported, ErrMultipleAuth, ErrDuplicateAuth, ErrMalformedQuery,
		ErrMissingFields, ErrMissingCredential, ErrMissingSignedHeaders, ErrMissingSignature,
		ErrMissingQueryParams, ErrInvalidQueryAlgorithm, ErrMalformedCredential, ErrMalformedCredentialDate,
		ErrInvalidService, ErrInvalidTerminal, ErrInvalidAccessKeyID, ErrSignatureDoesNotMatch, ErrMissingDate,
		ErrMalformedDate, ErrMalformedPresignedDate, ErrRequestTimeTooSkewed, ErrMalformedExpires,
		ErrNegativeExpires, ErrExpiresTooLong, ErrExpiredPresign, ErrRequestNotReadyYet, ErrUnsignedHeaders,
		ErrConflictingHeader, ErrInvalidSHA256Header, ErrUnsupportedStreaming, ErrContentSHA256Mismatch,
		ErrBadDigest, ErrInvalidDigest, ErrChecksumMismatch, ErrInvalidChecksum, ErrMissingContentLength,
		ErrMissingDecodedLength, ErrInvalidDecodedLength, ErrIncompleteBody, ErrExcessData, ErrMalformedChunk,
		ErrClientGone,
	}
}
