package vault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

func TestCopiesBetweenAllModes(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, from := range allModes {
		for _, to := range allModes {
			for _, size := range []int{0, 10, smallWrite + 1} {
				source, key, data := fmt.Sprintf("%v/%d", from, size), fmt.Sprintf("%v/%d of %v", to, size, from), someBytes(t, size)
				k.mustPut(source, data, from)
				copied, err := k.copy(reading(source, from), key, to)
				if err != nil {
					t.Errorf("%s: %v", key, err)
					continue
				}
				if isMD5 := copied.ETag == md5ETag(data); isMD5 != (to == sse.ModeS3 || to == sse.ModeNone || size == 0) {
					t.Errorf("%s: the ETag is %s", key, copied.ETag)
				}
				if copied.Modified.IsZero() || time.Since(copied.Modified) > time.Minute {
					t.Errorf("%s: stored at %v", key, copied.Modified)
				}
				k.wantData(key, to, data)
			}
		}
	}
}

// The proxy reads the data only for what nobody knows, and then once.
func TestCopiesAskTheStorageForNoMoreThanTheyNeed(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, tt := range []struct {
		from, to sse.Mode
		checksum string
		ops      []string
	}{
		{sse.ModeS3, sse.ModeS3, "", []string{"Head", "Copy"}},
		{sse.ModeS3, sse.ModeKMS, "", []string{"Head", "Copy"}},
		{sse.ModeS3, sse.ModeKMS, "CRC64NVME", []string{"Head", "Copy"}},
		{sse.ModeS3, sse.ModeKMS, "SHA256", []string{"Head", "May", "Get", "Copy"}},
		{sse.ModeKMS, sse.ModeS3, "", []string{"Head", "May", "Get", "Copy"}},
		{sse.ModeNone, sse.ModeNone, "", []string{"Head", "Copy"}},
		{sse.ModeC, sse.ModeC, "", []string{"Head", "May", "Get", "Put", "own Head"}},
		{sse.ModeNone, sse.ModeS3, "", []string{"Head", "May", "Get", "Put", "own Head"}},
		{sse.ModeS3, sse.ModeNone, "", []string{"Head", "May", "Get", "Put", "own Head"}},
	} {
		k.mustPut("k", someBytes(t, 10), tt.from)
		j := k.at.Watch(vaulttest.Bucket, nil)
		_, err := k.copy(reading("k", tt.from), "copy", tt.to, func(c *vault.Copy) { c.Checksum = tt.checksum })
		if ops := j.Ops(); err != nil || !slices.Equal(ops, tt.ops) {
			t.Errorf("%v to %v, %s: %v: %v, want %v", tt.from, tt.to, tt.checksum, err, ops, tt.ops)
		}
	}
}

func TestACopyHasTheChecksumThatIsAskedFor(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	data := someBytes(t, smallWrite+1)
	for _, from := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
		for _, to := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
			k.mustPut("k", data, from)
			copied, err := k.copy(reading("k", from), "copy", to, func(c *vault.Copy) { c.Checksum = "sha256" })
			h := checksum.SHA256.New()
			_, _ = h.Write(data)
			if err != nil || copied.Facts.Checksum == nil || copied.Facts.Checksum.Type != sse.SHA256 || !slices.Equal(copied.Facts.Checksum.Value, h.Sum(nil)) {
				t.Errorf("%v to %v: %v, %v", from, to, copied, err)
			}
		}
	}
}

func TestACopyOntoItselfChangesSomething(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	data := someBytes(t, 10)
	for _, mode := range allModes {
		k.mustPut("k", data, mode)
		if _, err := k.copy(reading("k", mode), "k", mode); !errors.Is(err, vault.ErrCopyOntoItself) {
			t.Errorf("%v: a copy that changes nothing: %v", mode, err)
		}
		j := k.at.Watch(vaulttest.Bucket, nil)
		_, err := k.copy(reading("k", mode), "k", mode, func(c *vault.Copy) {
			c.Changes, c.Replace, c.Meta = true, true, storage.Metadata{"X-Amz-Meta-Colour": {"red"}}
		})
		if err != nil {
			t.Errorf("%v: %v", mode, err)
			continue
		}
		for i := range j.All() { // else a PUT that comes between gets this copy's metadata
			if c, ok := j.All()[i].Request.(*storage.Copy); ok && c.Checksum == "" {
				t.Errorf("%v: data and metadata are not written together", mode)
			}
		}
		k.at.Storage.SetFaults(nil)
		k.wantData("k", mode, data)
	}
}

