package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrNoSuchUpload says that the ledger does not know an upload.
var ErrNoSuchUpload = errors.New("no such upload")

const (
	uploadKind = "upload"
	partKind   = "part"
	// uploadCacheSize bounds the number of uploads kept in memory. What is noted at
	// their creation never changes.
	uploadCacheSize = 4096

	// unknown begins, in place of an ETag, the names of notes of what AddUnknown notes.
	unknown = "unknown-"
	// unknownPause is between two tries to note it.
	unknownPause = time.Second
)

// Upload is what is noted when a multipart upload is created.
type Upload struct {
	Bucket, Key string
	// ID is upstream's upload id.
	ID string
	// Record is the text form of the object's record; "" for plain storage.
	Record string
	// Manifest is the manifest id in the record.
	Manifest     sse.ManifestID
	Initiated    time.Time
	Initiator    string
	StorageClass string `json:",omitempty"`
	// Checksum is the algorithm of the parts' checksums, 0 for none; Composite
	// says that the object's is a checksum of those.
	Checksum  sse.ChecksumType `json:",omitempty"`
	Composite bool             `json:",omitempty"`
}

// Name is the object that is uploaded.
func (u *Upload) Name() sse.Name { return sse.Name{Bucket: u.Bucket, Key: u.Key} }

// Place is where it stands among the uploads of a bucket: Uploads calls in the order of these.
func (u *Upload) Place() string {
	name := uploadName(u.Name(), u.ID)
	if strings.HasPrefix(name, "uploads/") {
		return "1" + name
	}
	return "2" + name
}

// PartID tells the uploads of one part number apart.
type PartID struct {
	Number int
	// ETag is upstream's, without quotes.
	ETag string
}

// isUnknown says whether it is of a sending of which nobody knows whether upstream has it.
func (p PartID) isUnknown() bool { return strings.HasPrefix(p.ETag, unknown) }

// Ledger keeps the uploads that are under way and their parts. It is safe for
// concurrent use, by any number of proxies.
type Ledger struct {
	system *system.Store

	mu    sync.Mutex
	cache map[string]*Upload
}

// NewLedger returns a ledger in the system bucket.
func NewLedger(s *system.Store) *Ledger {
	return &Ledger{system: s, cache: make(map[string]*Upload)}
}

// Create notes an upload. storage.ErrUnreachable, or the key service's errors.
func (l *Ledger) Create(ctx context.Context, u *Upload) error {
	content, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("note upload: %w", err)
	}
	name := uploadName(u.Name(), u.ID)
	err = l.system.PersistNote(ctx, uploadKind, name, content, nil)
	if errors.Is(err, system.ErrConflict) {
		err = l.sameUpload(ctx, name, content)
	}
	if err != nil {
		return fmt.Errorf("note upload: %w", err)
	}
	return nil
}

// sameUpload says whether the note that is said to exist is this one: it was stored, and
// the answer lost. system.ErrConflict if it is another.
func (l *Ledger) sameUpload(ctx context.Context, name string, content []byte) error {
	there, err := l.system.GetNote(ctx, uploadKind, name)
	if err == nil && !bytes.Equal(there, content) {
		return system.ErrConflict
	}
	return err
}

// Get returns an upload. ErrNoSuchUpload, storage.ErrUnreachable, or the key
// service's errors.
func (l *Ledger) Get(ctx context.Context, object sse.Name, id string) (*Upload, error) {
	name := uploadName(object, id)
	l.mu.Lock()
	u := l.cache[name]
	l.mu.Unlock()
	if u != nil {
		return u, nil
	}
	content, err := l.system.GetNote(ctx, uploadKind, name)
	if errors.Is(err, system.ErrNotFound) {
		return nil, ErrNoSuchUpload
	}
	if err != nil {
		return nil, fmt.Errorf("read upload: %w", err)
	}
	if u, err = parseUpload(content); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.cache) >= uploadCacheSize {
		for victim := range l.cache {
			delete(l.cache, victim)
			break
		}
	}
	l.cache[name] = u
	return u, nil
}

