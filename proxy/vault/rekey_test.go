package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// rekeys is a shelf whose objects are re-keyed.
type rekeys struct {
	*vaulttest.Shelf
	c *caller.Caller
	// denied is a KMS key that nobody may use, "" for none.
	mu     sync.Mutex
	denied string
}

func newRekeys(t *testing.T) *rekeys {
	t.Helper()
	k := &rekeys{c: vaulttest.Caller("alice")}
	k.Shelf = vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Rights = &vaulttest.Rights{Judge: func(key string) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if key == k.denied {
				return fmt.Errorf("%q: %w", key, kms.ErrNotPermitted)
			}
			return nil
		}}
	})
	return k
}

func (k *rekeys) deny(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.denied = key
}

// kmsAs asks for SSE-KMS.
func kmsAs(key string, bucketKey bool) sse.Request {
	return sse.Request{Mode: sse.ModeKMS, KMSKeyID: key, BucketKey: &bucketKey}
}

func (k *rekeys) rekey(t *testing.T, e *vaulttest.Engine, name sse.Name, to sse.Request) error {
	t.Helper()
	return e.Vault.Rekey(t.Context(), k.c, &vault.Rekey{Name: name, Asked: func() (*caller.Caller, encryption.Asked, error) {
		return k.c, encryption.Asked{Request: to}, nil
	}})
}

func (k *rekeys) mustRekey(t *testing.T, e *vaulttest.Engine, name sse.Name, to sse.Request) {
	t.Helper()
	if err := k.rekey(t, e, name, to); err != nil {
		t.Fatal(err)
	}
}

// told returns how an engine says that an object is encrypted, once all of it was read.
func (k *rekeys) told(t *testing.T, e *vaulttest.Engine, o *vaulttest.Shelved) (string, error) {
	t.Helper()
	r, err := e.Open(t.Context(), k.c, &vault.Get{Read: vault.Read{Name: o.Name}})
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	var b bytes.Buffer
	if _, err := r.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), o.Data) {
		t.Errorf("%s: %d bytes, %v", o.Name.Key, b.Len(), err)
	}
	if r.ETag != o.ETag {
		t.Errorf("%s: ETag %s, was %s", o.Name.Key, r.ETag, o.ETag)
	}
	return tellEncryption(&r.Encryption), nil
}

func tellEncryption(as *sse.Encryption) string {
	return fmt.Sprintf("%v %s %v %s", as.Mode, as.KMSKey, as.BucketKey, as.ClientContext)
}

func (k *rekeys) wantTold(t *testing.T, what string, e *vaulttest.Engine, o *vaulttest.Shelved, want string) {
	t.Helper()
	if got, err := k.told(t, e, o); err != nil || strings.TrimSpace(got) != want {
		t.Errorf("%s: %s is told to be %q, %v; want %q", what, o.Name.Key, got, err, want)
	}
	page, err := e.List(t.Context(), k.c, &vault.List{Bucket: vaulttest.Bucket, Metadata: true, Parameters: map[string]string{"prefix": o.Name.Key}})
	if err != nil || page.Known[0].Encryption == nil || strings.TrimSpace(tellEncryption(page.Known[0].Encryption)) != want {
		t.Errorf("%s: %s is not listed as %q: %+v, %v", what, o.Name.Key, want, page, err)
	}
}

