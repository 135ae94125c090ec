package system

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Sentinels of the system bucket's objects.
var (
	ErrNotFound    = errors.New("system object does not exist")
	ErrNotModified = errors.New("system object is unchanged")
	ErrConflict    = errors.New("system object was changed by somebody else")
)

// ErrNotReady says that the system bucket is not set up yet, or that the proxy cannot do
// its work for another reason, which comes with it.
var ErrNotReady = errors.New("the proxy is not set up yet")

// What MinIO may have against the proxy itself. They come with MinIO's own answer.
var (
	// ErrOwnCredential and ErrOwnRights are those of package storage: it is one credential.
	ErrOwnCredential = storage.ErrOwnCredential
	ErrOwnRights     = storage.ErrOwnRights
	// ErrNoBucket says that the system bucket does not exist. It is ErrNotFound too.
	ErrNoBucket = fmt.Errorf("the system bucket does not exist: %w", ErrNotFound)
)

// Note is a small system object whose content is in its metadata, so that a
// listing shows it.
type Note struct {
	// Name is the object's name in the system bucket.
	Name string
	// Value is the content, in letters that need no escaping; "" if upstream lists the
	// object without it, which is no note's content.
	Value string
	// Modified is when upstream stored it; zero if upstream did not say.
	Modified time.Time
	// ETag is upstream's, without quotes, and Size the length of the body in bytes. Both are
	// of a listing only.
	ETag string
	Size int64
}

// Objects is the system bucket as upstream.Service offers it.
type Objects interface {
	Get(ctx context.Context, name, etag string) (data []byte, newETag string, err error)
	Put(ctx context.Context, name string, data []byte, etag string) (newETag string, err error)
	PutNote(ctx context.Context, name, value string, body []byte) error
	ReplaceNote(ctx context.Context, name, value string, body []byte) error
	// ChangeNote is ReplaceNote for a note whose ETag is known: ErrConflict if it has
	// another one by now, or is gone.
	ChangeNote(ctx context.Context, name, value string, body []byte, etag string) error
	GetNote(ctx context.Context, name string) (value string, err error)
	GetNoteBody(ctx context.Context, name string) ([]byte, error)
	DeleteNotes(ctx context.Context, prefix string, keep func(name string) bool) (deleted int, err error)
	ListNotes(ctx context.Context, prefix, after string) (notes []Note, more bool, err error)
}
