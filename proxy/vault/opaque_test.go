package vault_test

import (
	"bytes"
	cryptomd5 "crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// opaqueForm is an ETag that no client takes for an MD5.
var opaqueForm = regexp.MustCompile(`^"[0-9a-f]{32}-[0-9]+"$`)

// newOpaqueKit is a writeKit with an engine beside it under which the bucket's ETags are
// opaque.
func newOpaqueKit(t testing.TB) (k *writeKit, opaque *vaulttest.Engine) {
	t.Helper()
	k = newWriteKit(t)
	k.at.Change = func(o *vaulttest.Options) {
		o.SmallObject, o.PlainRead = smallWrite, []string{vaulttest.Bucket}
		o.OpaqueETag, o.MD5ETag = []string{"*"}, []string{"not-" + vaulttest.Bucket}
	}
	return k, k.at.Engine(t)
}

// wantETag fails unless every answer of every engine shows an object under this ETag.
func (k *writeKit) wantETag(key, etag string, engines ...*vaulttest.Engine) {
	k.Helper()
	for i, e := range engines {
		r, err := e.Open(k.Context(), k.c, &vault.Get{Read: vault.Read{Name: vaulttest.Name(key), Conditions: conditions.Read{IfMatch: etag}}})
		if err != nil {
			k.Errorf("engine %d: %s under %s: %v", i, key, etag, err)
			continue
		}
		if r.ETag != etag {
			k.Errorf("engine %d: %s reads under %s, not %s", i, key, r.ETag, etag)
		}
		_ = r.Close()
		a, err := e.Attributes(k.Context(), k.c, vault.Read{Name: vaulttest.Name(key)})
		if err != nil || a.ETag != etag {
			k.Errorf("engine %d: the attributes of %s: %v, %v", i, key, a, err)
		} else {
			a.Close()
		}
		page, err := e.List(k.Context(), k.c, &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"prefix": key}})
		if err != nil || page.Entries[0].ETag != etag {
			k.Errorf("engine %d: %s is listed: %+v, %v; want %s", i, key, page, err, etag)
		}
		if err := e.MayDelete(k.Context(), k.c, vaulttest.Name(key), "", etag); err != nil {
			k.Errorf("engine %d: a condition on %s: %v", i, key, err)
		}
		if err := e.MayDelete(k.Context(), k.c, vaulttest.Name(key), "", `"another-1"`); !errors.Is(err, conditions.ErrPrecondition) {
			k.Errorf("engine %d: a condition on another ETag than %s's: %v", i, key, err)
		}
	}
}

func TestOpaqueETagsAreNoMD5AndStayForEver(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	md5 := k.e
	for _, size := range writeSizes {
		data := someBytes(t, size)
		k.e = opaque
		stored := k.mustPut("k", data, sse.ModeS3)
		again := k.mustPut("again", data, sse.ModeS3)
		if isOpaque := opaqueForm.MatchString(stored.ETag); isOpaque != (size > 0) || isOpaque == (stored.ETag == again.ETag) {
			t.Errorf("%d bytes: the ETags are %s and %s", size, stored.ETag, again.ETag)
		}
		k.wantETag("k", stored.ETag, opaque, md5, k.at.Engine(t))
		k.wantData("k", sse.ModeS3, data)
		k.e = md5
		k.wantData("k", sse.ModeS3, data)
		if old := k.mustPut("old", data, sse.ModeS3); old.ETag != md5ETag(data) {
			t.Errorf("%d bytes: the other engine's ETag is %s", size, old.ETag)
		}
		k.wantETag("old", md5ETag(data), opaque, md5, k.at.Engine(t))
	}
}

// What is written under an opaque ETag takes no MD5, and of manifests what SSE-KMS takes.
func TestOpaqueETagsCostWhatSSEKMSCosts(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	k.e = opaque
	for _, size := range []int{10, smallWrite + 1} {
		for _, algorithm := range []checksum.Algorithm{0, checksum.CRC32} {
			var ops [2][]string
			for i, mode := range []sse.Mode{sse.ModeKMS, sse.ModeS3} {
				var need plaintext.Digests
				j := k.at.Watch(k.at.System.Bucket(), nil)
				stored := k.mustPut("k", someBytes(t, size), mode, func(p *vault.Put) {
					body := p.Body
					p.Checksum = algorithm
					p.Body = func(d plaintext.Digests) (plaintext.Body, error) { need = d; return body(d) }
				})
				late := size > smallWrite && algorithm != 0
				if need.MD5 || stored.Facts.MD5 != nil || (stored.Record.Manifest != sse.ManifestID{}) != late {
					t.Errorf("%v, %d bytes, %v: needs %+v, has %+v", mode, size, algorithm, need, stored.Record)
				}
				if r, err := opaque.Open(t.Context(), k.c, &vault.Get{Read: reading("k", mode)}); err != nil {
					t.Error(err)
				} else {
					_ = r.Close()
				}
				if _, err := opaque.List(t.Context(), k.c, &vault.List{Bucket: vaulttest.Bucket}); err != nil {
					t.Error(err)
				}
				ops[i] = j.Ops()
			}
			if !slices.Equal(ops[0], ops[1]) {
				t.Errorf("%d bytes, %v: SSE-KMS asks of the system bucket %v, SSE-S3 %v", size, algorithm, ops[0], ops[1])
			}
		}
	}
}

