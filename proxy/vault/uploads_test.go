package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// uploadModes are all ways to ask for encryption.
var uploadModes = map[string]sse.Request{
	"SSE-S3":  {Mode: sse.ModeS3},
	"SSE-KMS": {Mode: sse.ModeKMS, KMSKeyID: "other", ClientContext: []byte(`{"a":"b"}`)},
	"SSE-C":   {Mode: sse.ModeC, CustomerKey: sse.Secret{1}},
}

func TestUploadInPartsIsWhatWasSent(t *testing.T) {
	t.Parallel()
	first, second := vaulttest.Data(vault.MinPartSize, 1), vaulttest.Data(sse.PackageSize+1, 2)
	whole := slices.Concat(first, second)
	for name, asked := range uploadModes {
		for _, sum := range []struct{ algorithm, kind string }{{"", ""}, {"CRC32C", "FULL_OBJECT"}, {"SHA256", ""}} {
			t.Run(fmt.Sprint(name, sum), func(t *testing.T) {
				t.Parallel()
				i := vaulttest.New(t, memory.Options{MinPart: vault.MinPartSize})
				u := newUploader(t, i, "folder/key")
				u.asked.Request, u.checksum, u.checksumType = asked, sum.algorithm, sum.kind
				u.begin()
				parts := []vault.WantedPart{u.part(2, second), u.part(7, nil)}
				parts = append([]vault.WantedPart{u.part(1, first)}, parts[:1]...)
				listed := u.listed()
				if len(listed) != 3 || listed[0].Size != int64(len(first)) || listed[1].ETag != parts[1].ETag || listed[2].Size != 0 {
					t.Errorf("the list says %+v", listed)
				}
				done := u.complete(parts...)
				u.wants(whole)
				if done.Facts.PlainSize != int64(len(whole)) || done.Facts.Checksum == nil || done.Record.Mode != asked.Mode {
					t.Errorf("completed %+v", done)
				}
				if sum.kind != "" || sum.algorithm == "" {
					wantWhole(t, done.Facts.Checksum, whole)
				}
				if again := u.complete(parts...); again.ETag != done.ETag || again.Version != done.Version {
					t.Errorf("repeated: %+v, first %+v", again, done)
				}
				stored, err := i.Storage.Raw(u.name, "")
				if err != nil || bytes.Contains(stored.Data, second[:32]) || bytes.Contains(stored.Data, first[:32]) {
					t.Errorf("plaintext lies upstream: %v", err)
				}
			})
		}
	}
}

// wantWhole compares a checksum with that of the data.
func wantWhole(t *testing.T, sum *sse.Checksum, data []byte) {
	t.Helper()
	h := plaintext.Algorithm(sum.Type).New()
	_, _ = h.Write(data)
	if sum.Composite || !bytes.Equal(h.Sum(nil), sum.Value) {
		t.Errorf("checksum %+v", sum)
	}
}

func TestPlainUploadsKeepTheirChecksumAtTheStorage(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	i.Change = func(o *vaulttest.Options) { o.AutoEncryption, o.PlainRead = sse.ModeNone, []string{"*"} }
	u := newUploader(t, i, "k")
	u.asked, u.checksum = encryption.Asked{}, "CRC32"
	data := vaulttest.Data(1000, 3)
	u.begin()
	part := u.part(1, data)
	part.Checksums = []vault.SaidChecksum{{Algorithm: checksum.CRC32, Value: "AAAAAA=="}}
	_, err := u.tryComplete(part)
	wantError(t, "another checksum in the list", err, vault.ErrInvalidPart)
	part.Checksums = nil
	done := u.complete(part)
	if stored, err := i.Storage.Raw(u.name, ""); err != nil || !bytes.Equal(stored.Data, data) || done.Record != nil {
		t.Errorf("%v, %+v", err, done)
	}
	u.wants(data)
	if again := u.complete(part); again.ETag != done.ETag {
		t.Errorf("repeated: %+v", again)
	}
	_, err = u.tryComplete(part, part)
	wantError(t, "another list", err, vault.ErrNoSuchUpload)
}

