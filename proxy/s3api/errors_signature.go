package s3api

import (
	"errors"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// signatureError returns what a client sees of an error of package sigv4.
func signatureError(err error) (*intake.Error, bool) {
	for i := range signatureErrors {
		if errors.Is(err, signatureErrors[i].err) {
			return signatureErrors[i].is, true
		}
	}
	return nil, false
}

// malformedCredential is MinIO's answer to a query or a form whose credential is none.
const malformedCredential = "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."

// signatureErrors maps the sentinels of package sigv4, whose comments say where
// an answer is MinIO's own.
var signatureErrors = []struct {
	err error
	is  *intake.Error
}{
	{sigv4.ErrUnsupportedAuth, intake.NewError(400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")},
	{sigv4.ErrSigV2NotSupported, intake.NewError(400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")},
	{sigv4.ErrMultipleAuth, intake.NewError(400, "InvalidRequest", "Invalid Request (request has multiple authentication types, please use one)")},
	{sigv4.ErrDuplicateAuth, intake.NewError(400, "InvalidRequest", "Invalid Request (request has multiple authentication types, please use one)")},
	{sigv4.ErrMalformedQuery, intake.NewError(400, "InvalidArgument", "The query string is malformed.")},
	{sigv4.ErrMissingFields, intake.NewError(400, "MissingFields", "Missing fields in request.")},
	{sigv4.ErrMissingCredential, intake.NewError(400, "InvalidRequest", "Missing Credential field for this request.")},
	{sigv4.ErrMissingSignedHeaders, intake.NewError(400, "InvalidArgument", "Signature header missing SignedHeaders field.")},
	{sigv4.ErrMissingSignature, intake.NewError(400, "InvalidArgument", "Signature header missing Signature field.")},
	{sigv4.ErrMissingQueryParams, intake.NewError(400, "AuthorizationQueryParametersError", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")},
	{sigv4.ErrInvalidQueryAlgorithm, intake.NewError(400, "AuthorizationQueryParametersError", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\".")},
	{sigv4.ErrMalformedCredential, intake.NewError(400, "AuthorizationQueryParametersError", malformedCredential)},
	{sigv4.ErrMalformedCredentialDate, intake.NewError(400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; incorrect date format. This date in the credential must be in the format \"yyyyMMdd\".")},
	{sigv4.ErrInvalidService, intake.NewError(400, "AuthorizationParametersError", "Error parsing the Credential/X-Amz-Credential parameter; incorrect service. This endpoint belongs to \"s3\".")},
	{sigv4.ErrInvalidTerminal, intake.NewError(400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; incorrect terminal. This endpoint uses \"aws4_request\".")},
	{sigv4.ErrInvalidAccessKeyID, intake.NewError(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")},
	{sigv4.ErrSignatureDoesNotMatch, intake.NewError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")},
	{sigv4.ErrMissingDate, intake.NewError(400, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")},
	{sigv4.ErrMalformedDate, intake.NewError(400, "MalformedDate", "Invalid date format header, expected to be in ISO8601, RFC1123 or RFC1123Z time format.")},
	{sigv4.ErrMalformedPresignedDate, intake.NewError(400, "AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")},
	{sigv4.ErrRequestTimeTooSkewed, intake.NewError(403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.")},
	{sigv4.ErrMalformedExpires, intake.NewError(400, "AuthorizationQueryParametersError", "X-Amz-Expires should be a number")},
	{sigv4.ErrNegativeExpires, intake.NewError(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be non-negative")},
	{sigv4.ErrExpiresTooLong, intake.NewError(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")},
	{sigv4.ErrExpiredPresign, intake.NewError(403, "AccessDenied", "Request has expired")},
	{sigv4.ErrRequestNotReadyYet, intake.NewError(403, "AccessDenied", "Request is not valid yet")},
	{sigv4.ErrUnsignedHeaders, intake.NewError(400, "AccessDenied", "There were headers present in the request which were not signed")},
	{sigv4.ErrConflictingHeader, intake.NewError(400, "InvalidArgument", "A parameter is given more than once, or as a header too.")},
	{sigv4.ErrInvalidSHA256Header, intake.NewError(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")},
	{sigv4.ErrUnsupportedStreaming, intake.NewError(400, "MissingFields", "Missing fields in request.")},
	{sigv4.ErrContentSHA256Mismatch, intake.NewError(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")},
	{sigv4.ErrBadDigest, intake.NewError(400, "BadDigest", "The Content-Md5 you specified did not match what we received.")},
	{sigv4.ErrInvalidDigest, intake.NewError(400, "InvalidDigest", "The Content-Md5 you specified is not valid.")},
	{sigv4.ErrChecksumMismatch, intake.NewError(400, "XAmzContentChecksumMismatch", "The provided 'x-amz-checksum' header does not match what was computed.")},
	{sigv4.ErrInvalidChecksum, intake.NewError(400, "InvalidArgument", "Invalid checksum provided.")},
	{sigv4.ErrMissingContentLength, intake.NewError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")},
	{sigv4.ErrMissingDecodedLength, intake.NewError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")},
	{sigv4.ErrInvalidDecodedLength, intake.NewError(400, "InvalidArgument", "Invalid arguments specified.")},
	{sigv4.ErrIncompleteBody, intake.NewError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")},
	{sigv4.ErrExcessData, intake.NewError(400, "ExcessData", "More data provided than indicated content length")},
	{sigv4.ErrMalformedChunk, intake.NewError(400, "BadRequest", "malformed chunked encoding")},
	{sigv4.ErrClientGone, intake.NewError(499, "ClientDisconnected", "Client disconnected before response was ready")},
}
