// Package bucketconfig keeps the default encryption of buckets: it reads and writes the S3 XML, keeps all rules in one
// index, and answers from a copy under a short lease, so that a change which was acknowledged is obeyed by every
// process over the same index.
//
// The index is the document of a register.Register, whose package says why that is so, and what is refused. Whoever changes
// a rule returns when the change is obeyed everywhere, two leases after it was stored. An index that is missing is
// ErrUnavailable, never "no rule".
package bucketconfig

import (
	"context"
	"errors"
	"time"
)

// Errors that a Backend returns.
var (
	// ErrNotModified: the stored blob still has the ETag that the caller named.
	ErrNotModified = errors.New("bucket rules: index not modified")
	// ErrNotFound: there is no blob.
	ErrNotFound = errors.New("bucket rules: index not found")
	// ErrConflict: the stored blob has another ETag than the caller named, or exists although none should.
	ErrConflict = errors.New("bucket rules: index was changed by someone else")
)

// Errors that this package returns.
var (
	// ErrUnavailable: it cannot be told which rules are in force. The cause is wrapped beside it.
	ErrUnavailable = errors.New("bucket rules are unavailable")
	// ErrNoSuchBucket: a rule was set for a bucket that does not exist.
	ErrNoSuchBucket = errors.New("bucket rules: no such bucket")
	// ErrMalformedXML: the client's document is no ServerSideEncryptionConfiguration, or its rule is not allowed. The
	// error is an *InvalidRuleError.
	ErrMalformedXML = errors.New("malformed encryption configuration")
	// ErrIndexFull: with this rule the index would outgrow its size limit.
	ErrIndexFull = errors.New("bucket rules: the index is full")
)

// Backend keeps the index: one small blob with an ETag. Implementations are safe for concurrent use, return when the
// context ends, and are linearizable: a Load that begins after a Save has returned sees it.
type Backend interface {
	// Load returns the blob and its ETag, which is not empty. If etag is not empty and still current it returns
	// ErrNotModified, if there is no blob ErrNotFound; any other error means that the blob cannot be read now. The
	// caller does not modify data.
	Load(ctx context.Context, etag string) (data []byte, newETag string, err error)
	// Save stores the blob only if the current one has the given ETag, with an empty etag only if there is none;
	// otherwise ErrConflict. Any other error leaves open whether the blob was stored.
	Save(ctx context.Context, data []byte, etag string) (newETag string, err error)
}

// Buckets tells which buckets exist. Implementations are safe for concurrent use and return when the context ends.
type Buckets interface {
	// CreationDates returns the creation date of every bucket. The caller keeps the map and does not modify it.
	CreationDates(ctx context.Context) (map[string]time.Time, error)
}
