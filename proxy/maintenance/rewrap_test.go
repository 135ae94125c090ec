package maintenance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// rewrapped runs a re-wrap and returns what it reported.
func rewrapped(t *testing.T, e *vaulttest.Engine, o maintenance.Rewrap) (maintenance.RewrapTotal, []maintenance.Rewrapped) {
	t.Helper()
	var reports []maintenance.Rewrapped
	o.Report = func(r maintenance.Rewrapped) { reports = append(reports, r) }
	total, err := e.Rewrap(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(reports)) != total.Done+total.Failed {
		t.Errorf("%d reports of %+v", len(reports), total)
	}
	return total, reports
}

// wantRead reads an object whole, by an engine that has seen nothing of it yet.
func wantRead(t *testing.T, e *vaulttest.Engine, o *vaulttest.Shelved, customer *sse.Secret) {
	t.Helper()
	got, err := e.Plaintext(t.Context(), vaulttest.Caller("alice"), vault.Read{Name: o.Name, Customer: customer})
	if err != nil || !bytes.Equal(got, o.Data) {
		t.Errorf("%s: %d bytes, %v", o.Name.Key, len(got), err)
	}
}

// wantGone says that an object's key cannot be had.
func wantGone(t *testing.T, e *vaulttest.Engine, o *vaulttest.Shelved) {
	t.Helper()
	_, err := e.Plaintext(t.Context(), vaulttest.Caller("alice"), vault.Read{Name: o.Name})
	if !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("%s: %v", o.Name.Key, err)
	}
}

func TestRewrapFreesObjectsOfTheirKMSKey(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	long := strings.Repeat("long ", 30_000)
	weird := "a/" + strings.Repeat("x", 300) // its wrap cannot mirror its name
	objects := []*vaulttest.Shelved{
		s.PutStream(t, "a", sse.ModeKMS, []byte("small"), false),
		s.PutStream(t, weird, sse.ModeKMS, []byte("hidden"), false),
		s.PutStream(t, "b", sse.ModeKMS, nil, false),
		s.PutStream(t, "c", sse.ModeKMS, []byte(long), true),
		s.PutParts(t, "d", sse.ModeKMS, long, "end"),
	}
	own, customers := s.PutStream(t, "e", sse.ModeS3, []byte("SSE-S3"), false), s.PutStream(t, "f", sse.ModeC, []byte("SSE-C"), false)
	s.PutAsIs(t, sse.Name{Bucket: vaulttest.Bucket, Key: "plain"}, "", []byte("plain"))

	dry, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other", DryRun: true})
	if dry.Done != 5 || dry.Seen != 8 || dry.Plain != 1 || dry.Customer != 1 {
		t.Errorf("dry run: %+v", dry)
	}
	if again, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"}); again != dry {
		t.Errorf("%+v after a dry run that said %+v", again, dry)
	}
	if again, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "default", To: "other"}); again.Done != 0 {
		t.Errorf("once more: %+v", again)
	}
	if same, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{}); same.Done != 0 || same.Failed != 0 {
		t.Errorf("under the newest version already: %+v", same)
	}
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]*vaulttest.Engine{"who re-wrapped": s.Engine, "who knows nothing of it": s.Installation.Engine(t)} {
		for _, o := range objects {
			t.Run(name, func(t *testing.T) { wantRead(t, e, o, nil) })
		}
		wantRead(t, e, own, nil)
		wantRead(t, e, customers, s.Customer())
	}
	page, err := s.Installation.Engine(t).List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"prefix": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	vaulttest.WantListed(t, page, objects[:2])

	// Back again: a second wrap takes the first one's place.
	if err := s.KMS.CreateKey(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	if back, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "other", To: "third"}); back.Done != 5 || back.Failed != 0 {
		t.Errorf("a second one: %+v", back)
	}
	if err := s.KMS.DeleteKey(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		wantRead(t, s.Engine, o, nil)
		wantRead(t, s.Installation.Engine(t), o, nil)
	}
}

func TestRewrapOfSSES3GoesToItsOwnKeysOnly(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutStream(t, "a", sse.ModeS3, []byte("data"), false)
	if total, reports := rewrapped(t, s.Engine, maintenance.Rewrap{To: "other"}); total.Failed != 1 || !errors.Is(reports[0].Err, keyring.ErrNotRewrapped) {
		t.Errorf("%+v, %+v", total, reports)
	}
	s.Change = func(vo *vaulttest.Options) {
		vo.Keys = keyring.New(keyring.Options{
			KMS: s.KMS, Rights: &vaulttest.Rights{}, DefaultKey: "default", S3Key: "other", FormerS3Keys: []string{"s3"}, Wraps: vo.Wraps,
		})
	}
	if total, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "s3", To: "other"}); total.Done != 1 {
		t.Errorf("to the key of today: %+v", total)
	}
	s.Change = func(vo *vaulttest.Options) { // nothing of the former key is left, so it is named no more
		vo.Keys = keyring.New(keyring.Options{KMS: s.KMS, Rights: &vaulttest.Rights{}, DefaultKey: "default", S3Key: "other", Wraps: vo.Wraps})
	}
	if err := s.KMS.DeleteKey(t.Context(), "s3"); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s.Installation.Engine(t), o, nil)
}

