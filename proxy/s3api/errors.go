package s3api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/deletion"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/sts"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels of this package.
var (
	errDotSegment     = errors.New("object name with a dot segment")
	errKeyTooLong     = errors.New("object key is too long")
	errMissingLength  = plaintext.ErrMissingLength
	errTooLarge       = vault.ErrTooLarge
	errInvalidRange   = errors.New("range is not satisfiable")
	errPlainHTTP      = errors.New("customer keys over plain http")
	errReadWithMethod = errors.New("server-side encryption header on a read")
	errEncodingType   = errors.New("unknown encoding type")
	errNoSuchUpload   = vault.ErrNoSuchUpload
	errBusy           = plaintext.ErrBusy
	errPartOrder      = errors.New("parts out of order")
	errCopySource     = errors.New("malformed copy source")
	errAccessDenied   = encryption.ErrAccessDenied
	errUpstreamKMS    = errors.New("upstream does not answer as a MinIO without a KMS")
	errAccountAnswer  = errors.New("upstream's answer names no account that was asked for")
	errNoSuchVersion  = errors.New("no such version")
	errFormToObject   = errors.New("a form is sent to a bucket, not to an object; its field key names that")
	errUnsignedForm   = errors.New("a form without a signature, and nobody without one may do this")
	errFormCut        = errors.New("the form breaks off")
	errFormWithoutKey = errors.New("form without a key")
	errPartAndRange   = errors.New("both a part number and a range")
)

// statusClientGone is MinIO's status for a client that went away.
const statusClientGone = 499

const invalidRequest, invalidArgument = "InvalidRequest", "InvalidArgument"

