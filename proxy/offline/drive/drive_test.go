package drive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/tinylib/msgp/msgp"

	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// made is a version as a test makes it.
type made struct {
	id         byte
	kind       uint8
	flags      uint8
	parts      []string
	inline     bool
	shards     int
	system     map[string]string
	meta       map[string]string
	sizeIsOff  bool
	partsAtOff bool
}

const testBlock = 10

// content is data as it lies on a drive: a checksum before each block.
func content(data string) []byte {
	var out []byte
	for block := range slices.Chunk([]byte(data), testBlock) {
		out = append(append(out, bytes.Repeat([]byte{0xee}, hashSize)...), block...)
	}
	return out
}

func (m *made) body() []byte {
	size := int64(len(strings.Join(m.parts, "")))
	if m.sizeIsOff {
		size++
	}
	b := msgp.AppendMapHeader(nil, 2)
	b = msgp.AppendString(b, "Type")
	b = msgp.AppendUint8(b, m.kind)
	b = msgp.AppendString(b, "V2Obj")
	b = msgp.AppendMapHeader(b, 9)
	b = msgp.AppendBytes(msgp.AppendString(b, "DDir"), bytes.Repeat([]byte{m.id}, 16))
	b = msgp.AppendInt(msgp.AppendString(b, "EcM"), m.shards)
	b = msgp.AppendInt64(msgp.AppendString(b, "EcBSize"), testBlock)
	b = msgp.AppendInt64(msgp.AppendString(b, "Size"), size)
	b = msgp.AppendNil(msgp.AppendString(b, "PartETags"))
	b = msgp.AppendArrayHeader(msgp.AppendString(b, "PartNums"), uint32(len(m.parts)))
	for i := range m.parts {
		b = msgp.AppendInt(b, i*2+1)
	}
	b = msgp.AppendArrayHeader(msgp.AppendString(b, "PartSizes"), uint32(len(m.parts)))
	for _, p := range m.parts {
		b = msgp.AppendInt64(b, int64(len(p)))
	}
	b = msgp.AppendMapHeader(msgp.AppendString(b, "MetaSys"), uint32(len(m.system)))
	for name, value := range m.system {
		b = msgp.AppendBytes(msgp.AppendString(b, name), []byte(value))
	}
	b = msgp.AppendMapHeader(msgp.AppendString(b, "MetaUsr"), uint32(len(m.meta)))
	for name, value := range m.meta {
		b = msgp.AppendString(msgp.AppendString(b, name), value)
	}
	return b
}

func metaOf(all ...*made) []byte {
	versions := msgp.AppendInt(msgp.AppendUint(msgp.AppendUint(nil, 3), 3), len(all))
	inline := msgp.AppendMapHeader([]byte{1}, uint32(len(all)))
	for _, m := range all {
		id := bytes.Repeat([]byte{m.id}, 16)
		head := msgp.AppendArrayHeader(nil, 7)
		head = msgp.AppendBytes(head, id)
		head = msgp.AppendInt64(head, 1_700_000_000_000_000_000)
		head = msgp.AppendBytes(head, []byte("sign"))
		head = msgp.AppendUint8(msgp.AppendUint8(head, m.kind), m.flags)
		head = msgp.AppendUint8(msgp.AppendUint8(head, 0), 1)
		versions = msgp.AppendBytes(msgp.AppendBytes(versions, head), m.body())
		var data []byte
		if m.inline {
			data = content(m.parts[0])
		}
		v := version{id: [16]byte(id)}
		inline = msgp.AppendBytes(msgp.AppendString(inline, v.name()), data)
	}
	return wrap(versions, inline)
}

func wrap(versions, inline []byte) []byte {
	file := binary.LittleEndian.AppendUint16([]byte(magic), 3)
	file = msgp.AppendBytes(file, versions)
	file = msgp.AppendUint32(file, uint32(xxhash.Sum64(versions)))
	return append(file, inline...)
}