func TestRepeatedCompleteIsOfTheSameListAndObjectOnly(t *testing.T) {
	t.Parallel()
	for name, asked := range uploadModes {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k")
		u.asked.Request = asked
		u.begin()
		before, part := u.part(1, vaulttest.Data(10, 1)), u.part(1, vaulttest.Data(10, 2))
		done := u.complete(part)
		for what, list := range map[string][]vault.WantedPart{
			"a part of before": {before}, "another number": {{Number: 2, ETag: part.ETag}}, "one more": {part, {Number: 2, ETag: part.ETag}},
			"no ETag": {{Number: 1, ETag: "x"}},
		} {
			_, err := u.tryComplete(list...)
			wantError(t, name+": "+what, err, vault.ErrNoSuchUpload)
		}
		if again := u.complete(part); again.ETag != done.ETag {
			t.Errorf("%s: repeated: %+v", name, again)
		}
		other := newUploader(t, i, "k")
		other.put(vaulttest.Data(10, 2))
		_, err := u.tryComplete(part)
		wantError(t, name+": another object", err, vault.ErrNoSuchUpload)
		gone := *u
		gone.name.Key = "gone"
		_, err = gone.tryComplete(part)
		wantError(t, name+": no object", err, vault.ErrNoSuchUpload)
	}
}

// TestUploadSurvivesFaultsAtEveryStep fails each call of an upload, at each of its steps,
// and does what a client does: it tries again.
func TestUploadSurvivesFaultsAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, step := range []memory.Step{memory.Arrived, memory.Ready, memory.Done} {
		t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
			t.Parallel()
			calls := 0
			for uploadWithAFault(t, calls+1, step) {
				calls++
			}
			if calls < 10 {
				t.Errorf("only %d calls failed", calls)
			}
		})
	}
}

// uploadWithAFault uploads an object while the call with this number fails once. It says
// whether there was such a call.
func uploadWithAFault(t *testing.T, number int, step memory.Step) (failed bool) {
	t.Helper()
	i, data := vaulttest.New(t, memory.Options{}), vaulttest.Data(100, 4)
	u := newUploader(t, i, "k")
	number += i.Storage.Calls()
	broken := make(chan struct{}, 1)
	i.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.N != number || c.Step != step {
			return nil
		}
		broken <- struct{}{}
		return fmt.Errorf("%w: on purpose", storage.ErrUnreachable)
	})
	retry := func(what string, do func() error) {
		t.Helper()
		err := do()
		if err == nil {
			return
		}
		wantError(t, what, err, storage.ErrUnreachable)
		if got, err := u.read(); err == nil && !bytes.Equal(got, data) {
			t.Errorf("after %s half an object is there", what)
		}
		if err := do(); err != nil {
			t.Fatalf("call %d: %s again: %v", number, what, err)
		}
	}
	retry("Begin", func() error { return u.tryBegin(conditions.Write{}) })
	var part *vault.SentPart
	retry("Part", func() (err error) { part, err = u.tryPart(1, nil, data); return err })
	retry("Complete", func() error { _, err := u.tryComplete(vault.WantedPart{Number: 1, ETag: part.ETag}); return err })
	i.Storage.SetFaults(nil)
	u.wants(data)
	return len(broken) > 0
}

func TestCompleteThatIsCarriedOutLateSucceedsWhenItIsRepeated(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	i.Storage.SetFaults(at(memory.Complete, memory.Arrived, once(func(c *memory.Call) error { c.Postpone(); return nil })))
	_, err := u.tryComplete(part)
	wantError(t, "postponed", err, storage.ErrUnreachable)
	if i.Storage.RunLate() != 1 {
		t.Fatal("nothing was postponed")
	}
	u.complete(part)
	u.wants(vaulttest.Data(10, 1))
}

// TestCompleteGoesOnWithoutItsClient ends the client's request while upstream puts the
// parts together.
func TestCompleteGoesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	ctx, cancel := context.WithCancel(t.Context())
	i.Storage.SetFaults(at(memory.Complete, memory.Arrived, func(*memory.Call) error { cancel(); return nil }))
	if _, err := u.engine.Complete(ctx, u.caller, &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}}); err != nil {
		t.Error(err)
	}
	u.wants(vaulttest.Data(10, 1))
}