func TestMetadataAndTagsOfCopies(t *testing.T) {
	t.Parallel()
	for _, to := range allModes { // by all three ways
		for _, from := range []sse.Mode{sse.ModeNone, sse.ModeS3} {
			k := newWriteKit(t)
			k.mustPut("k", someBytes(t, 10), from, func(p *vault.Put) {
				p.Meta = storage.Metadata{"Content-Type": {"text/plain"}, "X-Amz-Meta-Colour": {"red"}, "X-Amz-Tagging": {"a=1&b=x+y"}}
			})
			look := func(key string) (meta storage.Metadata, tags map[string]string) {
				at := k.at.Storage.Own(storage.Actor{})
				info, err := at.Head(t.Context(), &storage.Get{Name: vaulttest.Name(key)})
				if err != nil {
					t.Fatal(err)
				}
				if tags, err = at.Tags(t.Context(), &storage.Get{Name: vaulttest.Name(key)}); err != nil {
					t.Fatal(err)
				}
				return info.Meta, tags
			}
			if _, err := k.copy(reading("k", from), "copy", to, func(c *vault.Copy) { c.Meta = storage.Metadata{"X-Amz-Meta-Size": {"xl"}} }); err != nil {
				t.Fatal(err)
			}
			if meta, tags := look("copy"); meta.Get("Content-Type") != "text/plain" || meta.Get("X-Amz-Meta-Colour") != "red" || meta.Get("X-Amz-Meta-Size") != "" || len(tags) != 2 || tags["b"] != "x y" {
				t.Errorf("%v to %v: %v, %v", from, to, meta, tags)
			}
			_, err := k.copy(reading("k", from), "replaced", to, func(c *vault.Copy) {
				c.Replace, c.Tagging = true, "REPLACE"
				c.Meta = storage.Metadata{"X-Amz-Meta-Size": {"xl"}, "X-Amz-Tagging": {"c=3"}}
			})
			if err != nil {
				t.Fatal(err)
			}
			if meta, tags := look("replaced"); meta.Get("X-Amz-Meta-Colour") != "" || meta.Get("X-Amz-Meta-Size") != "xl" || len(tags) != 1 || tags["c"] != "3" {
				t.Errorf("%v to %v, replaced: %v, %v", from, to, meta, tags)
			}
		}
	}
}

func TestConditionsOfCopies(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	etag := k.mustPut("k", []byte("source"), sse.ModeS3).ETag
	k.mustPut("there", []byte("there"), sse.ModeS3)
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		source conditions.Read
		copy   conditions.Write
		to     string
		want   error
	}{
		{conditions.Read{IfMatch: etag}, conditions.Write{}, "new", nil},
		{conditions.Read{IfMatch: `"a"`}, conditions.Write{}, "new", conditions.ErrPrecondition},
		{conditions.Read{IfNoneMatch: etag}, conditions.Write{}, "new", conditions.ErrPrecondition},
		{conditions.Read{IfModifiedSince: later}, conditions.Write{}, "new", conditions.ErrPrecondition},
		{conditions.Read{}, conditions.Write{IfNoneMatch: "*"}, "new", nil},
		{conditions.Read{}, conditions.Write{IfNoneMatch: "*"}, "there", conditions.ErrPrecondition},
		{conditions.Read{}, conditions.Write{IfMatch: `"a"`}, "there", conditions.ErrPrecondition},
		{conditions.Read{}, conditions.Write{IfMatch: `"a"`}, "none", conditions.ErrNoSuchKey},
	} {
		_, err := k.copy(reading("k", sse.ModeS3), tt.to, sse.ModeS3, func(c *vault.Copy) { c.Source.Conditions, c.Conditions = tt.source, tt.copy })
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%+v, %+v, %s: %v", tt.source, tt.copy, tt.to, err)
		}
		var failed *conditions.Error
		if tt.want != nil && tt.copy == (conditions.Write{}) && (!errors.As(err, &failed) || failed.ETag != etag) {
			t.Errorf("%+v: what would hold is not said: %v", tt.source, err)
		}
		if tt.to == "new" {
			_, _ = k.at.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: vaulttest.Name("new")})
		}
	}
}

