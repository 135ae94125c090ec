package offline_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

var long = strings.Repeat("long ", 30_000)

func TestEveryKindOfObjectIsReadFromACopy(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	var all []*vaulttest.Shelved
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC} {
		at := mode.String() + "/"
		for name, size := range map[string]int{"0": 0, "1": 1, "65535": 65535, "65536": 65536, "65537": 65537, "131073": 131073} {
			all = append(all, s.PutStream(t, at+name, mode, vaulttest.Data(size, uint64(size)), false), //nolint:gosec // not negative
				s.PutStream(t, at+"late "+name, mode, vaulttest.Data(size, uint64(size)), true)) //nolint:gosec // as above
		}
		all = append(all, s.PutParts(t, at+"parts", mode, long, "", long+"x", "end"), s.PutParts(t, at+"empty part", mode, ""),
			s.PutParts(t, at+strings.Repeat("n", 250)+"/"+strings.Repeat("m", 300), mode, long, "hashed name"))
	}
	for _, noETags := range []bool{false, true} {
		from := &memoryCopy{s.Storage, noETags}
		r := reader(t, s, from, nil)
		for _, o := range all {
			plain, opened, err := decrypt(t, r, from, o.Name)
			if err != nil || !bytes.Equal(plain, o.Data) {
				t.Errorf("%s: %d bytes of %d, %v", o.Name.Key, len(plain), len(o.Data), err)
				continue
			}
			if opened.Restored != (noETags && opened.Record.Layout == sse.Uploaded) || opened.Unproven {
				t.Errorf("%s: restored %v, unproven %v", o.Name.Key, opened.Restored, opened.Unproven)
			}
			knows := !noETags || opened.Record.Mode == sse.ModeS3 || opened.Record.Layout == sse.Uploaded
			if opened.Size != int64(len(o.Data)) || knows && opened.ETag != `"`+offline.Unquoted(o.ETag)+`"` {
				t.Errorf("%s: %d bytes, ETag %s, want %s", o.Name.Key, opened.Size, opened.ETag, o.ETag)
			}
		}
	}
}

func TestWhatWasChangedDoesNotOpen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(t *testing.T, s *vaulttest.Shelf, o, other *vaulttest.Shelved)
		want   error
	}{
		"a bit at the end": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Data[len(raw.Data)-1] ^= 1 })
		}, sse.ErrTampered},
		"a bit of a header": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Data[5] ^= 1 })
		}, sse.ErrTampered},
		"a byte less": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Data = raw.Data[:len(raw.Data)-1] })
		}, nil},
		"a byte more": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Data = append(raw.Data, 0) })
		}, nil},
		"a package less": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Data = raw.Data[:sse.EncPackageSize] })
		}, nil},
		"the other's record": {func(t *testing.T, s *vaulttest.Shelf, o, other *vaulttest.Shelved) {
			raw, err := s.Storage.Raw(other.Name, "")
			if err != nil {
				t.Fatal(err)
			}
			alter(t, s, o.Name, func(to *memory.Stored) { to.Reserved = raw.Reserved })
		}, sse.ErrTampered},
		"the other's data": {func(t *testing.T, s *vaulttest.Shelf, o, other *vaulttest.Shelved) {
			raw, err := s.Storage.Raw(other.Name, "")
			if err != nil {
				t.Fatal(err)
			}
			alter(t, s, o.Name, func(to *memory.Stored) { to.Data = raw.Data })
		}, sse.ErrTampered},
		"no record": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Reserved = nil })
		}, offline.ErrPlain},
		"two records": {func(t *testing.T, s *vaulttest.Shelf, o, _ *vaulttest.Shelved) {
			alter(t, s, o.Name, func(raw *memory.Stored) { raw.Reserved = append(raw.Reserved, raw.Reserved[0]) })
		}, sse.ErrRecord},
	} {
		for _, parts := range []bool{false, true} {
			s := vaulttest.NewShelf(t, memory.Options{}, nil)
			put := func(key string) *vaulttest.Shelved {
				if parts {
					return s.PutParts(t, key, sse.ModeS3, long, long)
				}
				return s.PutStream(t, key, sse.ModeS3, []byte(long+long), false)
			}
			o := put("a")
			tt.change(t, s, o, put("b"))
			from := &memoryCopy{from: s.Storage}
			plain, _, err := decrypt(t, reader(t, s, from, nil), from, o.Name)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s, parts %v: %v, want %v", name, parts, err, tt.want)
			}
			if !bytes.HasPrefix(o.Data, plain) {
				t.Errorf("%s, parts %v: bytes that nobody wrote", name, parts)
			}
		}
	}
}

func alter(t *testing.T, s *vaulttest.Shelf, name sse.Name, change func(*memory.Stored)) {
	t.Helper()
	if err := s.Storage.Alter(name, "", change); err != nil {
		t.Fatal(err)
	}
}

