package storagetest

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// versions are tests of buckets that keep versions.
var versions = map[string]func(*kit){
	"OldVersionsStay":      (*kit).oldVersions,
	"DeletionLeavesMarker": (*kit).markers,
	"DeleteVersion":        (*kit).deleteVersion,
	"PagesOfVersions":      (*kit).versionPages,
	"CopyOfAVersion":       (*kit).copyVersion,
	"VersionsWithMetadata": (*kit).versionMetadata,
	"PutInsteadOfVersion":  (*kit).insteadOfVersion,
}

// putVersions stores an object a number of times and returns its ids from the oldest.
func (k *kit) putVersions(key string, n int) (ids []string) {
	k.Helper()
	for i := range n {
		stored := k.put(key, []byte(fmt.Sprint(key, " ", i)))
		if stored.Version == "" || slices.Contains(ids, stored.Version) {
			k.Fatalf("version %q after %q", stored.Version, ids)
		}
		ids = append(ids, stored.Version)
	}
	return ids
}

func (k *kit) oldVersions() {
	ids := k.putVersions("o", 4)
	for i, id := range ids {
		info, got, err := k.read(&storage.Get{Name: k.name("o"), Version: id})
		k.must("get", err)
		if want := fmt.Sprint("o ", i); string(got) != want || info.Version != id {
			k.Errorf("version %s is %q, %q, not %q", id, info.Version, got, want)
		}
	}
	if info := k.holds("o", []byte("o 3")); info.Version != ids[3] {
		k.Errorf("the current version is %q", info.Version)
	}
}

func (k *kit) markers() {
	ids := k.putVersions("o", 2)
	answer, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o")})
	k.must("delete", err)
	marker := answer.Get("X-Amz-Version-Id")
	if answer.Get("X-Amz-Delete-Marker") != "true" || marker == "" {
		k.Errorf("the answer to a deletion is %v", answer)
	}
	k.isGone("o")
	_, err = k.own.Head(k.ctx(), &storage.Get{Name: k.name("o"), Version: marker})
	k.want("head of a marker", err, storage.ErrNotFound)
	if _, got, err := k.read(&storage.Get{Name: k.name("o"), Version: ids[1]}); err != nil || string(got) != "o 1" {
		k.Errorf("the version below the marker: %q, %v", got, err)
	}
	all := k.listVersions(nil, 0)
	k.same("versions", all, []string{"o " + marker + " latest deleted", "o " + ids[1], "o " + ids[0]})
	k.same("objects", k.list(nil).keys, nil)
	_, err = k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o"), Version: marker})
	k.must("delete", err)
	k.holds("o", []byte("o 1"))
}

func (k *kit) deleteVersion() {
	ids := k.putVersions("o", 3)
	for range 2 { // what is not there is no error
		_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o"), Version: ids[2]})
		k.must("delete", err)
		k.holds("o", []byte("o 1"))
	}
	_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o"), Version: ids[0]})
	k.must("delete", err)
	k.holds("o", []byte("o 1"))
	_, _, err = k.read(&storage.Get{Name: k.name("o"), Version: ids[0]})
	k.want("get of a version that was removed", err, storage.ErrNotFound)
	k.same("versions", k.listVersions(nil, 0), []string{"o " + ids[1] + " latest"})
	_, err = k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o"), Version: ids[1]})
	k.must("delete", err)
	k.isGone("o")
	k.same("versions", k.listVersions(nil, 0), nil)
}

// listVersions reads a listing of versions page by page, of size entries, 0 for the
// default, as "KEY ID", "latest" and "deleted".
func (k *kit) listVersions(parameters map[string]string, size int) (all []string) {
	k.Helper()
	q := map[string]string{}
	for name, value := range parameters {
		q[name] = value
	}
	if size > 0 {
		q["max-keys"] = fmt.Sprint(size)
	}
	for range 1000 {
		page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Versions: true, Parameters: q})
		k.must("list", err)
		for _, e := range page.Entries {
			line := k.decoded(e.Key) + " " + e.VersionID
			if e.IsLatest == "true" {
				line += " latest"
			}
			if e.DeleteMarker {
				line += " deleted"
			}
			all = append(all, line)
		}
		for _, p := range page.Prefixes {
			all = append(all, k.decoded(p))
		}
		if !page.Truncated {
			return all
		}
		q["key-marker"] = k.decoded(page.NextKeyMarker)
		delete(q, "version-id-marker")
		if page.NextVersionMarker != "" {
			q["version-id-marker"] = page.NextVersionMarker
		}
	}
	k.Fatal("the listing does not end")
	return all
}