func TestCopiesNeedTheKeyOfTheirSource(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.mustPut("c", []byte("secret"), sse.ModeC)
	k.mustPut("s3", []byte("data"), sse.ModeS3)
	k.mustPut("plain", []byte("data"), sse.ModeNone)
	wrong := otherKey
	for _, tt := range []struct {
		key      string
		customer *sse.Secret
		want     error
	}{{"c", nil, keyring.ErrNoCustomerKey}, {"c", &wrong, sse.ErrWrongKey}, {"s3", &wrong, keyring.ErrNoCustomerKey}, {"plain", &wrong, vault.ErrCustomerKeyUnused}} {
		for _, to := range allModes {
			_, err := k.copy(vault.Read{Name: vaulttest.Name(tt.key), Customer: tt.customer}, "copy", to)
			if !errors.Is(err, tt.want) {
				t.Errorf("%s to %v: %v", tt.key, to, err)
			}
			k.wantNothing("copy", tt.key)
		}
	}
	k.c = vaulttest.Caller("")
	if _, err := k.copy(reading("s3", sse.ModeS3), "copy", sse.ModeNone); !errors.Is(err, keyring.ErrAccess) {
		t.Errorf("a stranger: %v", err)
	}
}

// Where the copy's encryption decides whether the source is read, the storage is asked
// first: how many requests there are tells nothing.
func TestWhoMayNotWriteACopyReadsNoSource(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, mode := range allModes {
		k.mustPut(mode.String(), someBytes(t, 10), mode)
	}
	k.forbidding(memory.Put, memory.Copy)
	for _, from := range allModes {
		for _, to := range allModes {
			j := k.at.Watch(vaulttest.Bucket, nil)
			_, err := k.copy(reading(from.String(), from), "copy", to)
			if !errors.Is(err, storage.ErrForbidden) || slices.Contains(j.Ops(), "Get") || slices.Contains(j.Ops(), "Tags") {
				t.Errorf("%v to %v: %v after %v", from, to, err, j.Ops())
			}
		}
	}
	k.forbidding(memory.Head)
	for _, from := range allModes {
		j := k.at.Watch(vaulttest.Bucket, nil)
		_, err := k.copy(reading(from.String(), from), "copy", sse.ModeS3)
		if !errors.Is(err, storage.ErrForbidden) || !slices.Equal(j.Ops(), []string{"Head"}) {
			t.Errorf("who may not read %v: %v after %v", from, err, j.Ops())
		}
	}
}

// A source that is overwritten meanwhile is looked up anew: the copy is of one state.
func TestCopiesOfWhatIsOverwritten(t *testing.T) {
	t.Parallel()
	for _, from := range allModes {
		for _, to := range allModes {
			for _, times := range []int{1, 10} {
				k := newWriteKit(t)
				data := someBytes(t, 10)
				k.mustPut("k", data, from)
				k.at.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
					source := c.Op == memory.Copy && c.Step == memory.Arrived || c.Op == memory.Get && c.Name.Key == "k" && c.Step == memory.Arrived
					if c.Name.Bucket == vaulttest.Bucket && source && times > 0 {
						times--
						data = someBytes(t, 10)
						k.mustPut("k", data, from)
					}
					return nil
				})
				changing := times > 1
				_, err := k.copy(reading("k", from), "copy", to)
				k.at.Storage.SetFaults(nil)
				if changing {
					if !errors.Is(err, vault.ErrChanged) {
						t.Errorf("%v to %v, changing again and again: %v", from, to, err)
					}
					continue
				}
				if err != nil {
					t.Errorf("%v to %v: %v", from, to, err)
					continue
				}
				k.wantData("copy", to, data)
			}
		}
	}
}

func TestCopiesOfDamagedSourcesLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(k *writeKit) error{
		"flipped": func(k *writeKit) error { return k.at.Storage.Flip(vaulttest.Name("k"), 70_000) },
		"swapped": func(k *writeKit) error { return k.at.Storage.Swap(vaulttest.Name("k"), vaulttest.Name("other")) },
		"cut": func(k *writeKit) error {
			return k.at.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) { o.Data = o.Data[:len(o.Data)-1] })
		},
		"planted": func(k *writeKit) error {
			return k.at.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) { o.Reserved[0].Value += "x" })
		},
		"two records": func(k *writeKit) error {
			return k.at.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) { o.Reserved = append(o.Reserved, o.Reserved[0]) })
		},
		"hidden": func(k *writeKit) error { return k.at.Storage.Hide(vaulttest.Name("k"), true) },
	} {
		for _, from := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
			k := newWriteKit(t)
			k.mustPut("k", someBytes(t, smallWrite+1), from)
			k.mustPut("other", someBytes(t, smallWrite+1), from)
			if err := harm(k); err != nil {
				t.Fatal(err)
			}
			for _, to := range []sse.Mode{sse.ModeNone, sse.ModeC} { // which reads all of it
				if _, err := k.copy(reading("k", from), "copy", to); err == nil {
					t.Errorf("%s, %v to %v: copied", name, from, to)
				}
				k.wantNothing("copy", name)
			}
			if from == sse.ModeKMS { // whose MD5 is computed
				if _, err := k.copy(reading("k", from), "copy", sse.ModeS3); err == nil {
					t.Errorf("%s, SSE-KMS to SSE-S3: copied", name)
				}
				k.wantNothing("copy", name)
			}
		}
	}
}