func TestCopiesHaveTheETagsOfTheirBucket(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	md5 := k.e
	for _, size := range []int{0, 10, smallWrite + 1} {
		data := someBytes(t, size)
		for _, from := range allModes {
			k.e = md5
			k.mustPut("k", data, from)
			k.e = opaque
			time.Sleep(2 * time.Millisecond) // two writes of the same bytes in one millisecond are one to listings
			copied, err := k.copy(reading("k", from), "copy", sse.ModeS3)
			known := from == sse.ModeS3 || size == 0 // it costs nothing
			if err != nil || opaqueForm.MatchString(copied.ETag) == known || (copied.ETag == md5ETag(data)) != known {
				t.Fatalf("%v to opaque, %d bytes: %v, %v", from, size, copied, err)
			}
			k.wantETag("copy", copied.ETag, opaque, md5)
			k.wantData("copy", sse.ModeS3, data)
		}
		k.mustPut("k", data, sse.ModeS3)
		k.e = md5
		for _, to := range allModes {
			copied, err := k.copy(reading("k", sse.ModeS3), "copy", to)
			if err != nil || (copied.ETag == md5ETag(data)) != (to == sse.ModeS3 || to == sse.ModeNone || size == 0) || opaqueForm.MatchString(copied.ETag) {
				t.Fatalf("opaque to %v, %d bytes: %v, %v", to, size, copied, err)
			}
			k.wantData("copy", to, data)
		}
	}
}

// An MD5 that the client sends costs nothing, and is the ETag: clients that send one may
// compare it with the answer.
func TestMD5sThatClientsSendAreETags(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	md5 := k.e
	k.e = opaque
	for _, size := range writeSizes {
		data := someBytes(t, size)
		stored := k.mustPut("k", data, sse.ModeS3, func(p *vault.Put) {
			body := p.Body
			p.Declared = storage.Metadata{"Content-Md5": {"declared"}}
			p.Body = func(d plaintext.Digests) (plaintext.Body, error) {
				b, err := body(d)
				b.(*vaulttest.Body).DeclaresMD5 = true
				return b, err
			}
		})
		if stored.ETag != md5ETag(data) || stored.Record.OpaqueETag || stored.Record.Manifest != (sse.ManifestID{}) {
			t.Errorf("%d bytes: %s, %+v", size, stored.ETag, stored.Record)
		}
		k.wantETag("k", stored.ETag, opaque, md5, k.at.Engine(t))
		k.wantData("k", sse.ModeS3, data)
	}
	first, last := bytes.Repeat([]byte("p"), 5<<20), []byte("end")
	for _, declared := range [][2]bool{{true, true}, {true, false}, {false, true}} {
		u := newUploader(t, k.at, "parts")
		u.engine = opaque
		u.begin()
		var parts []vault.WantedPart
		sum := cryptomd5.New()
		for i, data := range [][]byte{first, last} {
			sent, err := u.tryPart(i+1, func(b *vaulttest.Body) { b.DeclaresMD5 = declared[i] }, data)
			if err != nil || (sent.ETag == md5ETag(data)) != declared[i] || opaqueForm.MatchString(sent.ETag) == declared[i] {
				t.Fatalf("part %d: %v, %v", i+1, sent, err)
			}
			parts = append(parts, vault.WantedPart{Number: i + 1, ETag: sent.ETag})
			raw, _ := hex.DecodeString(sent.ETag[1:33])
			sum.Write(raw)
		}
		done := u.complete(parts...)
		if want := fmt.Sprintf("\"%x-2\"", sum.Sum(nil)); done.ETag != want { // as clients compute it
			t.Errorf("declared %v: %s, want %s", declared, done.ETag, want)
		}
		if again, err := u.tryComplete(parts...); err != nil || again.ETag != done.ETag {
			t.Errorf("declared %v, once more: %v, %v", declared, again, err)
		}
		k.wantETag("parts", done.ETag, opaque, md5, k.at.Engine(t))
		u.wants(append(slices.Clone(first), last...))
	}
}

