// Package watch follows files: what is made of them is made anew when they change,
// and stays as it was while they cannot be used.
//
// Files are looked at again and again instead of being asked to report changes:
// that also works for mounted secrets, whose links are exchanged above the file,
// and on network file systems.
package watch

import (
	"context"
	"os"
	"sync"
	"time"
)

// Watcher follows files. It is safe for concurrent use.
type Watcher struct {
	report Report
	mu     sync.Mutex
	items  []*item
}

// Report is told what became of changes, by the name of what is made of the files.
// Both functions are called one at a time, and may be nil.
type Report struct {
	// Failed is called when files have changed, but cannot be used: once for each
	// reason, and whenever Reload was asked for.
	Failed func(what string, err error)
	// Loaded is called after files were read again.
	Loaded func(what string)
}

// item is something that is made of files.
type item struct {
	what   string
	files  func() []string
	load   func() error
	stamp  string // of the files when they were last read
	failed string // why they could not be used then; "" if they could
}

// New returns a watcher of nothing.
func New(report Report) *Watcher { return &Watcher{report: report} }

// Follow loads what is made of files, and follows them from then on. An error of
// the first load is returned, and nothing is followed. what is its name in reports;
// files may return others each time.
func (w *Watcher) Follow(what string, files func() []string, load func() error) error {
	i := &item{what: what, files: files, load: load, stamp: Stamp(files()...)}
	if err := load(); err != nil {
		return err
	}
	w.add(i)
	return nil
}

// Add follows files that were loaded before, from the state they are in now.
func (w *Watcher) Add(what string, files func() []string, load func() error) {
	w.add(&item{what: what, files: files, load: load, stamp: Stamp(files()...)})
}

func (w *Watcher) add(i *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = append(w.items, i)
}

// Watch reloads every so often, and whenever asked gives something, until ctx ends.
// asked may be nil.
func (w *Watcher) Watch(ctx context.Context, every time.Duration, asked <-chan os.Signal) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			w.Reload(true)
		case <-tick.C:
			w.Reload(false)
		}
	}
}

// Reload reads again what has changed, what could not be used the last time,
// and, if it is asked to, everything.
//
// What failed is read again even if the files are again as they were before: a load
// that fails may have taken up a part of what it read.
func (w *Watcher) Reload(asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.items {
		// What changes while it is being read shows in the next round.
		stamp := Stamp(i.files()...)
		if stamp == i.stamp && i.failed == "" && !asked {
			continue
		}
		i.stamp = stamp
		if err := i.load(); err != nil {
			// Half-written files are normal for a moment, and are tried again.
			if text := err.Error(); text != i.failed || asked {
				i.failed = text
				if w.report.Failed != nil {
					w.report.Failed(i.what, err)
				}
			}
			continue
		}
		i.failed = ""
		if w.report.Loaded != nil {
			w.report.Loaded(i.what)
		}
	}
}
