package storagetest

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// uploads are tests of uploads in parts.
var uploads = map[string]func(*kit){
	"UploadIsSeenWhenItIsComplete": (*kit).uploadSeen,
	"PartIsReplaced":               (*kit).partReplaced,
	"CompleteSomeParts":            (*kit).completeSome,
	"CompleteTwice":                (*kit).completeTwice,
	"CompleteOfOtherParts":         (*kit).completeOther,
	"TwoCompleteOneUpload":         (*kit).completeRace,
	"CompleteAgainstAbort":         (*kit).completeOrAbort,
	"Abort":                        (*kit).aborted,
	"UploadsOfOneObjectAreApart":   (*kit).uploadsApart,
	"UnknownUpload":                (*kit).unknownUpload,
	"PagesOfParts":                 (*kit).partPages,
	"PartsOfAnObject":              (*kit).partsOfObject,
	"ReadPartsOfAnObject":          (*kit).readParts,
}

// create begins an upload.
func (k *kit) create(c *storage.CreateUpload) *storage.Upload {
	k.Helper()
	id, err := k.own.CreateUpload(k.ctx(), c)
	k.must("create", err)
	if !regexp.MustCompile(`^[A-Za-z0-9_.~=+-]{1,180}$`).MatchString(id) {
		k.Fatalf("the upload id is %q", id)
	}
	return &storage.Upload{Name: c.Name, ID: id}
}

// part sends a part.
func (k *kit) part(u *storage.Upload, number int, content []byte) storage.CompletePart {
	k.Helper()
	etag, err := k.own.PutPart(k.ctx(), &storage.PutPart{Upload: *u, Number: number, Body: body(content)})
	k.must("part", err)
	if etag != etagOf(content) {
		k.Fatalf("the part's ETag is %q, not its MD5", etag)
	}
	return storage.CompletePart{Number: number, ETag: etag}
}

// complete puts parts together and holds the ETag to what follows from them.
func (k *kit) complete(u *storage.Upload, parts ...storage.CompletePart) *storage.Stored {
	k.Helper()
	stored, err := k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: parts})
	k.must("complete", err)
	if want := wholeETag(parts); unquoted(stored.ETag) != want {
		k.Fatalf("stored as %s, not %s", stored.ETag, want)
	}
	return stored
}

func wholeETag(parts []storage.CompletePart) string {
	h := md5.New() //nolint:gosec // see above
	for _, p := range parts {
		raw, _ := hex.DecodeString(p.ETag)
		_, _ = h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

func (k *kit) uploadSeen() {
	k.put("o", []byte("old"))
	u := k.create(&storage.CreateUpload{Name: k.name("o"), Meta: storage.Metadata{"X-Amz-Meta-Colour": {"red"}, "Content-Type": {"text/plain"}}, Record: "record"})
	second := k.part(u, 2, data(2, 1000)) // in any order
	first := k.part(u, 1, data(1, minPart))
	if info := k.holds("o", []byte("old")); k.recordOf(info) != "" {
		k.Error("the object has the record of an upload that is not complete")
	}
	stored := k.complete(u, first, second)
	info := k.holds("o", append(data(1, minPart), data(2, 1000)...))
	if k.recordOf(info) != "record" || info.Meta.Get("X-Amz-Meta-Colour") != "red" || info.Meta.Get("Content-Type") != "text/plain" {
		k.Errorf("metadata are %v, reserved %v", info.Meta, info.Reserved)
	}
	if unquoted(info.ETag) != unquoted(stored.ETag) || info.Version != stored.Version {
		k.Errorf("stored as %q, version %q, answered %q, version %q", info.ETag, info.Version, stored.ETag, stored.Version)
	}
}

func (k *kit) partReplaced() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	old := k.part(u, 1, []byte("a longer part"))
	again := k.part(u, 1, []byte("a part"))
	_, err := k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: []storage.CompletePart{old}})
	if k.answer(err) == nil {
		k.Errorf("complete with the part that was replaced: %v", err)
	}
	k.isGone("o")
	k.complete(u, again)
	k.holds("o", []byte("a part"))
}

func (k *kit) completeSome() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	k.part(u, 1, data(1, 100))
	second, fifth := k.part(u, 2, data(2, minPart)), k.part(u, 5, data(5, minPart+1))
	k.part(u, 7, data(7, 100))
	ninth := k.part(u, 9, data(9, 1))
	k.complete(u, second, fifth, ninth)
	k.holds("o", bytes.Join([][]byte{data(2, minPart), data(5, minPart+1), data(9, 1)}, nil))
}