// What lies at the storage of an earlier write is that write's, as a whole.
func TestCopiesOfWhatIsRolledBackAreOfOneState(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	old := someBytes(t, 10)
	k.mustPut("k", old, sse.ModeS3)
	k.mustPut("k", someBytes(t, 10), sse.ModeS3)
	if err := k.at.Storage.RollBack(vaulttest.Name("k"), 1); err != nil {
		t.Fatal(err)
	}
	k.wantData("k", sse.ModeS3, old)
}

func TestCopiesThatFail(t *testing.T) {
	t.Parallel()
	for _, from := range allModes {
		for _, to := range allModes {
			for _, op := range []memory.Op{memory.Head, memory.Get, memory.Copy, memory.Put} {
				for _, step := range []memory.Step{memory.Arrived, memory.Ready, memory.Done} {
					k := newWriteKit(t)
					data := someBytes(t, 10)
					k.mustPut("k", data, from)
					k.failing(vaulttest.Bucket, op, step, storage.ErrUnreachable)
					_, err := k.copy(reading("k", from), "copy", to)
					k.at.Storage.SetFaults(nil)
					if err != nil && !errors.Is(err, storage.ErrUnreachable) {
						t.Errorf("%v to %v, %s at %v: %v", from, to, op, step, err)
					}
					if err == nil || k.raw("copy") != nil { // stored, acknowledged or not
						k.wantData("copy", to, data)
					}
				}
			}
		}
	}
}

func TestACopyOfABodyThatIsCutIsNotStored(t *testing.T) {
	t.Parallel()
	for _, from := range allModes {
		for _, to := range []sse.Mode{sse.ModeC, sse.ModeNone} {
			if from == to {
				continue
			}
			k := newWriteKit(t)
			k.mustPut("k", someBytes(t, smallWrite+1), from)
			k.at.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
				if c.Op == memory.Get && c.Name.Bucket == vaulttest.Bucket && c.Step == memory.Arrived {
					c.CutBody(70_000)
				}
				return nil
			})
			if _, err := k.copy(reading("k", from), "copy", to); from != sse.ModeNone && !errors.Is(err, storage.ErrUnreachable) && !errors.Is(err, sse.ErrTruncated) || err == nil {
				t.Errorf("%v to %v: %v", from, to, err)
			}
			k.wantNothing("copy", "a source that is cut")
		}
	}
}

func TestACopyKeepsItsClientWaitingOnlyForWhatTakesLong(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.mustPut("k", []byte("data"), sse.ModeS3)
	broken, called := errors.New("broken"), 0
	_, err := k.copy(reading("k", sse.ModeS3), "copy", sse.ModeS3, func(c *vault.Copy) {
		c.Long = func(do func() error) error {
			called++
			return errors.Join(do(), broken)
		}
	})
	if !errors.Is(err, broken) || called != 1 {
		t.Errorf("%v, called %d times", err, called)
	}
	_, err = k.copy(reading("none", sse.ModeS3), "copy", sse.ModeS3, func(c *vault.Copy) {
		c.Long = func(func() error) error {
			t.Error("called for a source that does not exist")
			return nil
		}
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a source that does not exist: %v", err)
	}
}

func TestWhatIsWrongWithACopyIsToldAfterItsEncryption(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	fault, first := errors.New("unknown directive"), errors.New("bad headers")
	j := k.at.Watch(vaulttest.Bucket, nil)
	_, err := k.copy(reading("k", sse.ModeS3), "k", sse.ModeS3, func(c *vault.Copy) { c.Fault = fault })
	if !errors.Is(err, fault) || len(j.Ops()) > 0 {
		t.Errorf("%v after %v", err, j.Ops())
	}
	_, err = k.copy(reading("k", sse.ModeS3), "k", sse.ModeS3, func(c *vault.Copy) { c.Fault, c.Asked.Fault = fault, first })
	if !errors.Is(err, first) {
		t.Errorf("%v", err)
	}
}