func TestWrapOpensItsOwnWriteOnly(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	a, b := s.PutStream(t, "a", sse.ModeKMS, []byte("of a"), false), s.PutStream(t, "b", sse.ModeKMS, []byte("of b"), false)
	rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"})
	notes, _, err := s.System.ListNotes(t.Context(), "wrap/", "")
	if err != nil || len(notes) != 2 {
		t.Fatalf("%d wraps, %v", len(notes), err)
	}
	later := s.PutStream(t, "a", sse.ModeKMS, []byte("a newer a"), false)
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	wantGone(t, s.Installation.Engine(t), later)
	// The storage exchanges the wraps: neither opens.
	for i := range notes {
		if err := s.System.ReplaceNote(t.Context(), notes[i].Name, notes[1-i].Value, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []*vaulttest.Shelved{a, b} {
		_, err := s.Installation.Engine(t).Plaintext(t.Context(), vaulttest.Caller("alice"), vault.Read{Name: o.Name})
		if !errors.Is(err, system.ErrTampered) && !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("%s under another's wrap: %v", o.Name.Key, err)
		}
	}
	// It takes them away.
	if _, err := s.System.DeleteNotes(t.Context(), "wrap/", nil); err != nil {
		t.Fatal(err)
	}
	wantGone(t, s.Installation.Engine(t), b)
}

// sendPart sends a part of an upload of alice's.
func sendPart(t *testing.T, e *vaulttest.Engine, name sse.Name, upload string, number int, data []byte) vault.WantedPart {
	t.Helper()
	sent, err := e.Part(t.Context(), vaulttest.Caller("alice"), &vault.Part{
		PartTarget: vault.PartTarget{Upload: vault.Upload{Name: name, ID: upload}, Number: number},
		Body:       func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody(data), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return vault.WantedPart{Number: number, ETag: sent.ETag}
}

func TestUploadUnderWayIsRewrapped(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	c, name := vaulttest.Caller("alice"), vaulttest.Name("parts")
	write := vault.Write{Name: name, Meta: storage.Metadata{}, Asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeKMS}}}
	begun, err := s.Begin(t.Context(), c, &vault.Begin{Write: write})
	if err != nil {
		t.Fatal(err)
	}
	first := vaulttest.Data(5<<20, 1)
	p1 := sendPart(t, s.Engine, name, begun.ID, 1, first)
	total, reports := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"})
	if total.Done != 1 || reports[0].Upload == "" {
		t.Fatalf("%+v, %+v", total, reports)
	}
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	other := s.Installation.Engine(t)
	second := vaulttest.Data(1000, 2)
	p2 := sendPart(t, other, name, begun.ID, 2, second)
	for range 2 { // the second one is a repetition
		done, err := other.Complete(t.Context(), c, &vault.Complete{Upload: vault.Upload{Name: name, ID: begun.ID}, Parts: []vault.WantedPart{p1, p2}})
		if err != nil || done.Encryption.KMSKey != "other" {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	wantRead(t, s.Installation.Engine(t), &vaulttest.Shelved{Name: name, Data: append(first, second...)}, nil)
}

// TestRewrapThatIsCutOff fails a re-wrap at each of its writes, and does it again.
func TestRewrapThatIsCutOff(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	var objects []*vaulttest.Shelved
	for _, key := range []string{"a", "b", "c"} {
		objects = append(objects, s.PutStream(t, key, sse.ModeKMS, []byte("data of "+key), false))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := &maintenance.Rewrap{Key: "default", To: "other", Rate: 1000, Report: func(maintenance.Rewrapped) { cancel() }}
	if _, err := s.Rewrap(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
	for _, o := range objects {
		wantRead(t, s.Installation.Engine(t), o, nil)
	}
	if total, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "default", To: "other"}); total.Failed != 0 || total.Done > 2 {
		t.Errorf("done again: %+v", total)
	}
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		wantRead(t, s.Installation.Engine(t), o, nil)
	}
}

// TestObjectThatWasNeverRewrappedCostsNoLookUp counts what reads ask of the system bucket.
func TestObjectThatWasNeverRewrappedCostsNoLookUp(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	fresh := s.Installation.Engine(t)
	calls := s.Watch(s.System.Bucket(), nil)
	wantRead(t, fresh, o, nil)
	if n := len(calls.All()); n != 0 {
		t.Errorf("never re-wrapped: %d requests", n)
	}
	rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "default", To: "other"})
	cold := s.Installation.Engine(t)
	calls = s.Watch(s.System.Bucket(), nil)
	other := s.PutStream(t, "b", sse.ModeS3, []byte("data"), false)
	wantRead(t, cold, other, nil)
	if n := len(calls.All()); n != 0 {
		t.Errorf("under another KMS key, in the same bucket: %d requests", n)
	}
	wantRead(t, cold, o, nil)
	if n := len(calls.All()); n != 1 {
		t.Errorf("re-wrapped, while the old key opens: %d requests", n)
	}
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	wantRead(t, cold, o, nil)
	if n := len(calls.All()); n != 1 {
		t.Errorf("cold: %d requests", n)
	}
	wantRead(t, cold, o, nil)
	if n := len(calls.All()); n != 1 {
		t.Errorf("warm: %d requests in all", n)
	}
}

func TestSweepRemovesWrapsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, memory.Options{}, nil)
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
		long := "long/" + strings.Repeat("x", 300)
		noncurrent := s.PutStream(t, "kept", sse.ModeKMS, []byte("older"), false)
		kept := s.PutStream(t, "kept", sse.ModeKMS, []byte("newer"), false)
		hidden := s.PutStream(t, long, sse.ModeKMS, []byte("hashed"), false)
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Suspended); err != nil {
			t.Fatal(err)
		}
		s.PutStream(t, "over", sse.ModeKMS, []byte("old"), false)
		s.PutStream(t, "gone", sse.ModeKMS, []byte("gone"), false)
		upload := s.begin(t, "live")
		if total, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"}); total.Done != 5 {
			t.Fatalf("%+v", total)
		}
		s.Change = func(vo *vaulttest.Options) {
			vo.Keys = keyring.New(keyring.Options{
				KMS: s.KMS, Rights: &vaulttest.Rights{}, DefaultKey: "default", S3Key: "other", FormerS3Keys: []string{"s3"}, Wraps: vo.Wraps,
			})
		}
		if total, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "s3", To: "other"}); total.Done != 1 {
			t.Fatalf("the upload: %+v", total)
		}
		s.PutStream(t, "over", sse.ModeKMS, []byte("new"), false)
		s.remove(t, vaulttest.Name("gone"))
		if _, err := s.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: vaulttest.Name("gone"), Version: "null"}); err != nil {
			t.Fatal(err)
		}
		var removed []string
		for range 2 {
			time.Sleep(day + time.Minute)
			got, _, err := s.sweep(t, false)
			if err != nil || len(got.skipped) > 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			removed = append(removed, got.removed...)
		}
		if len(removed) != 2 || !strings.HasPrefix(removed[0], "wrap wrap/bucket/gone") || !strings.HasPrefix(removed[1], "wrap wrap/bucket/over") {
			t.Errorf("removed %q", removed)
		}
		if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
			t.Fatal(err)
		}
		for _, o := range []*vaulttest.Shelved{kept, hidden} {
			wantRead(t, s.Installation.Engine(t), o, nil)
		}
		versions, err := s.Storage.Own(storage.Actor{}).List(t.Context(), &storage.List{Bucket: vaulttest.Bucket, Versions: true, Parameters: map[string]string{"prefix": "kept"}})
		if err != nil || len(versions.Entries) != 2 {
			t.Fatalf("%+v, %v", versions, err)
		}
		got, err := s.Installation.Engine(t).Plaintext(t.Context(), vaulttest.Caller("alice"), vault.Read{Name: noncurrent.Name, Version: versions.Entries[1].VersionID})
		if err != nil || !bytes.Equal(got, noncurrent.Data) {
			t.Errorf("the older version: %q, %v", got, err)
		}
		if err := s.Storage.Own(storage.Actor{}).Abort(t.Context(), &upload); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUsageCountsWhatLiesUnderEachKey(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "a", "b"} {
		s.PutStream(t, key, sse.ModeKMS, []byte("data"), false)
	}
	s.remove(t, vaulttest.Name("b")) // the version stays
	s.PutStream(t, "c", sse.ModeS3, []byte("data"), false)
	s.PutStream(t, "d", sse.ModeC, []byte("data"), false)
	s.PutAsIs(t, vaulttest.Name("e"), "no record", []byte("data"))
	s.PutAsIs(t, vaulttest.Name("plain"), "", []byte("data"))
	s.begin(t, "live")
	rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other", Report: nil})
	s.PutStream(t, "f", sse.ModeKMS, []byte("data"), false)

	var listed []string
	usage, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{Found: func(u maintenance.Used) { listed = append(listed, u.Name.Key+" "+u.KMSKey) }})
	if err != nil {
		t.Fatal(err)
	}
	enc := int64(4 + 32)
	want := map[maintenance.UsageKey]maintenance.Count{
		{Bucket: vaulttest.Bucket, Mode: sse.ModeKMS, KMSKey: "other", Version: 1}:   {Objects: 3, Bytes: 3 * enc},
		{Bucket: vaulttest.Bucket, Mode: sse.ModeKMS, KMSKey: "default", Version: 1}: {Objects: 1, Bytes: enc},
		{Bucket: vaulttest.Bucket, Mode: sse.ModeS3, KMSKey: "s3", Version: 1}:       {Objects: 1, Bytes: enc, Uploads: 1},
		{Bucket: vaulttest.Bucket, Mode: sse.ModeC}:                                  {Objects: 1, Bytes: enc},
		{Bucket: vaulttest.Bucket, Mode: sse.ModeNone}:                               {Objects: 1, Bytes: 4},
	}
	own := systemUsage(t, s.Installation.Engine(t))
	// Rules, three wraps and the book of them, an upload.
	if n := own.Counts[maintenance.SystemUnder{KMSKey: "system", Version: 1}]; n.Objects != 6 || n.Bytes == 0 || len(own.Counts) != 1 {
		t.Errorf("of the system bucket: %+v", own)
	}
	if !maps.Equal(usage.Counts, want) || len(usage.Unknown) != 1 || usage.Unknown[0].Name.Key != "e" {
		t.Errorf("%+v", usage)
	}
	if len(listed) != 8 || listed[0] != "live s3" || listed[1] != "a other" {
		t.Errorf("listed %q", listed)
	}
	only, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{Key: "default"})
	if err != nil || len(only.Counts) != 1 || len(only.Unknown) != 1 || len(only.Buckets) != 1 {
		t.Errorf("of one key: %+v, %v", only, err)
	}
}

