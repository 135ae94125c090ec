package vault

import (
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Sentinels. What a client sees of them is s3api's affair.
var (
	ErrPlainObject       = errors.New("object is stored without encryption, in a bucket that plain_read does not list")
	ErrCustomerKeyUnused = errors.New("customer key for an object that needs none")
	ErrChanged           = sealed.ErrChanged
	ErrNoSuchUpload      = manifest.ErrNoSuchUpload
	ErrPartNeedsKey      = errors.New("part of an SSE-C upload without its key")
	ErrInvalidPart       = errors.New("invalid part")
	ErrPartTooSmall      = errors.New("part too small")
	ErrPartNumber        = errors.New("part does not exist")
	ErrTooLarge          = errors.New("body is too large")
	ErrInvalidChecksum   = errors.New("invalid checksum")
	ErrChecksumMismatch  = errors.New("checksum does not match")
	ErrCopyOntoItself    = errors.New("copy of an object onto itself that changes nothing")
)

// errNoLength says that upstream does not tell how long a plain object is: nothing
// else could tell a client that its answer was cut off.
var errNoLength = fmt.Errorf("upstream answered without a length: %w", storage.ErrLied)

// RequestError says what a request asks for that contradicts what is there, in words that
// its client may see.
type RequestError struct{ Reason string }

// Error is the reason.
func (e *RequestError) Error() string { return e.Reason }