// Every engine tells of an object that was re-keyed how it is encrypted now, from the answer
// on: whether it had read the object before or not.
func TestRekeyedObjectIsToldAsItIs(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	long := strings.Repeat("long ", 30_000)
	objects := []*vaulttest.Shelved{
		k.PutStream(t, "s3", sse.ModeS3, []byte("small"), false),
		k.PutStream(t, "s3-late", sse.ModeS3, []byte(long), true),
		k.PutParts(t, "s3-parts", sse.ModeS3, long, "end"),
		k.PutStream(t, "kms", sse.ModeKMS, []byte("small"), false),
		k.PutParts(t, "kms-parts", sse.ModeKMS, long, "end"),
		k.PutStream(t, "a/"+strings.Repeat("x", 300), sse.ModeKMS, []byte("its wrap cannot mirror its name"), false),
	}
	others := k.PutStream(t, "untouched", sse.ModeS3, []byte("data"), false)
	warm := k.Installation.Engine(t)
	for _, o := range append(objects, others) {
		if _, err := k.told(t, warm, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		to   sse.Request
		want string
	}{
		{kmsAs("other", true), "SSE-KMS other true"},
		{kmsAs("arn:aws:kms:us-east-1:123456789012:key/default", false), "SSE-KMS default false"},
		{sse.Request{Mode: sse.ModeS3}, "SSE-S3 s3 false"},
	} {
		var group sync.WaitGroup
		for _, o := range objects {
			group.Go(func() {
				if err := k.rekey(t, k.Engine, o.Name, step.to); err != nil {
					t.Error(o.Name.Key, err)
				}
			})
		}
		group.Wait()
		for what, e := range map[string]*vaulttest.Engine{"who did it": k.Engine, "warm": warm, "cold": k.Installation.Engine(t)} {
			for _, o := range objects {
				k.wantTold(t, what, e, o, step.want)
			}
			k.wantTold(t, what, e, others, "SSE-S3 s3 false")
		}
	}
	total, err := k.Rewrap(t.Context(), &maintenance.Rewrap{Key: "s3", To: "s3", Report: func(maintenance.Rewrapped) {}})
	if err != nil || total.Failed != 0 {
		t.Errorf("%+v, %v", total, err)
	}
}

// The rights are those of the KMS key that counts, and those of before end.
func TestRightsGoByTheKeyThatCounts(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	o, other := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false), k.PutStream(t, "b", sse.ModeKMS, []byte("data"), false)
	k.deny("other")
	if err := k.rekey(t, k.Engine, o.Name, kmsAs("other", false)); !errors.Is(err, kms.ErrNotPermitted) {
		t.Errorf("to a key that the caller may not use: %v", err)
	}
	k.deny("default")
	if err := k.rekey(t, k.Engine, o.Name, kmsAs("other", false)); !errors.Is(err, kms.ErrNotPermitted) {
		t.Errorf("from a key that the caller may not use: %v", err)
	}
	if doc, _, _ := k.System.Get(t.Context(), rekey.BookName, ""); doc != nil {
		t.Error("a refusal was noted")
	}
	k.deny("")
	warm := k.Installation.Engine(t)
	k.wantTold(t, "before", warm, o, "SSE-KMS default false")
	k.mustRekey(t, k.Engine, o.Name, kmsAs("other", false))
	k.deny("other")
	for what, e := range map[string]*vaulttest.Engine{"warm": warm, "cold": k.Installation.Engine(t)} {
		if _, err := k.told(t, e, o); !errors.Is(err, kms.ErrNotPermitted) {
			t.Errorf("%s, without a right to the new key: %v", what, err)
		}
		k.wantTold(t, what, e, other, "SSE-KMS default false")
	}
	k.deny("default")
	k.wantTold(t, "with a right to the new key alone", k.Installation.Engine(t), o, "SSE-KMS other false")
	// A re-wrap of the whole bucket takes the rights of all that it moves.
	k.deny("")
	k.mustRewrap(t, k.Engine, maintenance.Rewrap{Key: "default", To: "other"})
	k.deny("default")
	k.wantTold(t, "re-wrapped", warm, other, "SSE-KMS other false")
}

