package storagetest

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// objects are tests of single objects.
var objects = map[string]func(*kit){
	"ObjectsOfEverySize":         (*kit).everySize,
	"ObjectIsReplacedWhole":      (*kit).replacedWhole,
	"RecordBesidesMetadata":      (*kit).recordBesides,
	"ReservedMetadataIsApart":    (*kit).reservedApart,
	"DigestsAreVerified":         (*kit).digests,
	"Ranges":                     (*kit).ranges,
	"NothingThere":               (*kit).nothingThere,
	"Delete":                     (*kit).deleted,
	"Tags":                       (*kit).tags,
	"AnswersMetadataAsAsked":     (*kit).answered,
	"CopyHasOwnMetadata":         (*kit).copied,
	"CopyOfWhatTheSourceWas":     (*kit).copyMatch,
	"CopyOntoItself":             (*kit).copyOnto,
	"CopyTags":                   (*kit).copyTags,
	"ObjectPartsOfOneWrite":      (*kit).onePart,
	"KeysAreTakenAsTheyAre":      (*kit).oddKeys,
	"ConcurrentReplacementWhole": (*kit).atomic,
}

func (k *kit) everySize() {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 2*64<<10 + 1, 3 << 20} {
		key, content := fmt.Sprintf("size-%d", size), data(uint64(size), size) //nolint:gosec // not negative
		stored := k.put(key, content)
		if unquoted(stored.ETag) != etagOf(content) {
			k.Errorf("%d bytes are stored as %s, not as their MD5", size, stored.ETag)
		}
		info := k.holds(key, content)
		head, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name(key)})
		k.must("head", err)
		for how, i := range map[string]*storage.Info{"Get": info, "Head": head} {
			if i.ETag != stored.ETag || i.Size != int64(size) || i.Part || i.Version != stored.Version {
				k.Errorf("%s says %q, %d bytes, part %t, version %q of %d bytes, stored as %q, version %q",
					how, i.ETag, i.Size, i.Part, i.Version, size, stored.ETag, stored.Version)
			}
			if i.Modified.IsZero() || !i.Modified.Equal(i.Modified.Truncate(time.Second)) {
				k.Errorf("%s says the object is of %v", how, i.Modified)
			}
		}
	}
}

func (k *kit) replacedWhole() {
	first := storage.Metadata{"Content-Type": {"text/plain"}, "X-Amz-Meta-Colour": {"red"}, "X-Amz-Meta-Old": {"yes"}, "X-Amz-Tagging": {"a=b"}}
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Meta: first, Record: "first", Body: body([]byte("one"))})
	k.must("put", err)
	if info := k.holds("o", []byte("one")); info.Meta.Get("X-Amz-Meta-Colour") != "red" || info.Meta.Get("Content-Type") != "text/plain" || k.recordOf(info) != "first" {
		k.Errorf("metadata are %v", info.Meta)
	}
	second := storage.Metadata{"Content-Type": {"text/html"}, "X-Amz-Meta-Colour": {"blue"}}
	_, err = k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Meta: second, Body: body([]byte("two"))})
	k.must("put", err)
	info := k.holds("o", []byte("two"))
	if info.Meta.Get("X-Amz-Meta-Colour") != "blue" || info.Meta.Get("Content-Type") != "text/html" || info.Meta["X-Amz-Meta-Old"] != nil || k.recordOf(info) != "" {
		k.Errorf("metadata are %v, reserved %v", info.Meta, info.Reserved)
	}
	if tags, err := k.own.Tags(k.ctx(), &storage.Get{Name: k.name("o")}); err != nil || len(tags) > 0 {
		k.Errorf("tags are %v, %v", tags, err)
	}
}

// fullMetadata is as much as clients may store: 2 KiB of names and values.
func fullMetadata() storage.Metadata {
	const name = "X-Amz-Meta-Much"
	return storage.Metadata{name: {strings.Repeat("m", 2048-len(name))}}
}

func (k *kit) recordBesides() {
	long, much := strings.Repeat("record-0123456789_", 4096/18), fullMetadata()
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("put"), Meta: fullMetadata(), Record: long, Body: body([]byte("x"))})
	k.must("put", err)
	_, err = k.own.Copy(k.ctx(), &storage.Copy{Name: k.name("copy"), Meta: fullMetadata(), Record: long, Source: storage.Source{Name: k.name("put")}})
	k.must("copy", err)
	u := k.create(&storage.CreateUpload{Name: k.name("upload"), Meta: fullMetadata(), Record: long})
	part := k.part(u, 1, []byte("x"))
	k.complete(u, part)
	for _, key := range []string{"put", "copy", "upload"} {
		info := k.holds(key, []byte("x"))
		if k.recordOf(info) != long || info.Meta.Get("X-Amz-Meta-Much") != much.Get("X-Amz-Meta-Much") {
			k.Errorf("%s has lost record or metadata", key)
		}
	}
}

