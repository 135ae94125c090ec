package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// holder is made of one file, which must not begin with "bad".
type holder struct {
	file    string
	content string
	loads   int
}

func (h *holder) files() []string { return []string{h.file} }

func (h *holder) load() error {
	h.loads++
	data, err := os.ReadFile(h.file)
	if err != nil {
		return err
	}
	if strings.HasPrefix(string(data), "bad") {
		return errors.New(string(data))
	}
	h.content = string(data)
	return nil
}

// followed returns a holder of a new file that a watcher follows, and what is
// reported of it.
func followed(t *testing.T) (*Watcher, *holder, *[]string) {
	t.Helper()
	h, reports := &holder{file: filepath.Join(t.TempDir(), "f")}, new([]string)
	write(t, h.file, "one")
	w := New(Report{
		Failed: func(what string, err error) { *reports = append(*reports, what+" failed: "+err.Error()) },
		Loaded: func(what string) { *reports = append(*reports, what+" loaded") },
	})
	if err := w.Follow("it", h.files, h.load); err != nil || h.content != "one" {
		t.Fatalf("%q, %v", h.content, err)
	}
	return w, h, reports
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a link, or exchanges the one that is there, at once.
func link(t *testing.T, to, from string) {
	t.Helper()
	if err := os.Symlink(to, from+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from+".new", from); err != nil {
		t.Fatal(err)
	}
}

func TestWhatChangesIsReadAgain(t *testing.T) {
	t.Parallel()
	w, h, reports := followed(t)
	for _, step := range []struct {
		name, write string // "" writes nothing
		asked       bool
		loads       int
		content     string
		reports     []string
	}{
		{"nothing changed", "", false, 1, "one", nil},
		{"asked for all the same", "", true, 2, "one", []string{"it loaded"}},
		{"changed", "second", false, 3, "second", []string{"it loaded"}},
		{"nothing more", "", false, 3, "second", nil},
		{"half-written", "bad 1", false, 4, "second", []string{"it failed: bad 1"}},
		{"tried again, said once", "", false, 5, "second", nil},
		{"said again when asked", "", true, 6, "second", []string{"it failed: bad 1"}},
		{"another reason", "bad reason", false, 7, "second", []string{"it failed: bad reason"}},
		{"whole again", "third one", false, 8, "third one", []string{"it loaded"}},
		{"the first reason again", "bad 1", false, 9, "third one", []string{"it failed: bad 1"}},
	} {
		*reports = nil
		if step.write != "" {
			write(t, h.file, step.write)
		}
		w.Reload(step.asked)
		if h.loads != step.loads || h.content != step.content || !slices.Equal(*reports, step.reports) {
			t.Errorf("%s: %d loads, %q, %q; want %d, %q, %q", step.name, h.loads, h.content, *reports, step.loads, step.content, step.reports)
		}
	}
}

func TestAFirstLoadThatFailsIsReturnedAndNotFollowed(t *testing.T) {
	t.Parallel()
	h := &holder{file: filepath.Join(t.TempDir(), "f")}
	w := New(Report{})
	if err := w.Follow("it", h.files, h.load); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	write(t, h.file, "one")
	w.Reload(true)
	if h.loads != 1 {
		t.Errorf("%d loads", h.loads)
	}
}

func TestWhatWasLoadedBeforeIsFollowedFromThere(t *testing.T) {
	t.Parallel()
	h := &holder{file: filepath.Join(t.TempDir(), "f")}
	write(t, h.file, "one")
	w := New(Report{})
	w.Add("it", h.files, h.load)
	w.Reload(false)
	if h.loads != 0 {
		t.Errorf("%d loads of what did not change", h.loads)
	}
	write(t, h.file, "second")
	w.Reload(false)
	if h.content != "second" {
		t.Errorf("%q", h.content)
	}
}

// A load that fails may have taken up a part: files that are as before are not what
// is in force.
func TestWhatFailedIsReadAgainAlsoIfTheFilesAreAsBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := &holder{file: filepath.Join(dir, "f")}
	write(t, filepath.Join(dir, "v1"), "one")
	write(t, filepath.Join(dir, "v2"), "bad")
	link(t, "v1", h.file)
	var reports []string
	w := New(Report{Loaded: func(string) { reports = append(reports, h.content) }})
	if err := w.Follow("it", h.files, h.load); err != nil {
		t.Fatal(err)
	}
	link(t, "v2", h.file)
	w.Reload(false)
	link(t, "v1", h.file)
	w.Reload(false)
	w.Reload(false)
	if h.loads != 3 || !slices.Equal(reports, []string{"one"}) {
		t.Errorf("%d loads, %q", h.loads, reports)
	}
}

