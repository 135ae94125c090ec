// Package progress keeps how far a re-wrap is, so that one that was killed goes on where it was.
//
// A *cursor* is a small sealed note in the system bucket, one for each scope of a re-wrap. It
// says which lap goes on, and behind which place everything of that lap is still to be looked
// at. It saves work and proves little: what it may prove is package maintenance's to say.
package progress

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	kind = "rewrap-cursor"
	// Prefix begins the names of cursors in the system bucket.
	Prefix = "rewrap/"
	// version is that of the encoding.
	version = 1
	// maxCursor bounds the encoded cursor, in bytes: it travels in a note's metadata.
	maxCursor = 8 << 10
)

// ErrMalformed says that what was stored is no cursor.
var ErrMalformed = errors.New("not a valid cursor of a re-wrap")

// ErrTooLong says that a cursor does not fit a note: it names too many KMS keys.
var ErrTooLong = errors.New("the cursor of a re-wrap is too long")

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout {
	return []system.Layout{{Prefix: Prefix, Kind: kind, Note: true, Replaced: true}}
}

// Phase is what is listed.
type Phase int

// The phases of a lap, in order: the system bucket, then for each bucket its uploads under way and
// its versions.
const (
	System Phase = iota
	Uploads
	Versions
	// Ended is behind the last bucket.
	Ended
)

// Place is behind what was looked at. The zero value is the beginning of a lap.
type Place struct {
	Phase Phase
	// Bucket is "" in the phases System and Ended.
	Bucket string
	// After is the last name, as it was listed, and Version its version, "" for all of them.
	// The phase begins behind it.
	After, Version string
}

// Instant is a time by the clock of this machine and by that of the storage.
type Instant struct{ Ours, Theirs time.Time }

// Since returns how long ago an earlier instant was, by the clock that says less and by the
// one that says more.
func (i Instant) Since(earlier Instant) (least, most time.Duration) {
	ours, theirs := i.Ours.Sub(earlier.Ours), i.Theirs.Sub(earlier.Theirs)
	return min(ours, theirs), max(ours, theirs)
}

// Earlier returns the instant by the clock that says less.
func (i Instant) Earlier() time.Time {
	if i.Theirs.Before(i.Ours) {
		return i.Theirs
	}
	return i.Ours
}

// Cursor is how far a re-wrap is. Times are kept in milliseconds.
type Cursor struct {
	// Newest are the versions that KMS keys had when they were first asked for.
	Newest map[string]uint32
	// Began is when the first run began, Lap when the lap did, and Saved when the cursor was
	// stored.
	Began, Lap, Saved Instant
	// Clean counts the laps in a row before this one that found nothing to do. Changed says
	// that this one did, or may have.
	Clean   int
	Changed bool
	Place   Place
	// Closed is when the lap ended, in the phase Ended: the book of re-keyed objects says since
	// then that nobody writes.
	Closed Instant
	// Open are KMS keys about whose records the book of re-keyed objects has been told, in
	// Place.Bucket, that wraps are being written. In the order of their names.
	Open []string
}

// The encoding is compact JSON with the fields in this order: there is exactly one of each
// cursor.
type (
	wireCursor struct {
		Version int         `json:"version"`
		Newest  []wireKey   `json:"newest"`
		Began   wireInstant `json:"began"`
		Lap     wireInstant `json:"lap"`
		Saved   wireInstant `json:"saved"`
		Clean   int         `json:"clean,omitempty"`
		Changed bool        `json:"changed,omitempty"`
		Phase   Phase       `json:"phase"`
		Bucket  string      `json:"bucket,omitempty"`
		After   []byte      `json:"after,omitempty"` // a name need not be UTF-8
		Of      string      `json:"of,omitempty"`
		Closed  wireInstant `json:"closed,omitzero"`
		Open    []string    `json:"open,omitempty"`
	}
	wireKey struct {
		KMSKey  string `json:"kmsKey"`
		Version uint32 `json:"version"`
	}
	wireInstant struct {
		Ours   int64 `json:"ours"`
		Theirs int64 `json:"theirs"`
	}
)

func (i Instant) wire() wireInstant {
	if i.Ours.IsZero() {
		return wireInstant{}
	}
	return wireInstant{i.Ours.UnixMilli(), i.Theirs.UnixMilli()}
}

func (w wireInstant) instant() Instant {
	if w == (wireInstant{}) {
		return Instant{}
	}
	return Instant{time.UnixMilli(w.Ours), time.UnixMilli(w.Theirs)}
}

