package manifest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Mark is a place in the list of a bucket's uploads, which is in the order of keys, of uploads
// of one key that of their creation, and of those of one instant that of their ids. The zero
// value is before all.
type Mark struct {
	Key       string
	Initiated time.Time
	ID        string
	// Past is behind all uploads of the key, whatever else is said.
	Past bool
}

// Past is the place behind all keys that begin with a prefix.
func Past(prefix string) Mark {
	last, size := utf8.DecodeLastRuneInString(prefix)
	next := last + 1
	if next == 0xd800 { // the surrogates, which are no characters
		next = 0xe000
	}
	if size == 0 || last == utf8.RuneError || next > utf8.MaxRune {
		return Mark{Key: prefix + string(utf8.MaxRune), Past: true}
	}
	return Mark{Key: prefix[:len(prefix)-size] + string(next)}
}

// Mark is the upload's place.
func (u *Upload) Mark() Mark { return Mark{Key: u.Key, Initiated: u.Initiated, ID: u.ID} }

// behind says whether the upload stands behind a place.
func (u *Upload) behind(m *Mark) bool {
	if u.Key != m.Key {
		return u.Key > m.Key
	}
	return !m.Past && cmp.Or(u.Initiated.Compare(m.Initiated), cmp.Compare(u.ID, m.ID)) > 0
}

// firstUploads are the first ones of those that are added, so many at most.
type firstUploads struct {
	most   int
	behind Mark
	sorted []*Upload
}

func (f *firstUploads) full() bool { return len(f.sorted) >= f.most }

// last is the key of the last one; it counts if there is no room for another.
func (f *firstUploads) last() string { return f.sorted[len(f.sorted)-1].Key }

// wants says whether an upload of this key may be among the first.
func (f *firstUploads) wants(key string) bool {
	if key < f.behind.Key || f.behind.Past && key == f.behind.Key {
		return false
	}
	return !f.full() || key <= f.last()
}

func (f *firstUploads) add(u *Upload) {
	if !u.behind(&f.behind) {
		return
	}
	at, _ := slices.BinarySearchFunc(f.sorted, u, func(a, b *Upload) int {
		m := b.Mark()
		if a.behind(&m) {
			return 1
		}
		return -1
	})
	if f.full() {
		if at == len(f.sorted) {
			return
		}
		f.sorted = f.sorted[:len(f.sorted)-1]
	}
	f.sorted = slices.Insert(f.sorted, at, u)
}

// UploadsBehind returns the first n uploads of a bucket behind a place whose keys begin with
// prefix, in their order; fewer if there are no more. It reads what is before that place no
// more than it must, and keeps no more than it returns: of the notes those of one key are in no
// order, nor are those of keys with impossible names, all of which it opens.
func (l *Ledger) UploadsBehind(ctx context.Context, bucket, prefix string, behind Mark, n int) ([]*Upload, error) {
	f := &firstUploads{most: n, behind: behind}
	if n < 1 {
		return nil, nil
	}
	root := "uploads-h/" + bucket + "/"
	if err := l.gather(ctx, root, "", func(system.Note) (bool, bool) { return true, false }, bucket, prefix, f); err != nil {
		return nil, err
	}
	root = "uploads/" + bucket + "/"
	err := l.gather(ctx, root+prefix, root+passable(stem(behind.Key)), func(note system.Note) (wanted, enough bool) {
		if f.full() && note.Name >= root+stem(f.last())+"\x02" {
			return false, true
		}
		i := strings.LastIndex(note.Name, separator)
		return i > len(root) && f.wants(note.Name[len(root):i]), false
	}, bucket, prefix, f)
	return f.sorted, err
}

// stem is the beginning of a key up to what may stand before the separator in the order of
// names: notes of keys up to this one have names before those of what follows stem + 0x02,
// and notes of keys from this one on have names behind the stem.
func stem(key string) string {
	if i := strings.IndexFunc(key, func(r rune) bool { return r <= 1 }); i >= 0 {
		return key[:i]
	}
	return key
}

// passable is the beginning of a name that MinIO takes as the one to list behind: a client may
// say any. It refuses "." and ".." between slashes or backslashes.
func passable(name string) string {
	for at := 0; at < len(name); {
		segment := name[at:]
		if i := strings.IndexAny(segment, "/\\"); i >= 0 {
			segment = segment[:i]
		}
		if trimmed := strings.TrimSpace(segment); trimmed == "." || trimmed == ".." {
			return name[:at]
		}
		at += len(segment) + 1
	}
	return name
}

// Find is Get for an upload that a client names: nil for one that nobody noted.
func (l *Ledger) Find(ctx context.Context, object sse.Name, id string) (*Upload, error) {
	u, err := l.Get(ctx, object, id)
	if errors.Is(err, ErrNoSuchUpload) || errors.Is(err, system.ErrTampered) {
		return nil, nil
	}
	return u, err
}

// gather adds the uploads that are noted below root behind a name. about says of a note
// whether it is worth being opened, and whether no later one is.
func (l *Ledger) gather(ctx context.Context, root, after string, about func(system.Note) (wanted, enough bool), bucket, prefix string, f *firstUploads) error {
	if after < root {
		after = ""
	}
	for {
		notes, more, err := l.system.ListNotes(ctx, root, after)
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}
		for _, n := range notes {
			after = n.Name
			wanted, enough := about(n)
			if enough {
				return nil
			}
			if !wanted {
				continue
			}
			u, err := l.openUpload(ctx, n, bucket, prefix)
			if err != nil {
				return err
			}
			if u != nil {
				f.add(u)
			}
		}
		if !more || len(notes) == 0 {
			return nil
		}
	}
}

// openUpload returns the upload that a note is of, nil if it is none of the bucket under the prefix,
// or was tampered with.
func (l *Ledger) openUpload(ctx context.Context, n system.Note, bucket, prefix string) (*Upload, error) {
	content, err := l.system.OpenNote(ctx, uploadKind, n)
	if errors.Is(err, system.ErrTampered) {
		return nil, nil //nolint:nilnil // see above
	}
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	u, err := parseUpload(content)
	if err != nil || u.Bucket != bucket || !strings.HasPrefix(u.Key, prefix) {
		return nil, nil //nolint:nilnil,nilerr // see above
	}
	return u, nil
}
