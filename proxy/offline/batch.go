package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Selection says which objects are meant.
type Selection struct {
	Bucket string
	// Key is a whole key, or if All is set the beginning of keys.
	Key string
	All bool
}

// ParseSelection reads BUCKET, BUCKET/KEY or BUCKET/PREFIX*.
func ParseSelection(text string) (Selection, error) {
	bucket, key, _ := strings.Cut(text, "/")
	prefix, all := strings.CutSuffix(key, "*")
	if bucket == "" {
		return Selection{}, fmt.Errorf("%q: give BUCKET, BUCKET/KEY or BUCKET/PREFIX*", text)
	}
	return Selection{Bucket: bucket, Key: prefix, All: all || key == ""}, nil
}

// has says whether a key is meant.
func (s Selection) has(key string) bool { return s.All || key == s.Key }

// Result is what became of a version of an object.
type Result struct {
	Object *Object
	// Opened is nil where Err says why. Its key is zeroed.
	Opened *Opened
	// File is where the plaintext is.
	File string
	// Size is the plaintext's length in bytes.
	Size int64
	// Err is nil, ErrSkipped, or what failed.
	Err error
}

// Counts are what became of all.
type Counts struct {
	Decrypted, Bytes int64
	// Restored and Unproven are among Decrypted.
	Restored, Unproven int64
	Skipped            int64
	// Plain have no record, of Locked the customer key is missing, Failed are all others
	// that could not be opened.
	Plain, Locked, Failed int64
}

// Lost is how many objects could not be opened.
func (c *Counts) Lost() int64 { return c.Plain + c.Locked + c.Failed }

// add counts a result.
func (c *Counts) add(r *Result) {
	switch {
	case r.Err == nil:
		c.Decrypted++
		c.Bytes += r.Size
		if r.Opened.Restored {
			c.Restored++
		}
		if r.Opened.Unproven {
			c.Unproven++
		}
	case errors.Is(r.Err, ErrSkipped):
		c.Skipped++
	case errors.Is(r.Err, ErrPlain):
		c.Plain++
	case errors.Is(r.Err, ErrCustomerKey):
		c.Locked++
	default:
		c.Failed++
	}
}

// Batch decrypts many objects.
type Batch struct {
	Reader *Reader
	From   Source
	// To writes a plaintext, and returns the name of its file, as Tree.Write does.
	To func(o *Object, write func(io.Writer) error) (file string, err error)
	// Want selects; nothing selects all buckets but SystemBucket.
	Want         []Selection
	SystemBucket string
	// Versions also takes versions that are not current.
	Versions bool
	// Done is told of each, one at a time; it may be nil.
	Done func(*Result)

	mu     sync.Mutex
	counts Counts
}

// Run decrypts what is selected, several objects at once. An object that does not open does
// not keep the others from it. The error says what ended the whole: ErrWrite, or that a
// source cannot be read.
func (b *Batch) Run(ctx context.Context) (Counts, error) {
	want, err := b.want()
	if err != nil {
		return b.counts, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	err = b.walk(ctx, want, func(o *Object) { group.Go(func() error { return b.one(ctx, o) }) })
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	return b.counts, err
}

// want is what is selected.
func (b *Batch) want() ([]Selection, error) {
	buckets, err := b.From.Buckets()
	if err != nil {
		return nil, err
	}
	for _, s := range b.Want {
		if !slices.Contains(buckets, s.Bucket) {
			return nil, fmt.Errorf("there is no bucket %q in the copy; it has %q", s.Bucket, buckets)
		}
	}
	if len(b.Want) > 0 {
		return b.Want, nil
	}
	var all []Selection
	for _, name := range buckets {
		if name != b.SystemBucket {
			all = append(all, Selection{Bucket: name, All: true})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no bucket in the copy but %q", buckets)
	}
	return all, nil
}

func (b *Batch) walk(ctx context.Context, want []Selection, visit func(*Object)) error {
	for _, s := range want {
		found := false
		err := b.From.Walk(ctx, s.Bucket, s.Key, func(o *Object) error {
			if !s.has(o.Name.Key) {
				return nil
			}
			found = true
			if !o.Marker && (o.Latest || b.Versions) {
				visit(o)
			}
			return ctx.Err()
		})
		if err != nil {
			return fmt.Errorf("read the copy of bucket %q: %w", s.Bucket, err)
		}
		if !found && !s.All {
			b.done(&Result{Object: &Object{Name: sse.Name{Bucket: s.Bucket, Key: s.Key}}, Err: fmt.Errorf("it is not in the copy: %w", storage.ErrNotFound)})
		}
	}
	return nil
}

// one decrypts a version. Its error ends the whole.
func (b *Batch) one(ctx context.Context, o *Object) error {
	r := &Result{Object: o}
	r.Err = b.decrypt(ctx, r)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.done(r)
	if errors.Is(r.Err, ErrWrite) {
		return r.Err
	}
	return nil
}

func (b *Batch) decrypt(ctx context.Context, r *Result) error {
	if err := checkVersion(r.Object); err != nil {
		return err
	}
	opened, err := b.Reader.Open(ctx, r.Object)
	if err != nil {
		return err
	}
	defer opened.Zero()
	r.Opened = opened
	r.File, err = b.To(r.Object, func(w io.Writer) error {
		r.Size, err = b.Reader.Decrypt(ctx, opened, w)
		return err
	})
	return err
}

// done counts and tells.
func (b *Batch) done(r *Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.add(r)
	if b.Done != nil {
		b.Done(r)
	}
}
