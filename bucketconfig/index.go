package bucketconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

const (
	// indexVersion is the version of the encoding.
	indexVersion = 1
	// maxIndexSize bounds the encoded index, in bytes: about a hundred thousand rules with short key names.
	maxIndexSize = 16 << 20
	// maxBucketName bounds a bucket's name, in bytes; S3 allows 63, older buckets have up to 255.
	maxBucketName = 255
)

// errIndex says that a stored blob is not an index. It does not leave the package but wrapped in ErrUnavailable.
var errIndex = errors.New("not a valid index")

// entry is a rule and the bucket it was made for: a name alone does not identify one.
type entry struct {
	rule Rule
	// created is the bucket's creation date in milliseconds since 1970, the precision of ListBuckets.
	created int64
}

// index is all rules of a deployment. It is not modified once it is shared; with makes the next one.
type index struct {
	generation uint64 // from 1, one more with each change
	rules      map[string]entry
}

// with returns the next generation, in which bucket has the given entry, or none if keep is false.
func (x *index) with(bucket string, e entry, keep bool) (*index, error) {
	if x.generation == math.MaxUint64 {
		return nil, fmt.Errorf("%w: no generation left", ErrIndexFull)
	}
	next := &index{generation: x.generation + 1, rules: maps.Clone(x.rules)}
	if keep {
		next.rules[bucket] = e
	} else {
		delete(next.rules, bucket)
	}
	return next, nil
}

// The encoding is compact JSON with the fields in this order and the rules in byte order of their buckets. There is
// exactly one encoding of an index; the decoder accepts no other.
type (
	wireIndex struct {
		Version    int        `json:"version"`
		Generation uint64     `json:"generation"`
		Rules      []wireRule `json:"rules"`
	}
	wireRule struct {
		Bucket           string    `json:"bucket"`
		Created          int64     `json:"created"`
		Algorithm        Algorithm `json:"algorithm"`
		KMSKeyID         string    `json:"kmsKeyId,omitempty"`
		BucketKeyEnabled bool      `json:"bucketKeyEnabled,omitempty"`
	}
)

// encode returns the index's only encoding, or ErrIndexFull if that has more than limit bytes.
func (x *index) encode(limit int) ([]byte, error) {
	w := wireIndex{Version: indexVersion, Generation: x.generation, Rules: make([]wireRule, 0, len(x.rules))}
	for _, bucket := range slices.Sorted(maps.Keys(x.rules)) {
		e := x.rules[bucket]
		w.Rules = append(w.Rules, wireRule{
			Bucket:           bucket,
			Created:          e.created,
			Algorithm:        e.rule.Algorithm,
			KMSKeyID:         e.rule.KMSKeyID,
			BucketKeyEnabled: e.rule.BucketKeyEnabled,
		})
	}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrIndexFull, len(data), limit)
	}
	return data, nil
}

// decodeIndex is the inverse of encode. It returns errIndex for everything that encode does not produce.
func decodeIndex(data []byte) (*index, error) {
	if len(data) > maxIndexSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errIndex, len(data), maxIndexSize)
	}
	var w wireIndex
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return nil, fmt.Errorf("%w: %w", errIndex, err)
	}
	if w.Version != indexVersion {
		return nil, fmt.Errorf("%w: version %d is not known", errIndex, w.Version)
	}
	if w.Generation == 0 || w.Rules == nil {
		return nil, fmt.Errorf("%w: no generation or no rules", errIndex)
	}
	x := &index{generation: w.Generation, rules: make(map[string]entry, len(w.Rules))}
	for i, r := range w.Rules {
		if i > 0 && r.Bucket <= w.Rules[i-1].Bucket {
			return nil, fmt.Errorf("%w: rule %d is out of order", errIndex, i)
		}
		e := entry{created: r.Created, rule: Rule{Algorithm: r.Algorithm, KMSKeyID: r.KMSKeyID, BucketKeyEnabled: r.BucketKeyEnabled}}
		if err := e.rule.check(); err != nil {
			return nil, fmt.Errorf("%w: rule %d: %w", errIndex, i, err)
		}
		if !validBucket(r.Bucket) {
			return nil, fmt.Errorf("%w: rule %d: bad bucket name", errIndex, i)
		}
		x.rules[r.Bucket] = e
	}
	// JSON has many spellings of one value, and this decoder takes several (case of names, repeated names, what follows
	// the value). Only the one that encode writes is an index.
	if again, err := json.Marshal(w); err != nil || !bytes.Equal(again, data) {
		return nil, fmt.Errorf("%w: not canonical", errIndex)
	}
	return x, nil
}

func validBucket(name string) bool {
	return name != "" && len(name) <= maxBucketName && utf8.ValidString(name)
}