func TestPartThatBreaksOffDoesNotExist(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	gone, data := errors.New("the client is gone"), vaulttest.Data(3*sse.PackageSize, 1)
	for _, at := range []int64{0, 1, sse.PackageSize, 3*sse.PackageSize - 1, 3 * sse.PackageSize} {
		_, err := u.tryPart(1, func(b *vaulttest.Body) { b.Fail, b.FailAt = gone, at }, data)
		wantError(t, fmt.Sprintf("cut after %d bytes", at), err, gone)
	}
	_, err := u.tryPart(1, func(b *vaulttest.Body) { b.Fail, b.FailAt, b.Unsized = gone, 10, true }, data)
	wantError(t, "cut without a length", err, gone)
	i.Storage.SetFaults(at(memory.PutPart, memory.Arrived, func(c *memory.Call) error { c.CutBody(100); return nil }))
	_, err = u.tryPart(1, nil, data)
	wantError(t, "the storage's connection broke", err, storage.ErrUnreachable)
	if listed := u.listed(); len(listed) != 0 {
		t.Errorf("the list says %+v", listed)
	}
}

func TestPartsOfUnknownLength(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	i.Change = func(o *vaulttest.Options) { o.SmallObject = 1000 }
	u := newUploader(t, i, "k").begin()
	unsized := func(b *vaulttest.Body) { b.Unsized = true }
	_, err := u.tryPart(1, unsized, vaulttest.Data(1001, 1))
	wantError(t, "a large one", err, plaintext.ErrMissingLength)
	sent, err := u.tryPart(1, unsized, vaulttest.Data(1000, 1))
	if err != nil {
		t.Fatal(err)
	}
	u.caller.Memory = emptyMemory{}
	_, err = u.tryPart(2, unsized, vaulttest.Data(10, 1))
	wantError(t, "no memory", err, plaintext.ErrBusy)
	u.complete(vault.WantedPart{Number: 1, ETag: sent.ETag})
	u.wants(vaulttest.Data(1000, 1))
}

type emptyMemory struct{}

func (emptyMemory) Take(int64) []byte { return nil }

func (emptyMemory) Give([]byte, bool) {}

func TestPartOfMoreThanFiveGibibytesIsRefused(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	_, err := u.engine.Part(t.Context(), u.caller, &vault.Part{
		PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1},
		Body:       func(plaintext.Digests) (plaintext.Body, error) { return longBody{vaulttest.NewBody(nil)}, nil },
	})
	wantError(t, "5 GiB and a byte", err, vault.ErrTooLarge)
}

type longBody struct{ *vaulttest.Body }

func (longBody) Size() int64 { return 5<<30 + 1 }

func TestPartsNeedTheirCustomerKey(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	withKey, without := newUploader(t, i, "c"), newUploader(t, i, "s3").begin()
	withKey.asked.Request = uploadModes["SSE-C"]
	withKey.begin()
	asked, fault := i.Watch("", nil), errors.New("the key does not fit its digest")
	for _, tt := range []struct {
		what   string
		target vault.PartTarget
		want   error
	}{
		{"no key", vault.PartTarget{Upload: withKey.upload(), Number: 1}, vault.ErrPartNeedsKey},
		{"another key", vault.PartTarget{Upload: withKey.upload(), Number: 1, Customer: &sse.Secret{2}}, sse.ErrWrongKey},
		{"a key that is not needed", vault.PartTarget{Upload: without.upload(), Number: 1, Customer: &sse.Secret{1}}, vault.ErrCustomerKeyUnused},
		{"a fault", vault.PartTarget{Upload: without.upload(), Number: 1, Fault: fault}, fault},
		{"a fault and no upload", vault.PartTarget{Upload: vault.Upload{Name: without.name, ID: "x"}, Number: 1, Fault: fault}, vault.ErrNoSuchUpload},
	} {
		_, err := without.engine.Part(t.Context(), without.caller, &vault.Part{PartTarget: tt.target, Body: func(plaintext.Digests) (plaintext.Body, error) {
			t.Errorf("%s: the body is read", tt.what)
			return vaulttest.NewBody(nil), nil
		}})
		wantError(t, tt.what, err, tt.want)
	}
	if asked.Count(memory.PutPart) != 0 {
		t.Error("a part was stored")
	}
}