// TestListingOfRewrappedObjectsCostsOneMoreRequest lists objects of SSE-S3, whose ETags lie in
// their records, after their KMS key went.
func TestListingOfRewrappedObjectsCostsOneMoreRequest(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	var objects []*vaulttest.Shelved
	for i := range 20 {
		objects = append(objects, s.PutStream(t, fmt.Sprintf("k/%02d", i), sse.ModeS3, fmt.Append(nil, "data ", i), false))
	}
	s.Change = func(vo *vaulttest.Options) {
		vo.Keys = keyring.New(keyring.Options{
			KMS: s.KMS, Rights: &vaulttest.Rights{}, DefaultKey: "default", S3Key: "other", FormerS3Keys: []string{"s3"}, Wraps: vo.Wraps,
		})
	}
	if total, _ := rewrapped(t, s.Installation.Engine(t), maintenance.Rewrap{Key: "s3", To: "other"}); total.Done != 20 {
		t.Fatalf("%+v", total)
	}
	if err := s.KMS.DeleteKey(t.Context(), "s3"); err != nil {
		t.Fatal(err)
	}
	cold := s.Installation.Engine(t)
	calls := s.Watch(s.System.Bucket(), nil)
	for range 2 {
		page, err := cold.List(t.Context(), vaulttest.Caller("alice"), &vault.List{Bucket: vaulttest.Bucket, Parameters: map[string]string{"prefix": "k/"}})
		if err != nil {
			t.Fatal(err)
		}
		vaulttest.WantListed(t, page, objects)
		if n := len(calls.All()); n != 1 {
			t.Errorf("%d requests for wraps: %v", n, calls.Ops())
		}
	}
}

// A bucket that is deleted while it is counted has nothing, and an upload that ends meanwhile is
// counted all the same.
func TestUsageWhileBucketsGoAndUploadsEnd(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	s.PutStream(t, "a", sse.ModeS3, []byte("data"), false)
	upload := s.begin(t, "b")
	ended := false
	usage, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{Rate: 1000, Found: func(u maintenance.Used) {
		if u.Upload == "" || ended {
			return
		}
		ended = true // it becomes an object whose key the listing has not reached, or has passed
		if err := s.Ledger.Drop(t.Context(), upload.Name, upload.ID); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || !ended {
		t.Fatal(err, ended)
	}
	at := maintenance.UsageKey{Bucket: vaulttest.Bucket, Mode: sse.ModeS3, KMSKey: "s3", Version: 1}
	if n := usage.Counts[at]; n.Uploads != 1 || n.Objects != 1 {
		t.Errorf("%+v", usage.Counts)
	}
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op == memory.List && c.Name.Bucket == vaulttest.Bucket && c.Step == memory.Arrived {
			return storage.ErrNoSuchBucket
		}
		return nil
	})
	usage, err = s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{})
	if err != nil || len(usage.Counts) != 0 || len(usage.Buckets) != 0 {
		t.Errorf("a bucket that went: %+v, %v", usage, err)
	}
}
