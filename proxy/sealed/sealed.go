// Package sealed is an encrypted object as the storage has it: its record, opened for a
// caller who may, the manifest that describes it, where its parts lie, the ETag that clients
// know it by, and whether what the storage answers of it follows from all that.
package sealed

import (
	"errors"
	"log/slog"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// Options are the dependencies of Objects.
type Options struct {
	// Storage is where objects lie. Required.
	Storage storage.Storage
	// Keys are the keys of objects. Required.
	Keys *keyring.Ring
	// Manifests describe objects whose records leave something open. Required.
	Manifests *manifest.Store
	// Logger is told what operators should know. Required.
	Logger *slog.Logger
	// OnRestored is called once for each object whose manifest was found by its data; nil
	// for nobody.
	OnRestored func()
}

// Objects opens encrypted objects. It is safe for concurrent use.
type Objects struct{ o Options }

// New checks the options, and has the manifests tell of those that are found by their data.
func New(o Options) (*Objects, error) {
	if o.Storage == nil || o.Keys == nil || o.Manifests == nil || o.Logger == nil {
		return nil, errors.New("sealed: incomplete options")
	}
	s := &Objects{o}
	o.Manifests.OnRestored = s.onRestored
	return s, nil
}