// everyOperation does everything that can be done with an upload.
func everyOperation(u *uploader, upload vault.Upload) map[string]error {
	ctx, t := u.t.Context(), u.t
	body := func(plaintext.Digests) (plaintext.Body, error) {
		t.Error("a body is read")
		return vaulttest.NewBody(nil), nil
	}
	_, part := u.engine.Part(ctx, u.caller, &vault.Part{PartTarget: vault.PartTarget{Upload: upload, Number: 1}, Body: body})
	_, piece := u.engine.PartCopy(ctx, u.caller, &vault.PartCopy{PartTarget: vault.PartTarget{Upload: upload, Number: 1}, Source: vault.Read{Name: upload.Name}})
	_, complete := u.engine.Complete(ctx, u.caller, &vault.Complete{Upload: upload, Parts: []vault.WantedPart{{Number: 1}}})
	_, parts := u.engine.Parts(ctx, u.caller, &vault.ListParts{Upload: upload})
	abort := u.engine.Abort(ctx, u.caller, upload)
	return map[string]error{"Part": part, "PartCopy": piece, "Complete": complete, "Parts": parts, "Abort": abort}
}

// TestUploadsTellNothingToWhoMayNot: whether there is such an upload, and what became of
// it, shows to nobody whom the storage lets do nothing.
func TestUploadsTellNothingToWhoMayNot(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u, ended := newUploader(t, i, "k").begin(), newUploader(t, i, "ended")
	u.part(1, vaulttest.Data(10, 1))
	ended.put(vaulttest.Data(10, 1))
	ended.awaitDrop(i)
	stranger := *u
	stranger.caller = vaulttest.Caller("stranger")
	i.Storage.SetRights(func(c *memory.Call) error {
		if c.Own {
			return nil
		}
		return memory.Forbidden()
	})
	for what, upload := range map[string]vault.Upload{
		"one": u.upload(), "one that ended": ended.upload(), "none": {Name: u.name, ID: "none"}, "another's": {Name: ended.name, ID: u.id},
	} {
		asked := i.Watch("", nil)
		for op, err := range everyOperation(&stranger, upload) {
			wantError(t, op+" of "+what, err, storage.ErrForbidden)
		}
		if asked.Own() != 0 || asked.Count(memory.May) != len(asked.All()) {
			t.Errorf("%s: the storage was asked %v, %d times by the proxy itself", what, asked.Ops(), asked.Own())
		}
	}
	asked := i.Watch("", nil)
	_, err := stranger.engine.Uploads(t.Context(), stranger.caller, &vault.ListUploads{Bucket: vaulttest.Bucket, Max: 10})
	wantError(t, "Uploads", err, storage.ErrForbidden)
	if asked.Own() != 0 {
		t.Error("the ledger was read for a stranger")
	}
	wantError(t, "Begin", stranger.tryBegin(conditions.Write{}), storage.ErrForbidden)
	wantError(t, "Begin on a condition", stranger.tryBegin(conditions.Write{IfMatch: `"x"`}), storage.ErrForbidden)
}

// noKeys lets nobody use a key.
type noKeys struct{}

func (noKeys) MayUse(context.Context, *identity.Identity, string, string, identity.Use) error {
	return identity.ErrNotAllowed
}

func TestUploadsNeedTheRightToTheirKey(t *testing.T) {
	t.Parallel()
	for name, asked := range uploadModes {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k")
		u.asked.Request = asked
		part := u.begin().part(1, vaulttest.Data(10, 1))
		i.Rights = noKeys{}
		u.engine = i.Engine(t)
		seen := i.Watch("", nil)
		_, sent := u.tryPart(1, nil, vaulttest.Data(10, 2))
		_, completed := u.tryComplete(part)
		_, listed := u.engine.Parts(t.Context(), u.caller, &vault.ListParts{Upload: u.upload()})
		begun := u.tryBegin(conditions.Write{})
		for op, err := range map[string]error{"Part": sent, "Complete": completed, "Parts": listed, "Begin": begun} {
			if !errors.Is(err, keyring.ErrAccess) && !errors.Is(err, kms.ErrNotPermitted) {
				t.Errorf("%s: %s: %v", name, op, err)
			}
		}
		for _, op := range []memory.Op{memory.PutPart, memory.Complete, memory.ListParts, memory.CreateUpload} {
			if seen.Count(op) != 0 {
				t.Errorf("%s: the storage was asked for %s", name, op)
			}
		}
	}
}

