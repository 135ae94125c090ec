package rekey

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/sse"
)

const (
	// documentVersion is the version of the encoding.
	documentVersion = 1
	// maxDocument bounds the encoded document, in bytes.
	maxDocument = 8 << 20
	// maxSingles bounds the records of a bucket that are noted singly, maxAllSingles those
	// of all buckets.
	maxSingles    = 1024
	maxAllSingles = 16384
)

// errDocument says that what was stored is no book.
var errDocument = errors.New("not a valid book of re-keyed objects")

// document is the book. It is not modified once it is shared; a draft makes the next one.
type document struct {
	generation uint64 // from 1, one more with each change; 0 if there is no book yet
	buckets    map[string]*bucketScopes
}

// bucketScopes are the scopes of one bucket, by the KMS key that records name.
type bucketScopes struct {
	epoch  uint64 // generation of the last change
	scopes map[string]*scope
}

// scope says which records of a bucket that name one KMS key may have wraps that count.
type scope struct {
	// upTo is the version of the KMS key up to which any record may; 0 is none.
	upTo uint32
	// epoch is the generation since which what was read of any record counts; open says
	// that somebody writes wraps, or was ended while doing so.
	epoch uint64
	open  bool
	// closed names the run that closed it last.
	closed string
	// singles are records whose wraps must be there, top the highest version that they name.
	singles map[sse.RecordDigest]single
	top     uint32
}

// single is a record that was re-keyed by itself.
type single struct {
	// floor is the least sequence that its wrap must have; 0 if none must be there yet.
	floor uint64
	// pending names who is writing one, "" for nobody.
	pending string
}

// place is where a record stands in the book.
type place struct {
	epoch     uint64
	unsettled bool   // somebody may be writing a wrap
	must      bool   // a wrap must be there, of a sequence of at least floor
	floor     uint64 // 0 unless must
}

// tooOld says that a wrap, nil for none, is not the one that must be there.
func (p *place) tooOld(w *sse.Wrap) bool {
	return p.must && (w == nil || w.Sequence < p.floor)
}

// place says where a record of a bucket stands. false if no wrap of it counts.
func (d *document) place(bucket string, r *sse.Record) (place, bool) {
	s := d.scopeOf(bucket, r.KMSKey)
	if s == nil {
		return place{}, false
	}
	p, in := place{epoch: s.epoch, unsettled: s.open}, r.KMSKeyVersion <= s.upTo
	if len(s.singles) > 0 {
		if one, ok := s.singles[r.Digest()]; ok {
			p.must, p.floor, in = one.floor > 0, one.floor, true
			p.unsettled = p.unsettled || one.pending != ""
		}
	}
	return p, in
}

func (d *document) scopeOf(bucket, kmsKey string) *scope {
	b := d.buckets[bucket]
	if b == nil {
		return nil
	}
	return b.scopes[kmsKey]
}

func (d *document) epochOf(bucket string) uint64 {
	if b := d.buckets[bucket]; b != nil {
		return b.epoch
	}
	return 0
}

// draft is the next document, while it is made.
type draft struct {
	document
	cloned map[string]bool
}

// next returns the document that follows, which as yet says the same.
func (d *document) next() *draft {
	return &draft{document{d.generation + 1, maps.Clone(d.buckets)}, make(map[string]bool)}
}

// scope returns a scope that may be modified, which is made if there is none.
func (d *draft) scope(bucket, kmsKey string) *scope {
	if d.buckets == nil {
		d.buckets = make(map[string]*bucketScopes)
	}
	b := &bucketScopes{scopes: make(map[string]*scope)}
	if old := d.buckets[bucket]; old != nil && d.cloned[bucket] {
		b = old
	} else if old != nil {
		for key, s := range old.scopes {
			own := *s
			own.singles = maps.Clone(s.singles)
			b.scopes[key] = &own
		}
	}
	d.buckets[bucket], d.cloned[bucket] = b, true
	b.epoch = d.generation
	s := b.scopes[kmsKey]
	if s == nil {
		s = &scope{epoch: d.generation}
		b.scopes[kmsKey] = s
	}
	if s.singles == nil {
		s.singles = make(map[sse.RecordDigest]single)
	}
	return s
}

// shrink makes scopes of any record out of those with the most single ones, until a bucket,
// and the book, have few enough.
func (d *draft) shrink() {
	all := 0
	for _, name := range slices.Sorted(maps.Keys(d.buckets)) {
		all += d.shrinkBucket(name, maxSingles)
	}
	for all > maxAllSingles {
		largest, n := "", 0
		for _, name := range slices.Sorted(maps.Keys(d.buckets)) {
			if here := d.buckets[name].singles(); here > n {
				largest, n = name, here
			}
		}
		left := d.shrinkBucket(largest, n-1)
		if left == n { // all of them are being written
			return
		}
		all -= n - left
	}
}

// shrinkBucket leaves a bucket at most so many single records, and returns how many it has.
func (d *draft) shrinkBucket(name string, limit int) int {
	for {
		n := d.buckets[name].singles()
		if n <= limit {
			return n
		}
		largest := slices.MaxFunc(slices.Sorted(maps.Keys(d.buckets[name].scopes)), func(a, b string) int {
			return cmp.Compare(len(d.buckets[name].scopes[a].singles), len(d.buckets[name].scopes[b].singles))
		})
		s := d.scope(name, largest)
		s.upTo, s.epoch = max(s.upTo, s.top), d.generation
		maps.DeleteFunc(s.singles, func(_ sse.RecordDigest, one single) bool { return one.pending == "" })
		if d.buckets[name].singles() == n {
			return n
		}
	}
}

