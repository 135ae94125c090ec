package proxy

import (
	"errors"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// signatureError returns what a client sees of an error of package sigv4.
func signatureError(err error) (*apiError, bool) {
	for i := range signatureErrors {
		if errors.Is(err, signatureErrors[i].err) {
			return &signatureErrors[i].is, true
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
	is  apiError
}{
	{sigv4.ErrUnsupportedAuth, apiError{400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.", nil}},
	{sigv4.ErrSigV2NotSupported, apiError{400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.", nil}},
	{sigv4.ErrMultipleAuth, apiError{400, "InvalidRequest", "Invalid Request (request has multiple authentication types, please use one)", nil}},
	{sigv4.ErrDuplicateAuth, apiError{400, "InvalidRequest", "Invalid Request (request has multiple authentication types, please use one)", nil}},
	{sigv4.ErrMalformedQuery, apiError{400, "InvalidArgument", "The query string is malformed.", nil}},
	{sigv4.ErrMissingFields, apiError{400, "MissingFields", "Missing fields in request.", nil}},
	{sigv4.ErrMissingCredential, apiError{400, "InvalidRequest", "Missing Credential field for this request.", nil}},
	{sigv4.ErrMissingSignedHeaders, apiError{400, "InvalidArgument", "Signature header missing SignedHeaders field.", nil}},
	{sigv4.ErrMissingSignature, apiError{400, "InvalidArgument", "Signature header missing Signature field.", nil}},
	{sigv4.ErrMissingQueryParams, apiError{400, "AuthorizationQueryParametersError", "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.", nil}},
	{sigv4.ErrInvalidQueryAlgorithm, apiError{400, "AuthorizationQueryParametersError", "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\".", nil}},
	{sigv4.ErrMalformedCredential, apiError{400, "AuthorizationQueryParametersError", malformedCredential, nil}},
	{sigv4.ErrMalformedCredentialDate, apiError{400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; incorrect date format. This date in the credential must be in the format \"yyyyMMdd\".", nil}},
	{sigv4.ErrInvalidService, apiError{400, "AuthorizationParametersError", "Error parsing the Credential/X-Amz-Credential parameter; incorrect service. This endpoint belongs to \"s3\".", nil}},
	{sigv4.ErrInvalidTerminal, apiError{400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; incorrect terminal. This endpoint uses \"aws4_request\".", nil}},
	{sigv4.ErrInvalidAccessKeyID, apiError{403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.", nil}},
	{sigv4.ErrSignatureDoesNotMatch, apiError{403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.", nil}},
	{sigv4.ErrMissingDate, apiError{400, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", nil}},
	{sigv4.ErrMalformedDate, apiError{400, "MalformedDate", "Invalid date format header, expected to be in ISO8601, RFC1123 or RFC1123Z time format.", nil}},
	{sigv4.ErrMalformedPresignedDate, apiError{400, "AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"", nil}},
	{sigv4.ErrRequestTimeTooSkewed, apiError{403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.", nil}},
	{sigv4.ErrMalformedExpires, apiError{400, "AuthorizationQueryParametersError", "X-Amz-Expires should be a number", nil}},
	{sigv4.ErrNegativeExpires, apiError{400, "AuthorizationQueryParametersError", "X-Amz-Expires must be non-negative", nil}},
	{sigv4.ErrExpiresTooLong, apiError{400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds", nil}},
	{sigv4.ErrExpiredPresign, apiError{403, "AccessDenied", "Request has expired", nil}},
	{sigv4.ErrRequestNotReadyYet, apiError{403, "AccessDenied", "Request is not valid yet", nil}},
	{sigv4.ErrUnsignedHeaders, apiError{400, "AccessDenied", "There were headers present in the request which were not signed", nil}},
	{sigv4.ErrConflictingHeader, apiError{400, "InvalidArgument", "A parameter is given more than once, or as a header too.", nil}},
	{sigv4.ErrInvalidSHA256Header, apiError{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", nil}},
	{sigv4.ErrUnsupportedStreaming, apiError{400, "MissingFields", "Missing fields in request.", nil}},
	{sigv4.ErrContentSHA256Mismatch, apiError{400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", nil}},
	{sigv4.ErrBadDigest, apiError{400, "BadDigest", "The Content-Md5 you specified did not match what we received.", nil}},
	{sigv4.ErrInvalidDigest, apiError{400, "InvalidDigest", "The Content-Md5 you specified is not valid.", nil}},
	{sigv4.ErrChecksumMismatch, apiError{400, "XAmzContentChecksumMismatch", "The provided 'x-amz-checksum' header does not match what was computed.", nil}},
	{sigv4.ErrInvalidChecksum, apiError{400, "InvalidArgument", "Invalid checksum provided.", nil}},
	{sigv4.ErrMissingContentLength, apiError{411, "MissingContentLength", "You must provide the Content-Length HTTP header.", nil}},
	{sigv4.ErrMissingDecodedLength, apiError{400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", nil}},
	{sigv4.ErrInvalidDecodedLength, apiError{400, "InvalidArgument", "Invalid arguments specified.", nil}},
	{sigv4.ErrIncompleteBody, apiError{400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", nil}},
	{sigv4.ErrExcessData, apiError{400, "ExcessData", "More data provided than indicated content length", nil}},
	{sigv4.ErrMalformedChunk, apiError{400, "BadRequest", "malformed chunked encoding", nil}},
	{sigv4.ErrClientGone, apiError{499, "ClientDisconnected", "Client disconnected before response was ready", nil}},
}
