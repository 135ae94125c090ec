package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/system"
)

// RunSystem holds a system bucket to what package system needs of it. open returns an
// empty one.
func RunSystem(t *testing.T, open func(t *testing.T) system.Objects) {
	for name, test := range map[string]func(*systemKit){
		"ObjectsAreSwapped":       (*systemKit).swapped,
		"ManySwapOneObject":       (*systemKit).race,
		"NotesAreListed":          (*systemKit).notes,
		"NotesAreDeleted":         (*systemKit).deleted,
		"NotesAreChanged":         (*systemKit).changed,
		"NotesComeInPages":        (*systemKit).pages,
		"NotesAreCreatedOnlyOnce": (*systemKit).once,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&systemKit{t, open(t)})
		})
	}
}

type systemKit struct {
	*testing.T
	o system.Objects
}

func (k *systemKit) ctx() context.Context { return k.Context() }

func (k *systemKit) want(what string, err, target error) {
	k.Helper()
	if !errors.Is(err, target) {
		k.Fatalf("%s: %v, not %v", what, err, target)
	}
}

func (k *systemKit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *systemKit) swapped() {
	_, _, err := k.o.Get(k.ctx(), "rules", "")
	k.want("get of nothing", err, system.ErrNotFound)
	first, err := k.o.Put(k.ctx(), "rules", []byte("1"), "")
	k.must(err)
	_, err = k.o.Put(k.ctx(), "rules", []byte("2"), "")
	k.want("a second creation", err, system.ErrConflict)
	second, err := k.o.Put(k.ctx(), "rules", []byte("2"), first)
	k.must(err)
	_, err = k.o.Put(k.ctx(), "rules", []byte("3"), first)
	k.want("a replacement of what was replaced", err, system.ErrConflict)
	got, etag, err := k.o.Get(k.ctx(), "rules", first)
	k.must(err)
	if string(got) != "2" || etag != second {
		k.Errorf("%q, %q, stored as %q", got, etag, second)
	}
	_, _, err = k.o.Get(k.ctx(), "rules", second)
	k.want("get of what is known", err, system.ErrNotModified)
}

func (k *systemKit) race() {
	etag, err := k.o.Put(k.ctx(), "rules", []byte("old"), "")
	k.must(err)
	var wg sync.WaitGroup
	errs := make([]error, rivals)
	for i := range rivals {
		wg.Go(func() { _, errs[i] = k.o.Put(k.ctx(), "rules", []byte(fmt.Sprint(i)), etag) })
	}
	wg.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner != "":
			k.Errorf("%s and %d won", winner, i)
		case err == nil:
			winner = fmt.Sprint(i)
		default:
			k.want("a loser", err, system.ErrConflict)
		}
	}
	if got, _, err := k.o.Get(k.ctx(), "rules", ""); err != nil || string(got) != winner {
		k.Errorf("%q won, %q is there, %v", winner, got, err)
	}
}

func (k *systemKit) notes() {
	long := strings.Repeat("v", 20_000)
	for _, name := range []string{"notes/2", "notes/0", "notes/1", "other"} {
		k.must(k.o.PutNote(k.ctx(), name, long, []byte("body of "+name)))
	}
	k.must(k.o.ReplaceNote(k.ctx(), "notes/1", "another", nil))
	got, more, err := k.o.ListNotes(k.ctx(), "notes/", "notes/0")
	k.must(err)
	if more || len(got) != 2 || got[0].Name != "notes/1" || got[0].Value != "another" || got[1].Name != "notes/2" || got[1].Value != long || got[1].Modified.IsZero() {
		k.Errorf("more %t, notes %.200v", more, got)
	}
	value, err := k.o.GetNote(k.ctx(), "notes/2")
	k.must(err)
	text, err := k.o.GetNoteBody(k.ctx(), "notes/2")
	k.must(err)
	if value != long || string(text) != "body of notes/2" {
		k.Errorf("a note of %d letters with the body %q", len(value), text)
	}
	_, err = k.o.GetNote(k.ctx(), "notes/none")
	k.want("a note that does not exist", err, system.ErrNotFound)
	_, err = k.o.GetNoteBody(k.ctx(), "notes/none")
	k.want("the body of a note that does not exist", err, system.ErrNotFound)
}