func TestStorageIsAskedOnceWhetherManyPartsMayBeSent(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	asked := i.Watch("", nil)
	for n := range 5 {
		u.part(n+1, vaulttest.Data(10, uint64(n)))
	}
	if n := asked.Count(memory.May); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestAbortEndsAnUpload(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	if err := u.engine.Abort(t.Context(), u.caller, u.upload()); err != nil {
		t.Fatal(err)
	}
	_, err := u.tryComplete(part)
	wantError(t, "Complete", err, vault.ErrNoSuchUpload)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		notes := 0
		if err := u.engine.Ledger.Uploads(t.Context(), vaulttest.Bucket, "", func(*manifestUpload) { notes++ }); err != nil {
			t.Fatal(err)
		}
		if notes == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the ledger still has it")
		}
	}
}

func TestUploadsAreBegunOnTheirConditions(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k")
	wantError(t, "If-Match without an object", u.tryBegin(conditions.Write{IfMatch: `"x"`}), conditions.ErrNoSuchKey)
	done := u.put(vaulttest.Data(10, 1))
	wantError(t, "If-Match of another", u.tryBegin(conditions.Write{IfMatch: `"x"`}), conditions.ErrPrecondition)
	wantError(t, "If-None-Match of it", u.tryBegin(conditions.Write{IfNoneMatch: done.ETag}), conditions.ErrPrecondition)
	wantError(t, "If-None-Match *", u.tryBegin(conditions.Write{IfNoneMatch: "*"}), storage.ErrPrecondition)
	if err := u.tryBegin(conditions.Write{IfMatch: done.ETag}); err != nil {
		t.Fatal(err)
	}
	part := u.part(1, vaulttest.Data(10, 2))
	complete := func(c conditions.Write) error {
		_, err := u.engine.Complete(t.Context(), u.caller, &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}, Conditions: c})
		return err
	}
	wantError(t, "Complete with If-None-Match *", complete(conditions.Write{IfNoneMatch: "*"}), storage.ErrPrecondition)
	wantError(t, "Complete with If-Match of another", complete(conditions.Write{IfMatch: `"x"`}), conditions.ErrPrecondition)
	for range 2 { // repeated, the condition does not hold any more, for it was fulfilled
		if err := complete(conditions.Write{IfMatch: done.ETag}); err != nil {
			t.Error(err)
		}
	}
	u.wants(vaulttest.Data(10, 2))
}

func TestChecksumsThatUploadsCannotHave(t *testing.T) {
	t.Parallel()
	u := newUploader(t, vaulttest.New(t, memory.Options{}), "k")
	for _, tt := range []struct {
		algorithm, kind string
		ok              bool
	}{
		{"", "", true},
		{"crc32", "", true},
		{"CRC32", "composite", true},
		{"CRC64NVME", "FULL_OBJECT", true},
		{"SHA1", "COMPOSITE", true},
		{"", "COMPOSITE", false},
		{"CRC31", "", false},
		{"SHA256", "FULL_OBJECT", false},
		{"CRC64NVME", "COMPOSITE", false},
		{"CRC32", "HALF", false},
	} {
		u.checksum, u.checksumType = tt.algorithm, tt.kind
		if err := u.tryBegin(conditions.Write{}); (err == nil) != tt.ok || err != nil && !errors.Is(err, vault.ErrInvalidChecksum) {
			t.Errorf("%s %s: %v", tt.algorithm, tt.kind, err)
		}
	}
}