func parseUpload(content []byte) (*Upload, error) {
	u := new(Upload)
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	if err := dec.Decode(u); err != nil {
		return nil, fmt.Errorf("read upload: %w (%w)", system.ErrTampered, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("read upload: %w", system.ErrTampered)
	}
	return u, nil
}

// AddPart notes a part that upstream has accepted. system.ErrTampered if another
// one has its number and ETag.
func (l *Ledger) AddPart(ctx context.Context, uploadID string, part PartID, facts *sse.PartFacts) error {
	name := partName(uploadID, part)
	err := l.system.PersistNote(ctx, partKind, name, facts.Entry(), nil)
	if errors.Is(err, system.ErrConflict) {
		err = l.samePart(ctx, name, facts)
	}
	if err != nil {
		return fmt.Errorf("note part: %w", err)
	}
	return nil
}

// AddUnknown notes that a part was sent, and that nobody knows whether upstream has it. The note
// counts as a sending, and is never a part. What fails and may pass is tried again until ctx ends.
func (l *Ledger) AddUnknown(ctx context.Context, uploadID string, number int) error {
	random := sse.NewStreamNonce()
	name := partName(uploadID, PartID{Number: number, ETag: unknown + hex.EncodeToString(random[:])})
	for {
		err := l.system.PersistNote(ctx, partKind, name, new(sse.PartFacts).Entry(), nil)
		if err == nil || errors.Is(err, system.ErrConflict) { // its own
			return nil
		}
		if ctx.Err() != nil || !errors.Is(err, storage.ErrUnreachable) && !errors.Is(err, kms.ErrUnavailable) {
			return fmt.Errorf("note that a part was sent: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(unknownPause):
		}
	}
}

// samePart says whether the entry that is said to exist describes the part: as
// when a write was repeated, or a plain or empty part was sent twice.
func (l *Ledger) samePart(ctx context.Context, name string, facts *sse.PartFacts) error {
	content, err := l.system.GetNote(ctx, partKind, name)
	if err != nil {
		return err
	}
	there, err := sse.ParseEntry(content)
	if err != nil {
		return err
	}
	if there.Nonce != facts.Nonce || there.PlainSize != facts.PlainSize {
		return fmt.Errorf("another part has its number and ETag: %w", system.ErrTampered)
	}
	return nil
}

// Parts calls f for each part with a number from first to last that is noted for an upload,
// and of which wanted says true: a part that was sent many times has many notes. Both are
// called for one part at a time: wanted in the order of numbers and before the part's note is
// opened, f in no order. What AddUnknown noted is never wanted, though wanted is asked.
func (l *Ledger) Parts(ctx context.Context, uploadID string, first, last int, wanted func(PartID) bool, f func(PartID, sse.PartFacts)) error {
	prefix := partPrefix(uploadID)
	for after := fmt.Sprintf("%s%05d", prefix, first); ; {
		notes, more, err := l.system.ListNotes(ctx, prefix, after)
		if err != nil {
			return fmt.Errorf("read parts: %w", err)
		}
		if err := l.openParts(ctx, prefix, last, notes, wanted, f); err != nil {
			return fmt.Errorf("read parts: %w", err)
		}
		n := len(notes)
		if !more || n == 0 || partNumber(notes[n-1].Name, prefix) > last {
			return nil
		}
		after = notes[n-1].Name
	}
}

func partNumber(name, prefix string) int {
	id, _ := parsePartName(strings.TrimPrefix(name, prefix))
	return id.Number
}

// openParts tells what the notes say of wanted parts up to the number last. It opens several
// at a time: the key service may be remote.
func (l *Ledger) openParts(ctx context.Context, prefix string, last int, notes []system.Note, wanted func(PartID) bool, f func(PartID, sse.PartFacts)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, n := range notes {
		id, ok := parsePartName(strings.TrimPrefix(n.Name, prefix))
		if !ok || id.Number > last || !wanted(id) || id.isUnknown() {
			continue
		}
		group.Go(func() error {
			content, err := l.system.OpenNote(ctx, partKind, n)
			if errors.Is(err, system.ErrTampered) {
				return nil // a part without an entry does not exist
			}
			if err != nil {
				return err
			}
			facts, err := sse.ParseEntry(content)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			f(id, facts)
			return nil
		})
	}
	return group.Wait()
}

// Uploads calls f for each upload of a bucket whose key begins with prefix, in
// the order of keys and then upload ids, but for keys with impossible names,
// which come last.
func (l *Ledger) Uploads(ctx context.Context, bucket, prefix string, f func(*Upload)) error {
	for _, root := range []string{"uploads/" + bucket + "/" + prefix, "uploads-h/" + bucket + "/"} {
		for after := ""; ; {
			notes, more, err := l.system.ListNotes(ctx, root, after)
			if err != nil {
				return fmt.Errorf("list uploads: %w", err)
			}
			for _, n := range notes {
				after = n.Name
				u, err := l.openUpload(ctx, n, bucket, prefix)
				if err != nil {
					return err
				}
				if u != nil {
					f(u)
				}
			}
			if !more || len(notes) == 0 {
				break
			}
		}
	}
	return nil
}

// Drop forgets an upload and its parts, once upstream has none of it any more.
func (l *Ledger) Drop(ctx context.Context, object sse.Name, uploadID string) error {
	if _, err := l.system.Delete(ctx, partPrefix(uploadID), nil); err != nil {
		return fmt.Errorf("drop parts: %w", err)
	}
	name := uploadName(object, uploadID)
	if _, err := l.system.Delete(ctx, name, func(other string) bool { return other != name }); err != nil {
		return fmt.Errorf("drop upload: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.cache, name)
	return nil
}

func uploadName(object sse.Name, id string) string { return mirroredName("uploads", object, id) }

// partPrefix begins the names of an upload's parts. Upload ids are long.
func partPrefix(uploadID string) string {
	sum := sha256.Sum256([]byte(uploadID))
	return "parts/" + hex.EncodeToString(sum[:]) + "/"
}

func partName(uploadID string, p PartID) string {
	return fmt.Sprintf("%s%05d-%s", partPrefix(uploadID), p.Number, p.ETag)
}

func parsePartName(name string) (PartID, bool) {
	number, etag, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	return PartID{Number: n, ETag: etag}, ok && err == nil && n >= 1 && n <= sse.MaxParts
}