// changed is how notes are sealed anew beside others who write and remove them.
func (k *systemKit) changed() {
	listed := func(name string) system.Note {
		got, _, err := k.o.ListNotes(k.ctx(), name, "")
		k.must(err)
		if len(got) != 1 || got[0].ETag == "" {
			k.Fatalf("listed is %v", got)
		}
		return got[0]
	}
	k.must(k.o.PutNote(k.ctx(), "empty", "first", nil))
	k.must(k.o.PutNote(k.ctx(), "note", "first", []byte("12345")))
	former := listed("note")
	if former.Size != 5 || former.ETag == listed("empty").ETag {
		k.Errorf("%v beside %v", former, listed("empty"))
	}
	k.must(k.o.ChangeNote(k.ctx(), "note", "second", []byte("123"), former.ETag))
	k.want("over a note that was changed", k.o.ChangeNote(k.ctx(), "note", "third", nil, former.ETag), system.ErrConflict)
	if now := listed("note"); now.Value != "second" || now.Size != 3 {
		k.Errorf("changed to %v", now)
	}
	empty := listed("empty")
	k.must(k.o.ChangeNote(k.ctx(), "empty", "second", nil, empty.ETag))
	if now := listed("empty"); now.Value != "second" || now.ETag != empty.ETag {
		k.Errorf("%v became %v", empty, now)
	}
	errs := make(chan error, 8)
	current := listed("note").ETag
	for i := range cap(errs) {
		go func() { errs <- k.o.ChangeNote(k.ctx(), "note", fmt.Sprint(i), []byte{byte(i)}, current) }()
	}
	won := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			won++
		} else {
			k.want("a rival", err, system.ErrConflict)
		}
	}
	if won != 1 {
		k.Errorf("%d rivals changed one note", won)
	}
	for _, name := range []string{"empty", "note"} {
		etag := listed(name).ETag
		_, err := k.o.DeleteNotes(k.ctx(), name, nil)
		k.must(err)
		k.want("over a note that was removed", k.o.ChangeNote(k.ctx(), name, "back", nil, etag), system.ErrConflict)
		_, err = k.o.GetNote(k.ctx(), name)
		k.want("a note that was removed", err, system.ErrNotFound)
	}
}

func (k *systemKit) deleted() {
	for i := range 5 {
		k.must(k.o.ReplaceNote(k.ctx(), fmt.Sprint("notes/", i), "value", nil))
		k.must(k.o.ReplaceNote(k.ctx(), fmt.Sprint("other/", i), "value", nil))
	}
	n, err := k.o.DeleteNotes(k.ctx(), "notes/", func(name string) bool { return name == "notes/2" })
	k.must(err)
	if n != 4 {
		k.Errorf("%d notes were deleted", n)
	}
	left := ""
	got, _, err := k.o.ListNotes(k.ctx(), "", "")
	k.must(err)
	for _, note := range got {
		left += note.Name + " "
	}
	if left != "notes/2 other/0 other/1 other/2 other/3 other/4 " {
		k.Errorf("left are %s", left)
	}
	if n, err = k.o.DeleteNotes(k.ctx(), "none/", nil); n != 0 || err != nil {
		k.Errorf("%d, %v", n, err)
	}
	k.must(k.o.PutNote(k.ctx(), "notes/0", "again", nil))
}

func (k *systemKit) pages() {
	const count = 1003
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < count; i += 8 {
				if err := k.o.PutNote(k.ctx(), fmt.Sprintf("n/%04d", i), "v", nil); err != nil {
					k.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	after, seen := "", 0
	for {
		got, more, err := k.o.ListNotes(k.ctx(), "n/", after)
		k.must(err)
		for _, note := range got {
			if note.Name != fmt.Sprintf("n/%04d", seen) {
				k.Fatalf("%s is listed as number %d", note.Name, seen)
			}
			after = note.Name
			seen++
		}
		if !more {
			break
		}
	}
	if seen != count {
		k.Errorf("%d of %d notes are listed", seen, count)
	}
}

func (k *systemKit) once() {
	k.must(k.o.PutNote(k.ctx(), "note", "first", nil))
	k.want("a second note of one name", k.o.PutNote(k.ctx(), "note", "second", nil), system.ErrConflict)
	if value, err := k.o.GetNote(k.ctx(), "note"); err != nil || value != "first" {
		k.Errorf("%q, %v", value, err)
	}
}