// A lost manifest is made anew with the same ETag, if no part came with an MD5.
func TestRescueKnowsOpaqueETags(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	u := newUploader(t, k.at, "parts")
	u.engine = opaque
	u.begin()
	done := u.complete(u.part(1, bytes.Repeat([]byte("p"), 5<<20)), u.part(2, []byte("end")))
	s := &vaulttest.Shelf{Installation: k.at}
	e := s.Lose(t, &vaulttest.Shelved{Ref: manifest.Ref{ID: done.Record.Manifest}})
	rescued, err := e.Rescue(t.Context(), maintenance.Rescue{Bucket: vaulttest.Bucket, Key: "parts"})
	if err != nil || rescued.ETag != done.ETag {
		t.Errorf("rescued as %+v, %v; it was %s", rescued, err, done.ETag)
	}
}

// A copy to a bucket of opaque ETags reads no data, whatever is known of its source.
func TestCopiesUnderOpaqueETagsReadNothing(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	k.e = opaque
	for _, from := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
		k.mustPut("k", someBytes(t, 10), from)
		j := k.at.Watch(vaulttest.Bucket, nil)
		_, err := k.copy(reading("k", from), "copy", sse.ModeS3)
		if ops := j.Ops(); err != nil || !slices.Equal(ops, []string{"Head", "Copy"}) {
			t.Errorf("from %v: %v, %v", from, ops, err)
		}
	}
}

func TestUploadsUnderOpaqueETags(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	first, last := bytes.Repeat([]byte("p"), 5<<20), []byte("end")
	u := newUploader(t, k.at, "parts")
	md5 := u.engine
	u.engine = opaque
	u.begin()
	u.engine = md5 // the setting is switched meanwhile
	parts := []vault.WantedPart{u.part(1, first), u.part(2, last)}
	for i, listed := range u.listed() {
		if !opaqueForm.MatchString(parts[i].ETag) || listed.ETag != parts[i].ETag {
			t.Errorf("part %d: sent as %s, listed as %s", i+1, parts[i].ETag, listed.ETag)
		}
	}
	for _, wrong := range []string{md5ETag(last), parts[1].ETag[:33] + `"`, parts[0].ETag} { // another's; cut; another part's
		if _, err := u.tryComplete(parts[0], vault.WantedPart{Number: 2, ETag: wrong}); !errors.Is(err, vault.ErrInvalidPart) {
			t.Errorf("completed with %s: %v", wrong, err)
		}
	}
	done := u.complete(parts...)
	again, err := u.tryComplete(parts...)
	if err != nil || again.ETag != done.ETag || !opaqueForm.MatchString(done.ETag) {
		t.Fatalf("completed as %+v, once more as %+v, %v", done, again, err)
	}
	if _, err := u.tryComplete(parts[0], vault.WantedPart{Number: 2, ETag: parts[0].ETag}); !errors.Is(err, vault.ErrNoSuchUpload) {
		t.Errorf("a repeated Complete with another list: %v", err)
	}
	k.wantETag("parts", done.ETag, opaque, md5, k.at.Engine(t))
	u.wants(append(slices.Clone(first), last...))

	k.e = opaque
	copied, err := k.copy(reading("parts", sse.ModeS3), "copy", sse.ModeS3)
	if err != nil || !opaqueForm.MatchString(copied.ETag) || copied.ETag != done.ETag {
		t.Fatalf("copied as %v, %v", copied, err)
	}
	k.wantETag("copy", copied.ETag, opaque, md5, k.at.Engine(t))
	k.wantData("copy", sse.ModeS3, append(first, last...))
}

// The ETag follows from the record: upstream has no say in it.
func TestUpstreamHasNoSayInOpaqueETags(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	k.e = opaque
	data := someBytes(t, 10)
	stored := k.mustPut("k", data, sse.ModeS3)
	err := k.at.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) { // as by a tool that restores it in parts
		o.ETag = `"00000000000000000000000000000001-2"`
	})
	if err != nil {
		t.Fatal(err)
	}
	k.wantETag("k", stored.ETag, opaque, k.at.Engine(t))
	k.wantData("k", sse.ModeS3, data)
}
