package manifest

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/sse"
)

// GetMany reads the manifests of a listing's page, all of one bucket and in the
// order of their keys: with few requests where their names are one range. data says
// what is known of each object. failed says why the others cannot be read, with the
// errors of Find.
func (s *Store) GetMany(ctx context.Context, refs []Ref, data func(Ref) Data) (found map[Ref]sse.Facts, failed map[Ref]error) {
	found = make(map[Ref]sse.Facts, len(refs))
	wanted := make(map[string]Ref)
	first, last := "", ""
	for _, ref := range refs {
		if facts, ok := s.cached(s.Actual(ref)); ok {
			found[ref] = facts
			continue
		}
		name, from := ref.objectName(), ref.objectName()
		wanted[name] = ref
		if ref.ETag != "" { // all manifests of the upload
			from = ref.idPrefix()
			name = from + "~"
		}
		if strings.HasPrefix(from, mirrored) && (first == "" || from < first) {
			first = from
		}
		last = max(last, name)
	}
	if len(wanted) > few && first != "" {
		s.readRange(ctx, wanted, found, data, refs[0].Name.Bucket, first, last)
	}
	return found, s.readEach(ctx, wanted, found, data)
}

// readRange lists the names from first to last and takes what is wanted.
func (s *Store) readRange(ctx context.Context, wanted map[string]Ref, found map[Ref]sse.Facts, data func(Ref) Data, bucket, first, last string) {
	after := first[:len(first)-1] // comes before first, and after every name before it
	others := newByID(wanted)
	for range maxRangePages {
		notes, more, err := s.system.ListNotes(ctx, mirrored+bucket+"/", after)
		if err != nil {
			return // readEach says what cannot be read
		}
		for _, n := range notes {
			after = n.Name
			others.add(n) // also one that is wanted: it may not open for a moment
			ref, ok := wanted[n.Name]
			if !ok {
				continue
			}
			content, err := s.system.OpenNote(ctx, kind, n)
			if err != nil {
				continue
			}
			if facts, err := s.parse(ref, content); err == nil {
				found[ref] = facts
				delete(wanted, n.Name)
			}
		}
		if !more || after >= last || len(wanted) == 0 {
			s.takeOthers(ctx, others, wanted, found, data)
			return
		}
	}
}

// takeOthers takes what has another name than upstream's ETag gives, where all names
// have been seen.
func (s *Store) takeOthers(ctx context.Context, others *byID, wanted map[string]Ref, found map[Ref]sse.Facts, data func(Ref) Data) {
	for name, ref := range wanted {
		if facts, ok := s.adoptOnly(ctx, ref, others.notes[ref], data(ref).Size); ok {
			found[ref] = facts
			delete(wanted, name)
		}
	}
}

// readEach reads what is still wanted, one request each, some at a time, and
// returns what failed.
func (s *Store) readEach(ctx context.Context, wanted map[string]Ref, found map[Ref]sse.Facts, data func(Ref) Data) map[Ref]error {
	failed := make(map[Ref]error)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(parallel)
	for _, ref := range wanted {
		group.Go(func() error {
			facts, err := s.Find(ctx, ref, data(ref))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				found[ref] = facts
			} else {
				failed[ref] = err
			}
			return nil
		})
	}
	_ = group.Wait() // its functions return no errors
	return failed
}
