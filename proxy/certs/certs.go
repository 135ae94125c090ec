// Package certs reads certificates, private keys and certificate authorities
// from files, and follows those files: what changes is taken up, what cannot be
// used is logged and what was there before stays.
package certs

import (
	"log/slog"

	"github.com/bucketseal/bucketseal/operator/watch"
)

// Watcher follows files. It is safe for concurrent use.
type Watcher struct {
	*watch.Watcher
	log     *slog.Logger
	holders holders
}

// NewWatcher returns a watcher of nothing, which logs what becomes of changes.
func NewWatcher(log *slog.Logger) *Watcher {
	return &Watcher{log: log, Watcher: watch.New(watch.Report{
		Failed: func(what string, err error) {
			log.Error("the new "+what+" cannot be used; the old one stays", "error", err)
		},
		Loaded: func(what string) { log.Info("read the " + what + " again") },
	})}
}