func (b *bucketScopes) singles() (n int) {
	for _, s := range b.scopes {
		n += len(s.singles)
	}
	return n
}

// The encoding is compact JSON with the fields in this order, everything in byte order of its
// names: there is exactly one of each document.
type (
	wireDocument struct {
		Version    int          `json:"version"`
		Generation uint64       `json:"generation"`
		Buckets    []wireBucket `json:"buckets"`
	}
	wireBucket struct {
		Bucket string      `json:"bucket"`
		Epoch  uint64      `json:"epoch"`
		Scopes []wireScope `json:"scopes"`
	}
	wireScope struct {
		KMSKey  string       `json:"kmsKey"`
		UpTo    uint32       `json:"upTo,omitempty"`
		Epoch   uint64       `json:"epoch"`
		Open    bool         `json:"open,omitempty"`
		Closed  string       `json:"closed,omitempty"`
		Top     uint32       `json:"top,omitempty"`
		Records []wireSingle `json:"records,omitempty"`
	}
	wireSingle struct {
		Record   string `json:"record"`
		Sequence uint64 `json:"sequence,omitempty"`
		Pending  string `json:"pending,omitempty"`
	}
)

// encode returns the document's only encoding. ErrFull.
func (d *document) encode() ([]byte, error) {
	w := wireDocument{Version: documentVersion, Generation: d.generation, Buckets: make([]wireBucket, 0, len(d.buckets))}
	for _, name := range slices.Sorted(maps.Keys(d.buckets)) {
		b := d.buckets[name]
		wb := wireBucket{Bucket: name, Epoch: b.epoch, Scopes: make([]wireScope, 0, len(b.scopes))}
		for _, key := range slices.Sorted(maps.Keys(b.scopes)) {
			wb.Scopes = append(wb.Scopes, b.scopes[key].wire(key))
		}
		w.Buckets = append(w.Buckets, wb)
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode the book of re-keyed objects: %w", err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("%d bytes: %w", len(data), ErrFull)
	}
	return data, nil
}

func (s *scope) wire(key string) wireScope {
	w := wireScope{KMSKey: key, UpTo: s.upTo, Epoch: s.epoch, Open: s.open, Closed: s.closed, Top: s.top}
	for d, one := range s.singles {
		w.Records = append(w.Records, wireSingle{hex.EncodeToString(d[:]), one.floor, one.pending})
	}
	slices.SortFunc(w.Records, func(a, b wireSingle) int { return cmp.Compare(a.Record, b.Record) })
	return w
}

// decodeDocument is the inverse of encode. errDocument for all that encode does not produce.
func decodeDocument(data []byte) (*document, error) {
	var w wireDocument
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w: %w", errDocument, err)
	}
	if again, err := json.Marshal(w); err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: not canonical", errDocument)
	}
	if w.Version != documentVersion || w.Generation == 0 || w.Buckets == nil {
		return nil, fmt.Errorf("%w: version %d, generation %d", errDocument, w.Version, w.Generation)
	}
	d := &document{generation: w.Generation, buckets: make(map[string]*bucketScopes, len(w.Buckets))}
	for i := range w.Buckets {
		wb := &w.Buckets[i]
		if i > 0 && wb.Bucket <= w.Buckets[i-1].Bucket || !validName(wb.Bucket) || wb.Epoch > w.Generation || wb.Scopes == nil {
			return nil, fmt.Errorf("%w: bucket %d", errDocument, i)
		}
		b := &bucketScopes{epoch: wb.Epoch, scopes: make(map[string]*scope, len(wb.Scopes))}
		for n := range wb.Scopes {
			ws := &wb.Scopes[n]
			s, err := ws.scope()
			if err != nil || n > 0 && ws.KMSKey <= wb.Scopes[n-1].KMSKey || !validName(ws.KMSKey) || ws.Epoch > w.Generation {
				return nil, fmt.Errorf("%w: bucket %d, scope %d", errDocument, i, n)
			}
			b.scopes[ws.KMSKey] = s
		}
		d.buckets[wb.Bucket] = b
	}
	return d, nil
}

func validName(name string) bool { return name != "" && utf8.ValidString(name) }

func (w *wireScope) scope() (*scope, error) {
	s := &scope{upTo: w.UpTo, epoch: w.Epoch, open: w.Open, closed: w.Closed, top: w.Top}
	if len(w.Records) > 0 {
		s.singles = make(map[sse.RecordDigest]single, len(w.Records))
	}
	for i, one := range w.Records {
		raw, err := hex.DecodeString(one.Record)
		if err != nil || len(raw) != len(sse.RecordDigest{}) || hex.EncodeToString(raw) != one.Record || i > 0 && one.Record <= w.Records[i-1].Record {
			return nil, fmt.Errorf("%w: record %d", errDocument, i)
		}
		s.singles[sse.RecordDigest(raw)] = single{one.Sequence, one.Pending}
	}
	return s, nil
}