func (k *kit) reservedApart() {
	_, err := k.own.Put(k.ctx(), &storage.Put{
		Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Meta-Bucketseal-Planted": {"evil"}, "X-Amz-Meta-Bucket": {"good"}}, Record: "record", Body: body(nil),
	})
	k.must("put", err)
	info, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name("o")})
	k.must("head", err)
	found := map[string]string{}
	for _, e := range info.Reserved {
		found[e.Name] = e.Value
	}
	if len(info.Reserved) != 2 || found[storage.RecordName] != "record" || found["X-Amz-Meta-Bucketseal-Planted"] != "evil" {
		k.Errorf("reserved metadata are %v", info.Reserved)
	}
	for name := range info.Meta {
		if storage.IsReserved(name) {
			k.Errorf("%s is among the metadata", name)
		}
	}
	if info.Meta.Get("X-Amz-Meta-Bucket") != "good" {
		k.Errorf("metadata are %v", info.Meta)
	}
}

func (k *kit) digests() {
	k.put("o", []byte("old"))
	content := []byte("123456789")
	const crc32c, md5Sum = "4waSgw==", "JfnnlDI7RTiF9RgfG2JNCw=="
	for name, right := range map[string]string{"X-Amz-Checksum-Crc32c": crc32c, "Content-Md5": md5Sum} {
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Meta: storage.Metadata{name: {right}}, Body: body([]byte("987654321"))})
		var answer *storage.Error
		if answer = k.answer(err); answer == nil || answer.Status != http.StatusBadRequest {
			k.Errorf("a body with a wrong %s: %v", name, err)
		}
		k.holds("o", []byte("old"))
	}
	_, err := k.own.Put(k.ctx(), &storage.Put{
		Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Checksum-Crc32c": {crc32c}, "Content-Md5": {md5Sum}}, Body: body(content),
	})
	k.must("put", err)
	for _, asked := range []bool{true, false} {
		info, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name("o"), Checksums: asked})
		k.must("head", err)
		if kept := info.Meta.Get("X-Amz-Checksum-Crc32c") == crc32c; kept != asked {
			k.Errorf("asked for checksums %t: metadata are %v", asked, info.Meta)
		}
	}
}

func (k *kit) ranges() {
	content := data(7, 1000)
	stored := k.put("o", content)
	for _, test := range []struct {
		ask  storage.Range
		want sse.Range
	}{
		{storage.Range{First: 0, Last: 0}, sse.Range{Offset: 0, Length: 1}},
		{storage.Range{First: 10, Last: 19}, sse.Range{Offset: 10, Length: 10}},
		{storage.Range{First: 999, Last: 999}, sse.Range{Offset: 999, Length: 1}},
		{storage.Range{First: 990, Last: 5000}, sse.Range{Offset: 990, Length: 10}},
		{storage.Range{First: 0, Last: 999}, sse.Range{Offset: 0, Length: 1000}},
		{storage.Range{First: 400, Last: -1}, sse.Range{Offset: 400, Length: 600}},
		{storage.Range{First: 0, Last: -1}, sse.Range{Offset: 0, Length: 1000}},
		{storage.Range{First: -1, Last: -1}, sse.Range{Offset: 999, Length: 1}},
		{storage.Range{First: -100, Last: -1}, sse.Range{Offset: 900, Length: 100}},
		{storage.Range{First: -5000, Last: -1}, sse.Range{Offset: 0, Length: 1000}},
	} {
		g := &storage.Get{Name: k.name("o"), Range: &test.ask, IfMatch: stored.ETag}
		info, got, err := k.read(g)
		if err != nil {
			k.Errorf("%v: %v", test.ask, err)
			continue
		}
		if !info.Part || info.At != test.want || info.Total != 1000 || info.Size != test.want.Length || info.ETag != stored.ETag {
			k.Errorf("%v: part %t, %v of %d, %d bytes, %s", test.ask, info.Part, info.At, info.Total, info.Size, info.ETag)
		}
		if !bytes.Equal(got, content[test.want.Offset:test.want.Offset+test.want.Length]) {
			k.Errorf("%v: other bytes than %v", test.ask, test.want)
		}
		head, err := k.own.Head(k.ctx(), g)
		k.must("head", err)
		if head.Part != info.Part || head.At != info.At || head.Total != info.Total || head.Size != info.Size {
			k.Errorf("%v: Head says part %t, %v of %d, %d bytes", test.ask, head.Part, head.At, head.Total, head.Size)
		}
	}
	for _, beyond := range []storage.Range{{First: 1000, Last: -1}, {First: 1000, Last: 1000}, {First: 5000, Last: 6000}} {
		_, _, err := k.read(&storage.Get{Name: k.name("o"), Range: &beyond})
		k.want(fmt.Sprint(beyond), err, storage.ErrRange)
	}
	_, _, err := k.read(&storage.Get{Name: k.name("o"), Range: &storage.Range{First: 0, Last: 9}, IfMatch: `"` + etagOf(nil) + `"`})
	k.want("a range of another object", err, storage.ErrPrecondition)
}