// newDrive writes objects, by their folders, to a drive.
func newDrive(t testing.TB, objects map[string][]*made) *Source {
	t.Helper()
	dir := t.TempDir()
	for name, all := range objects {
		put(t, filepath.Join(dir, name, metaFile), metaOf(all...))
		for _, m := range all {
			v := version{id: [16]byte(bytes.Repeat([]byte{m.id}, 16))}
			for i, p := range m.parts {
				if !m.inline && !m.partsAtOff {
					put(t, filepath.Join(dir, name, uuid(v.id), "part."+strconv.Itoa(i*2+1)), content(p))
				}
			}
		}
	}
	put(t, filepath.Join(dir, ownFolder, "format.json"), []byte("{}"))
	if !IsDrive(dir) {
		t.Fatal("not taken for a drive")
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func object(parts ...string) *made {
	return &made{id: 7, kind: typeObject, parts: parts, shards: 1, meta: map[string]string{"etag": "tag", "x-amz-meta-bucketseal": "record", "content-type": "text/plain"}}
}

func readFrom(o *offline.Object, offset int64) (string, error) {
	body, err := o.Body(offset)
	if err != nil {
		return "", err
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	return string(data), err
}

func TestDataIsReadFromEveryOffset(t *testing.T) {
	t.Parallel()
	const text = "0123456789abcdefghijklmnopqrstuvwxyz"
	inline := object(text)
	inline.inline, inline.system = true, map[string]string{"X-Minio-Internal-Inline-Data": "true"}
	s := newDrive(t, map[string][]*made{
		"bucket/one": {object(text)}, "bucket/parts": {object(text[:20], "", text[20:23], text[23:])}, "bucket/inline": {inline}, "bucket/empty": {object("")},
	})
	for name, want := range map[string]string{"one": text, "parts": text, "inline": text, "empty": ""} {
		o, err := s.Get(sse.Name{Bucket: "bucket", Key: name})
		if err != nil || o.Err != nil {
			t.Fatal(err, o.Err)
		}
		if o.Size != int64(len(want)) || o.ETag != "tag" || len(o.Reserved) != 1 || o.Reserved[0] != (storage.MetaEntry{Name: storage.RecordName, Value: "record"}) ||
			o.Meta.Get("Content-Type") != "text/plain" || len(o.Meta) != 1 || !o.Latest || o.Modified.Unix() != 1_700_000_000 {
			t.Errorf("%s: %+v", name, o)
		}
		for offset := range len(want) + 1 {
			if got, err := readFrom(o, int64(offset)); err != nil || got != want[offset:] {
				t.Errorf("%s from %d: %q, %v", name, offset, got, err)
			}
		}
	}
}

func TestWalkFindsEveryVersion(t *testing.T) {
	t.Parallel()
	older := object("older")
	older.id = 8
	free := object("free")
	free.flags = flagFree
	marker := &made{id: 9, kind: typeDelete, parts: nil, shards: 1}
	s := newDrive(t, map[string][]*made{
		"bucket/a": {object("a")}, "bucket/a/b": {object("b")}, "bucket/dir__XLDIR__": {object("")}, "bucket/dir/x": {object("x")},
		"bucket/versions": {marker, free, object("newer"), older}, "other/a": {object("other")},
		"bucket/old": {{id: 1, kind: 3, shards: 1}},
	})
	if err := os.Mkdir(filepath.Join(s.root.Name(), "bucket", "nothing"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(s.root.Name(), "bucket", "broken", metaFile), []byte("broken"))
	if names, err := s.Buckets(); err != nil || !slices.Equal(names, []string{"bucket", "other"}) {
		t.Errorf("buckets %v, %v", names, err)
	}
	walk := func(prefix string) (found []string) {
		err := s.Walk(t.Context(), "bucket", prefix, func(o *offline.Object) error {
			text := o.Name.Key
			switch {
			case o.Marker:
				text += " marker"
			case o.Err != nil:
				text += " broken"
			default:
				data, err := readFrom(o, 0)
				if err != nil {
					t.Error(err)
				}
				text += "=" + data
			}
			if !o.Latest {
				text += " older"
			}
			found = append(found, text)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(found)
		return found
	}
	all := []string{"a/b=b", "a=a", "broken broken", "dir/=", "dir/x=x", "old broken", "versions marker", "versions=newer older", "versions=older older"}
	for prefix, want := range map[string][]string{
		"": all, "a": {"a/b=b", "a=a"}, "a/": {"a/b=b"}, "dir/": {"dir/=", "dir/x=x"}, "dir": {"dir/=", "dir/x=x"}, "none/": nil, "../other": nil,
		"dir/x": {"dir/x=x"},
	} {
		if got := walk(prefix); !slices.Equal(got, want) {
			t.Errorf("below %q: %q, want %q", prefix, got, want)
		}
	}
	for _, key := range []string{"none", "dir", "../other/a", "a/../a", "/a"} {
		if _, err := s.Get(sse.Name{Bucket: "bucket", Key: key}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if o, err := s.Get(sse.Name{Bucket: "bucket", Key: "dir/"}); err != nil || o.Err != nil || o.Size != 0 {
		t.Errorf("dir/: %v", err)
	}
}

func TestWhatIsNotAsStoredIsNotRead(t *testing.T) {
	t.Parallel()
	several, tiered, compressed, off, lost := object("x"), object("x"), object("x"), object("x"), object("x")
	several.shards = 4
	tiered.system = map[string]string{"X-Minio-Internal-transition-status": "complete"}
	compressed.system = map[string]string{"X-Minio-Internal-compression": "klauspost/compress/s2"}
	off.sizeIsOff, lost.partsAtOff = true, true
	s := newDrive(t, map[string][]*made{"bucket/several": {several}, "bucket/tiered": {tiered}, "bucket/compressed": {compressed}, "bucket/off": {off}, "bucket/lost": {lost}})
	for key, want := range map[string]error{"several": ErrDrives, "tiered": nil, "compressed": nil, "off": errMeta} {
		if o, err := s.Get(sse.Name{Bucket: "bucket", Key: key}); err != nil || o.Err == nil || want != nil && !errors.Is(o.Err, want) {
			t.Errorf("%s: %v, %v", key, err, o.Err)
		}
	}
	o, err := s.Get(sse.Name{Bucket: "bucket", Key: "lost"})
	if err != nil || o.Err != nil {
		t.Fatal(err, o.Err)
	}
	if _, err := readFrom(o, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its data: %v", err)
	}
}

func TestCutPartsAreNoEnd(t *testing.T) {
	t.Parallel()
	const text = "0123456789abcdefghijklmnopqrstuvwxyz"
	s := newDrive(t, map[string][]*made{"bucket/k": {object(text)}})
	part := filepath.Join(s.root.Name(), "bucket/k", uuid([16]byte(bytes.Repeat([]byte{7}, 16))), "part.1")
	whole, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(sse.Name{Bucket: "bucket", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		put(t, part, whole[:n])
		for _, offset := range []int64{0, 5, 10, 35} {
			if got, err := readFrom(o, offset); err == nil {
				t.Fatalf("cut to %d of %d bytes, from %d: %q and no error", n, len(whole), offset, got)
			}
		}
	}
}

func TestNothingOutsideOfTheDriveIsRead(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	put(t, filepath.Join(outside, metaFile), metaOf(object("x")))
	s := newDrive(t, map[string][]*made{"bucket/k": {object("x")}})
	if err := os.Symlink(outside, filepath.Join(s.root.Name(), "bucket", "link")); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Get(sse.Name{Bucket: "bucket", Key: "link"}); err == nil && o.Err == nil {
		t.Error("a link led outside")
	}
}

// What a MinIO of 2025 wrote.
func TestFilesOfMinIO(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		ids   []string
		sizes []int64
		parts int
	}{
		"empty":        {[]string{"null"}, []int64{0}, 1},
		"parts":        {[]string{"null"}, []int64{21010273}, 5},
		"two-versions": {[]string{"75f6ac88-1154-4142-b3f4-eab80328159b", "69ff5ce3-0f67-4370-bcdc-0ac6ceca627d"}, []int64{0, 100064}, 1},
		"deleted":      {[]string{"7d1f2dac-a80b-48ae-9d1a-edb63ffec318", "d9cc61d1-3a90-4106-838d-8fad7a4d7a24"}, []int64{0, 100064}, 1},
	} {
		file, err := os.ReadFile("testdata/" + name + ".xl.meta")
		if err != nil {
			t.Fatal(err)
		}
		versions, err := parseMeta(file)
		if err != nil || len(versions) != len(want.ids) {
			t.Fatalf("%s: %d versions, %v", name, len(versions), err)
		}
		for i, v := range versions {
			if v.name() != want.ids[i] || v.size != want.sizes[i] || v.marker != (name == "deleted" && i == 0) {
				t.Errorf("%s: version %d is %s of %d bytes", name, i, v.name(), v.size)
			}
			if v.marker {
				continue
			}
			if err := v.unreadable(); err != nil || len(v.partNums) != want.parts || len(v.meta["etag"]) < 32 {
				t.Errorf("%s: %v, %d parts, ETag %q", name, err, len(v.partNums), v.meta["etag"])
			}
			if record := v.meta[storage.RecordName]; record == "" {
				t.Errorf("%s: no record", name)
			} else if _, err := sse.ParseRecord(record); err != nil {
				t.Error(err)
			}
		}
		for n := range file {
			if versions, err := parseMeta(file[:n]); err == nil && len(versions) > 0 && n < len(file)-len(versions[0].inline)-64 {
				t.Errorf("%s, cut to %d of %d bytes, has %d versions", name, n, len(file), len(versions))
			}
		}
	}
}

func FuzzParseMeta(f *testing.F) {
	f.Add(metaOf(object("x", "y")))
	for _, name := range []string{"empty", "parts", "two-versions", "deleted"} {
		file, err := os.ReadFile("testdata/" + name + ".xl.meta")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 13 { // the checksum would keep the fuzzer out
			if all, rest, err := msgp.ReadBytesZC(file[8:]); err == nil && len(rest) >= 5 {
				file = wrap(all, rest[5:])
			}
		}
		versions, err := parseMeta(file)
		if err != nil {
			if !errors.Is(err, errMeta) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, v := range versions {
			if v.marker || v.err != nil || v.unreadable() != nil || !v.isInline || v.size > 1<<20 {
				continue
			}
			data, err := io.ReadAll(&parts{version: v})
			if err == nil && int64(len(data)) != v.size {
				t.Errorf("%d bytes of %d, and no error", len(data), v.size)
			}
		}
	})
}