func TestCompleteChecksWhatIsSaidOfTheObject(t *testing.T) {
	t.Parallel()
	u := newUploader(t, vaulttest.New(t, memory.Options{}), "k")
	u.checksum = "CRC32"
	u.begin()
	_, err := u.engine.Part(t.Context(), u.caller, &vault.Part{
		PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1},
		Body: func(plaintext.Digests) (plaintext.Body, error) {
			return saidBody{vaulttest.NewBody(vaulttest.Data(10, 1)), checksum.SHA1, make([]byte, 20)}, nil
		},
	})
	var other *vault.PartChecksumError
	if !errors.As(err, &other) || other.Error() != `checksum missing, want "CRC32", got "SHA1"` {
		t.Errorf("a part with another checksum: %v", err)
	}
	part := u.part(1, vaulttest.Data(10, 1))
	for _, tt := range []struct {
		what   string
		wanted vault.Complete
		want   error
	}{
		{"no checksum", vault.Complete{Checksums: []vault.SaidChecksum{{Algorithm: checksum.CRC32, Value: "AA"}}}, vault.ErrInvalidChecksum},
		{"another checksum", vault.Complete{Checksums: []vault.SaidChecksum{{Algorithm: checksum.CRC32, Value: "AAAAAA==-1"}}}, vault.ErrChecksumMismatch},
		{"one of another algorithm", vault.Complete{Checksums: []vault.SaidChecksum{{Algorithm: checksum.CRC32C, Value: "AAAAAA=="}}}, vault.ErrChecksumMismatch},
		{"another size", vault.Complete{ObjectSize: "11"}, new(vault.RequestError)},
		{"another type", vault.Complete{ChecksumType: "FULL_OBJECT"}, new(vault.RequestError)},
		{"nothing wrong", vault.Complete{ChecksumType: "composite", ObjectSize: "10"}, nil},
	} {
		tt.wanted.Upload, tt.wanted.Parts = u.upload(), []vault.WantedPart{part}
		_, err := u.engine.Complete(t.Context(), u.caller, &tt.wanted)
		var request *vault.RequestError
		if errors.As(tt.want, &request) && errors.As(err, &request) {
			continue
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

func TestListsOfPartsThatDoNotFit(t *testing.T) {
	t.Parallel()
	u := newUploader(t, vaulttest.New(t, memory.Options{}), "k").begin()
	first, second := u.part(1, vaulttest.Data(10, 1)), u.part(2, vaulttest.Data(10, 2))
	_, err := u.tryComplete(first, second)
	wantError(t, "a small part before the last", err, vault.ErrPartTooSmall)
	_, err = u.tryComplete(vault.WantedPart{Number: 1, ETag: second.ETag})
	wantError(t, "another part's ETag", err, vault.ErrInvalidPart)
	_, err = u.tryComplete(vault.WantedPart{Number: 3, ETag: first.ETag})
	wantError(t, "a part that was not sent", err, vault.ErrInvalidPart)
	u.part(1, vaulttest.Data(10, 3))
	_, err = u.tryComplete(first)
	wantError(t, "a part that was replaced", err, vault.ErrInvalidPart)
	u.complete(second)
	u.wants(vaulttest.Data(10, 2))
}

func TestListOfUploadsInPages(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	var all []*uploader
	for _, key := range []string{"a", "b/1", "b/1", "b/2", "c/1", "d"} {
		all = append(all, newUploader(t, i, key).begin())
	}
	dead := newUploader(t, i, "aa").begin()
	i.Storage.SetFaults(at(memory.ListParts, memory.Arrived, func(c *memory.Call) error {
		if c.Name == dead.name {
			return &storage.Error{Status: http.StatusNotFound, Code: "NoSuchUpload"}
		}
		return nil
	}))
	list := func(asked vault.ListUploads) (names []string) {
		asked.Bucket = vaulttest.Bucket
		for {
			page, err := all[0].engine.Uploads(t.Context(), all[0].caller, &asked)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range page.Uploads {
				names = append(names, u.Key)
				if !slices.ContainsFunc(all, func(one *uploader) bool { return one.id == u.ID && one.name.Key == u.Key }) || u.Initiator != "app" {
					t.Errorf("lists %+v", u)
				}
			}
			names = append(names, page.Prefixes...)
			if !page.Truncated {
				return names
			}
			asked.KeyMarker, asked.IDMarker = page.NextKey, page.NextID
		}
	}
	for _, limit := range []int{1, 2, 3, 1000} {
		if got, want := list(vault.ListUploads{Max: limit}), []string{"a", "b/1", "b/1", "b/2", "c/1", "d"}; !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q", limit, got)
		}
		got := list(vault.ListUploads{Max: limit, Delimiter: "/"})
		slices.Sort(got)
		if want := []string{"a", "b/", "c/", "d"}; !slices.Equal(got, want) {
			t.Errorf("folded, in pages of %d: %q", limit, got)
		}
		if got, want := list(vault.ListUploads{Max: limit, Prefix: "b/"}), []string{"b/1", "b/1", "b/2"}; !slices.Equal(got, want) {
			t.Errorf("below b/, in pages of %d: %q", limit, got)
		}
	}
	if got := list(vault.ListUploads{Max: 0}); len(got) != 0 {
		t.Errorf("no page: %q", got)
	}
}
