package vault

import (
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Sentinels. What a client sees of them is s3api's affair.
var (
	ErrPlainObject       = errors.New("object is stored without encryption, in a bucket that plain_read does not list")
	ErrPrecondition      = errors.New("precondition failed")
	ErrNotModified       = errors.New("not modified")
	ErrNoSuchKey         = errors.New("object does not exist")
	ErrChanged           = errors.New("the object was overwritten while it was read")
	ErrCustomerKeyUnused = errors.New("customer key for an object that needs none")
	ErrNoSuchUpload      = manifest.ErrNoSuchUpload
	ErrPartNeedsKey      = errors.New("part of an SSE-C upload without its key")
	ErrInvalidPart       = errors.New("invalid part")
	ErrPartTooSmall      = errors.New("part too small")
	ErrPartNumber        = errors.New("part does not exist")
	ErrTooLarge          = errors.New("body is too large")
	ErrBusy              = errors.New("no memory left for a body of unknown length")
	ErrMissingLength     = errors.New("missing content length")
	ErrIncompleteBody    = errors.New("the body is not as long as was said")
	ErrInvalidChecksum   = errors.New("invalid checksum")
	ErrChecksumMismatch  = errors.New("checksum does not match")
	ErrCopyOntoItself    = errors.New("copy of an object onto itself that changes nothing")
	ErrAccessDenied      = errors.New("the caller may not do this")
	ErrNoRule            = errors.New("the bucket has no encryption rule")
	ErrServiceRights     = errors.New("the proxy's own identity at MinIO may not read an object: see its policy in docs/configuration.md")
	// ErrNothingLost says that an object has its manifest, or needs none.
	ErrNothingLost = errors.New("nothing is lost: the object has its manifest, or needs none")
)

// errNoLength says that upstream does not tell how long a plain object is: nothing
// else could tell a client that its answer was cut off.
var errNoLength = fmt.Errorf("upstream answered without a length: %w", storage.ErrLied)

// ConditionError is ErrPrecondition or ErrNotModified of a read, with what would hold.
type ConditionError struct {
	Err      error
	ETag     string
	Modified time.Time
}

// Error is the condition's.
func (e *ConditionError) Error() string { return e.Err.Error() }

// Unwrap returns the condition.
func (e *ConditionError) Unwrap() error { return e.Err }

// RangeError says that no byte of a range exists in an object.
type RangeError struct{ Range Range }

// Error names the range.
func (e *RangeError) Error() string {
	if e.Range.Suffix >= 0 {
		return fmt.Sprintf("the requested range 'bytes=-%d' is not satisfiable", e.Range.Suffix)
	}
	return fmt.Sprintf("the requested range 'bytes=%d-%d' is not satisfiable", e.Range.First, e.Range.Last)
}

// RequestError says what a request asks for that contradicts what is there, in words that
// its client may see.
type RequestError struct{ Reason string }

// Error is the reason.
func (e *RequestError) Error() string { return e.Reason }
