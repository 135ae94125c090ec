package memory

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Stored is what lies in the storage of one version, for tests that look at it, or change
// it by Alter.
type Stored struct {
	ETag     string // without quotes
	Data     []byte
	Meta     storage.Metadata
	Reserved []storage.MetaEntry
}

// Alter changes a version of an object, "" for the current one, in place: its ETag and
// its time stay unless change changes them. It fails if there is none.
func (s *Storage) Alter(name sse.Name, version string, change func(*Stored)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name.Bucket)
	if err != nil {
		return err
	}
	old, err := b.find(name.Key, version)
	if err != nil {
		return err
	}
	altered := *old
	out := Stored{old.etag, slices.Clone(old.data), maps.Clone(old.meta), slices.Clone(old.reserved)}
	change(&out)
	altered.etag, altered.data, altered.meta, altered.reserved = out.ETag, out.Data, out.Meta, out.Reserved
	i, _ := b.at(name.Key)
	versions := slices.Clone(b.objects[i].versions)
	versions[slices.Index(versions, old)] = &altered
	b.objects[i].versions = versions
	return nil
}

// Raw returns what lies in the storage. It fails if there is none.
func (s *Storage) Raw(name sse.Name, version string) (Stored, error) {
	var out Stored
	err := s.Alter(name, version, func(o *Stored) { out = *o })
	return out, err
}

// Each calls do for every version of every object of every bucket, delete markers apart.
func (s *Storage) Each(do func(name sse.Name, version string, o Stored)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, bucket := range slices.Sorted(maps.Keys(s.buckets)) {
		for _, o := range s.buckets[bucket].objects {
			for _, v := range o.versions {
				if !v.marker {
					do(sse.Name{Bucket: bucket, Key: o.key}, v.id, Stored{v.etag, v.data, v.meta, v.reserved})
				}
			}
		}
	}
}

// EachPart calls do for the data of every part of every upload that has not ended.
func (s *Storage) EachPart(do func(name sse.Name, data []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
		for _, p := range s.uploads[id].parts {
			do(s.uploads[id].name, p.data)
		}
	}
}

// Flip changes one bit of an object's data.
func (s *Storage) Flip(name sse.Name, offset int) error {
	return s.Alter(name, "", func(o *Stored) { o.Data[offset] ^= 1 })
}

// Swap gives two objects each other's data, and leaves their metadata and ETags.
func (s *Storage) Swap(a, b sse.Name) error {
	first, err := s.Raw(a, "")
	if err != nil {
		return err
	}
	second, err := s.Raw(b, "")
	if err != nil {
		return err
	}
	if err := s.Alter(a, "", func(o *Stored) { o.Data = second.Data }); err != nil {
		return err
	}
	return s.Alter(b, "", func(o *Stored) { o.Data = first.Data })
}

// RollBack makes an object what it was so many writes to it ago, at most 16: deleted
// ones are there again.
func (s *Storage) RollBack(name sse.Name, writes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name.Bucket)
	if err != nil {
		return err
	}
	i, ok := b.at(name.Key)
	if !ok || writes < 1 || writes > len(b.objects[i].past) {
		return fmt.Errorf("%q was not written %d times", name.Key, writes)
	}
	past := b.objects[i].past
	b.set(name.Key, past[len(past)-writes].versions)
	return nil
}

// Hide makes an object invisible in every answer, with all its versions, until it is
// written again or shown.
func (s *Storage) Hide(name sse.Name, hidden bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name.Bucket)
	if err != nil {
		return err
	}
	i, ok := b.at(name.Key)
	if !ok {
		return fmt.Errorf("there is no %q", name.Key)
	}
	versions := make([]*version, len(b.objects[i].versions))
	for n, v := range b.objects[i].versions {
		other := *v
		other.hidden = hidden
		versions[n] = &other
	}
	b.objects[i].versions = versions
	return nil
}