func (k *rekeys) mustRewrap(t *testing.T, e *vaulttest.Engine, o maintenance.Rewrap) maintenance.RewrapTotal {
	t.Helper()
	o.Report = func(r maintenance.Rewrapped) {
		if r.Err != nil {
			t.Error(r.Name.Key, r.Err)
		}
	}
	total, err := e.Rewrap(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// wrapName is where the last wrap of an object lies, which is its second.
func (k *rekeys) wrapName(t *testing.T, o *vaulttest.Shelved) sse.Name {
	t.Helper()
	notes, _, err := k.System.ListNotes(t.Context(), "wrap/"+o.Name.Bucket+"/"+o.Name.Key+"\x01", "")
	if err != nil || len(notes) != 2 {
		t.Fatalf("%d wraps of %s, %v", len(notes), o.Name.Key, err)
	}
	return sse.Name{Bucket: k.System.Bucket(), Key: notes[1].Name}
}

// What the storage does with the wrap of an object that was re-keyed by itself is seen, and
// nobody gets the rights of before.
func TestWrapThatIsNotTheOneThatWasWrittenIsAnError(t *testing.T) {
	t.Parallel()
	for what, do := range map[string]func(*rekeys, sse.Name, sse.Name) error{
		"the last one withheld": func(k *rekeys, wrap, _ sse.Name) error { return k.Storage.Hide(wrap, true) },
		"all withheld": func(k *rekeys, wrap, _ sse.Name) error {
			return errors.Join(k.Storage.Hide(wrap, true), k.Storage.Hide(sse.Name{Bucket: wrap.Bucket, Key: strings.TrimSuffix(wrap.Key, "2") + "1"}, true))
		},
		"planted": func(k *rekeys, wrap, other sse.Name) error {
			raw, err := k.Storage.Raw(wrap, "")
			if err != nil {
				return err
			}
			return k.System.PutNote(t.Context(), strings.TrimSuffix(wrap.Key, "2")+"3", raw.Meta.Get("X-Amz-Meta-Sealed"), nil)
		},
		"exchanged": func(k *rekeys, wrap, other sse.Name) error {
			raw, err := k.Storage.Raw(other, "")
			if err != nil {
				return err
			}
			return k.Storage.Alter(wrap, "", func(o *memory.Stored) { o.Meta = raw.Meta })
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := newRekeys(t)
			o, other := k.PutStream(t, "a", sse.ModeKMS, []byte("of a"), false), k.PutStream(t, "b", sse.ModeKMS, []byte("of b"), false)
			for _, key := range []string{"s3", "other"} {
				k.mustRekey(t, k.Engine, o.Name, kmsAs(key, false))
				k.mustRekey(t, k.Engine, other.Name, kmsAs(key, false))
			}
			warm := k.Installation.Engine(t)
			k.wantTold(t, "warm", warm, o, "SSE-KMS other false")
			if err := do(k, k.wrapName(t, o), k.wrapName(t, other)); err != nil {
				t.Fatal(err)
			}
			cold := k.Installation.Engine(t)
			if _, err := k.told(t, cold, o); !errors.Is(err, keyring.ErrWithheld) {
				t.Errorf("cold: %v", err)
			}
			if err := k.rekey(t, cold, o.Name, kmsAs("default", false)); !errors.Is(err, keyring.ErrWithheld) {
				t.Errorf("re-keyed: %v", err)
			}
			if page, err := cold.List(t.Context(), k.c, &vault.List{Bucket: vaulttest.Bucket}); err != nil || len(page.Entries) != 2 {
				t.Errorf("listed: %+v, %v", page, err)
			}
			k.wantTold(t, "who knows the newer one", warm, o, "SSE-KMS other false")
			k.wantTold(t, "another object", cold, other, "SSE-KMS other false")
			// The operator says under which key it shall lie.
			if total, err := cold.Rewrap(t.Context(), &maintenance.Rewrap{Report: func(maintenance.Rewrapped) {}}); err != nil || total.Failed != 1 {
				t.Errorf("re-wrapped without a key: %+v, %v", total, err)
			}
			k.mustRewrap(t, k.Installation.Engine(t), maintenance.Rewrap{To: "s3"})
			k.wantTold(t, "made anew", k.Installation.Engine(t), o, "SSE-KMS s3 false")
		})
	}
}

// A wrap that nobody noted does not count, whatever lies there.
func TestWrapOfNobodyDoesNotCount(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	failing := k.Watch(k.System.Bucket(), func(c *memory.Call) error {
		if c.Name.Key == rekey.BookName && c.Op == memory.Put {
			return fmt.Errorf("%w: on purpose", storage.ErrUnreachable)
		}
		return nil
	})
	if err := k.rekey(t, k.Engine, o.Name, kmsAs("other", false)); !errors.Is(err, storage.ErrUnreachable) {
		t.Fatalf("noted, although it could not be: %v", err)
	}
	if failing.Count(memory.Put) == 0 {
		t.Error("no wrap was written")
	}
	k.Storage.SetFaults(nil)
	for what, e := range map[string]*vaulttest.Engine{"who failed": k.Engine, "cold": k.Installation.Engine(t)} {
		k.wantTold(t, what, e, o, "SSE-KMS default false")
	}
	k.mustRekey(t, k.Installation.Engine(t), o.Name, kmsAs("other", true))
	k.wantTold(t, "done again", k.Engine, o, "SSE-KMS other true")
}

// A re-wrap leaves no object under the KMS key that it frees, also not one whose wrap nobody
// noted.
func TestRewrapFindsWrapsOfNobody(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	k.Watch(k.System.Bucket(), func(c *memory.Call) error {
		if c.Name.Key == rekey.BookName && c.Op == memory.Put {
			return fmt.Errorf("%w: on purpose", storage.ErrUnreachable)
		}
		return nil
	})
	if err := k.rekey(t, k.Engine, o.Name, kmsAs("other", false)); err == nil {
		t.Fatal("noted, although it could not be")
	}
	k.Storage.SetFaults(nil)
	k.mustRewrap(t, k.Installation.Engine(t), maintenance.Rewrap{Key: "default", To: "s3"})
	for _, e := range []*vaulttest.Engine{k.Engine, k.Installation.Engine(t)} {
		if got, err := k.told(t, e, o); err != nil || strings.Contains(got, "default") {
			t.Errorf("it is told to be %q, %v", got, err)
		}
	}
}

// used counts the objects of the bucket by mode, KMS key and version.
func (k *rekeys) used(t *testing.T, e *vaulttest.Engine) string {
	t.Helper()
	u, err := e.Usage(t.Context(), &maintenance.UsageOf{Buckets: glob.Patterns{vaulttest.Bucket}})
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for at, n := range u.Counts {
		rows = append(rows, fmt.Sprintf("%d %v %s %d", n.Objects, at.Mode, at.KMSKey, at.Version))
	}
	slices.Sort(rows)
	return strings.Join(append(rows, fmt.Sprintf("unknown %d", u.UnknownCount)), ", ")
}

// What objects lie under is what counts now: also the mode, and not what a wrap says of which
// nobody noted that it counts, which may open the object all the same; and it is not known while
// MinIO withholds what counts.
func TestUsageGoesByWhatCounts(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	moved, cut := k.PutStream(t, "moved", sse.ModeS3, []byte("data"), false), k.PutStream(t, "cut", sse.ModeKMS, []byte("data"), false)
	k.mustRekey(t, k.Engine, moved.Name, kmsAs("other", false))
	k.mustRekey(t, k.Engine, moved.Name, kmsAs("other", true))
	k.Watch(k.System.Bucket(), func(c *memory.Call) error {
		if c.Name.Key == rekey.BookName && c.Op == memory.Put {
			return fmt.Errorf("%w: on purpose", storage.ErrUnreachable)
		}
		return nil
	})
	if err := k.rekey(t, k.Engine, cut.Name, sse.Request{Mode: sse.ModeS3}); err == nil {
		t.Fatal("noted, although it could not be")
	}
	k.Storage.SetFaults(nil)
	want := "1 SSE-KMS default 1, 1 SSE-KMS other 1, 1 SSE-S3 s3 1, unknown 0"
	for _, e := range []*vaulttest.Engine{k.Engine, k.Installation.Engine(t)} {
		if got := k.used(t, e); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if err := k.Storage.Hide(k.wrapName(t, moved), true); err != nil {
		t.Fatal(err)
	}
	if got := k.used(t, k.Installation.Engine(t)); !strings.HasSuffix(got, "unknown 1") || strings.Contains(got, "other") {
		t.Errorf("while the wrap that counts is withheld: %s", got)
	}
}

// A re-wrap that changes the mode does so to what has another one, by a wrap or by its record.
func TestRewrapChangesTheMode(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	one, two, three := k.PutStream(t, "1", sse.ModeS3, []byte("data"), false), k.PutStream(t, "2", sse.ModeKMS, []byte("data"), false), k.PutParts(t, "3", sse.ModeS3, strings.Repeat("part ", 30_000), "end")
	k.mustRekey(t, k.Engine, two.Name, sse.Request{Mode: sse.ModeS3})
	seen := make(map[string]bool) // an object is judged again before its turn
	total := k.mustRewrap(t, k.Installation.Engine(t), maintenance.Rewrap{To: "other", Mode: sse.ModeKMS, Only: func(_ context.Context, c *maintenance.Candidate) (bool, error) {
		seen[fmt.Sprintf("%s %v %s", c.Name.Key, c.Mode, c.KMSKey)] = true
		return true, nil
	}})
	if all := slices.Sorted(maps.Keys(seen)); total.Done != 3 || strings.Join(all, ", ") != "1 SSE-S3 s3, 2 SSE-S3 s3, 3 SSE-S3 s3" {
		t.Errorf("%+v, %s", total, all)
	}
	for _, e := range []*vaulttest.Engine{k.Engine, k.Installation.Engine(t)} {
		for _, o := range []*vaulttest.Shelved{one, two, three} {
			k.wantTold(t, "re-wrapped", e, o, "SSE-KMS other false")
		}
	}
	if total := k.mustRewrap(t, k.Engine, maintenance.Rewrap{To: "other", Mode: sse.ModeKMS}); total.Done != 0 {
		t.Errorf("once more: %+v", total)
	}
	k.mustRewrap(t, k.Installation.Engine(t), maintenance.Rewrap{To: "s3", Mode: sse.ModeS3})
	k.wantTold(t, "and back", k.Engine, two, "SSE-S3 s3 false")
}

// A client that goes away in the middle leaves no note that somebody writes: with many of these
// the book would be full, and every read would look the wrap up again.
func TestRekeyWhoseClientGoesAway(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	k.mustRekey(t, k.Engine, o.Name, kmsAs("other", false))
	for _, at := range []memory.Op{memory.List, memory.Put} {
		ctx, cancel := context.WithCancel(t.Context())
		k.Watch(k.System.Bucket(), func(c *memory.Call) error {
			if c.Op == at && c.Name.Key != rekey.BookName {
				cancel()
				if at == memory.List {
					return fmt.Errorf("%w: on purpose", storage.ErrUnreachable)
				}
			}
			return nil
		})
		_ = k.Engine.Vault.Rekey(ctx, k.c, &vault.Rekey{Name: o.Name, Asked: func() (*caller.Caller, encryption.Asked, error) {
			return k.c, encryption.Asked{Request: kmsAs("other", true)}, nil
		}})
		k.Storage.SetFaults(nil)
		cancel()
		info, failed := k.Storage.Raw(o.Name, "")
		if failed != nil {
			t.Fatal(failed)
		}
		rec, failed := sse.ParseRecord(info.Reserved[0].Value)
		if failed != nil {
			t.Fatal(failed)
		}
		if !k.Installation.Engine(t).Book.Settled(t.Context(), o.Name, rec) {
			t.Errorf("a client that went away at a %s leaves a note that somebody writes", at)
		}
	}
}

func TestWhatCannotBeRekeyed(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	k.Change = func(o *vaulttest.Options) { o.PlainRead = glob.Patterns{"*"} }
	e := k.Installation.Engine(t)
	customer := k.PutStream(t, "c", sse.ModeC, []byte("data"), false)
	k.PutAsIs(t, vaulttest.Name("plain"), "", []byte("data"))
	for name, want := range map[sse.Name]error{
		customer.Name: vault.ErrRekeyCustomer, vaulttest.Name("plain"): vault.ErrRekeyPlain, vaulttest.Name("nothing"): storage.ErrNotFound,
	} {
		if err := k.rekey(t, e, name, kmsAs("other", false)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name.Key, err, want)
		}
	}
	o := k.PutStream(t, "a", sse.ModeS3, []byte("data"), false)
	if err := k.rekey(t, e, o.Name, kmsAs("missing", false)); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("to a key that does not exist: %v", err)
	}
	if err := k.rekey(t, e, o.Name, kmsAs("system", false)); !errors.Is(err, kms.ErrNotPermitted) {
		t.Errorf("to a reserved key: %v", err)
	}
	k.wantTold(t, "after that", e, o, "SSE-S3 s3 false")
}