func (k *kit) versionPages() {
	var want []string
	for _, key := range []string{"a", "b/1", "b/2", "c d"} {
		ids := k.putVersions(key, 3)
		slices.Reverse(ids)
		for i, id := range ids {
			line := key + " " + id
			if i == 0 {
				line += " latest"
			}
			want = append(want, line)
		}
	}
	for _, size := range []int{0, 1, 2, 3, 5, 11, 12, 13} {
		k.same(fmt.Sprint("pages of ", size), k.listVersions(nil, size), want)
	}
	k.same("versions of a prefix", k.listVersions(map[string]string{"prefix": "b/"}, 4), want[3:9])
	k.same("versions behind a key", k.listVersions(map[string]string{"key-marker": "b/1"}, 0), want[6:])
	k.same("versions and folders", k.listVersions(map[string]string{"delimiter": "/"}, 0), slices.Concat(want[:3], want[9:], []string{"b/"}))
}

func (k *kit) copyVersion() {
	ids := k.putVersions("o", 3)
	stored, err := k.own.Copy(k.ctx(), &storage.Copy{Name: k.name("copy"), Source: storage.Source{Name: k.name("o"), Version: ids[1]}})
	k.must("copy", err)
	if info := k.holds("copy", []byte("o 1")); info.Version != stored.Version || stored.Version == "" {
		k.Errorf("version %q, stored as %q", info.Version, stored.Version)
	}
	_, err = k.own.Copy(k.ctx(), &storage.Copy{Name: k.name("o"), Record: "back", Source: storage.Source{Name: k.name("o"), Version: ids[0]}})
	k.must("copy", err)
	if info := k.holds("o", []byte("o 0")); k.recordOf(info) != "back" {
		k.Errorf("reserved %v", info.Reserved)
	}
	if _, got, err := k.read(&storage.Get{Name: k.name("o"), Version: ids[2]}); err != nil || !bytes.Equal(got, []byte("o 2")) {
		k.Errorf("the version below a copy: %q, %v", got, err)
	}
}

func (k *kit) versionMetadata() {
	if !k.s.Capabilities().ListsMetadata {
		k.Skip("the storage lists no metadata")
	}
	for _, text := range []string{"old", "new"} {
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Record: text, Body: body([]byte(text))})
		k.must("put", err)
	}
	_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o")})
	k.must("delete", err)
	page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Versions: true, Metadata: true})
	k.must("list", err)
	var got []string
	for _, e := range page.Entries {
		for _, m := range e.Metadata {
			if m.Name == storage.RecordName {
				got = append(got, m.Value)
			}
		}
	}
	k.same("records", got, []string{"new", "old"})
}

// insteadOfVersion puts another content in the place of an old version: it has the id and
// the place of it, the others stay, and conditions are judged on that version.
func (k *kit) insteadOfVersion() {
	if !k.s.Capabilities().ReplacesVersions {
		k.Skip("the storage cannot")
	}
	ids := make([]string, 3)
	for i := range ids {
		ids[i] = k.put("o", []byte(fmt.Sprint("o ", i))).Version
		time.Sleep(5 * time.Millisecond) // listings tell milliseconds
	}
	_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name("o")})
	k.must("delete", err)
	before := k.listVersions(nil, 0)
	page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Versions: true})
	k.must("list", err)
	var old storage.Entry
	for _, e := range page.Entries {
		if e.VersionID == ids[1] {
			old = e
		}
	}
	modified, err := time.Parse(time.RFC3339, old.LastModified)
	k.must("age in a listing", err)
	put := func(version, match string) error {
		_, err := k.own.Put(k.ctx(), &storage.Put{
			Name: k.name("o"), Body: body([]byte("another")), Record: "record", Conditions: storage.Conditions{IfMatch: match},
			Instead: &storage.Instead{Version: version, Modified: modified},
		})
		return err
	}
	k.want("put with the ETag of another version", put(ids[1], etagOf([]byte("o 2"))), storage.ErrPrecondition)
	k.want("put instead of what does not exist", put("00000000-0000-4000-8000-00000000dead", old.ETag), storage.ErrNotFound)
	k.must("put instead", put(ids[1], old.ETag))
	k.same("versions", k.listVersions(nil, 0), before)
	for i, want := range []string{"o 0", "another", "o 2"} {
		info, got, err := k.read(&storage.Get{Name: k.name("o"), Version: ids[i]})
		if err != nil || string(got) != want {
			k.Errorf("version %d: %q, %v", i, got, err)
		}
		if i == 1 && (len(info.Reserved) != 1 || !info.Modified.Equal(modified.Truncate(time.Second))) {
			k.Errorf("the other content has the record %v and the age %v", info.Reserved, info.Modified)
		}
	}
}