func (k *kit) completeTwice() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	p := k.part(u, 1, []byte("part"))
	k.complete(u, p)
	k.put("o", []byte("newer"))
	_, err := k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: []storage.CompletePart{p}})
	k.want("second complete", err, storage.ErrNoSuchUpload)
	k.holds("o", []byte("newer"))
	k.ended(u)
}

// ended fails the test unless nothing can be done with an upload any more.
func (k *kit) ended(u *storage.Upload) {
	k.Helper()
	_, err := k.own.PutPart(k.ctx(), &storage.PutPart{Upload: *u, Number: 1, Body: body([]byte("late"))})
	k.want("part", err, storage.ErrNoSuchUpload)
	_, err = k.own.ListParts(k.ctx(), &storage.ListParts{Upload: *u})
	k.want("list parts", err, storage.ErrNoSuchUpload)
	_, err = k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: []storage.CompletePart{{Number: 1, ETag: etagOf([]byte("late"))}}})
	k.want("complete", err, storage.ErrNoSuchUpload)
	if err = k.own.Abort(k.ctx(), u); err != nil {
		k.want("abort", err, storage.ErrNoSuchUpload)
	}
}

func (k *kit) completeOther() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	first, second := k.part(u, 1, data(1, minPart)), k.part(u, 2, []byte("2"))
	for what, parts := range map[string][]storage.CompletePart{
		"a part that was not sent": {first, {Number: 3, ETag: second.ETag}},
		"a part of another ETag":   {{Number: 1, ETag: second.ETag}, second},
		"descending parts":         {second, first},
	} {
		_, err := k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: parts})
		if k.answer(err) == nil {
			k.Errorf("%s: %v", what, err)
		}
		k.isGone("o")
	}
	k.complete(u, first, second)
	k.holds("o", append(data(1, minPart), '2'))
}

func (k *kit) completeRace() {
	for round := range 5 {
		key := fmt.Sprint("o", round)
		u := k.create(&storage.CreateUpload{Name: k.name(key)})
		contents := [2][]byte{[]byte("first"), []byte("second")}
		parts := [2]storage.CompletePart{k.part(u, 1, contents[0]), k.part(u, 2, contents[1])}
		errs := [2]error{}
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				_, errs[i] = k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: parts[i : i+1]})
			})
		}
		wg.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		k.must("the winner", errs[winner])
		k.want("the loser", errs[1-winner], storage.ErrNoSuchUpload)
		k.holds(key, contents[winner])
	}
}

func (k *kit) completeOrAbort() {
	for round := range 10 {
		key := fmt.Sprint("o", round)
		u := k.create(&storage.CreateUpload{Name: k.name(key)})
		content := data(uint64(round), 1000) //nolint:gosec // not negative
		p := k.part(u, 1, content)
		var completed, aborted error
		var wg sync.WaitGroup
		wg.Go(func() {
			_, completed = k.own.Complete(k.ctx(), &storage.Complete{Upload: *u, Parts: []storage.CompletePart{p}})
		})
		wg.Go(func() { aborted = k.own.Abort(k.ctx(), u) })
		wg.Wait()
		if aborted != nil {
			k.want("abort", aborted, storage.ErrNoSuchUpload)
		}
		if completed == nil {
			k.holds(key, content)
		} else {
			if k.answer(completed) == nil {
				k.Errorf("complete: %v", completed)
			}
			k.isGone(key)
		}
	}
}

func (k *kit) aborted() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	k.part(u, 1, []byte("part"))
	k.must("abort", k.own.Abort(k.ctx(), u))
	k.ended(u)
	k.isGone("o")
}

func (k *kit) uploadsApart() {
	one, two := k.create(&storage.CreateUpload{Name: k.name("o"), Record: "one"}), k.create(&storage.CreateUpload{Name: k.name("o"), Record: "two"})
	if one.ID == two.ID {
		k.Fatal("two uploads have one id")
	}
	first, second := k.part(one, 1, []byte("one")), k.part(two, 1, []byte("two"))
	k.complete(two, second)
	if info := k.holds("o", []byte("two")); k.recordOf(info) != "two" {
		k.Errorf("reserved %v", info.Reserved)
	}
	k.complete(one, first)
	if info := k.holds("o", []byte("one")); k.recordOf(info) != "one" {
		k.Errorf("reserved %v", info.Reserved)
	}
}