func (k *kit) nothingThere() {
	for what, test := range map[string]struct {
		name   sse.Name
		target error
	}{
		"a missing object": {k.name("none"), storage.ErrNotFound},
		"a missing bucket": {sse.Name{Bucket: k.bucket + "-none", Key: "o"}, storage.ErrNoSuchBucket},
	} {
		g := &storage.Get{Name: test.name}
		_, _, err := k.read(g)
		k.want("get of "+what, err, test.target)
		_, err = k.own.Tags(k.ctx(), g)
		k.want("tags of "+what, err, storage.ErrNotFound)
		_, err = k.own.ObjectParts(k.ctx(), g)
		k.want("parts of "+what, err, storage.ErrNotFound)
		_, err = k.own.Head(k.ctx(), g)
		k.want("head of "+what, err, storage.ErrNotFound)
		_, err = k.own.Copy(k.ctx(), &storage.Copy{Name: k.name("copy"), Source: storage.Source{Name: test.name}})
		k.want("copy of "+what, err, test.target)
	}
	missing := sse.Name{Bucket: k.bucket + "-none", Key: "o"}
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: missing, Body: body([]byte("x"))})
	k.want("put", err, storage.ErrNoSuchBucket)
	_, err = k.own.CreateUpload(k.ctx(), &storage.CreateUpload{Name: missing})
	k.want("create", err, storage.ErrNoSuchBucket)
	_, err = k.own.List(k.ctx(), &storage.List{Bucket: missing.Bucket})
	k.want("list", err, storage.ErrNoSuchBucket)
}

func (k *kit) deleted() {
	k.put("o", []byte("x"))
	for range 2 { // what is not there is no error
		_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o")})
		k.must("delete", err)
		k.isGone("o")
	}
	k.put("o", []byte("again"))
	k.holds("o", []byte("again"))
}

func (k *kit) tags() {
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Tagging": {"a=1&b%20c=d%3De"}}, Body: body(nil)})
	k.must("put", err)
	tags, err := k.own.Tags(k.ctx(), &storage.Get{Name: k.name("o")})
	k.must("tags", err)
	if len(tags) != 2 || tags["a"] != "1" || tags["b c"] != "d=e" {
		k.Errorf("tags are %q", tags)
	}
	if info := k.holds("o", nil); info.Meta.Get("X-Amz-Tagging-Count") != "2" {
		k.Errorf("metadata are %v", info.Meta)
	}
	k.put("bare", nil)
	if tags, err = k.own.Tags(k.ctx(), &storage.Get{Name: k.name("bare")}); err != nil || len(tags) != 0 {
		k.Errorf("tags of an object that has none: %v, %v", tags, err)
	}
}

func (k *kit) answered() {
	k.put("o", []byte("x"))
	info, _, err := k.read(&storage.Get{Name: k.name("o"), Answer: map[string][]string{"response-content-type": {"text/css"}, "response-cache-control": {"no-store"}}})
	k.must("get", err)
	if info.Meta.Get("Content-Type") != "text/css" || info.Meta.Get("Cache-Control") != "no-store" {
		k.Errorf("metadata are %v", info.Meta)
	}
}

func (k *kit) copied() {
	content := data(3, 100_000)
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("from"), Meta: storage.Metadata{"X-Amz-Meta-Source": {"yes"}}, Record: "old", Body: body(content)})
	k.must("put", err)
	stored, err := k.own.Copy(k.ctx(), &storage.Copy{
		Name: k.name("to"), Meta: storage.Metadata{"X-Amz-Meta-Copy": {"yes"}, "Content-Type": {"text/plain"}}, Record: "new", Source: storage.Source{Name: k.name("from")},
	})
	k.must("copy", err)
	info := k.holds("to", content)
	if info.Meta.Get("X-Amz-Meta-Copy") != "yes" || info.Meta["X-Amz-Meta-Source"] != nil || info.Meta.Get("Content-Type") != "text/plain" || k.recordOf(info) != "new" {
		k.Errorf("metadata are %v, reserved %v", info.Meta, info.Reserved)
	}
	if unquoted(info.ETag) != unquoted(stored.ETag) || stored.Version != info.Version {
		k.Errorf("stored as %q, version %q, answered %q, version %q", info.ETag, info.Version, stored.ETag, stored.Version)
	}
	if off := stored.Modified.Sub(info.Modified); off < 0 || off >= 2*time.Second {
		k.Errorf("copied at %v, stored at %v", stored.Modified, info.Modified)
	}
	k.put("from", []byte("another"))
	k.holds("to", content)
}

