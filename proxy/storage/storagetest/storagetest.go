// Package storagetest is the conformance suite of storage.Storage: what the contract
// promises, held against one that is empty. It asks for nothing that the contract leaves
// open, so that it passes on every storage that bucketseal may stand in front of.
package storagetest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Open returns a storage and an empty bucket of the test's own in it.
type Open func(t *testing.T) (s storage.Storage, bucket string)

// Run holds a storage to its contract, in buckets of any kind.
func Run(t *testing.T, open Open) {
	for _, group := range []map[string]func(*kit){objects, conditions, failures, uploads, listings, questions} {
		run(t, open, group)
	}
}

// RunVersioned is Run in buckets that keep versions, and holds the storage to what the
// contract says of those.
func RunVersioned(t *testing.T, open Open) {
	Run(t, open)
	run(t, open, versions)
}

func run(t *testing.T, open Open, group map[string]func(*kit)) {
	for name, test := range group {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, bucket := open(t)
			test(&kit{T: t, s: s, own: s.Own(storage.Actor{}), bucket: bucket})
		})
	}
}

// minPart is the smallest part but the last, in bytes, that every storage takes.
const minPart = 5 << 20

// kit is what a test needs.
type kit struct {
	*testing.T
	s      storage.Storage
	own    storage.Backend
	bucket string
}

func (k *kit) name(key string) sse.Name { return sse.Name{Bucket: k.bucket, Key: key} }

func (k *kit) ctx() context.Context { return k.Context() }

// must fails the test on an error.
func (k *kit) must(what string, err error) {
	k.Helper()
	if err != nil {
		k.Fatalf("%s: %v", what, err)
	}
}

// want fails the test unless err is one of the errors.
func (k *kit) want(what string, err error, targets ...error) {
	k.Helper()
	for _, target := range targets {
		if errors.Is(err, target) {
			return
		}
	}
	k.Fatalf("%s: %v, not %v", what, err, targets)
}

// data returns bytes that follow from a seed.
func data(seed uint64, n int) []byte {
	out := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(out)
	return out
}

func etagOf(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// body is the content of a write, as the proxy sends small objects.
func body(b []byte) storage.Body {
	return storage.Body{
		Reader: bytes.NewReader(b), Length: int64(len(b)),
		Again: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// put stores an object.
func (k *kit) put(key string, content []byte) *storage.Stored {
	k.Helper()
	stored, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name(key), Body: body(content)})
	k.must("put "+key, err)
	return stored
}

// read returns an object's data and what is said of it.
func (k *kit) read(g *storage.Get) (*storage.Info, []byte, error) {
	o, err := k.own.Get(k.ctx(), g)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = o.Close() }()
	content, err := io.ReadAll(o)
	return &o.Info, content, err
}

// holds fails the test unless an object's data are these.
func (k *kit) holds(key string, want []byte) *storage.Info {
	k.Helper()
	info, got, err := k.read(&storage.Get{Name: k.name(key)})
	k.must("get "+key, err)
	if !bytes.Equal(got, want) {
		k.Fatalf("%s holds %d bytes that begin with %.20q, not %d that begin with %.20q", key, len(got), got, len(want), want)
	}
	return info
}

// isGone fails the test unless there is no such object.
func (k *kit) isGone(key string) {
	k.Helper()
	_, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name(key)})
	k.want("head of "+key, err, storage.ErrNotFound)
}

// recordOf returns the one record that an object has, "" for none.
func (k *kit) recordOf(info *storage.Info) string {
	k.Helper()
	switch {
	case len(info.Reserved) == 0:
		return ""
	case len(info.Reserved) > 1 || info.Reserved[0].Name != storage.RecordName:
		k.Fatalf("reserved metadata is %.100v", info.Reserved)
	}
	return info.Reserved[0].Value
}

// unquoted is an ETag without the quotes that the storage may give it.
func unquoted(etag string) string { return strings.Trim(etag, `"`) }
