package vault_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// uploader uploads one object in parts.
type uploader struct {
	t      testing.TB
	engine *vaulttest.Engine
	caller *caller.Caller
	name   sse.Name
	asked  encryption.Asked
	// checksum and checksumType are what the upload is created with.
	checksum, checksumType string
	id                     string
}

func newUploader(t testing.TB, i *vaulttest.Installation, key string) *uploader {
	t.Helper()
	return &uploader{
		t: t, engine: i.Engine(t), caller: vaulttest.Caller("app"), name: sse.Name{Bucket: vaulttest.Bucket, Key: key},
		asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeS3}},
	}
}

// customer is the key that parts come with, nil unless it is SSE-C.
func (u *uploader) customer() *sse.Secret {
	if u.asked.Mode != sse.ModeC {
		return nil
	}
	return &u.asked.CustomerKey
}

func (u *uploader) upload() vault.Upload { return vault.Upload{Name: u.name, ID: u.id} }

func (u *uploader) tryBegin(conditions conditions.Write) error {
	begun, err := u.engine.Begin(u.t.Context(), u.caller, &vault.Begin{
		Write:             vault.Write{Name: u.name, Asked: u.asked, Meta: storage.Metadata{"Content-Type": {"text/plain"}}, Conditions: conditions},
		ChecksumAlgorithm: u.checksum, ChecksumType: u.checksumType,
	})
	if err == nil {
		u.id = begun.ID
	}
	return err
}

func (u *uploader) begin() *uploader {
	u.t.Helper()
	if err := u.tryBegin(conditions.Write{}); err != nil {
		u.t.Fatal(err)
	}
	return u
}

// tryPart sends a body of which what is needed is computed.
func (u *uploader) tryPart(number int, change func(*vaulttest.Body), data []byte) (*vault.SentPart, error) {
	return u.engine.Part(u.t.Context(), u.caller, &vault.Part{
		PartTarget: vault.PartTarget{Upload: u.upload(), Number: number, Customer: u.customer()},
		Body: func(need plaintext.Digests) (plaintext.Body, error) {
			body := vaulttest.NewBody(data, need.Compute...)
			body.WithoutMD5 = !need.MD5
			if change != nil {
				change(body)
			}
			return body, nil
		},
	})
}

func (u *uploader) part(number int, data []byte) vault.WantedPart {
	u.t.Helper()
	sent, err := u.tryPart(number, nil, data)
	if err != nil {
		u.t.Fatal(err)
	}
	return vault.WantedPart{Number: number, ETag: sent.ETag}
}

func (u *uploader) tryComplete(parts ...vault.WantedPart) (*vault.Completed, error) {
	return u.engine.Complete(u.t.Context(), u.caller, &vault.Complete{Upload: u.upload(), Parts: parts})
}

func (u *uploader) complete(parts ...vault.WantedPart) *vault.Completed {
	u.t.Helper()
	done, err := u.tryComplete(parts...)
	if err != nil {
		u.t.Fatal(err)
	}
	return done
}

// put uploads an object of one part.
func (u *uploader) put(data []byte) *vault.Completed {
	u.t.Helper()
	u.begin()
	return u.complete(u.part(1, data))
}

func (u *uploader) listed() []vault.ListedPart {
	u.t.Helper()
	page, err := u.engine.Parts(u.t.Context(), u.caller, &vault.ListParts{Upload: u.upload()})
	if err != nil {
		u.t.Fatal(err)
	}
	return page.Parts
}

func (u *uploader) read() ([]byte, error) {
	return u.engine.Plaintext(u.t.Context(), u.caller, vault.Read{Name: u.name, Customer: u.customer()})
}

func (u *uploader) wants(data []byte) {
	u.t.Helper()
	if got, err := u.read(); err != nil || !bytes.Equal(got, data) {
		u.t.Errorf("%q reads as %d bytes, %v", u.name.Key, len(got), err)
	}
}

// saidBody is a body with a checksum that its client says.
type saidBody struct {
	*vaulttest.Body
	algorithm checksum.Algorithm
	value     []byte
}

func (b saidBody) DeclaredChecksum() (checksum.Algorithm, []byte, bool) {
	return b.algorithm, b.value, true
}

// at changes or fails the calls of one operation, at a step of them.
func at(op memory.Op, step memory.Step, do func(*memory.Call) error) memory.Faults {
	return func(_ context.Context, c *memory.Call) error {
		if c.Op == op && c.Step == step {
			return do(c)
		}
		return nil
	}
}

// once does something the first time only.
func once(do func(*memory.Call) error) func(*memory.Call) error {
	var first sync.Once
	return func(c *memory.Call) (err error) {
		first.Do(func() { err = do(c) })
		return err
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, not %v", what, err, want)
	}
}

// awaitDrop waits until the notes of an upload that ended are gone, which happens behind
// the answer: its own, and those of its parts.
func (u *uploader) awaitDrop(i *vaulttest.Installation) {
	u.t.Helper()
	upstream := u.id[:strings.LastIndexByte(u.id, '.')]
	for range 1000 {
		notes, _, err := i.System.ListNotes(u.t.Context(), "", "")
		if err != nil {
			u.t.Fatal(err)
		}
		if !slices.ContainsFunc(notes, func(n system.Note) bool { return strings.Contains(n.Name, upstream) }) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	u.t.Fatal("the notes of an upload that ended stay")
}
