package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
)

const (
	sightingsKind = "sweep"
	sightingsName = "sweep/seen"
	// sightingsVersion begins the list.
	sightingsVersion = 1
	// maxSightings bounds the list; what it has no room for is noted by a later pass.
	maxSightings = 500_000
	// sightingTries bounds how often the list is stored while other passes store theirs.
	sightingTries = 8
	// sightingSize is an entry's size in the list, in bytes.
	sightingSize = len(sightingKey{}) + 16
)

// sightingKey stands for one note as it was stored at one time: a note that was
// written anew is another.
type sightingKey [16]byte

func keyOf(n system.Note) sightingKey {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", n.Name, n.Modified.UnixMilli()))
	return sightingKey(sum[:])
}

// sighting is when a pass first found that nothing needs a note, by two clocks in
// seconds since 1970: either of them may jump, both together hardly do.
type sighting struct{ ours, upstreams int64 }

// elapsed is how long ago that was for sure: both times are cut off to whole seconds.
func (s sighting) elapsed(now sighting) time.Duration {
	return time.Duration(min(now.ours-s.ours, now.upstreams-s.upstreams)-1) * time.Second
}

// ahead says that a clock was set back since.
func (s sighting) ahead(now sighting) bool { return now.ours < s.ours || now.upstreams < s.upstreams }

// sightings is the list of what earlier passes, of any proxy, found that nothing
// needs, with what this pass finds. One look is no proof: MinIO, just started
// again, answers 404 for what it has.
type sightings struct {
	system *system.Store
	now    sighting
	base   map[sightingKey]sighting
	etag   string
	// seen is what nothing needs in this pass either; the others are not to be listed.
	seen, others map[sightingKey]bool
}

func readSightings(ctx context.Context, s *system.Store, now sighting) (*sightings, error) {
	l := &sightings{system: s, now: now, seen: make(map[sightingKey]bool), others: make(map[sightingKey]bool)}
	var err error
	l.base, l.etag, err = l.read(ctx)
	return l, err
}

func (l *sightings) read(ctx context.Context) (list map[sightingKey]sighting, etag string, err error) {
	data, etag, err := l.system.Get(ctx, sightingsKind, sightingsName, "")
	if errors.Is(err, system.ErrNotFound) {
		return make(map[sightingKey]sighting), "", nil
	}
	if err == nil {
		list, err = decodeSightings(data)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read what earlier sweeps saw: %w", err)
	}
	return list, etag, nil
}

// decodeSightings is the inverse of encodeSightings. system.ErrTampered.
func decodeSightings(data []byte) (map[sightingKey]sighting, error) {
	if len(data)%sightingSize != 1 || data[0] != sightingsVersion {
		return nil, system.ErrTampered
	}
	list := make(map[sightingKey]sighting, len(data)/sightingSize)
	for rest := data[1:]; len(rest) > 0; rest = rest[sightingSize:] {
		times := rest[len(sightingKey{}):]
		list[sightingKey(rest[:len(sightingKey{})])] = sighting{
			ours: int64(binary.BigEndian.Uint64(times)), upstreams: int64(binary.BigEndian.Uint64(times[8:])), //nolint:gosec // as written
		}
	}
	return list, nil
}

// unneeded notes that nothing needs n, and says whether an earlier pass found that
// too, at least age ago.
func (l *sightings) unneeded(n system.Note, age time.Duration) bool {
	key := keyOf(n)
	l.seen[key] = true
	first, ok := l.base[key]
	return ok && first.elapsed(l.now) >= age
}

// forget notes that n is needed, or gone.
func (l *sightings) forget(n system.Note) {
	key := keyOf(n)
	delete(l.seen, key)
	if _, ok := l.base[key]; ok {
		l.others[key] = true
	}
}

// store adds what this pass found to the list. complete says that the pass saw
// everything: what it did not come across does not exist any more.
func (l *sightings) store(ctx context.Context, complete bool) error {
	current, etag := l.base, l.etag
	for range sightingTries {
		next := l.merge(current, complete)
		if maps.Equal(next, current) {
			return nil
		}
		_, err := l.system.Put(ctx, sightingsKind, sightingsName, encodeSightings(next), etag)
		if !errors.Is(err, system.ErrConflict) {
			return err
		}
		if current, etag, err = l.read(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("note what this sweep saw: %w", system.ErrConflict)
}

func (l *sightings) merge(current map[sightingKey]sighting, complete bool) map[sightingKey]sighting {
	next := maps.Clone(current)
	for key := range l.others {
		delete(next, key)
	}
	for key, first := range l.base {
		if complete && !l.seen[key] && next[key] == first {
			delete(next, key)
		}
	}
	for key := range l.seen {
		if first, ok := next[key]; ok && !first.ahead(l.now) || !ok && len(next) >= maxSightings {
			continue
		}
		next[key] = l.now
	}
	return next
}

func encodeSightings(list map[sightingKey]sighting) []byte {
	data := make([]byte, 1, 1+len(list)*sightingSize)
	data[0] = sightingsVersion
	for key, first := range list {
		data = append(data, key[:]...)
		data = binary.BigEndian.AppendUint64(data, uint64(first.ours))      //nolint:gosec // read back as it was
		data = binary.BigEndian.AppendUint64(data, uint64(first.upstreams)) //nolint:gosec // the same
	}
	return data
}