func (k *kit) copyMatch() {
	stored := k.put("from", []byte("one"))
	c := &storage.Copy{Name: k.name("to"), Source: storage.Source{Name: k.name("from")}, SourceMatch: stored.ETag}
	_, err := k.own.Copy(k.ctx(), c)
	k.must("copy", err)
	k.put("from", []byte("two"))
	_, err = k.own.Copy(k.ctx(), c)
	k.want("copy of another object", err, storage.ErrPrecondition)
	k.holds("to", []byte("one"))
}

func (k *kit) copyOnto() {
	stored := k.put("o", []byte("data"))
	_, err := k.own.Copy(k.ctx(), &storage.Copy{
		Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Meta-New": {"yes"}}, Record: "new",
		Source: storage.Source{Name: k.name("o")}, SourceMatch: stored.ETag, Checksum: "CRC64NVME",
	})
	k.must("copy", err)
	info := k.holds("o", []byte("data"))
	if info.Meta.Get("X-Amz-Meta-New") != "yes" || k.recordOf(info) != "new" {
		k.Errorf("metadata are %v, reserved %v", info.Meta, info.Reserved)
	}
	head, err := k.own.Head(k.ctx(), &storage.Get{Name: k.name("o"), Checksums: true})
	k.must("head", err)
	if head.Meta.Get("X-Amz-Checksum-Crc64nvme") == "" {
		k.Errorf("the storage computed no checksum: %v", head.Meta)
	}
}

func (k *kit) copyTags() {
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("from"), Meta: storage.Metadata{"X-Amz-Tagging": {"a=1"}}, Body: body(nil)})
	k.must("put", err)
	for how, want := range map[string]string{"": "1", "COPY": "1", "REPLACE": "2"} {
		c := &storage.Copy{Name: k.name("to" + how), Meta: storage.Metadata{}, Source: storage.Source{Name: k.name("from")}, Tagging: how}
		if how == "REPLACE" {
			c.Meta.Set("X-Amz-Tagging", "a=2")
		}
		_, err := k.own.Copy(k.ctx(), c)
		k.must("copy", err)
		tags, err := k.own.Tags(k.ctx(), &storage.Get{Name: c.Name})
		if err != nil || tags["a"] != want {
			k.Errorf("tags with directive %q are %v, %v", how, tags, err)
		}
	}
}

func (k *kit) onePart() {
	k.put("o", []byte("12345"))
	parts, err := k.own.ObjectParts(k.ctx(), &storage.Get{Name: k.name("o")})
	k.must("parts", err)
	if len(parts) > 1 || len(parts) == 1 && (parts[0].Number != 1 || parts[0].Size != 5) {
		k.Errorf("parts of one write are %v", parts)
	}
}

// oddKeys are canonical, none is a folder of another, and no two differ in what some
// storages take for the same.
var oddKeyNames = []string{
	"plain", "with space", "plus+plus", "per%cent", "per%2Fcent", "tilde~", "star*", "a&b<c>\"d'", "question?mark", "hash#", "semi;colon", "é", "e\u0301", "日本語/キー",
	"\U0001f600", "\u200b", "tab\there", "newline\nhere", "bell\x07", "one\x01", "del\x7f", "dir/sub/leaf", "dir/sub-leaf", "dir-other", "dir.other", "dir0", "Upper", "upper",
	strings.Repeat("k", 255), strings.Repeat("long/", 200) + "end",
}

func (k *kit) oddKeys() {
	for i, key := range oddKeyNames {
		content := data(uint64(i), i+1) //nolint:gosec // not negative
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name(key), Body: body(content)})
		if err != nil {
			k.Errorf("put %q: %v", key, err)
		}
	}
	for i, key := range oddKeyNames {
		k.holds(key, data(uint64(i), i+1)) //nolint:gosec // not negative
	}
	first, last := oddKeyNames[0], oddKeyNames[len(oddKeyNames)-1]
	_, err := k.own.Copy(k.ctx(), &storage.Copy{Name: k.name(first), Source: storage.Source{Name: k.name(last), Slash: true}})
	k.must("copy", err)
	for i, key := range oddKeyNames[1:] {
		_, err := k.own.Copy(k.ctx(), &storage.Copy{Name: k.name(first), Source: storage.Source{Name: k.name(key)}})
		k.must(fmt.Sprintf("copy of %q", key), err)
		k.holds(first, data(uint64(i+1), i+2)) //nolint:gosec // not negative
	}
	for _, key := range oddKeyNames {
		_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name(key)})
		k.must("delete", err)
		k.isGone(key)
	}
}
