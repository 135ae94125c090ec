package manifest

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Names in the system bucket tell objects apart, are ones that MinIO stores and lists, and
// say, below "parts/", which part they are of.
func FuzzNames(f *testing.F) {
	f.Add("bucket", "key", "other", "0123456789abcdef0123456789abcdef", 1)
	f.Add("bucket", "/key", "a/b__XLDIR__", "", 10_000)
	f.Add("bucket", strings.Repeat("k", 300), "k\x01x", "-", 0)
	f.Fuzz(func(t *testing.T, bucket, key, other, suffix string, number int) {
		if strings.ContainsAny(suffix, "/\x01") || strings.Contains(bucket, "/") || len(suffix)+len(bucket) > 600 {
			return // suffixes are ids, ETags and numbers, buckets have no slash
		}
		a, b := mirroredName("late", sse.Name{Bucket: bucket, Key: key}, suffix), mirroredName("late", sse.Name{Bucket: bucket, Key: other}, suffix)
		if (a == b) != (key == other) {
			t.Fatalf("%q and %q are %q and %q", key, other, a, b)
		}
		if mirroredAt := strings.HasPrefix(a, mirrored); !mirroredAt && !strings.HasPrefix(a, hashed) || mirroredAt && (len(a) > maxName || !segmentsFit(a)) {
			t.Fatalf("%q is %q", key, a)
		}
		part := PartID{Number: number, ETag: suffix}
		id, ok := parsePartName(strings.TrimPrefix(partName("upload", part), partPrefix("upload")))
		if valid := number >= 1 && number <= sse.MaxParts; ok != valid || ok && id != part {
			t.Fatalf("part %+v is read as %+v, %v", part, id, ok)
		}
	})
}

// What is read of an upload's note is written, and read, as the same again.
func FuzzParseUpload(f *testing.F) {
	text, _ := json.Marshal(&Upload{Bucket: "b", Key: "k", ID: "id", Record: "AQ", Checksum: 1, Composite: true})
	f.Add(text)
	f.Add([]byte(`{"Bucket":"b"}{"Bucket":"c"}`))
	f.Add([]byte(`{"Manifest":[1,2,3],"Unknown":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := parseUpload(data)
		if err != nil {
			if !errors.Is(err, system.ErrTampered) {
				t.Fatal(err)
			}
			return
		}
		text, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseUpload(text)
		if err != nil || *again != *u && !u.Initiated.Equal(again.Initiated) {
			t.Fatalf("%q: %+v, then %+v: %v", data, u, again, err)
		}
	})
}

// What sweeps have seen is a list of entries of one size, each once.
func FuzzDecodeSightings(f *testing.F) {
	f.Add(encodeSightings(map[sightingKey]sighting{{1}: {1, 2}, {2}: {3, 4}}))
	f.Add([]byte{sightingsVersion})
	f.Add([]byte{2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeSightings(data)
		if err != nil {
			if !errors.Is(err, system.ErrTampered) || list != nil {
				t.Fatal(list, err)
			}
			return
		}
		again, err := decodeSightings(encodeSightings(list))
		if err != nil || !maps.Equal(again, list) || len(list) > len(data)/sightingSize {
			t.Fatalf("%x: %v, then %v: %v", data, list, again, err)
		}
	})
}
