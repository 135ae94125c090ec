package proxy

import (
	"context"
	"errors"
	"net/http"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// apiError is what a client sees of an error.
type apiError struct {
	status  int
	code    string
	message string
	header  http.Header // extra headers of the answer; may be nil
}

// Error returns code and message.
func (e *apiError) Error() string { return e.code + ": " + e.message }

// Sentinels of this package.
var (
	errUnknownOperation  = errors.New("unknown operation")
	errNotOffered        = errors.New("operation is not offered")
	errRepeatedParameter = errors.New("repeated query parameter")
	errMalformedQuery    = errors.New("malformed query")
	errHeadersTooLarge   = errors.New("headers are too large")
	errMalformedPath     = errors.New("malformed path")
	errInvalidBucketName = errors.New("invalid bucket name")
	errDotSegment        = errors.New("object name with a dot segment")
	errInvalidObjectName = errors.New("invalid object name")
	errKeyTooLong        = errors.New("object key is too long")
	errReservedMetadata  = errors.New("reserved metadata name")
	errMissingLength     = errors.New("missing content length")
	errTooLarge          = errors.New("body is too large")
	errBodyTooLarge      = errors.New("document is too large")
	errInvalidRange      = errors.New("range is not satisfiable")
	errPlainObject       = errors.New("object is stored without encryption, in a bucket that plain_read does not list")
	errUpstreamLied      = storage.ErrLied
	errPrecondition      = errors.New("precondition failed")
	errNotModified       = errors.New("not modified")
	errNoSuchKey         = errors.New("object does not exist")
	errChanged           = errors.New("the object was overwritten while it was read")
	errNotReady          = errors.New("the proxy is not set up yet")
	errPlainHTTP         = errors.New("customer keys over plain http")
	errCustomerKeyUnused = errors.New("customer key for an object that needs none")
	errReadWithMethod    = errors.New("server-side encryption header on a read")
	errEncodingType      = errors.New("unknown encoding type")
	errNoSuchUpload      = manifest.ErrNoSuchUpload
	errPartNeedsKey      = errors.New("part of an SSE-C upload without its key")
	errBusy              = errors.New("no memory left for a body of unknown length")
	errMalformedXML      = errors.New("malformed XML")
	errInvalidPart       = errors.New("invalid part")
	errPartOrder         = errors.New("parts out of order")
	errPartTooSmall      = errors.New("part too small")
	errCopySource        = errors.New("malformed copy source")
	errCopyOntoItself    = errors.New("copy of an object onto itself that changes nothing")
	errPartNumber        = errors.New("part does not exist")
	errClientGone        = errors.New("the client went away")
	errAccessDenied      = errors.New("the caller may not do this")
	errServiceRights     = errors.New("the proxy's own identity at MinIO may not read an object: see its policy in docs/configuration.md")
	errUpstreamKMS       = errors.New("upstream does not answer as a MinIO without a KMS")
	errAccountAnswer     = errors.New("upstream's answer names no account that was asked for")
	errStaleCredential   = errors.New("upstream knows another secret for this access key, or none")
	errSTSAnswer         = errors.New("what upstream's STS answered is no credential")
	errNoSuchVersion     = errors.New("no such version")
	errFormToObject      = errors.New("a form is sent to a bucket, not to an object; its field key names that")
	errUnsignedForm      = errors.New("a form without a signature, and nobody without one may do this")
	errFormCut           = errors.New("the form breaks off")
	errFormWithoutKey    = errors.New("form without a key")
	errLoop              = errors.New("the request comes from a bucketseal: this one, or one whose upstream this is")
	errPartAndRange      = errors.New("both a part number and a range")
)

// statusClientGone is MinIO's status for a client that went away.
const statusClientGone = 499

const invalidRequest, invalidArgument = "InvalidRequest", "InvalidArgument"

// errorTable maps sentinels to what clients see: codes, statuses and messages
// are MinIO's where it has them. The first match wins.
var errorTable = []struct {
	err error
	is  apiError
}{
	{system.ErrOwnCredential, apiError{503, "ServiceUnavailable", "The storage refuses the encryption gateway's own access key; its log says more.", nil}},
	{system.ErrOwnRights, apiError{503, "ServiceUnavailable", "The encryption gateway has too few rights at the storage; its log says which.", nil}},
	{bucketconfig.ErrUnavailable, apiError{503, "ServiceUnavailable", "The bucket's encryption settings cannot be read. Please try again.", nil}},
	{errUnknownOperation, apiError{501, "NotImplemented", "A header or query you provided implies functionality that is not implemented", nil}},
	{errNotOffered, apiError{501, "NotImplemented", "A header or query you provided implies functionality that is not implemented", nil}},
	{errRepeatedParameter, apiError{400, invalidArgument, "A query parameter is given more than once.", nil}},
	{errMalformedQuery, apiError{400, invalidArgument, "The query string is malformed.", nil}},
	{errHeadersTooLarge, apiError{400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.", nil}},
	{edge.ErrBusy, apiError{503, "SlowDown", "Please reduce your request rate.", nil}},
	{edge.ErrStalled, apiError{400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.", nil}},
	{errMalformedPath, apiError{400, "InvalidURI", "Couldn't parse the specified URI.", nil}},
	{errInvalidBucketName, apiError{400, "InvalidBucketName", "The specified bucket is not valid.", nil}},
	{errDotSegment, apiError{400, "XMinioInvalidResourceName", "Resource name contains bad components such as \"..\" or \".\".", nil}},
	{errInvalidObjectName, apiError{400, "XMinioInvalidObjectName", "Object name contains unsupported characters.", nil}},
	{errKeyTooLong, apiError{400, "KeyTooLongError", "Your key is too long", nil}},
	{identity.ErrToken, apiError{403, "InvalidTokenId", "The security token included in the request is invalid", nil}},
	{errReservedMetadata, apiError{400, invalidArgument, "Your metadata headers are not supported.", nil}},
	{errMissingLength, apiError{411, "MissingContentLength", "You must provide the Content-Length HTTP header.", nil}},
	{errTooLarge, apiError{400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", nil}},
	{errBodyTooLarge, apiError{400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", nil}},
	{errInvalidRange, apiError{416, "InvalidRange", "The requested range is not satisfiable", nil}},
	{errPartNumber, apiError{416, "InvalidPartNumber", "The requested partnumber is not satisfiable", nil}},
	{errNoSuchUpload, apiError{404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.", nil}},
	{errPartNeedsKey, apiError{400, invalidRequest, "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.", nil}},
	{errBusy, apiError{503, "SlowDown", "Please reduce your request rate.", nil}},
	{errMalformedXML, apiError{400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.", nil}},
	{errInvalidPart, apiError{400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.", nil}},
	{errPartOrder, apiError{400, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number.", nil}},
	{errPartTooSmall, apiError{400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.", nil}},
	{errCopySource, apiError{400, invalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey.", nil}},
	{errCopyOntoItself, apiError{400, invalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.", nil}},
	{errPartAndRange, apiError{400, invalidRequest, "Cannot specify both Range header and partNumber query parameter", nil}},
	{errNoSuchVersion, apiError{404, "NoSuchVersion", "The specified version does not exist.", nil}},
	{errFormToObject, apiError{405, "MethodNotAllowed", "The specified method is not allowed against this resource.", nil}},
	{errUnsignedForm, apiError{400, "AuthorizationQueryParametersError", malformedCredential, nil}},
	{errFormCut, apiError{400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", nil}},
	{errFormWithoutKey, apiError{400, "MalformedPOSTRequest", malformedForm + " (The name of the uploaded key is missing)", nil}},
	{form.ErrMalformed, apiError{400, "MalformedPOSTRequest", malformedForm, nil}},
	{form.ErrRepeated, apiError{400, "MalformedPOSTRequest", malformedForm + " (A field is given twice)", nil}},
	{form.ErrNotLast, apiError{400, "MalformedPOSTRequest", malformedForm + " (The file must be the last field)", nil}},
	{form.ErrTooLarge, apiError{400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.", nil}},
	{form.ErrNoFile, apiError{400, "MalformedPOSTRequest", malformedForm + " (The file or text content is missing)", nil}},
	{form.ErrPolicy, apiError{400, "MalformedPOSTRequest", malformedForm + " (The policy cannot be read)", nil}},
	{form.ErrExpired, apiError{403, "AccessDenied", "Access Denied. (Invalid according to Policy: Policy expired)", nil}},
	{form.ErrCondition, apiError{403, "AccessDenied", "Access Denied. (Invalid according to Policy: Policy Condition failed)", nil}},
	{form.ErrTooSmall, apiError{400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.", nil}},
	{form.ErrTooBig, apiError{400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", nil}},

	{errPlainObject, apiError{403, "InvalidObjectState", "The object is stored without encryption, and the bucket is not listed in the plain_read setting of this bucketseal.", nil}},
	{errPrecondition, apiError{412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", nil}},
	{errNoSuchKey, apiError{404, "NoSuchKey", "The specified key does not exist.", nil}},
	{errChanged, apiError{503, "SlowDown", "The object is being overwritten. Please try again.", nil}},
	{errNotModified, apiError{304, "NotModified", "", nil}},
	{errAccessDenied, apiError{403, "AccessDenied", "Access Denied.", nil}},
	{errServiceRights, apiError{503, "ServiceUnavailable", "The encryption gateway has too few rights at the storage; its log says which.", nil}},
	{errUpstreamEncrypts, apiError{502, "InternalError", "The storage has a key service of its own and would encrypt objects once more; its operator must turn that off.", nil}},
	{errLoop, apiError{400, invalidRequest, "The request comes from an encryption gateway, whose upstream must be the storage itself.", nil}},
	{errUpstreamKMS, apiError{502, "InternalError", "MinIO did not say whether you may do this: it must not have a KMS of its own.", nil}},
	{adminpayload.ErrMalformed, apiError{400, "XMinioAdminConfigBadJSON", "JSON configuration provided is of incorrect format", nil}},
	{adminpayload.ErrNotAuthentic, apiError{400, "XMinioAdminConfigBadJSON", "JSON configuration provided is of incorrect format", nil}},
	{adminpayload.ErrUnsupported, apiError{501, "NotImplemented", "Requests that are sealed as FIPS 140 builds do it are not supported.", nil}},
	{errAccountAnswer, apiError{502, "InternalError", "MinIO's answer cannot be used: the account that it may have made is not known here.", nil}},
	{keyring.ErrAccess, apiError{403, "AccessDenied", "Access Denied.", nil}},
	{errNotReady, apiError{503, "ServiceUnavailable", "The encryption gateway is not set up yet. Please try again.", nil}},
	{upstream.ErrUnfit, apiError{503, "ServiceUnavailable", "The storage behind this encryption gateway does not keep what encrypted objects need; its log says what.", nil}},
	{errPlainHTTP, apiError{400, invalidRequest, "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.", nil}},
	{keyring.ErrNoCustomerKey, apiError{400, invalidRequest, "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.", nil}},
	{errCustomerKeyUnused, apiError{400, invalidRequest, "The encryption parameters are not applicable to this object.", nil}},
	{errReadWithMethod, apiError{400, "BadRequest", "400 BadRequest", nil}},
	{keyring.ErrKeyName, apiError{400, invalidArgument, "The KMS key id is not valid.", nil}},
	{errEncodingType, apiError{400, invalidArgument, "Invalid Encoding Method specified in Request", nil}},
	{errStaleCredential, apiError{403, "InvalidAccessKeyId", "The storage does not accept this access key any more: its secret was changed, or it was removed there.", nil}},
	{errSTSAnswer, apiError{502, "InternalError", "The storage issued a credential that cannot be used here.", nil}},
	{keyring.ErrOtherS3Key, apiError{500, "InternalError", "The object was encrypted with another key of SSE-S3 than this bucketseal has: its sse_s3.former_keys may lack one.", nil}},
	{errUpstreamLied, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},

	{sse.ErrTampered, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},
	{sse.ErrTruncated, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},
	{sse.ErrRecord, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},
	{sse.ErrWrongKey, apiError{403, "AccessDenied", "Access Denied.", nil}},
	{sse.ErrSource, apiError{400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.", nil}},

	{identity.ErrUnknown, apiError{403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.", nil}},
	{identity.ErrExpired, apiError{403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.", nil}},
	{identity.ErrNotAllowed, apiError{403, "AccessDenied", "Access Denied.", nil}},
	{identity.ErrUnavailable, apiError{503, "SlowDown", "It cannot be told at the moment whose access key this is. Please try again.", nil}},
	{identity.ErrBusy, apiError{503, "SlowDown", "Please reduce your request rate.", nil}},
	{identity.ErrProtected, apiError{403, "AccessDenied", "This access key is managed by the encryption gateway's own configuration.", nil}},
	{identity.ErrInsecure, apiError{501, "NotImplemented", "The encryption gateway learns no credentials: its connection to the storage is not encrypted.", nil}},
	{identity.ErrInvalid, apiError{500, "InternalError", "The storage issued a credential that cannot be used here.", nil}},
	{identity.ErrFull, apiError{507, "XMinioStorageFull", "There is no room for another learned credential.", nil}},

	{manifest.ErrMissing, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},
	{system.ErrTampered, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},

	{kms.ErrKeyNotFound, apiError{404, "kms:KeyNotFound", "key with given key ID does not exist", nil}},
	{kms.ErrKeyExists, apiError{409, "kms:KeyAlreadyExists", "key with given key ID already exits", nil}},
	{kms.ErrNotPermitted, apiError{403, "kms:NotAuthorized", "insufficient permissions to perform KMS operation", nil}},
	{kms.ErrDecrypt, apiError{500, "InternalError", "The stored object is damaged or was tampered with.", nil}},
	{kms.ErrInvalidContext, apiError{400, invalidArgument, "The encryption context is not valid.", nil}},
	{kms.ErrInvalidKeyName, apiError{400, invalidArgument, "The KMS key id is not valid.", nil}},
	{kms.ErrUnavailable, apiError{503, "SlowDown", "The key service cannot be reached. Please try again.", nil}},
	{kms.ErrCorruptKey, apiError{500, "kms:KeyDecryptionFailed", "failed to decrypt data key with KMS key", nil}},
	{kms.ErrKeyReplaced, apiError{400, "KMS.KMSInvalidStateException", "The KMS key is not the one that was used before. Ask who runs this service.", nil}},
	{kms.ErrNotSupported, apiError{501, "kms:NotSupported", "requested functionality is not supported", nil}},

	{bucketconfig.ErrNoSuchBucket, apiError{404, "NoSuchBucket", "The specified bucket does not exist", nil}},

	{system.ErrNoBucket, apiError{503, "ServiceUnavailable", "The encryption gateway's own bucket is gone from the storage; its log says more.", nil}},
	{manifest.ErrUncertain, apiError{503, "SlowDown", "The storage cannot be reached. Please try again.", nil}},
	{storage.ErrListing, apiError{500, "InternalError", "The storage's listing cannot be read.", nil}},
	{storage.ErrUnreachable, apiError{503, "SlowDown", "The storage cannot be reached. Please try again.", nil}},
	{errClientGone, apiError{499, "ClientDisconnected", "Client disconnected before response was ready", nil}},
	{context.DeadlineExceeded, apiError{503, "SlowDown", "Resource requested is unreadable, please reduce your request rate", nil}},
	{context.Canceled, apiError{499, "ClientDisconnected", "Client disconnected before response was ready", nil}},
}

var internalError = apiError{500, "InternalError", "We encountered an internal error, please try again.", nil}

// asAPIError returns what a client sees of err. Internal detail stays in the log.
func asAPIError(err error) *apiError {
	if err == nil {
		return nil
	}
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	var notLearned *notLearnedError
	if errors.As(err, &notLearned) {
		return notLearned.answer()
	}
	var answered *storage.Error
	if errors.As(err, &answered) && !proxysOwn(err) {
		return relayed(answered)
	}
	var malformed *bucketconfig.InvalidRuleError
	if errors.As(err, &malformed) {
		return &apiError{400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema. (" + malformed.Reason + ")", nil}
	}
	if e, ok := formPolicyError(err); ok {
		return e
	}
	for i := range errorTable {
		if errors.Is(err, errorTable[i].err) {
			return &errorTable[i].is
		}
	}
	if e, ok := signatureError(err); ok {
		return e
	}
	return &internalError
}

// proxysOwn says whether err is about a request of the proxy's own, under its own
// credential. What upstream answers to those is neither the client's affair nor about
// the client's access key.
func proxysOwn(err error) bool {
	for _, own := range []error{
		errNotReady, bucketconfig.ErrUnavailable,
		system.ErrOwnCredential, system.ErrOwnRights, system.ErrNoBucket, storage.ErrUnreachable,
	} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

// relayed is an upstream error as the client sees it. What upstream answers is
// its word about its own state; only answers that are no S3 error are replaced, and
// 499, in which MinIO speaks of the proxy's own request: a client that reads the
// answer is still there.
func relayed(e *storage.Error) *apiError {
	if e.Status == statusClientGone {
		return &apiError{503, "SlowDown", "The storage cannot be reached. Please try again.", nil}
	}
	if e.Code == "" || e.Status < 400 || e.Status > 599 {
		if e.Status == http.StatusServiceUnavailable || e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout {
			return &apiError{503, "SlowDown", "The storage cannot be reached. Please try again.", nil}
		}
		if e.Status == http.StatusNotFound {
			return asAPIError(errNoSuchKey)
		}
		if e.Status == http.StatusForbidden {
			return &apiError{403, "AccessDenied", "Access Denied.", nil}
		}
		return &internalError
	}
	out := &apiError{status: e.Status, code: e.Code, message: e.Message, header: http.Header{}}
	for _, name := range []string{"X-Amz-Delete-Marker", "X-Amz-Version-Id", "Last-Modified", "Allow", "Retry-After"} {
		if v := e.Header.Values(name); len(v) > 0 {
			out.header[name] = v
		}
	}
	return out
}

// errReservedBucket hides the system bucket: it does not exist, and cannot be
// made to.
func errReservedBucket(op string) error {
	if op == "CreateBucket" {
		return errInvalidBucketName
	}
	return &apiError{404, "NoSuchBucket", "The specified bucket does not exist", nil}
}

// errArguments is MinIO's answer to bad encryption headers of a write.
func errArguments(r *request, reason error) error {
	message := "Invalid arguments provided for " + r.bucket + "/" + r.key + ": (" + reason.Error() + ")"
	return &apiError{400, invalidArgument, message, nil}
}
