package storage

import (
	"errors"
	"fmt"
	"strings"
)

// What a Backend's calls end with. The first ones match an *Error too.
var (
	// ErrPrecondition says that a condition of the request does not hold.
	ErrPrecondition = errors.New("the storage found a condition not to hold")
	// ErrNotFound says that there is no such object, bucket or upload: it never was, or is
	// deleted.
	ErrNotFound = errors.New("the object does not exist at the storage")
	// ErrNoSuchBucket says that there is no such bucket.
	ErrNoSuchBucket = errors.New("the bucket does not exist at the storage")
	// ErrNoSuchUpload says that an upload ended, or never was.
	ErrNoSuchUpload = errors.New("the upload does not exist at the storage")
	// ErrInvalidPart says that a part of a Complete's list is not there.
	ErrInvalidPart = errors.New("the storage does not have the parts of the list")
	// ErrRange says that no byte of a range exists.
	ErrRange = errors.New("the range lies beyond the object's end")
	// ErrForbidden says that the actor may not do it.
	ErrForbidden = errors.New("the storage does not let the caller do this")
	// ErrLocked says that a version must not be replaced, as long as it is retained or held.
	ErrLocked = errors.New("the version is under object lock")

	// ErrUnreachable says that the storage did not answer: no connection, a broken one,
	// none of the answer's headers in time, or an answer that is none. It may pass.
	ErrUnreachable = errors.New("upstream is unreachable")
	// ErrLied says that an answer contradicts what the proxy knows to be true of the
	// object, or does what cannot be done.
	ErrLied = errors.New("upstream's answer contradicts the object's record")
	// ErrEncrypts says that the storage has a key service of its own, which this design
	// rules out: it would encrypt ciphertext again and keep rules of its own.
	ErrEncrypts = errors.New("upstream has a key service of its own; bucketseal needs one without")
	// ErrListing says that a listing does not parse: MinIO writes names as they are, and
	// some make its XML unreadable.
	ErrListing = errors.New("upstream's listing does not parse")
)

// Error is an S3 error that the storage answered.
type Error struct {
	// Status is an HTTP status, Code one of S3's error codes.
	Status  int
	Code    string
	Message string
	// Header holds the answer's headers; some errors carry an ETag or a version.
	Header Metadata
}

// Error returns status, code and message.
func (e *Error) Error() string {
	return fmt.Sprintf("upstream answered %d %s: %s", e.Status, e.Code, e.Message)
}

// MayBeDone says whether a write that ended with err may have been carried out all the same: but
// for a refusal, nobody knows.
func MayBeDone(err error) bool {
	var answer *Error
	return err != nil && (!errors.As(err, &answer) || answer.Status >= 500)
}

// Is says whether the answer means one of the sentinels.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrPrecondition:
		return e.Status == 412
	case ErrNotFound: // 405 is MinIO's answer where a delete marker is named
		return e.Status == 404 || e.Status == 405
	case ErrNoSuchBucket:
		return e.Code == "NoSuchBucket"
	case ErrNoSuchUpload:
		return e.Code == "NoSuchUpload"
	case ErrInvalidPart:
		return e.Code == "InvalidPart"
	case ErrRange:
		return e.Status == 416
	case ErrForbidden:
		return e.Status == 403
	case ErrLocked:
		return strings.Contains(e.Message, "WORM protected")
	}
	return false
}

// IsFull says that the storage has no room for what was to be written.
func IsFull(err error) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.Code == "XMinioStorageFull"
}
