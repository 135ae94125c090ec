package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	indexKind = "identities"
	indexName = "identities/index"
	// indexVersion is the version of the encoding.
	indexVersion = 1
	// maxIndexSize bounds the encoded index, in bytes: some ten thousand identities.
	maxIndexSize = 8 << 20
)

// errIndex says that what was stored is no index.
var errIndex = errors.New("not a valid index of identities")

// index is all long-lived learned identities. It is not modified once it is
// shared; with makes the next one.
type index struct {
	generation uint64 // from 1, one more with each change; 0 if there is no index yet
	identities map[string]*Identity
	// revoked are sessions that were ended before their time, and that time in
	// seconds since 1970: their notes, if upstream puts them back, count no more.
	revoked map[string]int64
}

// with returns the next generation, in which accessKey is id, or nobody if nil.
func (x *index) with(accessKey string, id *Identity) *index {
	next := x.next()
	if id == nil {
		delete(next.identities, accessKey)
	} else {
		next.identities[accessKey] = id
	}
	return next
}

// revoke returns the next generation, in which a session counts no more. It
// forgets those that have ended by now in any case.
func (x *index) revoke(accessKey string, ends, now time.Time) *index {
	next := x.next()
	maps.DeleteFunc(next.revoked, func(_ string, until int64) bool { return until < now.Add(-revokedGrace).Unix() })
	next.revoked[accessKey] = ends.Unix()
	return next
}

// revokedGrace is how much longer than a session lasts its end is remembered:
// clocks differ.
const revokedGrace = time.Hour

func (x *index) next() *index {
	next := &index{generation: x.generation + 1, identities: maps.Clone(x.identities), revoked: maps.Clone(x.revoked)}
	if next.identities == nil {
		next.identities = make(map[string]*Identity)
	}
	if next.revoked == nil {
		next.revoked = make(map[string]int64)
	}
	return next
}

func (x *index) list() []Identity {
	all := make([]Identity, 0, len(x.identities))
	for _, accessKey := range slices.Sorted(maps.Keys(x.identities)) {
		all = append(all, *x.identities[accessKey])
	}
	return all
}

// The encoding is compact JSON with the fields in this order, identities and sessions
// in byte order of their access keys: there is exactly one of each index.
type (
	wireIndex struct {
		Version    int            `json:"version"`
		Generation uint64         `json:"generation"`
		Identities []wireIdentity `json:"identities"`
		Revoked    []wireRevoked  `json:"revoked,omitempty"`
	}
	wireRevoked struct {
		AccessKey string `json:"accessKey"`
		Until     int64  `json:"until"` // seconds since 1970
	}
	wireIdentity struct {
		AccessKey    string    `json:"accessKey"`
		SecretKey    string    `json:"secretKey"`
		SessionToken string    `json:"sessionToken,omitempty"`
		Kind         Kind      `json:"kind"`
		Parent       string    `json:"parent,omitempty"`
		Source       Source    `json:"source,omitempty"`
		Expires      int64     `json:"expires,omitempty"` // seconds since 1970; 0 for never
		Serial       string    `json:"serial"`
		Creators     []creator `json:"creators,omitempty"`
	}
)

// wire returns an identity as it is stored. Its end is rounded down.
func (i *Identity) wire() wireIdentity {
	w := wireIdentity{
		AccessKey: i.AccessKey, SecretKey: i.SecretKey, SessionToken: i.SessionToken, Kind: i.Kind,
		Parent: i.Parent, Source: i.Source, Serial: i.serial, Creators: i.creators,
	}
	if !i.Expires.IsZero() {
		w.Expires = i.Expires.Unix()
	}
	return w
}

// identity is the inverse of wire.
func (w wireIdentity) identity() (*Identity, error) {
	i := &Identity{
		AccessKey: w.AccessKey, SecretKey: w.SecretKey, SessionToken: w.SessionToken, Kind: w.Kind,
		Parent: w.Parent, Source: w.Source, serial: w.Serial, creators: w.Creators,
	}
	if w.Expires != 0 {
		i.Expires = time.Unix(w.Expires, 0).UTC()
	}
	if len(w.Creators) > 0 {
		i.Creator = w.Creators[0].AccessKey
	}
	if err := i.check(); err != nil {
		return nil, err
	}
	if i.serial == "" || len(i.creators) > maxCreators+1 {
		return nil, fmt.Errorf("%w: %q", ErrInvalid, i.AccessKey)
	}
	return i, nil
}

// encode returns the index's only encoding. ErrFull.
func (x *index) encode() ([]byte, error) {
	w := wireIndex{Version: indexVersion, Generation: x.generation, Identities: make([]wireIdentity, 0, len(x.identities))}
	for _, accessKey := range slices.Sorted(maps.Keys(x.identities)) {
		w.Identities = append(w.Identities, x.identities[accessKey].wire())
	}
	for _, accessKey := range slices.Sorted(maps.Keys(x.revoked)) {
		w.Revoked = append(w.Revoked, wireRevoked{accessKey, x.revoked[accessKey]})
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode index of identities: %w", err)
	}
	if len(data) > maxIndexSize {
		return nil, ErrFull
	}
	return data, nil
}

// decodeIndex is the inverse of encode. errIndex for all that encode does not produce.
func decodeIndex(data []byte) (*index, error) {
	var w wireIndex
	if err := decodeStrict(data, &w); err != nil {
		return nil, err
	}
	if w.Version != indexVersion || w.Generation == 0 || w.Identities == nil {
		return nil, fmt.Errorf("%w: version %d, generation %d", errIndex, w.Version, w.Generation)
	}
	x := &index{
		generation: w.Generation, identities: make(map[string]*Identity, len(w.Identities)), revoked: make(map[string]int64, len(w.Revoked)),
	}
	for n, one := range w.Identities {
		if n > 0 && one.AccessKey <= w.Identities[n-1].AccessKey {
			return nil, fmt.Errorf("%w: identity %d is out of order", errIndex, n)
		}
		id, err := one.identity()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errIndex, err)
		}
		if id.Kind == Temporary {
			return nil, fmt.Errorf("%w: identity %d is a session", errIndex, n)
		}
		x.identities[id.AccessKey] = id
	}
	for n, one := range w.Revoked {
		if n > 0 && one.AccessKey <= w.Revoked[n-1].AccessKey {
			return nil, fmt.Errorf("%w: revoked session %d is out of order", errIndex, n)
		}
		x.revoked[one.AccessKey] = one.Until
	}
	return x, nil
}

// decodeStrict takes the one JSON text that encoding/json writes for a value, of
// the many that mean the same.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: it does not parse", errIndex) // the parser's message could show a secret
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not canonical", errIndex)
	}
	return nil
}