// What changes while it is being read is read again.
func TestAChangeDuringALoadIsNotLost(t *testing.T) {
	t.Parallel()
	h := &holder{file: filepath.Join(t.TempDir(), "f")}
	write(t, h.file, "one")
	w := New(Report{})
	w.Add("it", h.files, func() error {
		err := h.load()
		if h.loads == 1 {
			write(t, h.file, "written meanwhile")
		}
		return err
	})
	write(t, h.file, "second")
	w.Reload(false)
	w.Reload(false)
	if h.content != "written meanwhile" || h.loads != 2 {
		t.Errorf("%q after %d loads", h.content, h.loads)
	}
}

func TestWatchEndsWithItsContextAndReloadsWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var loads atomic.Int64
		w := New(Report{})
		w.Add("it", func() []string { return nil }, func() error { loads.Add(1); return nil })
		ctx, cancel := context.WithCancel(t.Context())
		asked, ended := make(chan os.Signal), make(chan struct{})
		go func() { w.Watch(ctx, time.Second, asked); close(ended) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := loads.Load(); n != 0 {
			t.Errorf("%d loads of what did not change", n)
		}
		asked <- os.Interrupt
		synctest.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads, asked for one", n)
		}
		cancel()
		<-ended
	})
}

func TestFollowingAndReloadingAtOnce(t *testing.T) {
	t.Parallel()
	w, h, _ := followed(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			w.Reload(true)
		}
	}()
	for range 50 {
		if err := w.Follow("other", h.files, func() error { return nil }); err != nil {
			t.Error(err)
		}
	}
	<-done
}

func TestAStampTellsChangesOfFilesAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "..data")
	file := filepath.Join(dir, "secret")
	// Kubernetes mounts secret -> ..data/secret, ..data -> ..VERSION, and exchanges ..data.
	for _, version := range []string{"..v1", "..v2"} {
		write(t, filepath.Join(dir, version, "secret"), version)
		if err := os.Chtimes(filepath.Join(dir, version, "secret"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	link(t, "..v1", data)
	link(t, filepath.Join("..data", "secret"), file)
	seen := []string{Stamp(file)}
	changed := func(step string) {
		t.Helper()
		now := Stamp(file)
		if slices.Contains(seen, now) {
			t.Errorf("%s: no change", step)
		}
		if again := Stamp(file); again != now {
			t.Errorf("%s: changes by itself", step)
		}
		seen = append(seen, now)
	}
	link(t, "..v2", data)
	changed("a link above it, the same size and time")
	if err := os.Chtimes(file, time.Unix(2, 0), time.Unix(2, 0)); err != nil {
		t.Fatal(err)
	}
	changed("time")
	write(t, file, "longer than before")
	changed("size")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	changed("gone")
	if Stamp(file, file) == Stamp(file) || Stamp() != "" {
		t.Error("the number of files does not show")
	}
}

func TestFilesAtAFileAndAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b"), "x")
	write(t, filepath.Join(dir, ".hidden"), "x")
	write(t, filepath.Join(dir, "folder", "x"), "x")
	link(t, "b", filepath.Join(dir, "a-link"))
	link(t, "nowhere", filepath.Join(dir, "dangling"))
	link(t, "folder", filepath.Join(dir, "to-folder"))
	for path, want := range map[string][]string{
		dir:                            {".hidden", "a-link", "b"},
		filepath.Join(dir, "b"):        {"b"},
		filepath.Join(dir, "a-link"):   {"a-link"},
		filepath.Join(dir, "folder"):   {"folder/x"},
		filepath.Join(dir, "dangling"): nil,
		filepath.Join(dir, "none"):     nil,
	} {
		files, err := FilesAt(path)
		for i, file := range files {
			files[i], _ = filepath.Rel(dir, file)
		}
		if !slices.Equal(files, want) || errors.Is(err, os.ErrNotExist) != (want == nil) {
			t.Errorf("%s: %q, %v; want %q", path, files, err, want)
		}
	}
}

func TestAValueHoldsOnceItWasReadAlikeForLongEnough(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	s := Steady{For: 4 * time.Second, Now: func() time.Time { return now }}
	for i, step := range []struct {
		after time.Duration
		value []string
		holds bool
	}{
		{0, []string{"a"}, false},
		{3 * time.Second, []string{"a"}, false},
		{time.Second, []string{"a"}, true},
		{time.Second, []string{"b"}, false},
		{5 * time.Second, []string{"a"}, false}, // another in between
		{5 * time.Second, []string{"a"}, true},
	} {
		now = now.Add(step.after)
		if got := s.Holds(step.value); got != step.holds {
			t.Errorf("step %d: %t", i, got)
		}
	}
	s.Forget()
	if s.Holds([]string{"a"}) {
		t.Error("what was forgotten holds")
	}
	if at := (Steady{}); !at.Holds("a") {
		t.Error("without a time to wait, nothing waits")
	}
}