func (k *kit) unknownUpload() {
	k.ended(&storage.Upload{Name: k.name("o"), ID: "bucketseal-never-was"})
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	k.part(u, 1, []byte("part"))
	k.ended(&storage.Upload{Name: k.name("another"), ID: u.ID})
	page, err := k.own.ListParts(k.ctx(), &storage.ListParts{Upload: *u})
	if err != nil || len(page.Parts) != 1 {
		k.Errorf("the upload has %v, %v", page, err)
	}
}

func (k *kit) partPages() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	numbers := []int{1, 2, 3, 10, 100, 9999, 10000}
	for _, n := range numbers {
		k.part(u, n, data(uint64(n), n)) //nolint:gosec // not negative
	}
	var got []int
	for marker := 0; ; {
		page, err := k.own.ListParts(k.ctx(), &storage.ListParts{
			Upload: *u, Parameters: map[string]string{"max-parts": "3", "part-number-marker": strconv.Itoa(marker)},
		})
		k.must("list parts", err)
		if len(page.Parts) > 3 || len(page.Parts) == 0 || page.MaxParts != "3" {
			k.Fatalf("a page of %d parts, max-parts %q", len(page.Parts), page.MaxParts)
		}
		for _, p := range page.Parts {
			if unquoted(p.ETag) != etagOf(data(uint64(p.PartNumber), p.PartNumber)) || p.Size != int64(p.PartNumber) || p.LastModified == "" { //nolint:gosec // not negative
				k.Errorf("part %v", p)
			}
			got = append(got, p.PartNumber)
			marker = p.PartNumber
		}
		if !page.IsTruncated {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(numbers) {
		k.Errorf("parts %v, not %v", got, numbers)
	}
}

// putTogether stores an object of parts with these numbers, and returns their contents.
func (k *kit) putTogether(key string, numbers ...int) (contents [][]byte) {
	k.Helper()
	u := k.create(&storage.CreateUpload{Name: k.name(key)})
	var parts []storage.CompletePart
	for i, n := range numbers {
		content := data(uint64(n), minPart+i) //nolint:gosec // not negative
		if i == len(numbers)-1 {
			content = content[:3]
		}
		contents = append(contents, content)
		parts = append(parts, k.part(u, n, content))
	}
	k.complete(u, parts...)
	return contents
}

func (k *kit) partsOfObject() {
	for _, numbers := range [][]int{{1, 2, 3}, {2, 5, 9}} {
		contents := k.putTogether("o", numbers...)
		got, err := k.own.ObjectParts(k.ctx(), &storage.Get{Name: k.name("o")})
		k.must("parts", err)
		if len(got) != len(numbers) {
			k.Fatalf("parts are %v", got)
		}
		for i, p := range got {
			if p.Number != numbers[i] || p.Size != int64(len(contents[i])) {
				k.Errorf("part %d of %v is %v", i, numbers, p)
			}
		}
	}
}

func (k *kit) readParts() {
	contents := k.putTogether("o", 1, 2, 3)
	offset := int64(0)
	for i, want := range contents {
		g := &storage.Get{Name: k.name("o"), Part: i + 1}
		info, content, err := k.read(g)
		k.must("part", err)
		at := sse.Range{Offset: offset, Length: int64(len(want))}
		if !bytes.Equal(content, want) || !info.Part || info.At != at {
			k.Errorf("part %d: part %t, %v, not %v", i+1, info.Part, info.At, at)
		}
		head, err := k.own.Head(k.ctx(), g)
		k.must("head", err)
		if head.At != at || !head.Part {
			k.Errorf("head of part %d: part %t, %v, not %v", i+1, head.Part, head.At, at)
		}
		offset += at.Length
	}
	_, _, err := k.read(&storage.Get{Name: k.name("o"), Part: 4})
	k.want("a part that the object does not have", err, storage.ErrRange)
	k.putTogether("gaps", 2, 5, 9)
	_, all, err := k.read(&storage.Get{Name: k.name("gaps")})
	k.must("get", err)
	for _, number := range []int{2, 5, 9} { // which one it is the storage says
		info, content, err := k.read(&storage.Get{Name: k.name("gaps"), Part: number})
		k.must("part", err)
		if !info.Part || !bytes.Equal(content, all[info.At.Offset:info.At.Offset+info.At.Length]) {
			k.Errorf("part %d: part %t, other bytes than %v", number, info.Part, info.At)
		}
	}
	_, _, err = k.read(&storage.Get{Name: k.name("gaps"), Part: 3})
	k.want("a number that no part has", err, storage.ErrRange)
}