// errorTable maps sentinels to what clients see: codes, statuses and messages
// are MinIO's where it has them. The first match wins.
var errorTable = []struct {
	err error
	is  *intake.Error
}{
	{system.ErrOwnCredential, intake.NewError(503, "ServiceUnavailable", "The storage refuses the encryption gateway's own access key; its log says more.")},
	{system.ErrOwnRights, intake.NewError(503, "ServiceUnavailable", "The encryption gateway has too few rights at the storage; its log says which.")},
	{bucketconfig.ErrUnavailable, intake.NewError(503, "ServiceUnavailable", "The bucket's encryption settings cannot be read. Please try again.")},
	{route.ErrUnknown, intake.NewError(501, "NotImplemented", "A header or query you provided implies functionality that is not implemented")},
	{intake.ErrNotOffered, intake.NewError(501, "NotImplemented", "A header or query you provided implies functionality that is not implemented")},
	{objectname.ErrNotS3, intake.NewError(501, "NotImplemented", "A header or query you provided implies functionality that is not implemented")},
	{route.ErrRepeated, intake.NewError(400, invalidArgument, "A query parameter is given more than once.")},
	{intake.ErrMalformedQuery, intake.NewError(400, invalidArgument, "The query string is malformed.")},
	{intake.ErrHeadersTooLarge, intake.NewError(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")},
	{intake.ErrUnaudited, intake.NewError(503, "ServiceUnavailable", "The audit log cannot be written, and no request is served without. Please try again.")},
	{edge.ErrBusy, intake.NewError(503, "SlowDown", "Please reduce your request rate.")},
	{edge.ErrStalled, intake.NewError(400, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")},
	{intake.ErrMalformedPath, intake.NewError(400, "InvalidURI", "Couldn't parse the specified URI.")},
	{objectname.ErrBucket, intake.NewError(400, "InvalidBucketName", "The specified bucket is not valid.")},
	{errDotSegment, intake.NewError(400, "XMinioInvalidResourceName", "Resource name contains bad components such as \"..\" or \".\".")},
	{objectname.ErrKey, intake.NewError(400, "XMinioInvalidObjectName", "Object name contains unsupported characters.")},
	{errKeyTooLong, intake.NewError(400, "KeyTooLongError", "Your key is too long")},
	{identity.ErrToken, intake.NewError(403, "InvalidTokenId", "The security token included in the request is invalid")},
	{intake.ErrReservedMetadata, intake.NewError(400, invalidArgument, "Your metadata headers are not supported.")},
	{errMissingLength, intake.NewError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")},
	{errTooLarge, intake.NewError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")},
	{intake.ErrBodyTooLarge, intake.NewError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")},
	{errInvalidRange, intake.NewError(416, "InvalidRange", "The requested range is not satisfiable")},
	{vault.ErrPartNumber, intake.NewError(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")},
	{errNoSuchUpload, intake.NewError(404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")},
	{vault.ErrPartNeedsKey, intake.NewError(400, invalidRequest, "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.")},
	{errBusy, intake.NewError(503, "SlowDown", "Please reduce your request rate.")},
	{intake.ErrBusy, intake.NewError(503, "SlowDown", "Please reduce your request rate.")},
	{deletion.ErrMalformed, intake.NewError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")},
	{deletion.ErrCondition, intake.NewError(501, "NotImplemented", "Conditions on the size and the date of objects are not implemented.")},
	{intake.ErrMalformedXML, intake.NewError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")},
	{vault.ErrInvalidPart, intake.NewError(400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")},
	{errPartOrder, intake.NewError(400, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number.")},
	{vault.ErrPartTooSmall, intake.NewError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")},
	{errCopySource, intake.NewError(400, invalidArgument, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey.")},
	{vault.ErrCopyOntoItself, intake.NewError(400, invalidRequest, "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")},
	{errPartAndRange, intake.NewError(400, invalidRequest, "Cannot specify both Range header and partNumber query parameter")},
	{errNoSuchVersion, intake.NewError(404, "NoSuchVersion", "The specified version does not exist.")},
	{errFormToObject, intake.NewError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")},
	{errUnsignedForm, intake.NewError(400, "AuthorizationQueryParametersError", malformedCredential)},
	{errFormCut, intake.NewError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")},
	{errFormWithoutKey, intake.NewError(400, "MalformedPOSTRequest", malformedForm+" (The name of the uploaded key is missing)")},
	{form.ErrMalformed, intake.NewError(400, "MalformedPOSTRequest", malformedForm)},
	{form.ErrRepeated, intake.NewError(400, "MalformedPOSTRequest", malformedForm+" (A field is given twice)")},
	{form.ErrNotLast, intake.NewError(400, "MalformedPOSTRequest", malformedForm+" (The file must be the last field)")},
	{form.ErrTooLarge, intake.NewError(400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")},
	{form.ErrNoFile, intake.NewError(400, "MalformedPOSTRequest", malformedForm+" (The file or text content is missing)")},
	{form.ErrPolicy, intake.NewError(400, "MalformedPOSTRequest", malformedForm+" (The policy cannot be read)")},
	{form.ErrExpired, intake.NewError(403, "AccessDenied", "Access Denied. (Invalid according to Policy: Policy expired)")},
	{form.ErrCondition, intake.NewError(403, "AccessDenied", "Access Denied. (Invalid according to Policy: Policy Condition failed)")},
	{form.ErrTooSmall, intake.NewError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")},
	{form.ErrTooBig, intake.NewError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")},

	{vault.ErrPlainObject, intake.NewError(403, "InvalidObjectState", "The object is stored without encryption, and the bucket is not listed in the plain_read setting of this bucketseal.")},
	{conditions.ErrPrecondition, intake.NewError(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")},
	{conditions.ErrNoSuchKey, intake.NewError(404, "NoSuchKey", "The specified key does not exist.")},
	{vault.ErrChanged, intake.NewError(503, "SlowDown", "The object is being overwritten. Please try again.")},
	{conditions.ErrNotModified, intake.NewError(304, "NotModified", "")},
	{errAccessDenied, intake.NewError(403, "AccessDenied", "Access Denied.")},
	{vault.ErrServiceRights, intake.NewError(503, "ServiceUnavailable", "The encryption gateway has too few rights at the storage; its log says which.")},
	{encryption.ErrNoRule, intake.NewError(404, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found")},
	{storage.ErrEncrypts, intake.NewError(502, "InternalError", "The storage has a key service of its own and would encrypt objects once more; its operator must turn that off.")},
	{intake.ErrLoop, intake.NewError(400, invalidRequest, "The request comes from an encryption gateway, whose upstream must be the storage itself.")},
	{errUpstreamKMS, intake.NewError(502, "InternalError", "MinIO did not say whether you may do this: it must not have a KMS of its own.")},
	{errAccountAnswer, intake.NewError(502, "InternalError", "MinIO's answer cannot be used: the account that it may have made is not known here.")},
	{vault.ErrKeyAccess, intake.NewError(403, "AccessDenied", "Access Denied.")},
	{system.ErrNotReady, intake.NewError(503, "ServiceUnavailable", "The encryption gateway is not set up yet. Please try again.")},
	{upstream.ErrUnfit, intake.NewError(503, "ServiceUnavailable", "The storage behind this encryption gateway does not keep what encrypted objects need; its log says what.")},
	{errPlainHTTP, intake.NewError(400, invalidRequest, "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.")},
	{vault.ErrNoCustomerKey, intake.NewError(400, invalidRequest, "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")},
	{vault.ErrCustomerKeyUnused, intake.NewError(400, invalidRequest, "The encryption parameters are not applicable to this object.")},
	{errReadWithMethod, intake.NewError(400, "BadRequest", "400 BadRequest")},
	{vault.ErrKeyName, intake.NewError(400, invalidArgument, "The KMS key id is not valid.")},
	{errEncodingType, intake.NewError(400, invalidArgument, "Invalid Encoding Method specified in Request")},
	{intake.ErrStaleCredential, intake.NewError(403, "InvalidAccessKeyId", "The storage does not accept this access key any more: its secret was changed, or it was removed there.")},
	{sts.ErrAnswer, intake.NewError(502, "InternalError", "The storage issued a credential that cannot be used here.")},
	{vault.ErrOtherS3Key, intake.NewError(500, "InternalError", "The object was encrypted with another key of SSE-S3 than this bucketseal has: its sse_s3.former_keys may lack one.")},
	{plaintext.ErrIncompleteBody, intake.NewError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")},
	{storage.ErrLied, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},

	{sse.ErrTampered, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},
	{sse.ErrTruncated, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},
	{sse.ErrRecord, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},
	{sse.ErrContextTooLong, intake.NewError(400, invalidArgument, "The encryption context is too long to be kept with the object.")},
	{sse.ErrWrongKey, intake.NewError(403, "AccessDenied", "Access Denied.")},
	{vault.ErrInvalidChecksum, intake.NewError(400, invalidArgument, "Invalid checksum provided.")},
	{vault.ErrChecksumMismatch, intake.NewError(400, "XAmzContentChecksumMismatch", "The provided 'x-amz-checksum' header does not match what was computed.")},
	{sse.ErrSource, intake.NewError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")},

	{identity.ErrUnknown, intake.NewError(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")},
	{identity.ErrExpired, intake.NewError(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")},
	{identity.ErrNotAllowed, intake.NewError(403, "AccessDenied", "Access Denied.")},
	{identity.ErrUnavailable, intake.NewError(503, "SlowDown", "It cannot be told at the moment whose access key this is. Please try again.")},
	{identity.ErrBusy, intake.NewError(503, "SlowDown", "Please reduce your request rate.")},
	{identity.ErrProtected, intake.NewError(403, "AccessDenied", "This access key is managed by the encryption gateway's own configuration.")},
	{identity.ErrInsecure, intake.NewError(501, "NotImplemented", "The encryption gateway learns no credentials: its connection to the storage is not encrypted.")},
	{identity.ErrInvalid, intake.NewError(500, "InternalError", "The storage issued a credential that cannot be used here.")},
	{identity.ErrFull, intake.NewError(507, "XMinioStorageFull", "There is no room for another learned credential.")},

	{vault.ErrRekeyPlain, intake.NewError(400, invalidRequest, "The UpdateObjectEncryption operation doesn't support unencrypted source objects. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.")},
	{vault.ErrRekeyCustomer, intake.NewError(400, invalidRequest, "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.")},
	{vault.ErrRekeyRival, intake.NewError(409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")},
	{vault.ErrWithheld, intake.NewError(500, "InternalError", "The encryption of the stored object was changed, and the storage does not have what was written of that.")},
	{vault.ErrNoManifest, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},
	{system.ErrTampered, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},

	{vault.ErrKeyGone, intake.NewError(410, "KMS.NotFoundException", "The KMS key that the object is encrypted under does not exist any more. Unless that key comes back from a backup, its data is lost.")},
	{vault.ErrUnconfirmed, intake.NewError(503, "SlowDown", "The KMS key was deleted or retired while the object was written. Please try again.")},
	{kms.ErrKeyNotFound, intake.NewError(404, "kms:KeyNotFound", "key with given key ID does not exist")},
	{kms.ErrKeyExists, intake.NewError(409, "kms:KeyAlreadyExists", "key with given key ID already exits")},
	{kms.ErrNotPermitted, intake.NewError(403, "kms:NotAuthorized", "insufficient permissions to perform KMS operation")},
	{kms.ErrDecrypt, intake.NewError(500, "InternalError", "The stored object is damaged or was tampered with.")},
	{kms.ErrInvalidContext, intake.NewError(400, invalidArgument, "The encryption context is not valid.")},
	{kms.ErrInvalidKeyName, intake.NewError(400, invalidArgument, "The KMS key id is not valid.")},
	{kms.ErrUnavailable, intake.NewError(503, "SlowDown", "The key service cannot be reached. Please try again.")},
	{kms.ErrCorruptKey, intake.NewError(500, "kms:KeyDecryptionFailed", "failed to decrypt data key with KMS key")},
	{kms.ErrKeyReplaced, intake.NewError(400, "KMS.KMSInvalidStateException", "The KMS key is not the one that was used before. Ask who runs this service.")},
	{kms.ErrVersionRetired, intake.NewError(403, "KMS.DisabledException", "The object is encrypted under a version of its KMS key that is retired. Who runs this service can reinstate it.")},
	{kms.ErrVersionDestroyed, intake.NewError(410, "KMS.KMSInvalidStateException", "The object was encrypted under a version of its KMS key that is destroyed. Its data is lost.")},
	{kms.ErrVersionNotFound, intake.NewError(404, "kms:KeyNotFound", "the key has no such version")},
	{kms.ErrNewestVersion, intake.NewError(409, "KMS.KMSInvalidStateException", "It is the newest version of the key. Rotate the key first.")},
	{kms.ErrUsageUnknown, intake.NewError(409, "KMS.KMSInvalidStateException", "It is not known what still uses the key version.")},
	{kms.ErrNotSupported, intake.NewError(501, "kms:NotSupported", "requested functionality is not supported")},

	{bucketconfig.ErrNoSuchBucket, intake.NewError(404, "NoSuchBucket", "The specified bucket does not exist")},

	{system.ErrNoBucket, intake.NewError(503, "ServiceUnavailable", "The encryption gateway's own bucket is gone from the storage; its log says more.")},
	{vault.ErrUncertain, intake.NewError(503, "SlowDown", "The storage cannot be reached. Please try again.")},
	{storage.ErrListing, intake.NewError(500, "InternalError", "The storage's listing cannot be read.")},
	{storage.ErrUnreachable, intake.NewError(503, "SlowDown", "The storage cannot be reached. Please try again.")},
	{intake.ErrClientGone, intake.NewError(499, "ClientDisconnected", "Client disconnected before response was ready")},
	{context.DeadlineExceeded, intake.NewError(503, "SlowDown", "Resource requested is unreadable, please reduce your request rate")},
	{context.Canceled, intake.NewError(499, "ClientDisconnected", "Client disconnected before response was ready")},
}

var internalError = intake.NewError(500, "InternalError", "We encountered an internal error, please try again.")

// ofVersion says which version of a KMS key is meant, and not whose: a client may see
// the names of keys of SSE-KMS only.
func ofVersion(err *kms.VersionError) *intake.Error {
	if errors.Is(err, kms.ErrVersionDestroyed) {
		return intake.NewError(410, "KMS.KMSInvalidStateException",
			fmt.Sprintf("The object was encrypted under version %d of its KMS key, which is destroyed. Its data is lost.", err.Version))
	}
	return intake.NewError(403, "KMS.DisabledException",
		fmt.Sprintf("The object is encrypted under version %d of its KMS key, which is retired. Who runs this service can reinstate that version.", err.Version))
}

// Describe returns what a client sees of err. Internal detail stays in the log.
func Describe(err error) *intake.Error {
	if err == nil {
		return nil
	}
	var own *intake.Error
	if errors.As(err, &own) {
		return own
	}
	var version *kms.VersionError
	if errors.As(err, &version) {
		return ofVersion(version)
	}
	var answered *storage.Error
	if errors.As(err, &answered) && !Own(err) {
		return relayed(answered)
	}
	var malformed *bucketconfig.InvalidRuleError
	if errors.As(err, &malformed) {
		return intake.NewError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema. ("+malformed.Reason+")")
	}
	var syntax *deletion.SyntaxError
	if errors.As(err, &syntax) {
		return intake.NewError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema. ("+syntax.Reason.Error()+")")
	}
	if e, ok := formPolicyError(err); ok {
		return e
	}
	if e, ok := vaultError(err); ok {
		return e
	}
	for i := range errorTable {
		if errors.Is(err, errorTable[i].err) {
			return errorTable[i].is
		}
	}
	if e, ok := signatureError(err); ok {
		return e
	}
	return internalError
}

// Own says whether err is about a request of the proxy's own, under its own
// credential. What upstream answers to those is neither the client's affair nor about
// the client's access key.
func Own(err error) bool {
	for _, own := range []error{
		system.ErrNotReady, bucketconfig.ErrUnavailable,
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
func relayed(e *storage.Error) *intake.Error {
	if e.Status == statusClientGone {
		return intake.NewError(503, "SlowDown", "The storage cannot be reached. Please try again.")
	}
	if e.Code == "" || e.Status < 400 || e.Status > 599 {
		if e.Status == http.StatusServiceUnavailable || e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout {
			return intake.NewError(503, "SlowDown", "The storage cannot be reached. Please try again.")
		}
		if e.Status == http.StatusNotFound {
			return Describe(conditions.ErrNoSuchKey)
		}
		if e.Status == http.StatusForbidden {
			return intake.NewError(403, "AccessDenied", "Access Denied.")
		}
		return internalError
	}
	out := &intake.Error{Status: e.Status, Code: e.Code, Message: e.Message, Header: http.Header{}}
	for _, name := range []string{"X-Amz-Delete-Marker", "X-Amz-Version-Id", "Last-Modified", "Allow", "Retry-After"} {
		if v := e.Header.Values(name); len(v) > 0 {
			out.Header[name] = v
		}
	}
	return out
}

// errReservedBucket hides the system bucket: it does not exist, and cannot be
// made to.
func errReservedBucket(op string) error {
	if op == "CreateBucket" {
		return objectname.ErrBucket
	}
	return intake.NewError(404, "NoSuchBucket", "The specified bucket does not exist")
}

// errArguments is MinIO's answer to bad encryption headers of a write.
func errArguments(r *intake.Request, reason error) error { return argumentsError(name(r), reason) }

func argumentsError(name sse.Name, reason error) *intake.Error {
	message := "Invalid arguments provided for " + name.Bucket + "/" + name.Key + ": (" + reason.Error() + ")"
	return intake.NewError(400, invalidArgument, message)
}
