// Package certs reads certificates, private keys and certificate authorities
// from files, and follows those files: what changes is taken up, what cannot be
// used is logged and what was there before stays.
//
// Files are looked at again and again instead of being asked to report changes:
// that also works for mounted secrets, whose links are exchanged above the file,
// and on network file systems.
package certs

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Watcher follows files. It is safe for concurrent use.
type Watcher struct {
	log   *slog.Logger
	mu    sync.Mutex
	items []*item
}

// item is something that is made of files.
type item struct {
	what   string
	files  func() []string
	load   func() error
	stamp  string // of the files when they were last read
	failed string // why they could not be used then; "" if they could
}

// NewWatcher returns a watcher of nothing.
func NewWatcher(log *slog.Logger) *Watcher { return &Watcher{log: log} }

// Follow loads what is made of files, and follows them from then on. An error of
// the first load is returned, and nothing is followed. what is its name in the log.
func (w *Watcher) Follow(what string, files func() []string, load func() error) error {
	i := &item{what: what, files: files, load: load, stamp: stampOf(files())}
	if err := load(); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.items = append(w.items, i)
	return nil
}

// Watch reloads every so often, and whenever hup gives something, until ctx ends.
func (w *Watcher) Watch(ctx context.Context, every time.Duration, hup <-chan os.Signal) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hup:
			asked = true
		case <-tick.C:
		}
		w.Reload(asked)
	}
}

// Reload reads again what has changed, what could not be used the last time,
// and, if it is asked to, everything.
func (w *Watcher) Reload(asked bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.items {
		stamp := stampOf(i.files())
		if stamp == i.stamp && i.failed == "" && !asked {
			continue
		}
		i.stamp = stamp
		if err := i.load(); err != nil {
			// Half-written files are normal for a moment, and are tried again.
			if text := err.Error(); text != i.failed || asked {
				w.log.Error("the new "+i.what+" cannot be used; the old one stays", "error", err)
				i.failed = text
			}
			continue
		}
		i.failed = ""
		w.log.Info("read the " + i.what + " again")
	}
}

// stampOf changes when one of the files does, or when a link on the way to it
// leads elsewhere.
func stampOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(&b, "%s missing\n", file)
			continue
		}
		target, _ := filepath.EvalSymlinks(file)
		fmt.Fprintf(&b, "%s %s %d %d\n", file, target, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}
