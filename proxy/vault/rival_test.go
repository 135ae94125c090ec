package vault_test

import (
	"bytes"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// unwanted is what a write of rivalry must not replace.
var unwanted = []byte("what must not be replaced")

// rivalries are what a write on If-None-Match meets at a moment of its own.
var rivalries = []struct {
	name string
	// before was there, nil for nothing; rival comes between.
	before, rival []byte
	want          error
}{
	{"the one that must not be there, in the place of none", nil, unwanted, conditions.ErrPrecondition},
	{"another one, in the place of none", nil, []byte("another"), nil},
	{"the one that must not be there, in another's place", []byte("before"), unwanted, conditions.ErrPrecondition},
	{"another one, in another's place", []byte("before"), []byte("another"), nil},
}

// first does something the first time only. What it does may come by here again.
func first(do func()) func(*memory.Call) error {
	var begun atomic.Bool
	return func(*memory.Call) error {
		if !begun.Swap(true) {
			do()
		}
		return nil
	}
}

// A write whose condition is an ETag is judged on what it replaces, whatever comes between.
func TestAWriteIsJudgedOnWhatARivalPutThere(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 10, smallWrite + 1} {
		for _, tt := range rivalries {
			k := newWriteKit(t)
			if tt.before != nil {
				k.mustPut("k", tt.before, sse.ModeS3)
			}
			k.at.Storage.SetFaults(at(memory.Head, memory.Done, first(func() {
				k.mustPut("k", tt.rival, sse.ModeS3)
			})))
			data := someBytes(t, size)
			_, err := k.put("k", data, sse.ModeS3, func(p *vault.Put) { p.Conditions.IfNoneMatch = md5ETag(unwanted) })
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%d bytes, %s: %v", size, tt.name, err)
			}
			want := data
			if tt.want != nil {
				want = tt.rival
			}
			k.wantData("k", sse.ModeS3, want)
		}
	}
}

// Of a body that was read nothing can be sent again, unless it is small.
func TestARivalWhoComesWhileABodyIsRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		size  int
		rival []byte
		want  error
	}{
		{10, unwanted, conditions.ErrPrecondition},
		{10, []byte("another"), nil},
		{0, []byte("another"), nil},
		{smallWrite + 1, unwanted, conditions.ErrPrecondition},
		{smallWrite + 1, []byte("another"), vault.ErrChanged},
	} {
		k := newWriteKit(t)
		k.at.Storage.SetFaults(at(memory.Put, memory.Ready, first(func() {
			k.mustPut("k", tt.rival, sse.ModeS3)
		})))
		data := someBytes(t, tt.size)
		_, err := k.put("k", data, sse.ModeS3, func(p *vault.Put) { p.Conditions.IfNoneMatch = md5ETag(unwanted) })
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%d bytes, %q: %v", tt.size, tt.rival, err)
		}
		want := tt.rival
		if tt.want == nil {
			want = data
		}
		k.wantData("k", sse.ModeS3, want)
	}
}

// Rivals who never end are told to clients as what they are.
func TestRivalsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.at.Storage.SetFaults(at(memory.Head, memory.Done, func(*memory.Call) error {
		k.mustPut("k", someBytes(t, 10), sse.ModeS3)
		return nil
	}))
	_, err := k.put("k", []byte("data"), sse.ModeS3, func(p *vault.Put) { p.Conditions.IfNoneMatch = md5ETag(unwanted) })
	wantError(t, "a write", err, vault.ErrChanged)
	if got := s3api.Describe(err); got == nil || got.Status != http.StatusServiceUnavailable {
		t.Errorf("the client is told %v", got)
	}
}

func TestUploadsAreJudgedOnWhatARivalPutThere(t *testing.T) {
	t.Parallel()
	asks := conditions.Write{IfNoneMatch: md5ETag(unwanted)}
	for _, tt := range rivalries {
		for _, step := range []string{"Begin", "Complete"} {
			i := vaulttest.New(t, memory.Options{})
			k := newWriteKit(t)
			k.at, k.e = i, i.Engine(t)
			if tt.before != nil {
				k.mustPut("k", tt.before, sse.ModeS3)
			}
			u, data := newUploader(t, i, "k"), []byte("of parts")
			come := func() {
				i.Storage.SetFaults(at(memory.Head, memory.Done, first(func() {
					k.mustPut("k", tt.rival, sse.ModeS3)
				})))
			}
			if step == "Begin" {
				come()
				err := u.tryBegin(asks)
				if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
					t.Errorf("%s, %s: %v", step, tt.name, err)
				}
				continue
			}
			part := u.begin().part(1, data)
			come()
			_, err := u.engine.Complete(t.Context(), u.caller, &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}, Conditions: asks})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("%s, %s: %v", step, tt.name, err)
			}
			if tt.want != nil {
				data = tt.rival
			}
			if got, err := u.read(); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, %s: %q lies there, %v", step, tt.name, got, err)
			}
		}
	}
}