// Whose new key is gone is not read with the old one: that it is gone is the point.
func TestRekeyedObjectIsGoneWithItsKey(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	k.mustRekey(t, k.Engine, o.Name, kmsAs("other", false))
	if err := k.KMS.DeleteKey(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*vaulttest.Engine{k.Engine, k.Installation.Engine(t)} {
		if _, err := k.told(t, e, o); !errors.Is(err, kms.ErrKeyNotFound) {
			t.Errorf("read with %v", err)
		}
	}
}

// Requests of the system bucket: none for who was never re-keyed, one for who was, and none
// once that is known. A page of a listing takes one for all.
func TestRekeyedObjectCostsOneLookUp(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	var objects []*vaulttest.Shelved
	for i := range 20 {
		objects = append(objects, k.PutStream(t, fmt.Sprint("k", i), []sse.Mode{sse.ModeKMS, sse.ModeS3}[i%2], []byte("data"), false))
	}
	for _, o := range objects[:10] {
		k.mustRekey(t, k.Engine, o.Name, kmsAs("other", false))
	}
	cold, lists := k.Installation.Engine(t), k.Installation.Engine(t)
	calls := k.Watch("", nil)
	took := func(want ...string) {
		t.Helper()
		if got := calls.Took(); strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("asked %q, want %q", got, want)
		}
	}
	read := func(o *vaulttest.Shelved) {
		t.Helper()
		if _, err := k.told(t, cold, o); err != nil {
			t.Error(err)
		}
	}
	read(objects[0])
	took("caller Get", "own List")
	read(objects[0])
	took("caller Get")
	read(objects[15])
	took("caller Get")
	list := func() {
		t.Helper()
		page, err := lists.List(t.Context(), k.c, &vault.List{Bucket: vaulttest.Bucket})
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Entries {
			for _, o := range objects {
				if o.Name.Key == page.Entries[i].Key && o.ETag != page.Entries[i].ETag {
					t.Errorf("%s is listed with %s, has %s", o.Name.Key, page.Entries[i].ETag, o.ETag)
				}
			}
		}
	}
	list()
	took("caller List", "own List")
	list()
	took("caller List")
}