func TestLostManifests(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	parts, stream := s.PutParts(t, "parts", sse.ModeS3, long, "", "end"), s.PutStream(t, "stream", sse.ModeS3, []byte(long), true)
	empty := s.PutParts(t, "empty", sse.ModeS3, "")
	for _, o := range []*vaulttest.Shelved{parts, stream, empty} {
		s.Lose(t, o)
	}
	from := &memoryCopy{from: s.Storage}
	r := reader(t, s, from, nil)
	for _, o := range []*vaulttest.Shelved{parts, empty} {
		if _, _, err := decrypt(t, r, from, o.Name); !errors.Is(err, manifest.ErrMissing) {
			t.Errorf("%s without its manifest: %v", o.Name.Key, err)
		}
	}
	// Of one stream it has the MD5 alone; the record vouches for every byte.
	if plain, opened, err := decrypt(t, r, from, stream.Name); err != nil || !bytes.Equal(plain, stream.Data) || opened.Unproven || !errors.Is(opened.Digestless, manifest.ErrMissing) {
		t.Errorf("one stream: %d bytes, %v", len(plain), err)
	}
	r = reader(t, s, from, func(o *offline.Options) { o.Unproven = true })
	for _, o := range []*vaulttest.Shelved{parts, empty} {
		if plain, opened, err := decrypt(t, r, from, o.Name); err != nil || !bytes.Equal(plain, o.Data) || !opened.Unproven {
			t.Errorf("%s, unproven: %d bytes, %v", o.Name.Key, len(plain), err)
		}
	}
	alter(t, s, parts.Name, func(raw *memory.Stored) { raw.Data[100] ^= 1 })
	if plain, _, err := decrypt(t, r, from, parts.Name); !errors.Is(err, sse.ErrTampered) || len(plain) > 0 {
		t.Errorf("unproven and changed: %d bytes, %v", len(plain), err)
	}
}

func TestKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	other := vaulttest.NewShelf(t, memory.Options{}, nil)
	of3, ofC, parts := s.PutStream(t, "s3", sse.ModeS3, []byte("x"), false), s.PutStream(t, "c", sse.ModeC, []byte("x"), false), s.PutParts(t, "p", sse.ModeS3, long)
	from := &memoryCopy{from: s.Storage}
	for name, tt := range map[string]struct {
		object *vaulttest.Shelved
		change func(*offline.Options)
		want   error
	}{
		"another installation's": {of3, func(o *offline.Options) { o.KMS = other.KMS }, kms.ErrDecrypt},
		"none for SSE-C":         {ofC, func(o *offline.Options) { o.CustomerKeys = nil }, offline.ErrCustomerKey},
		"another for SSE-C":      {ofC, func(o *offline.Options) { o.CustomerKeys = o.CustomerKeys[:1] }, offline.ErrCustomerKey},
		"not the SSE-S3 key":     {of3, func(o *offline.Options) { o.S3Key = "other" }, keyring.ErrOtherS3Key},
		"another deployment":     {parts, func(o *offline.Options) { o.Deployment = "staging" }, system.ErrForeign},
	} {
		if _, _, err := decrypt(t, reader(t, s, from, tt.change), from, tt.object.Name); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, _, err := decrypt(t, reader(t, s, from, func(o *offline.Options) { o.S3Key, o.FormerS3Keys = "other", []string{"s3"} }), from, of3.Name); err != nil {
		t.Errorf("under a former key: %v", err)
	}
}

func TestCopiesAreOnlyRead(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	objects := offline.SystemObjects(&memoryCopy{from: s.Storage}, "bucketseal-system")
	ctx := t.Context()
	_, put := objects.Put(ctx, "x", nil, "")
	_, deleted := objects.DeleteNotes(ctx, "", nil)
	for _, err := range []error{put, deleted, objects.PutNote(ctx, "x", "", nil), objects.ReplaceNote(ctx, "x", "", nil)} {
		if err == nil {
			t.Error("a copy was written to")
		}
	}
	if _, err := objects.GetNote(ctx, "none"); !errors.Is(err, system.ErrNotFound) || errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("what is not there: %v", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := vaulttest.NewShelf(b, memory.Options{}, nil)
	for name, put := range map[string]func(string) *vaulttest.Shelved{
		"stream": func(key string) *vaulttest.Shelved { return s.PutStream(b, key, sse.ModeS3, []byte("x"), false) },
		"parts":  func(key string) *vaulttest.Shelved { return s.PutParts(b, key, sse.ModeS3, "x", "y") },
	} {
		from := &memoryCopy{from: s.Storage}
		o, err := from.Get(put(name).Name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			r := reader(b, s, from, nil)
			for b.Loop() {
				opened, err := r.Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				opened.Zero()
			}
		})
	}
}