// encode returns the cursor's only encoding. ErrTooLong.
func (c *Cursor) encode() ([]byte, error) {
	w := wireCursor{
		Version: version, Newest: []wireKey{}, Began: c.Began.wire(), Lap: c.Lap.wire(), Saved: c.Saved.wire(), Clean: c.Clean, Changed: c.Changed,
		Phase: c.Place.Phase, Bucket: c.Place.Bucket, After: []byte(c.Place.After), Of: c.Place.Version, Closed: c.Closed.wire(), Open: c.Open,
	}
	for _, key := range slices.Sorted(maps.Keys(c.Newest)) {
		w.Newest = append(w.Newest, wireKey{key, c.Newest[key]})
	}
	data, err := json.Marshal(w)
	if err == nil && len(data) > maxCursor {
		err = fmt.Errorf("%d bytes: %w", len(data), ErrTooLong)
	}
	return data, err
}

// decode is the inverse of encode. ErrMalformed for all that encode does not produce.
func decode(data []byte) (*Cursor, error) {
	var w wireCursor
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	c := &Cursor{
		Newest: make(map[string]uint32, len(w.Newest)), Began: w.Began.instant(), Lap: w.Lap.instant(), Saved: w.Saved.instant(), Clean: w.Clean,
		Changed: w.Changed, Place: Place{w.Phase, w.Bucket, string(w.After), w.Of}, Closed: w.Closed.instant(), Open: w.Open,
	}
	for _, k := range w.Newest {
		c.Newest[k.KMSKey] = k.Version
	}
	if again, err := c.encode(); err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: not canonical", ErrMalformed)
	}
	sorted := slices.IsSortedFunc(c.Open, cmp.Compare[string]) && len(slices.Compact(slices.Clone(c.Open))) == len(c.Open)
	ofBucket := c.Place.Phase == Uploads || c.Place.Phase == Versions
	if c.Clean < 0 || !sorted || !ofBucket && c.Place.Phase != System && c.Place.Phase != Ended ||
		(c.Place.Phase == Ended) == c.Closed.Ours.IsZero() || ofBucket != (c.Place.Bucket != "") || c.Place.Version != "" && (c.Place.Phase != Versions || c.Place.After == "") {
		return nil, ErrMalformed
	}
	return c, nil
}

// Scope is what a re-wrap is about; runs of one scope share a cursor.
type Scope struct {
	Buckets   []string `json:"buckets"`
	Prefix    []byte   `json:"prefix"` // it need not be UTF-8
	Key       string   `json:"key"`
	To        string   `json:"to"`
	OlderThan uint32   `json:"olderThan"`
	Mode      int      `json:"mode"`
	// Filter names what chooses among objects besides, "" for nothing.
	Filter string `json:"filter"`
}

// Notes is what this package needs of the system bucket; *system.Store has it.
type Notes interface {
	GetNote(ctx context.Context, kind, name string) ([]byte, error)
	ReplaceNote(ctx context.Context, kind, name string, data, body []byte) error
	Delete(ctx context.Context, prefix string, keep func(name string) bool) (int, error)
	ListNotes(ctx context.Context, prefix, after string) (notes []system.Note, more bool, err error)
}

// Store keeps the cursor of one scope.
type Store struct {
	notes Notes
	name  string
}

// Open returns where the cursor of a scope is kept. It makes no request.
func Open(notes Notes, s *Scope) *Store {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // it has no type that cannot be encoded
	}
	sum := sha256.Sum256(data)
	return &Store{notes, Prefix + hex.EncodeToString(sum[:16])}
}

// Load returns the cursor. system.ErrNotFound, ErrMalformed, or the errors of system.Store.GetNote.
func (s *Store) Load(ctx context.Context) (*Cursor, error) {
	data, err := s.notes.GetNote(ctx, kind, s.name)
	if err != nil {
		return nil, err
	}
	return decode(data)
}

// Save stores the cursor in the place of whatever is there. ErrTooLong, or the errors of
// system.Store.ReplaceNote.
func (s *Store) Save(ctx context.Context, c *Cursor) error {
	data, err := c.encode()
	if err != nil {
		return err
	}
	return s.notes.ReplaceNote(ctx, kind, s.name, data, nil)
}

// Remove removes the cursor, if there is one, with its older versions.
func (s *Store) Remove(ctx context.Context) error {
	_, err := s.notes.Delete(ctx, s.name, nil)
	return err
}

// Sweep removes the cursors that were last stored before a time of the storage's clock. It tells
// removed of each, and only that with dryRun.
func Sweep(ctx context.Context, notes Notes, before time.Time, dryRun bool, removed func(what, name string)) error {
	for after := ""; ; {
		page, more, err := notes.ListNotes(ctx, Prefix, after)
		if err != nil {
			return fmt.Errorf("list cursors of re-wraps: %w", err)
		}
		for _, n := range page {
			after = n.Name
			if n.Modified.IsZero() || !n.Modified.Before(before) {
				continue
			}
			if !dryRun {
				if _, err := notes.Delete(ctx, n.Name, func(name string) bool { return name != n.Name }); err != nil {
					return fmt.Errorf("remove the cursor of a re-wrap: %w", err)
				}
			}
			removed("cursor of a re-wrap", n.Name)
		}
		if !more || len(page) == 0 {
			return nil
		}
	}
}