// Many are re-keyed at once, by two engines, while they are read: no read fails, and each
// tells one of the two.
func TestManyAreRekeyedAtOnce(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	var objects []*vaulttest.Shelved
	for i := range 12 {
		objects = append(objects, k.PutStream(t, fmt.Sprint("k", i), sse.ModeS3, []byte("data"), false))
	}
	engines := []*vaulttest.Engine{k.Engine, k.Installation.Engine(t)}
	done, readers := make(chan struct{}), sync.WaitGroup{}
	for _, e := range engines {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := k.told(t, e, objects[i%len(objects)]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var writers sync.WaitGroup
	for n, e := range engines {
		for _, o := range objects {
			writers.Go(func() {
				for range 3 {
					if err := k.rekey(t, e, o.Name, kmsAs([]string{"default", "other"}[n], false)); err != nil && !errors.Is(err, rekey.ErrStale) {
						t.Error(err)
					}
				}
			})
		}
	}
	writers.Go(func() { k.mustRewrap(t, k.Installation.Engine(t), maintenance.Rewrap{Key: "default", To: "other"}) })
	writers.Wait()
	close(done)
	readers.Wait()
	cold := k.Installation.Engine(t)
	for _, o := range objects {
		want, err := k.told(t, cold, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range engines {
			k.wantTold(t, "in the end", e, o, strings.TrimSpace(want))
		}
	}
}

// Whoever re-keys and is killed at any write leaves an object that all engines read, and that
// they agree on in the end.
func TestRekeyThatIsCutOff(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		k := newRekeys(t)
		o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
		k.mustRekey(t, k.Engine, o.Name, kmsAs("s3", false))
		warm := k.Installation.Engine(t)
		k.wantTold(t, "warm", warm, o, "SSE-KMS s3 false")
		writes, step := 0, memory.Arrived
		if n%2 == 1 {
			step = memory.Done // stored, and not answered
		}
		k.Watch(k.System.Bucket(), func(c *memory.Call) error {
			if c.Op != memory.Put || c.Step != step {
				return nil
			}
			if writes++; writes > n/2 {
				return fmt.Errorf("%w: killed", storage.ErrUnreachable)
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_ = k.Engine.Vault.Rekey(ctx, k.c, &vault.Rekey{Name: o.Name, Asked: func() (*caller.Caller, encryption.Asked, error) {
			return k.c, encryption.Asked{Request: kmsAs("other", false)}, nil
		}})
		cancel()
		k.Storage.SetFaults(nil)
		cold := k.Installation.Engine(t)
		for _, e := range []*vaulttest.Engine{warm, cold} {
			if got, err := k.told(t, e, o); err != nil || !strings.Contains(got, " other ") && !strings.Contains(got, " s3 ") {
				t.Errorf("cut off at write %d: %q, %v", n, got, err)
			}
		}
		k.mustRekey(t, cold, o.Name, kmsAs("default", false))
		for _, e := range []*vaulttest.Engine{k.Engine, warm, cold} {
			k.wantTold(t, "done again", e, o, "SSE-KMS default false")
		}
	}
}
